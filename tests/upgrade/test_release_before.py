"""The release before runs on today's schema. `make upgrade` is the long form."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.upgrade import acceptance
from tests.upgrade.release_before import VERSION, Release, install

SHORT = (
    "test_wire.py",
    "test_openai_sdk.py",
    "test_kill.py::test_every_accepted_job_ends_once_although_the_gateway_is_killed",
)
"""What a client sees, and what `kill -9` leaves."""

SPOIL = """
import sqlite3, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
sqlite3.connect(sys.argv[-1]).execute("ALTER TABLE job RENAME COLUMN lane TO provider")
"""


@pytest.mark.time_limit(300)
def test_it_passes_a_part_of_its_acceptance_suite_on_todays_schema(tmp_path: Path) -> None:
    release = install(tmp_path / VERSION)
    outcome = acceptance.run(release, [f"tests/acceptance/{name}" for name in SHORT])
    assert outcome.passed, outcome.output
    assert outcome.databases > len(SHORT)


def test_what_runs_is_that_releases_code(before: Release) -> None:
    ask = "import hermod; print(hermod.__version__, hermod.__file__)"
    said = subprocess.run(
        [before.python, "-P", "-c", ask], capture_output=True, check=True, text=True
    )
    assert said.stdout.split() == [VERSION, str(before.source / "src" / "hermod" / "__init__.py")]


def test_a_schema_that_it_cannot_run_on_fails_its_suite(tmp_path: Path) -> None:
    """The check can fail: after this migration a column that the release needs is gone."""
    release = install(tmp_path / VERSION)
    spoiled = release.program("python-that-spoils", "-c", SPOIL, sys.executable)
    test = "tests/acceptance/test_openai_sdk.py::test_a_failed_job_is_no_exception"
    outcome = acceptance.run(release, [test], todays_python=spoiled)
    assert not outcome.passed
    assert "Error code: 500" in outcome.output


def test_a_clone_that_does_not_reach_back_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="git fetch --unshallow"):
        install(tmp_path / "unknown", commit="0" * 40)
