"""Two stores on one database, as two processes have them."""

import asyncio

from hermod.domain.job import Claim, ClaimedJob, State
from hermod.store.api import Store
from tests.store.backends import Database
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    LANE,
    LEASE_S,
    OTHER_CLAIM,
    finished_job,
    queued_job,
    read,
    running_job,
    waiting_job,
)
from tests.store.limits import BUDGET, DONE, PARALLEL, counted, overlooked


async def claim_all(store: Store, claim: Claim) -> list[ClaimedJob]:
    """Claim in small steps until nothing is left."""
    claimed: list[ClaimedJob] = []
    while found := await store.claim_jobs(LANE, 3, claim):
        claimed += found
    return claimed


async def test_what_one_commits_the_other_reads(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        job_id = await queued_job(one, database)
        assert (await read(other, job_id)).state is State.QUEUED
        (claimed,) = await other.claim_jobs(LANE, 1, OTHER_CLAIM)
        assert (await read(one, job_id)).state is State.RUNNING
        assert await one.finish_job(claimed.lease, COMPLETED)
        assert await read(one, job_id) == await read(other, job_id)


async def test_two_that_claim_at_once_never_share_a_job(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        expected = {await queued_job(one, database) for _ in range(60)}
        expected |= {await waiting_job(other, database) for _ in range(20)}
        mine, theirs = await asyncio.gather(claim_all(one, CLAIM), claim_all(other, OTHER_CLAIM))
        ids = [job.lease.job_id for job in mine + theirs]
        assert len(ids) == len(set(ids))
        assert set(ids) == expected
        assert await one.counts() == await other.counts() == database.count_jobs()


async def test_two_that_submit_at_once_keep_every_job(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        ids = await asyncio.gather(
            *(queued_job(store, database) for _ in range(100) for store in (one, other))
        )
        claimed = await claim_all(one, CLAIM)
        assert {job.lease.job_id for job in claimed} == set(ids)
        assert await one.counts() == database.count_jobs()


async def test_two_that_finish_at_once_leave_one_result(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        for _ in range(10):
            lease = await running_job(one, database)
            bodies = [b'"one"', b'"other"']
            won = await asyncio.gather(
                *(
                    store.finish_job(lease, COMPLETED._replace(body=body))
                    for store, body in zip((one, other), bodies, strict=True)
                )
            )
            assert sorted(won) == [False, True]
            assert (await read(one, lease.job_id)).body == bodies[won.index(True)]


async def test_two_that_recover_at_once_take_each_lease_once(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        for _ in range(20):
            await running_job(one, database)
        database.clock.advance(LEASE_S + 1)
        taken = await asyncio.gather(
            *(store.recover_lost_leases(7) for _ in range(4) for store in (one, other))
        )
        assert sum(taken) == 20
        assert {job.suspicion for job in await claim_all(one, CLAIM)} == {1}


async def test_two_that_delete_at_once_delete_each_job_once(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        for _ in range(10):
            await finished_job(one, database, COMPLETED._replace(body=b"x" * 100_000))
        database.clock.advance(100_000)
        deleted = await asyncio.gather(
            *(store.delete_expired(4) for _ in range(3) for store in (one, other))
        )
        assert sum(deleted) == 10
        assert await one.counts() == {}
        assert database.count_pieces() == 0


async def test_two_that_reserve_at_once_get_no_more_than_there_is(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        stores = [one, other] * 20
        leases = [await running_job(store, database) for store in stores]
        answers = await asyncio.gather(
            *(
                store.reserve(lease, [BUDGET, PARALLEL._replace(limit=30)])
                for store, lease in zip(stores, leases, strict=True)
            )
        )
        won = [n for n, answer in enumerate(answers) if answer == ()]
        assert len(won) == 10
        # Each ends with the other store, as far as that makes a difference.
        assert all(await asyncio.gather(*(stores[n - 1].finish_job(leases[n], DONE) for n in won)))
        assert await counted(one) == await counted(other) == (700, 0, 700)


async def test_two_that_settle_leftovers_at_once_settle_each_once(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        for _ in range(10):
            lease = await running_job(one, database)
            assert await one.reserve(lease, [BUDGET]) == ()
            with overlooked(database):
                assert await one.finish_job(lease, DONE._replace(held=False))
        n = 0
        while found := sum(
            await asyncio.gather(*(store.settle_leftovers(4) for store in (one, other)))
        ):
            n += found
        assert n == 10
        assert await counted(one) == (700, 0, 700)


async def test_the_one_goes_on_when_the_other_closes(database: Database) -> None:
    async with database.open() as one:
        async with database.open() as other:
            job_id = await queued_job(other, database)
        assert (await read(one, job_id)).state is State.QUEUED
        assert len(await claim_all(one, CLAIM)) == 1


async def test_opening_again_and_again_changes_nothing(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        await finished_job(store, database)
        before = database.dump()
    for _ in range(3):
        async with database.open():
            pass
    assert database.dump() == before


async def test_two_may_open_a_new_database_at_once(database: Database) -> None:
    async def use() -> str:
        async with database.open() as store:
            return await queued_job(store, database)

    ids = await asyncio.gather(*(use() for _ in range(4)))
    async with database.open() as store:
        assert {job.lease.job_id for job in await claim_all(store, CLAIM)} == set(ids)
