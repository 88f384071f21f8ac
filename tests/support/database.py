"""The embedded database, looked at from outside: by another driver, and never written to.

The one exception is `tamper`, with which a test stages what it cannot wait for.
"""

import re
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw

from tests.support.history import Attempt, Job, Stored

NONCE = re.compile(r"nonce:([\w-]+)")


def copy_database(app_dir: Path, to: Path) -> Path:
    """What lies on the disk, WAL included, while nobody writes. Returns `to`."""
    to.mkdir(parents=True)
    for name in ("hermod.db", "hermod.db-wal"):
        if (app_dir / name).exists():
            shutil.copyfile(app_dir / name, to / name)
    return to


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


def tamper(app_dir: Path, sql: str, *values: Any) -> None:
    """Change the database behind the gateway's back, with the same engine as the gateway's."""
    connection = apsw.Connection(str(app_dir / "hermod.db"))
    try:
        connection.set_busy_timeout(10_000)
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        connection.execute(sql, values)
    finally:
        connection.close()


def read_stored(app_dir: Path) -> Stored:
    """Everything the history checker asks of a database that nobody writes to."""
    with closing(sqlite3.connect(app_dir / "hermod.db")) as connection:
        execute = connection.execute
        integrity = "; ".join(text for (text,) in execute("PRAGMA integrity_check"))
        jobs = [
            Job(str(uuid.UUID(bytes=row[0])), _nonce(row[1]), *row[2:])
            for row in execute(
                """SELECT id, coalesce(substr(body, 1, 400), (
                        SELECT substr(data, 1, 400) FROM payload_chunk
                        WHERE job_id = id AND part = 0 AND n = 0)),
                    state, attempt, on_unknown, lane,
                    (SELECT count(*) FROM result WHERE result.seq = job.seq)
                FROM job LEFT JOIN request ON request.seq = job.seq"""
            )
        ]
        attempts = [
            Attempt(str(uuid.UUID(bytes=row[0])) if row[0] else "", *row[1:])
            for row in execute(
                """SELECT id, n, attempt.state, attempt.started_at, ended_at
                FROM attempt LEFT JOIN job ON job.seq = attempt.seq"""
            )
        ]
        counters = {
            (lane, state): n
            for lane, state, n in execute(
                "SELECT lane, state, sum(n) FROM job_count GROUP BY lane, state"
            )
        }
    return Stored(jobs, attempts, counters, integrity)


def _nonce(request: bytes | None) -> str | None:
    found = NONCE.search((request or b"").decode("utf-8", "replace"))
    return found[1] if found else None
