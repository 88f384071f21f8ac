"""What is left of a job once its TTL is over: nothing."""

from tests.store.backends import SECOND, Database
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    FAILED,
    LEASE_S,
    OWNER,
    TTL_S,
    finished_job,
    new_job,
    queued_job,
    read,
    running_job,
    waiting_job,
)

LARGE = b"x" * (2 * 1024 * 1024 + 1)


async def test_an_expired_job_leaves_no_row_in_any_table(database: Database) -> None:
    async with database.open() as store:
        before = database.dump()
        lease = await running_job(store, database, body=LARGE)
        lease = await store.begin_attempt(lease, FAILED, LEASE_S)
        assert lease
        await store.finish_job(lease, COMPLETED._replace(body=LARGE))
        await finished_job(store, database)
        database.clock.advance(TTL_S)
        assert await store.delete_expired(9) == 2
        assert await store.counts() == {}
        after = {table: rows for table, rows in database.dump().items() if table != "job_count"}
        assert after == {table: rows for table, rows in before.items() if table != "job_count"}


async def test_a_job_is_kept_until_it_expires(database: Database) -> None:
    async with database.open() as store:
        job_id = await finished_job(store, database)
        before = database.dump()
        database.clock.wall += TTL_S * SECOND - 1
        assert await store.delete_expired(9) == 0
        assert database.dump() == before
        assert await read(store, job_id)


async def test_what_has_not_ended_is_kept(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        await running_job(store, database)
        await waiting_job(store, database)
        before = database.dump()
        database.clock.advance(100 * TTL_S)
        assert await store.delete_expired(9) == 0
        assert database.dump() == before


async def test_the_pieces_of_other_jobs_are_kept(database: Database) -> None:
    async with database.open() as store:
        kept = await store.submit_job(new_job(database, body=LARGE, ttl_s=2 * TTL_S), CLAIM)
        assert kept
        await finished_job(store, database, body=LARGE)
        database.clock.advance(TTL_S)
        assert await store.delete_expired(9) == 1
        assert await store.read_request(kept) == LARGE
        await store.finish_job(kept, COMPLETED._replace(body=LARGE))
        assert (await read(store, kept.job_id)).body == LARGE


async def test_the_first_to_expire_go_first_and_no_more_than_the_limit(database: Database) -> None:
    async with database.open() as store:
        by_ttl = {ttl_s: await finished_job(store, database, ttl_s=ttl_s) for ttl_s in (3, 1, 2)}
        database.clock.wall += 2 * SECOND
        assert await store.delete_expired(1) == 1
        database.clock.wall -= 2 * SECOND  # only to see what is still there
        seen = [
            ttl_s for ttl_s, job_id in by_ttl.items() if await store.read_job(job_id, OWNER, None)
        ]
        assert seen == [3, 2]
        database.clock.wall += 2 * SECOND
        assert [await store.delete_expired(1) for _ in range(2)] == [1, 0]
