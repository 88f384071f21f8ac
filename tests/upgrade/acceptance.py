"""The acceptance suite of the release before, by its own code, on today's schema.

`python -m tests.upgrade` runs all of it, the tests of this folder a part.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.upgrade.release_before import Release

_WRAPPER = Path(__file__).with_name("migrated_first.py")


class Outcome(NamedTuple):
    """How it went."""

    passed: bool
    databases: int
    """How many times it opened one that today's release had migrated just before."""
    output: str


def run(
    release: Release,
    tests: Sequence[str],
    *,
    todays_python: Path = Path(sys.executable),
    shown: bool = False,
) -> Outcome:
    """Run these of its tests; from then on its `hermod` opens migrated databases only.

    `todays_python` runs the migration. With `shown`, what pytest prints goes to the terminal and is
    not kept.
    """
    log = release.source.with_name("databases.log")
    log.touch()
    release.program("hermod", str(_WRAPPER), str(todays_python), str(log))
    ended = subprocess.run(
        [str(release.python), "-m", "pytest", "-p", "no:cacheprovider", *tests],
        cwd=release.source,
        check=False,
        text=True,
        stdout=None if shown else subprocess.PIPE,
        stderr=None if shown else subprocess.STDOUT,
    )
    databases = len(log.read_text("utf-8").splitlines())
    return Outcome(ended.returncode == 0, databases, ended.stdout or "")
