"""The embedded database, looked at from outside. Nothing here writes to it."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import apsw

from hermod.domain.clock import Clock
from hermod.domain.errors import StoreUnavailable
from hermod.domain.meter import Meter
from hermod.store.inspection import (
    GLANCE_ROWS,
    OPENING_BYTES,
    Dump,
    Glance,
    Leased,
    Overdue,
    StoredAttempt,
    StoredHold,
    StoredJob,
    TagOf,
)
from hermod.store.payloads import id_text
from hermod.store.sql import load_queries
from hermod.store.sqlite.driver import Bindings, Row, open_to_read
from hermod.store.sqlite.schema import BUSY_TIMEOUT_MS, PACKAGE
from hermod.store.sqlite.store import boot_clock


def copy_database(database: Path, to: Path) -> Path:
    """What a power cut would leave: the file and its log, while nobody writes, in a new folder.

    Returns the copied database. Raises OSError.
    """
    to.mkdir(parents=True)
    for name in (database.name, f"{database.name}-wal"):
        if (database.parent / name).exists():
            shutil.copyfile(database.parent / name, to / name)
    return to / database.name


def read_dump(database: Path, tag_of: TagOf) -> Dump:
    """Everything in a database that nobody writes to. Raises StoreUnavailable."""
    with _reading(database) as look:
        integrity = "; ".join(text for (text,) in look.rows("integrity"))
        jobs = [
            StoredJob(id_text(raw_id), tag_of(opening or b""), *rest)
            for raw_id, opening, *rest in look.rows("jobs", (OPENING_BYTES, OPENING_BYTES))
        ]
        attempts = [
            StoredAttempt(id_text(raw_id) if raw_id else "", *rest, estimated=bool(estimated))
            for raw_id, *rest, estimated in look.rows("attempts")
        ]
        counters = {f"{lane}/{state}": n for lane, state, n in look.rows("counts")}
        meters = {meter_id: Meter(*rest) for meter_id, *rest in look.rows("meters")}
        holds = [
            StoredHold(id_text(raw_id) if raw_id else "", *rest)
            for raw_id, *rest in look.rows("holds")
        ]
    return Dump(jobs, attempts, counters, integrity, meters=meters, holds=holds)


def read_glance(database: Path, clock: Clock) -> Glance:
    """Leases and deadlines, now. Raises StoreUnavailable."""
    with _reading(database) as look:
        now_at, lease_now = clock.now(), boot_clock()
        leased = tuple(
            Leased(id_text(raw_id), attempt, lease_until)
            for raw_id, attempt, lease_until in look.rows("leases", (GLANCE_ROWS,))
        )
        overdue = tuple(
            Overdue(id_text(raw_id), state, deadline_at)
            for raw_id, state, deadline_at in look.rows("overdue", (now_at, GLANCE_ROWS))
        )
    return Glance(now_at, lease_now, leased, overdue)


class _Look:
    def __init__(self, database: Path) -> None:
        self._sql = load_queries(PACKAGE, "inspect.sql")
        self.connection = open_to_read(database)
        self.connection.set_busy_timeout(BUSY_TIMEOUT_MS)

    def rows(self, query: str, values: Bindings = ()) -> list[Row]:
        return self.connection.execute(self._sql[query], values).fetchall()


@contextmanager
def _reading(database: Path) -> Generator[_Look]:
    try:
        look = _Look(database)
        try:
            yield look
        finally:
            look.connection.close()
    except apsw.Error as error:
        raise StoreUnavailable(f"cannot read the database {database}: {error}") from error
