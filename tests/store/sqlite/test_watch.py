"""What one process commits, a worker in another hears of."""

import asyncio

from hermod.store.sqlite import SqliteStore
from tests.store.backends import SqliteDatabase
from tests.store.jobs import LANE, UNSENT, queued_job, running_job


async def until_heard(heard: asyncio.Queue[str]) -> str:
    async with asyncio.timeout(20):
        return await heard.get()


def watching(sqlite: SqliteDatabase) -> tuple[SqliteStore, asyncio.Queue[str]]:
    """A store like that of the program, and the lanes of which its worker hears."""
    store = SqliteStore(
        sqlite.path,
        sqlite.clock,
        watch_s=0.01,
        boot_now=lambda: sqlite.clock.lease,
        this_boot=sqlite.boot,
    )
    heard: asyncio.Queue[str] = asyncio.Queue()
    store.on_work(heard.put_nowait)
    return store, heard


async def test_a_job_queued_by_another_process_is_heard_of(sqlite: SqliteDatabase) -> None:
    store, heard = watching(sqlite)
    await store.open()
    async with sqlite.open() as other:
        await queued_job(other, sqlite)
        assert await until_heard(heard) == LANE
    await store.close()


async def test_a_job_that_another_process_gives_back_is_heard_of(sqlite: SqliteDatabase) -> None:
    store, heard = watching(sqlite)
    async with sqlite.open() as other:
        lease = await running_job(other, sqlite)
        await store.open()
        await other.put_back(lease, UNSENT, sqlite.clock.now())
        assert await until_heard(heard) == LANE
    await store.close()


async def test_a_job_that_is_not_due_yet_wakes_nobody(sqlite: SqliteDatabase) -> None:
    store, heard = watching(sqlite)
    async with sqlite.open() as other:
        lease = await running_job(other, sqlite)
        await store.open()
        await other.put_back(lease, UNSENT, sqlite.clock.now() + 1)
        await queued_job(other, sqlite, lane="elsewhere")
        assert await until_heard(heard) == "elsewhere"
        assert heard.empty()
    await store.close()
