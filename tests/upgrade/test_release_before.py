"""The release before runs on today's schema. `make upgrade` is the long form."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.upgrade import suites
from tests.upgrade.release_before import ROOT, VERSION, Release, install

SHORT = "tests/store/contract/test_submit.py"
"""A little of what both stores promise."""

SPOIL = f"""
import sqlite3, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.upgrade.todays_migrations import migrate, serve
def spoil(database):
    migrate(database)
    sqlite3.connect(database).execute("ALTER TABLE job RENAME COLUMN lane TO provider")
serve(spoil)
"""


def test_it_passes_a_part_of_its_suites_on_todays_schema(tmp_path: Path) -> None:
    outcome = suites.run(install(tmp_path / VERSION), [SHORT])
    assert outcome.passed, outcome.output
    assert outcome.databases > 2


def test_what_runs_is_that_releases_code(before: Release) -> None:
    ask = "import hermod; print(hermod.__version__, hermod.__file__)"
    said = subprocess.run(
        [before.python, "-P", "-c", ask], capture_output=True, check=True, text=True
    )
    assert said.stdout.split() == [VERSION, str(before.source / "src" / "hermod" / "__init__.py")]


def test_a_schema_that_it_cannot_run_on_fails_its_suites(tmp_path: Path) -> None:
    """The check can fail: after this migration a column that the release needs is gone."""
    spoiled = (sys.executable, "-c", SPOIL)
    outcome = suites.run(install(tmp_path / VERSION), [SHORT, "-k", "Sqlite"], todays=spoiled)
    assert not outcome.passed
    assert "has no column named lane" in outcome.output


def test_a_clone_that_does_not_reach_back_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="git fetch --unshallow"):
        install(tmp_path / "unknown", commit="0" * 40)
