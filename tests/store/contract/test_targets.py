"""Where a job's next attempt goes, and what it has to remember on its way there."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hermod.domain.job import ClaimedJob, State, Target
from hermod.store.api import Store
from tests.store.backends import Database
from tests.store.jobs import (
    CLAIM,
    FAILED,
    LANE,
    LEASE_S,
    OTHER_CLAIM,
    OWNER,
    UNSENT,
    attempts,
    lose_leases,
    queued_job,
    read,
    running_job,
    waiting_job,
)

OWN = Target(LANE, "gpt-4o")
ELSEWHERE = Target("anthropic", "claude")
PROGRESS = '{"dead_keys":["main"],"text":"Grüße, \\u0000 世界"}'
ON_ITS_WAY = FAILED._replace(target=ELSEWHERE, progress=PROGRESS)


async def called(store: Store, job_id: str) -> list[Target]:
    """Where each attempt of a job went."""
    return [Target(attempt.lane, attempt.model) for attempt in await attempts(store, job_id)]


async def claimed(store: Store) -> ClaimedJob:
    """The only job that is due, whatever its suspicion."""
    jobs = await store.claim_jobs(LANE, 9, OTHER_CLAIM)
    jobs += await store.claim_suspects(2, 9, 9, OTHER_CLAIM)
    (job,) = jobs
    return job


async def test_the_next_attempt_goes_to_its_target(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        await store.begin_attempt(lease, ON_ITS_WAY, LEASE_S)
        assert await called(store, lease.job_id) == [OWN, ELSEWHERE]


async def test_without_a_target_an_attempt_goes_to_the_jobs_own(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        lease = await store.begin_attempt(lease, ON_ITS_WAY, LEASE_S)
        assert lease
        await store.begin_attempt(lease, FAILED, LEASE_S)
        assert await called(store, lease.job_id) == [OWN, ELSEWHERE, OWN]


async def test_a_job_put_back_goes_on_at_its_target(database: Database) -> None:
    async with database.open() as store:
        job_id = await waiting_job(store, database, ended=ON_ITS_WAY)
        job = await claimed(store)
        assert (job.target, job.progress) == (ELSEWHERE, PROGRESS)
        assert await called(store, job_id) == [OWN, ELSEWHERE]


async def test_a_job_that_goes_elsewhere_stays_in_its_lane(database: Database) -> None:
    async with database.open() as store:
        job_id = await waiting_job(store, database, ended=ON_ITS_WAY)
        assert await store.due_lanes() == {LANE: database.clock.now()}
        assert await store.claim_jobs(ELSEWHERE.provider, 9, CLAIM) == []
        job = await claimed(store)
        assert Target(job.lane, job.model) == OWN
        view = await read(store, job_id)
        assert Target(view.lane, view.model) == OWN
        assert await store.counts() == {("default", LANE, State.RUNNING): 1}


async def test_what_one_attempt_leaves_is_in_place_of_what_the_one_before_has(
    database: Database,
) -> None:
    async with database.open() as store:
        await waiting_job(store, database, ended=ON_ITS_WAY)
        job = await claimed(store)
        await store.put_back(job.lease, FAILED._replace(progress='{"more":1}'), 0)
        job = await claimed(store)
        assert (job.target, job.progress) == (None, '{"more":1}')
        await store.put_back(job.lease, FAILED, 0)
        assert (await claimed(store)).progress is None
        assert await called(store, job.lease.job_id) == [OWN, ELSEWHERE, OWN, OWN]


async def test_a_job_that_was_never_begun_goes_to_its_own_provider(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        job = await claimed(store)
        assert (job.target, job.progress) == (None, None)


async def recovered(store: Store, database: Database) -> None:
    assert await lose_leases(store, database) == 1


async def released(store: Store, database: Database) -> None:
    del database
    assert await store.release_worker(CLAIM.worker_id, 9) == 1


Loss = Callable[[Store, Database], Awaitable[None]]


@pytest.mark.parametrize("lose", [recovered, released], ids=lambda lose: lose.__name__)
async def test_a_lost_lease_leaves_the_job_on_its_way(database: Database, lose: Loss) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        await store.begin_attempt(lease, ON_ITS_WAY, LEASE_S)
        await lose(store, database)
        job = await claimed(store)
        assert (job.target, job.progress) == (ELSEWHERE, PROGRESS)
        assert await called(store, lease.job_id) == [OWN, ELSEWHERE, ELSEWHERE]


async def test_a_suspect_goes_on_at_its_target(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        await store.begin_attempt(lease, ON_ITS_WAY, LEASE_S)
        await lose_leases(store, database)
        await claimed(store)
        await lose_leases(store, database)
        assert await store.claim_jobs(LANE, 9, CLAIM) == []
        (job,) = await store.claim_suspects(2, 2, 9, CLAIM)
        assert (job.target, job.progress) == (ELSEWHERE, PROGRESS)
        assert (await called(store, lease.job_id))[-1] == ELSEWHERE


async def test_an_attempt_that_was_never_sent_can_be_left_to_another_worker(
    database: Database,
) -> None:
    async with database.open() as store:
        await waiting_job(store, database, ended=ON_ITS_WAY)
        job = await claimed(store)
        unsent = UNSENT._replace(target=job.target, progress=job.progress)
        await store.put_back(job.lease, unsent, 0)
        again = await claimed(store)
        assert (again.target, again.progress) == (ELSEWHERE, PROGRESS)


async def test_where_a_job_goes_survives_a_crash(database: Database) -> None:
    async with database.open() as store:
        await waiting_job(store, database, ended=ON_ITS_WAY)
        database.crash()
    async with database.open() as store:
        job = await claimed(store)
        assert (job.target, job.progress) == (ELSEWHERE, PROGRESS)


async def test_jobs_that_end_their_attempts_at_once_go_each_its_own_way(
    database: Database,
) -> None:
    async with database.open() as store:
        targets = [Target("anthropic", f"claude-{n}") if n % 2 else None for n in range(6)]
        leases = [await running_job(store, database) for _ in targets]
        ids = {lease.job_id: target for lease, target in zip(leases, targets, strict=True)}
        await asyncio.gather(
            *(
                store.put_back(lease, FAILED._replace(target=ids[lease.job_id]), 0)
                for lease in leases
            )
        )
        jobs = await store.claim_jobs(LANE, 9, CLAIM)
        assert {job.lease.job_id: job.target for job in jobs} == ids
        for job_id, target in ids.items():
            assert await called(store, job_id) == [OWN, target or OWN]


async def test_a_job_that_ends_without_a_worker_ends_as_its_own_providers(
    database: Database,
) -> None:
    """Its owner asked for no other one by that name."""
    async with database.open() as store:
        job_id = await waiting_job(store, database, ended=ON_ITS_WAY)
        view = await store.cancel_job(job_id, OWNER, None)
        assert view
        assert view.body
        assert ELSEWHERE.provider.encode() not in view.body
        assert Target(view.lane, view.model) == OWN
