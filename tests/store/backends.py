"""The stores that the contract holds for. A new one is a class here and a line in `BACKENDS`."""

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from hermod.domain.job import State
from hermod.store.api import Store
from hermod.store.sqlite import SqliteStore
from hermod.store.sqlite.driver import Connection, Row, open_file

SECOND: Final = 1_000_000


class ManualClock:
    """The wall clock and the clock of the leases, moved by hand. Both in microseconds."""

    def __init__(self) -> None:
        self.wall = 1_760_000_000_000_000
        self.lease = 50_000 * SECOND

    def now(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.lease / SECOND

    def advance(self, seconds: float) -> None:
        """Let time pass on both."""
        self.wall += int(seconds * SECOND)
        self.lease += int(seconds * SECOND)


class Database(Protocol):
    """One database of one backend, and the stores on it."""

    @property
    def clock(self) -> ManualClock: ...

    def open(self) -> AbstractAsyncContextManager[Store]:
        """An opened store. Several may be open at once, as in several processes."""
        ...

    def crash(self) -> None:
        """What is committed stays, for the stores opened from now on; the others are gone."""
        ...

    def dump(self) -> Mapping[str, list[Row]]:
        """Every committed row of every table, in a fixed order."""
        ...

    def count_jobs(self) -> Mapping[tuple[str, str, State], int]:
        """How many jobs there are per tenant, lane and state, counted one by one."""
        ...

    def count_pieces(self) -> int:
        """How many pieces of large bodies there are, referred to or not."""
        ...


class SqliteDatabase:
    """A file in a folder of the test's own."""

    def __init__(self, folder: Path, synchronous: str = "FULL", boot: str = "this boot") -> None:
        self._folder = folder
        self._synchronous = synchronous
        self._crashes = 0
        self.boot = boot
        self.clock = ManualClock()
        self.path = folder / "hermod.db"

    def store(self) -> SqliteStore:
        """A store that is not open."""
        return SqliteStore(
            self.path,
            self.clock,
            synchronous=self._synchronous,
            boot_now=lambda: self.clock.lease,
            this_boot=self.boot,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqliteStore]:
        store = self.store()
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    def crash(self) -> None:
        self._crashes += 1
        copy = self._folder / f"crash-{self._crashes}.db"
        shutil.copyfile(self.path, copy)
        wal = wal_of(self.path)
        if wal.exists():
            shutil.copyfile(wal, wal_of(copy))
        self.path = copy

    def dump(self) -> Mapping[str, list[Row]]:
        tables = self._rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        return {name: sorted(self._rows(f"SELECT * FROM {name}"), key=repr) for (name,) in tables}

    def count_jobs(self) -> Mapping[tuple[str, str, State], int]:
        rows = self._rows("SELECT tenant_id, lane, state, count(*) FROM job GROUP BY 1, 2, 3")
        return {(tenant_id, lane, State(state)): n for tenant_id, lane, state, n in rows}

    def count_pieces(self) -> int:
        return self._rows("SELECT count(*) FROM payload_chunk")[0][0]

    def _rows(self, query: str) -> list[Row]:
        connection = self.connect()
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def connect(self) -> Connection:
        """A connection of the test's own, with no settings."""
        return open_file(self.path)


def wal_of(path: Path) -> Path:
    """The write-ahead log beside a database file."""
    return path.with_name(path.name + "-wal")


BACKENDS: Final = (SqliteDatabase,)
