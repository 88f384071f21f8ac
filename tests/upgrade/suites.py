"""Tests of the release before, by its own code, on today's schema.

`python -m tests.upgrade` runs `SUITES`, and what else it is told; the tests of this folder a part.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.upgrade.release_before import RUN, Release

SUITES: Final = (
    "tests/store/contract",
    "tests/acceptance/test_wire.py",
    "tests/acceptance/test_contract_submit.py",
    "tests/acceptance/test_contract_polls.py",
    "tests/acceptance/test_contract_results.py",
    "tests/acceptance/test_contract_headers.py",
    "tests/acceptance/test_contract_restart.py",
    "tests/acceptance/test_openai_sdk.py",
    "tests/acceptance/test_forwarding.py",
    "tests/acceptance/test_direct_keys.py",
    "tests/acceptance/test_fallbacks.py",
    "tests/acceptance/test_ordered_work.py",
    "tests/acceptance/test_recovery.py",
    "tests/acceptance/test_roles.py",
    "tests/acceptance/test_kill.py::"
    "test_every_accepted_job_ends_once_although_the_gateway_is_killed",
    "tests/acceptance/test_kill.py::test_two_gateways_and_two_workers_on_postgresql_lose_nothing",
)
"""What its stores promise, what its clients see, and what `kill -9` leaves, on both stores. Its
other acceptance tests say little of the schema, and take as long again."""
_NOT_ON_IT: Final = (
    # There is nothing left for it to migrate.
    "tests/store/contract/test_failpoints.py::"
    "test_making_a_database_passes_the_failpoints_of_the_migration_on_postgresql",
)
_HERE: Final = Path(__file__).parent
TODAYS: Final = (sys.executable, str(_HERE / "todays_migrations.py"))
_PLUGIN: Final = "todays_schema"


class Outcome(NamedTuple):
    """How it went."""

    passed: bool
    databases: int
    """How many times it opened one that today's release had migrated just before."""
    output: str


def run(
    release: Release, tests: Sequence[str], *, todays: Sequence[str] = TODAYS, shown: bool = False
) -> Outcome:
    """Run these of its tests; from then on its code opens migrated databases only.

    `todays` is the program that migrates. With `shown`, what pytest prints goes to the terminal
    and is not kept.
    """
    log = release.source.with_name("databases.log")
    log.touch()
    shutil.copy(_HERE / "migrated_first.py", release.packages)
    install = f"""
from pathlib import Path
from migrated_first import Todays, install
install(Todays({list(todays)!r}, Path({str(log)!r}), keep={{keep}}))
"""
    release.program("hermod", "-c", install.format(keep=False) + RUN)
    (release.packages / f"{_PLUGIN}.py").write_text(install.format(keep=True), "utf-8")
    flags = [
        "-p",
        "no:cacheprovider",
        "-p",
        _PLUGIN,
        *(f"--deselect={name}" for name in _NOT_ON_IT),
    ]
    ended = subprocess.run(
        [str(release.python), "-m", "pytest", *flags, *tests],
        cwd=release.source,
        check=False,
        text=True,
        stdout=None if shown else subprocess.PIPE,
        stderr=None if shown else subprocess.STDOUT,
    )
    databases = len(log.read_text("utf-8").splitlines())
    return Outcome(ended.returncode == 0, databases, ended.stdout or "")
