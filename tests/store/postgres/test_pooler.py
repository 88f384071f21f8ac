"""Behind a connection pooler: in transaction mode a session is ours for one transaction only."""

import asyncio
import inspect
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import asyncpg
import pytest

from hermod.clock import SystemClock
from hermod.domain.errors import StoreMisconfigured, StoreUnavailable
from hermod.store.postgres import PostgresStore
from hermod.store.postgres.connections import SESSION_SETTINGS, Connections
from hermod.store.postgres.schema import examine
from tests.store.backends import Database, ManualClock, PostgresDatabase
from tests.store.contract import test_fencing, test_two_stores
from tests.store.jobs import CLAIM, COMPLETED, LANE, queued_job, read
from tests.support.pooler import Pooler
from tests.support.postgres import Cluster

Contract = Callable[[Database], Awaitable[None]]
SAMPLE = [
    test
    for module in (test_two_stores, test_fencing)
    for name, test in inspect.getmembers(module, inspect.iscoroutinefunction)
    if name.startswith("test_") and list(inspect.signature(test).parameters) == ["database"]
]


class Pooled(PostgresDatabase):
    """A database whose stores go through a pooler; the observer does not."""

    def __init__(self, cluster: Cluster, database: PostgresDatabase, pooler: Pooler) -> None:
        super().__init__(cluster, database.name)
        self._pooler = pooler

    @property
    def url(self) -> str:
        return self._pooler.url


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[PostgresDatabase]:
    """A database with nothing in it."""
    name = f"test_{uuid.uuid4().hex}"
    cluster.create_database(name)
    database = PostgresDatabase(cluster, name)
    try:
        yield database
    finally:
        database.close()
        cluster.drop_database(name)


def is_migrated(database: PostgresDatabase) -> bool:
    return database.rows("SELECT to_regnamespace('hermod') IS NOT NULL") == [(True,)]


async def open_and_close(url: str) -> None:
    store = PostgresStore(url, ManualClock())
    try:
        await store.open()
    finally:
        await store.close()


async def take_through(database: PostgresDatabase) -> None:
    """One job from its submit to its result, by two stores."""
    async with database.open() as here, database.open() as there:
        job_id = await queued_job(here, database)
        (claimed,) = await there.claim_jobs(LANE, 1, CLAIM)
        assert await there.finish_job(claimed.lease, COMPLETED)
        assert (await read(here, job_id)).body == COMPLETED.body


@pytest.mark.parametrize("round_robin", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_one_that_loses_statements_is_refused(
    size: int, round_robin: bool, empty: PostgresDatabase
) -> None:
    async with Pooler(empty.url, size=size, prepared=False, round_robin=round_robin) as pooler:
        for _ in range(2):
            with pytest.raises(StoreMisconfigured, match="max_prepared_statements"):
                await open_and_close(pooler.url)
    assert not is_migrated(empty)


@pytest.mark.parametrize("round_robin", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_one_that_carries_statements_over_is_as_good_as_none(
    size: int, round_robin: bool, cluster: Cluster, empty: PostgresDatabase
) -> None:
    async with Pooler(empty.url, size=size, round_robin=round_robin) as pooler:
        await take_through(Pooled(cluster, empty, pooler))


async def test_stores_that_open_at_once_migrate_once(empty: PostgresDatabase) -> None:
    async with Pooler(empty.url, size=2) as pooler:
        await asyncio.gather(*(open_and_close(pooler.url) for _ in range(4)))
    assert is_migrated(empty)


@pytest.mark.parametrize("test", SAMPLE, ids=lambda test: test.__name__)
async def test_the_contract_holds(
    test: Contract, cluster: Cluster, postgres: PostgresDatabase
) -> None:
    async with Pooler(postgres.url, size=3) as pooler:
        pooled = Pooled(cluster, postgres, pooler)
        try:
            await test(pooled)
        finally:
            pooled.close()


async def test_nothing_that_we_set_is_left_in_a_session(
    cluster: Cluster, postgres: PostgresDatabase
) -> None:
    ours = [setting.split()[1] for setting in SESSION_SETTINGS]
    changed = "SELECT name, setting FROM pg_settings WHERE name = ANY ($1) AND setting <> reset_val"
    listens = "SELECT * FROM pg_listening_channels()"
    async with Pooler(postgres.url, size=1) as pooler:
        await take_through(Pooled(cluster, postgres, pooler))
        stranger = await asyncpg.connect(pooler.url)
        assert await stranger.fetch(changed, ours) == []
        assert await stranger.fetch(listens) == []
        await stranger.close()


async def test_work_of_one_process_is_found_by_another(
    cluster: Cluster, postgres: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with Pooler(postgres.url) as pooler:
        pooled = Pooled(cluster, postgres, pooler)
        async with pooled.open() as here, pooled.open() as there:
            there.on_work(heard.put_nowait)
            await queued_job(here, pooled)
            async with asyncio.timeout(20):
                assert await heard.get() == LANE
    assert "pooler" in caplog.text


async def test_work_of_others_is_found_by_one_that_has_much_to_tell(
    cluster: Cluster, postgres: PostgresDatabase
) -> None:
    heard: set[str] = set()
    async with Pooler(postgres.url) as pooler:
        pooled = Pooled(cluster, postgres, pooler)
        async with pooled.open() as here, pooled.open() as busy:
            busy.on_work(heard.add)
            await queued_job(here, pooled, lane="theirs")
            async with asyncio.timeout(20):
                while "theirs" not in heard:
                    await queued_job(busy, pooled)


async def test_in_session_mode_notifications_come_through(
    cluster: Cluster, postgres: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with Pooler(postgres.url, size=20, prepared=False, session_mode=True) as pooler:
        pooled = Pooled(cluster, postgres, pooler)
        async with pooled.open() as here, pooled.open() as there:
            there.on_work(heard.put_nowait)
            await queued_job(here, pooled)
            async with asyncio.timeout(20):
                assert await heard.get() == LANE
    assert "notifications" not in caplog.text


async def test_session_mode_with_one_session_is_told_by_its_name(
    postgres: PostgresDatabase,
) -> None:
    async with Pooler(postgres.url, size=1, session_mode=True) as pooler:
        connections = Connections(pooler.url, 8, patience_s=0.5)
        with pytest.raises(StoreUnavailable, match="no second session for us"):
            await examine(connections)
        await connections.close()


async def test_a_pooler_without_its_server_is_no_flood_of_words(
    cluster: Cluster, empty: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    async with Pooler(empty.url, size=3) as pooler:
        store = PostgresStore(pooler.url, SystemClock())
        await store.open()
        cluster.execute(f'ALTER DATABASE "{empty.name}" ALLOW_CONNECTIONS false')
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
        cluster.execute(end, empty.name)
        caplog.clear()
        for _ in range(50):
            with suppress(StoreUnavailable):
                await store.counts()
        await store.close()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 3
