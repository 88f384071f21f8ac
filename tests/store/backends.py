"""The stores that the contract holds for. A new one is a class here and a line in `BACKENDS`."""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, Protocol, Self

from hermod.domain.job import State
from hermod.store.api import Store
from hermod.store.postgres import PostgresStore
from hermod.store.sqlite import SqliteStore
from hermod.store.sqlite.driver import Connection, Row, open_file
from tests.support.postgres import Cluster, Session
from tests.support.waiting import wait_until

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

    @classmethod
    @contextmanager
    def new(cls, folder: Path, start_cluster: Callable[[], Cluster]) -> Iterator[Self]:
        """In an empty folder."""
        yield cls(folder)

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


class PostgresDatabase:
    """A database of the test's own in the shared cluster."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._observer: Session | None = None
        self.name = name
        self.clock = ManualClock()

    @classmethod
    @contextmanager
    def new(cls, folder: Path, start_cluster: Callable[[], Cluster]) -> Iterator[Self]:
        """A copy of one that was migrated once: that takes less time than emptying the tables."""
        cluster = start_cluster()
        database = cls(cluster, f"test_{uuid.uuid4().hex}")
        cluster.create_database(database.name, template=_migrated(cluster))
        try:
            yield database
        finally:
            database.close()
            cluster.drop_database(database.name)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._cluster.url(self.name)

    def store(self) -> PostgresStore:
        """A store that is not open."""
        return PostgresStore(
            self.url, self.clock, now=self.clock.now, lease_now=lambda: self.clock.lease
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[PostgresStore]:
        store = self.store()
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    def crash(self) -> None:
        self.close()
        with self._cluster.session() as session:
            # All at once; given a time to wait, the server would look at each every 100 ms.
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
            wait_until(lambda: not session.rows(end, self.name), every_s=0.002)

    def dump(self) -> Mapping[str, list[Row]]:
        tables = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'hermod' ORDER BY 1")
        return {
            name: sorted(self.rows(f"SELECT * FROM hermod.{name}"), key=repr) for (name,) in tables
        }

    def count_jobs(self) -> Mapping[tuple[str, str, State], int]:
        rows = self.rows("SELECT tenant_id, lane, state, count(*) FROM hermod.job GROUP BY 1, 2, 3")
        return {(tenant_id, lane, State(state)): n for tenant_id, lane, state, n in rows}

    def count_pieces(self) -> int:
        return self.rows("SELECT count(*) FROM hermod.payload_chunk")[0][0]

    def rows(self, sql: str, *values: object) -> list[Row]:
        """The rows of one statement on a connection of the test's own, with no settings."""
        if self._observer is None:
            self._observer = self._cluster.session(self.name)
        return self._observer.rows(sql, *values)

    def close(self) -> None:
        """End the test's own connection."""
        if self._observer is not None:
            self._observer.close()
            self._observer = None


def _migrated(cluster: Cluster) -> str:
    """The name of an empty database of ours, made by whoever needs it first."""
    name = "hermod_template"
    if not cluster.execute("SELECT 1 FROM pg_database WHERE datname = $1", name):
        # It gets its name when it is ready: every test fails with the cause, not just the first.
        cluster.drop_database("unmigrated")
        cluster.create_database("unmigrated")
        asyncio.run(_migrate(cluster.url("unmigrated")))
        cluster.execute(f"ALTER DATABASE unmigrated RENAME TO {name}")
    return name


async def _migrate(url: str) -> None:
    store = PostgresStore(url, ManualClock())
    await store.open()
    await store.close()


BACKENDS: Final = (SqliteDatabase, PostgresDatabase)
"""The stores under test."""
