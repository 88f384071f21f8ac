"""Bodies come back byte for byte, whatever their size, and leave no pieces behind."""

import asyncio
import itertools

import pytest

from tests.store.backends import Database
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    FAILED,
    LANE,
    LEASE_S,
    claim_again,
    finished_job,
    new_job,
    queued_job,
    read,
    running_job,
)

KIB = 1024
MIB = 1024 * KIB
SIZES = {
    "0 B": 0,
    "1 B": 1,
    "64 KiB": 64 * KIB,
    "64 KiB + 1": 64 * KIB + 1,
    "1 MiB": MIB,
    "1 MiB + 1": MIB + 1,
    "3 MiB + 1": 3 * MIB + 1,
}
HOUR = 3_600_000_000


def bytes_of(size: int, seed: int = 0) -> bytes:
    """That many bytes, of which no two kilobytes are alike."""
    words = itertools.count(seed << 32)
    return b"".join(next(words).to_bytes(8, "big") for _ in range(size // 8 + 1))[:size]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_a_request_is_what_was_submitted(database: Database, size: int) -> None:
    async with database.open() as store:
        body = bytes_of(size)
        await queued_job(store, database, body=body)
        database.crash()
    async with database.open() as store:
        (claimed,) = await store.claim_jobs(LANE, 1, CLAIM)
        assert claimed.body in (body, None)
        assert await store.read_request(claimed.lease) == body


async def test_a_small_request_comes_with_the_claim_and_a_large_one_is_fetched(
    database: Database,
) -> None:
    async with database.open() as store:
        await queued_job(store, database, body=bytes_of(64 * KIB))
        await queued_job(store, database, body=bytes_of(64 * KIB + 1))
        small, large = await store.claim_jobs(LANE, 2, CLAIM)
        assert small.body == bytes_of(64 * KIB)
        assert large.body is None


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_a_result_is_what_was_finished(database: Database, size: int) -> None:
    async with database.open() as store:
        body = bytes_of(size)
        job_id = await finished_job(store, database, COMPLETED._replace(body=body))
        assert (await read(store, job_id)).body == body
        database.crash()
    async with database.open() as store:
        assert (await read(store, job_id)).body == body


async def test_many_large_jobs_at_once_keep_their_own_bodies(database: Database) -> None:
    async with database.open() as store:
        requests = [bytes_of(MIB + n, seed=n) for n in range(8)]
        leases = await asyncio.gather(
            *(running_job(store, database, body=request) for request in requests)
        )
        assert await asyncio.gather(*map(store.read_request, leases)) == requests
        await asyncio.gather(
            *(
                store.finish_job(lease, COMPLETED._replace(body=request[::-1]))
                for lease, request in zip(leases, requests, strict=True)
            )
        )
        views = await asyncio.gather(*(read(store, lease.job_id) for lease in leases))
        assert [view.body for view in views] == [request[::-1] for request in requests]


async def test_a_result_of_one_attempt_does_not_mix_into_anothers(database: Database) -> None:
    async with database.open() as store:
        stale = await running_job(store, database)
        long, short = bytes_of(3 * MIB, seed=1), bytes_of(2 * MIB, seed=2)
        cut = asyncio.ensure_future(store.finish_job(stale, COMPLETED._replace(body=long)))
        while database.count_pieces() < 2:
            await asyncio.sleep(0)
        cut.cancel()
        await store.put_back(stale, FAILED, 0)
        lease = await claim_again(store, stale.job_id)
        assert await store.finish_job(lease, COMPLETED._replace(body=short))
        assert (await read(store, lease.job_id)).body == short


async def test_a_result_written_again_replaces_what_a_failed_finish_left(
    database: Database,
) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        long, short = bytes_of(4 * MIB, seed=1), bytes_of(MIB + 1, seed=2)
        cut = asyncio.ensure_future(store.finish_job(lease, COMPLETED._replace(body=long)))
        while database.count_pieces() < 3:
            await asyncio.sleep(0)
        cut.cancel()
        assert await store.finish_job(lease, COMPLETED._replace(body=short))
        assert (await read(store, lease.job_id)).body == short


# Pieces whose submit or finish never happened


async def half_submitted(database: Database, pieces: int) -> None:
    """Leave so many pieces of a request whose job is never submitted."""
    async with database.open() as store:
        before = database.count_pieces()
        job = new_job(database, body=bytes_of((pieces + 1) * MIB))
        submit = asyncio.ensure_future(store.submit_job(job))
        while database.count_pieces() < before + pieces:
            await asyncio.sleep(0)
        database.crash()
        submit.cancel()


async def test_a_submit_that_was_cut_off_is_no_job(database: Database) -> None:
    await half_submitted(database, pieces=2)
    async with database.open() as store:
        assert await store.counts() == {}
        assert await store.claim_jobs(LANE, 9, CLAIM) == []


async def test_the_pieces_of_a_submit_that_was_cut_off_are_deleted(database: Database) -> None:
    await half_submitted(database, pieces=2)
    async with database.open() as store:
        pieces = database.count_pieces()
        assert pieces >= 2
        database.clock.advance(1)
        assert await store.delete_orphans(database.clock.now(), 99) == pieces
        assert database.count_pieces() == 0


async def test_the_pieces_of_a_young_submit_are_left_alone(database: Database) -> None:
    older_than_at = database.clock.now()
    database.clock.advance(1)
    await half_submitted(database, pieces=2)
    async with database.open() as store:
        assert await store.delete_orphans(older_than_at, 99) == 0
        assert database.count_pieces() >= 2


async def test_no_more_pieces_are_deleted_than_the_limit(database: Database) -> None:
    await half_submitted(database, pieces=3)
    async with database.open() as store:
        pieces = database.count_pieces()
        assert await store.delete_orphans(database.clock.now() + HOUR, 1) == 1
        assert database.count_pieces() == pieces - 1


async def test_the_pieces_of_jobs_that_are_there_are_never_orphans(database: Database) -> None:
    async with database.open() as store:
        body = bytes_of(2 * MIB)
        await queued_job(store, database, body=body)
        await running_job(store, database, body=body)
        finished = await finished_job(
            store, database, COMPLETED._replace(body=body), body=body, ttl_s=10_000
        )
        before = database.dump()
        assert await store.delete_orphans(database.clock.now() + HOUR, 99) == 0
        assert database.dump() == before
        assert (await read(store, finished)).body == body


async def test_the_pieces_of_an_attempt_in_flight_are_never_orphans(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        body = bytes_of(3 * MIB)
        finish = asyncio.ensure_future(store.finish_job(lease, COMPLETED._replace(body=body)))
        while not database.count_pieces():
            await asyncio.sleep(0)
        assert await store.delete_orphans(database.clock.now() + HOUR, 99) == 0
        assert await finish
        assert (await read(store, lease.job_id)).body == body


async def test_the_pieces_of_an_attempt_that_did_not_finish_the_job_are_orphans(
    database: Database,
) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        cut = asyncio.ensure_future(
            store.finish_job(lease, COMPLETED._replace(body=bytes_of(3 * MIB)))
        )
        while not database.count_pieces():
            await asyncio.sleep(0)
        cut.cancel()
        next_lease = await store.begin_attempt(lease, FAILED, LEASE_S)
        assert next_lease
        body = bytes_of(2 * MIB, seed=9)
        await store.finish_job(next_lease, COMPLETED._replace(body=body))
        left = database.count_pieces() - 2
        assert await store.delete_orphans(database.clock.now() + HOUR, 99) == left > 0
        assert database.count_pieces() == 2
        assert (await read(store, lease.job_id)).body == body
