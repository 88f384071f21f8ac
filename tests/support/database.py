"""The embedded database, looked at from outside: by another driver, and never written to.

The one exception is `tamper`, with which a test stages what it cannot wait for.
"""

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw


@contextmanager
def reading(app_dir: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write; the gateway may run."""
    uri = f"file:{app_dir / 'hermod.db'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
        yield connection


def rows(app_dir: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of one query."""
    with reading(app_dir) as connection:
        return connection.execute(sql, values).fetchall()


def raw_id(job_id: str) -> bytes:
    """A job's id as the database keeps it."""
    return uuid.UUID(job_id).bytes


def attempts_of(app_dir: Path, job_id: str) -> list[tuple[int, str, str | None]]:
    """Number, state and error type of every attempt of a job, in order."""
    sql = """SELECT n, attempt.state, error_type FROM attempt JOIN job ON job.seq = attempt.seq
        WHERE job.id = ? ORDER BY n"""
    return rows(app_dir, sql, raw_id(job_id))


def state_of(app_dir: Path, job_id: str) -> str:
    """The inside state of a job."""
    ((state,),) = rows(app_dir, "SELECT state FROM job WHERE id = ?", raw_id(job_id))
    return state


def is_writable(app_dir: Path, patience_s: float) -> bool:
    """Whether somebody could write, within that time; True where there is no embedded database."""
    if not (path := app_dir / "hermod.db").exists():
        return True
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(int(patience_s * 1000))
        connection.execute("BEGIN IMMEDIATE; ROLLBACK")
    except apsw.BusyError:
        return False
    finally:
        connection.close()
    return True


def tamper(app_dir: Path, sql: str, *values: Any) -> None:
    """Change the database behind the gateway's back, with the same engine as the gateway's."""
    connection = apsw.Connection(str(app_dir / "hermod.db"))
    try:
        connection.set_busy_timeout(10_000)
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        connection.execute(sql, values)
    finally:
        connection.close()
