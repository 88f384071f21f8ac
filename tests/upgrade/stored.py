"""App directories of the embedded database, copied and compared."""

import shutil
from contextlib import closing
from pathlib import Path

import apsw

from tests.support.database import rows


def copy_database(app_dir: Path, to: Path) -> Path:
    """What lies on the disk, log included, while nobody writes. Returns `to`, which is new."""
    to.mkdir(parents=True)
    for name in ("hermod.db", "hermod.db-wal"):
        if (app_dir / name).exists():
            shutil.copyfile(app_dir / name, to / name)
    return to


def states_in(app_dir: Path) -> dict[str, str]:
    """The state of every job, by id, in a database that nobody has open."""
    with closing(apsw.Connection(str(app_dir / "hermod.db"))) as connection:
        found = connection.execute("SELECT lower(hex(id)), state FROM job").fetchall()
    return {str(job_id): str(state) for job_id, state in found}


def assert_sound(app_dir: Path) -> None:
    """The file is whole, and the counters are right, while nothing happens."""
    assert rows(app_dir, "PRAGMA integrity_check") == [("ok",)]
    counted = "SELECT lane, state, sum(n) FROM job_count GROUP BY 1, 2 HAVING sum(n) <> 0"
    there = "SELECT lane, state, count(*) FROM job GROUP BY 1, 2"
    assert set(rows(app_dir, counted)) == set(rows(app_dir, there))
