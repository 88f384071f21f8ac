"""Which jobs a worker gets, and in which order."""

from collections.abc import Sequence

from hermod.domain.job import AttemptState, ClaimedJob, Lease, State
from tests.store.backends import SECOND, Database
from tests.store.jobs import (
    CLAIM,
    JOB_DEADLINE_S,
    LANE,
    LEASE_S,
    QUEUE_WAIT_S,
    attempts,
    claim_again,
    finished_job,
    queued_job,
    read,
    running_job,
    suspect,
    waiting_job,
)


def ids(claimed: Sequence[ClaimedJob]) -> list[str]:
    """Which jobs were claimed."""
    return [job.lease.job_id for job in claimed]


async def test_the_oldest_queued_job_comes_first(database: Database) -> None:
    async with database.open() as store:
        queued = [await queued_job(store, database) for _ in range(5)]
        assert ids(await store.claim_jobs(LANE, 5, CLAIM)) == queued


async def test_a_higher_priority_comes_before_a_higher_age(database: Database) -> None:
    async with database.open() as store:
        by_priority = {
            priority: await queued_job(store, database, priority=priority)
            for priority in (0, 2, -1, 1)
        }
        claimed = ids(await store.claim_jobs(LANE, 9, CLAIM))
        assert claimed == [by_priority[priority] for priority in (2, 1, 0, -1)]


async def test_a_limit_takes_those_that_come_first(database: Database) -> None:
    async with database.open() as store:
        low = await queued_job(store, database, priority=-1)
        first, second, third = [await queued_job(store, database) for _ in range(3)]
        assert ids(await store.claim_jobs(LANE, 2, CLAIM)) == [first, second]
        assert ids(await store.claim_jobs(LANE, 2, CLAIM)) == [third, low]


async def test_waiting_jobs_come_before_queued_ones(database: Database) -> None:
    async with database.open() as store:
        queued = await queued_job(store, database, priority=9)
        waiting = await waiting_job(store, database)
        assert ids(await store.claim_jobs(LANE, 2, CLAIM)) == [waiting, queued]


async def test_the_waiting_job_that_was_due_first_comes_first(database: Database) -> None:
    async with database.open() as store:
        by_wait = {wait: await waiting_job(store, database, wait) for wait in (3, 1, 4, 2)}
        database.clock.advance(5)
        assert ids(await store.claim_jobs(LANE, 2, CLAIM)) == [by_wait[1], by_wait[2]]
        assert ids(await store.claim_jobs(LANE, 2, CLAIM)) == [by_wait[3], by_wait[4]]


async def test_waiting_jobs_leave_the_rest_of_the_limit_to_queued_ones(database: Database) -> None:
    async with database.open() as store:
        waiting = [await waiting_job(store, database, wait) for wait in (0, 1)]
        queued = [await queued_job(store, database) for _ in range(3)]
        database.clock.advance(2)
        assert ids(await store.claim_jobs(LANE, 4, CLAIM)) == [*waiting, *queued[:2]]


async def test_a_waiting_job_is_not_claimed_before_its_time(database: Database) -> None:
    async with database.open() as store:
        waiting = await waiting_job(store, database, in_s=10)
        database.clock.wall += 10 * SECOND - 1
        assert await store.claim_jobs(LANE, 1, CLAIM) == []
        database.clock.wall += 1
        assert ids(await store.claim_jobs(LANE, 1, CLAIM)) == [waiting]


