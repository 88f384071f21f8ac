"""A disk that is full or refuses to be written, and what follows (reliability.md, F22)."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hermod.domain.errors import StoreError, StoreFull, StoreUnavailable
from hermod.domain.job import State
from hermod.store.sqlite import SqliteStore
from tests.store.backends import SqliteDatabase, wal_of
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    LANE,
    TTL_S,
    finished_job,
    new_job,
    queued_job,
    read,
    running_job,
)
from tests.store.sqlite.underneath import connection_of

MIB = 1024 * 1024
FILLING = b"x" * 60_000


@contextmanager
def room_for(store: SqliteStore, pages: int) -> Iterator[None]:
    """Let the database grow by no more than so many pages."""
    connection = connection_of(store)
    size = connection.pragma("page_count") - connection.pragma("freelist_count")
    connection.pragma("max_page_count", size + pages)
    yield
    connection.pragma("max_page_count", 2**30)


async def fill(store: SqliteStore, database: SqliteDatabase) -> int:
    """Submit until no more fits, to the last small job; how many did."""
    fitted = 0
    for body in (FILLING, b"{}"):
        while True:
            try:
                await queued_job(store, database, body=body)
            except StoreFull:
                break
            fitted += 1
    return fitted


async def test_a_full_disk_refuses_submits_and_keeps_all_that_was_accepted(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        with room_for(store, 200):
            fitted = await fill(store, sqlite)
            assert fitted > 5
            assert await store.counts() == {("default", LANE, State.QUEUED): fitted}
            assert sqlite.count_jobs() == await store.counts()
            sqlite.crash()
    async with sqlite.open() as store:
        assert len(await store.claim_jobs(LANE, 1_000, CLAIM)) == fitted


async def test_jobs_are_read_from_a_full_disk(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        job_id = await finished_job(store, sqlite)
        before = await read(store, job_id)
        with room_for(store, 20):
            await fill(store, sqlite)
            assert await read(store, job_id) == before


async def test_submits_go_on_once_there_is_room_again(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        with room_for(store, 50):
            await fill(store, sqlite)
        job_id = await queued_job(store, sqlite, body=FILLING)
        assert (await read(store, job_id)).state is State.QUEUED


async def test_the_store_says_that_the_disk_is_full_until_something_was_written(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        assert not store.storage_full
        with room_for(store, 50):
            await fill(store, sqlite)
            assert store.storage_full
            assert await store.recover_lost_leases(10) == 0  # has nothing to write
            assert store.storage_full
        await queued_job(store, sqlite, body=FILLING)
        assert not store.storage_full


async def test_a_finish_that_does_not_fit_changes_nothing_and_can_be_tried_again(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        lease = await running_job(store, sqlite)
        finish = COMPLETED._replace(body=FILLING)
        with room_for(store, 50):
            await fill(store, sqlite)
            before = sqlite.dump()
            with pytest.raises(StoreFull):
                await store.finish_job(lease, finish)
            assert sqlite.dump() == before
        assert await store.finish_job(lease, finish)
        assert (await read(store, lease.job_id)).body == FILLING


async def test_deleting_what_is_expired_makes_room_on_a_full_disk(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        for _ in range(20):
            await finished_job(store, sqlite, COMPLETED._replace(body=FILLING))
        with room_for(store, 30):
            await fill(store, sqlite)
            sqlite.clock.advance(TTL_S)
            assert await store.delete_expired(99) == 20
            await queued_job(store, sqlite, body=FILLING)


async def test_deleting_makes_room_while_submits_keep_failing_beside_it(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        await finished_job(store, sqlite, COMPLETED._replace(body=FILLING))
        with room_for(store, 10):
            await fill(store, sqlite)
            sqlite.clock.advance(TTL_S)
            submits = [store.submit_job(new_job(sqlite, body=FILLING)) for _ in range(5)]
            *answers, deleted = await asyncio.gather(
                *submits, store.delete_expired(9), return_exceptions=True
            )
            assert [type(answer) for answer in answers] == [StoreFull] * 5
            assert deleted == 1


async def test_a_large_submit_that_does_not_fit_gives_its_room_back(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        with room_for(store, 5 * MIB // 4096):
            with pytest.raises(StoreFull):
                await store.submit_job(new_job(sqlite, body=b"x" * 20 * MIB))
            assert sqlite.count_pieces() == 0
            await store.submit_job(new_job(sqlite, body=b"x" * 3 * MIB))


async def test_a_submit_that_is_too_large_spoils_only_itself(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        small = [new_job(sqlite) for _ in range(10)]
        with room_for(store, 10):
            answers = await asyncio.gather(
                store.submit_job(new_job(sqlite, body=FILLING)),
                *map(store.submit_job, small),
                return_exceptions=True,
            )
        assert isinstance(answers[0], StoreFull)
        assert answers[1:] == [None] * 10


async def test_a_log_that_cannot_grow_refuses_writes_until_it_can(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        job_id = await queued_job(store, sqlite)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (wal_of(sqlite.path).stat().st_size, hard))
        try:
            before = sqlite.dump()
            with pytest.raises(StoreError):
                await queued_job(store, sqlite)
            assert sqlite.dump() == before
            assert (await read(store, job_id)).state is State.QUEUED
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await queued_job(store, sqlite)
        assert await store.counts() == sqlite.count_jobs()


async def test_a_database_that_may_only_be_read_refuses_writes_until_it_may(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        lease = await running_job(store, sqlite)
        connection_of(store).pragma("query_only", 1)
        for write in (
            store.submit_job(new_job(sqlite)),
            store.finish_job(lease, COMPLETED),
            store.claim_jobs(LANE, 1, CLAIM),
        ):
            with pytest.raises(StoreUnavailable):
                await write
        assert (await read(store, lease.job_id)).state is State.RUNNING
        connection_of(store).pragma("query_only", 0)
        assert await store.finish_job(lease, COMPLETED)