async def test_a_limit_of_nothing_claims_nothing(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        await waiting_job(store, database)
        before = database.dump()
        assert await store.claim_jobs(LANE, 0, CLAIM) == []
        assert await store.claim_jobs(LANE, -1, CLAIM) == []
        assert await store.claim_suspects(2, 9, -1, CLAIM) == []
        assert database.dump() == before


async def test_other_lanes_are_left_alone(database: Database) -> None:
    async with database.open() as store:
        theirs = [
            await queued_job(store, database, lane="groq"),
            await waiting_job(store, database, lane="groq"),
        ]
        own = await queued_job(store, database)
        assert ids(await store.claim_jobs(LANE, 9, CLAIM)) == [own]
        assert [(await read(store, job_id)).state for job_id in theirs] == [
            State.QUEUED,
            State.WAITING,
        ]


async def test_running_and_finished_jobs_are_left_alone(database: Database) -> None:
    async with database.open() as store:
        await running_job(store, database)
        await finished_job(store, database)
        before = database.dump()
        assert await store.claim_jobs(LANE, 9, CLAIM) == []
        assert await store.claim_suspects(0, 9, 9, CLAIM) == []
        assert database.dump() == before


async def test_a_claimed_job_has_an_attempt_on_record(database: Database) -> None:
    async with database.open() as store:
        job_id = await queued_job(store, database)
        database.clock.advance(3)
        (claimed,) = await store.claim_jobs(LANE, 1, CLAIM)
        database.crash()
    async with database.open() as store:
        (attempt,) = await attempts(store, job_id)
        assert claimed.lease == Lease(job_id, attempt.n, attempt.worker_id)
        assert attempt.state is AttemptState.SENDING
        assert attempt.started_at == database.clock.now()
        assert attempt.ended_at is None


async def test_every_claim_is_one_attempt_more(database: Database) -> None:
    async with database.open() as store:
        job_id = await waiting_job(store, database)
        assert await claim_again(store, job_id) == Lease(job_id, 2, CLAIM.worker_id)
        await store.release_worker(CLAIM.worker_id, 1)
        assert await claim_again(store, job_id) == Lease(job_id, 3, CLAIM.worker_id)
        assert [attempt.n for attempt in await attempts(store, job_id)] == [1, 2, 3]


async def test_the_lease_of_a_claim_lasts_as_long_as_it_says(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        await store.claim_jobs(LANE, 1, CLAIM)
        database.clock.advance(LEASE_S)
        assert await store.recover_lost_leases(10) == 0
        database.clock.advance(0.001)
        assert await store.recover_lost_leases(10) == 1


async def test_the_job_deadline_runs_from_the_first_claim(database: Database) -> None:
    async with database.open() as store:
        job_id = await queued_job(store, database)
        database.clock.advance(100)
        deadline_at = database.clock.now() + int(JOB_DEADLINE_S * SECOND)
        (claimed,) = await store.claim_jobs(LANE, 1, CLAIM)
        assert claimed.deadline_at == deadline_at
        await store.release_worker(CLAIM.worker_id, 1)
        database.clock.advance(100)
        (claimed,) = await store.claim_jobs(LANE, 1, CLAIM)
        assert (claimed.lease.job_id, claimed.deadline_at) == (job_id, deadline_at)


async def test_a_queued_job_is_not_started_after_its_queue_deadline(database: Database) -> None:
    async with database.open() as store:
        overdue = await queued_job(store, database)
        database.clock.advance(QUEUE_WAIT_S)
        later = await queued_job(store, database)
        database.clock.wall += 1
        assert ids(await store.claim_jobs(LANE, 9, CLAIM)) == [later]
        assert (await read(store, overdue)).state is State.QUEUED


async def test_a_queued_job_may_start_at_its_queue_deadline(database: Database) -> None:
    async with database.open() as store:
        job_id = await queued_job(store, database)
        database.clock.advance(QUEUE_WAIT_S)
        assert ids(await store.claim_jobs(LANE, 9, CLAIM)) == [job_id]


async def test_a_waiting_job_is_not_started_after_its_job_deadline(database: Database) -> None:
    async with database.open() as store:
        await waiting_job(store, database)
        database.clock.advance(JOB_DEADLINE_S + 1)
        assert await store.claim_jobs(LANE, 9, CLAIM) == []


async def test_a_suspect_is_not_started_after_its_job_deadline(database: Database) -> None:
    async with database.open() as store:
        await suspect(store, database, 2)
        database.clock.advance(JOB_DEADLINE_S + 1)
        assert await store.claim_suspects(2, 9, 9, CLAIM) == []


async def test_a_claim_says_how_many_tries_are_spent(database: Database) -> None:
    async with database.open() as store:
        await waiting_job(store, database)
        (claimed,) = await store.claim_jobs(LANE, 1, CLAIM)
        assert claimed.attempts_spent == 1


# Suspects


async def test_suspects_are_left_to_the_claim_of_suspects(database: Database) -> None:
    async with database.open() as store:
        job_id = await suspect(store, database, 2)
        assert await store.claim_jobs(LANE, 9, CLAIM) == []
        (claimed,) = await store.claim_suspects(2, 3, 9, CLAIM)
        assert (claimed.lease.job_id, claimed.suspicion) == (job_id, 2)


async def test_one_lost_lease_makes_no_suspect(database: Database) -> None:
    async with database.open() as store:
        job_id = await suspect(store, database, 1)
        assert await store.claim_suspects(0, 9, 9, CLAIM) == []
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert (claimed.lease.job_id, claimed.suspicion) == (job_id, 1)


async def test_suspects_are_claimed_by_their_suspicion(database: Database) -> None:
    async with database.open() as store:
        three = await suspect(store, database, 3)
        two = await suspect(store, database, 2)
        assert ids(await store.claim_suspects(4, 9, 9, CLAIM)) == []
        assert ids(await store.claim_suspects(3, 9, 9, CLAIM)) == [three]
        assert ids(await store.claim_suspects(0, 2, 9, CLAIM)) == [two]


async def test_suspects_of_all_lanes_are_claimed_in_the_order_they_were_due(
    database: Database,
) -> None:
    async with database.open() as store:
        first = await suspect(store, database, 2)
        second = await suspect(store, database, 2, lane="groq")
        assert ids(await store.claim_suspects(2, 9, 1, CLAIM)) == [first]
        assert ids(await store.claim_suspects(2, 9, 1, CLAIM)) == [second]


async def test_a_suspect_is_not_claimed_before_its_time(database: Database) -> None:
    async with database.open() as store:
        job_id = await suspect(store, database, 2)
        database.clock.wall -= 1
        assert await store.claim_suspects(2, 9, 9, CLAIM) == []
        database.clock.wall += 1
        assert ids(await store.claim_suspects(2, 9, 9, CLAIM)) == [job_id]


async def test_a_claimed_suspect_has_an_attempt_on_record(database: Database) -> None:
    async with database.open() as store:
        job_id = await suspect(store, database, 2)
        (claimed,) = await store.claim_suspects(2, 9, 9, CLAIM)
        assert claimed.lease.attempt == 3
        assert (await attempts(store, job_id))[-1].state is AttemptState.SENDING
