"""Jobs that wait to begin: how many a key may have, and what is left of their time."""

import asyncio
import json

import pytest

from hermod.domain.deadlines import job_deadline_failure, queue_deadline_failure
from hermod.domain.errors import LimitReached
from hermod.domain.job import State
from hermod.domain.meter import Why
from hermod.store.api import Store
from tests.store.backends import SECOND, Database
from tests.store.jobs import (
    CLAIM,
    JOB_DEADLINE_S,
    LANE,
    OWNER,
    QUEUE_WAIT_S,
    UNSENT,
    claim_again,
    new_job,
    read,
    running_job,
    suspect,
)
from tests.store.limits import BUDGET, DONE, PENDING, counted


async def pending_job(store: Store, database: Database) -> str:
    """The id of a queued job that holds its place."""
    job = new_job(database)
    assert await store.submit_job(job, pending=PENDING) is None
    return job.id


# A place in the queue


async def test_a_queued_job_holds_its_place(database: Database) -> None:
    async with database.open() as store:
        await pending_job(store, database)
        assert await counted(store, PENDING) == (0, 1, 0)


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_a_job_for_which_there_is_no_place_is_refused_and_not_stored(
    database: Database, size: int
) -> None:
    async with database.open() as store:
        for _ in range(2):
            await pending_job(store, database)
        before = database.dump()
        with pytest.raises(LimitReached) as caught:
            await store.submit_job(new_job(database, body=b"x" * size), pending=PENDING)
        assert caught.value.refusal[:4] == (PENDING, Why.BUSY, 0, 2)
        assert database.dump() == before


async def test_of_many_submits_at_once_no_more_are_accepted_than_there_are_places(
    database: Database,
) -> None:
    async with database.open() as store:
        jobs = [new_job(database) for _ in range(40)]
        answers = await asyncio.gather(
            *(
                store.submit_job(job, pending=PENDING if n % 2 else None)
                for n, job in enumerate(jobs)
            ),
            return_exceptions=True,
        )
        assert answers[::2] == [None] * 20
        assert answers[1::2].count(None) == 2
        assert sum(isinstance(answer, LimitReached) for answer in answers) == 18
        assert await store.counts() == {("default", LANE, State.QUEUED): 22}
        accepted = {job.id for job, answer in zip(jobs, answers, strict=True) if answer is None}
        claimed = await store.claim_jobs(LANE, 99, CLAIM)
        assert {job.lease.job_id for job in claimed} == accepted
        assert await counted(store, PENDING) == (0, 2, 0)


async def test_what_is_reserved_for_a_call_gives_the_place_free(database: Database) -> None:
    async with database.open() as store:
        await pending_job(store, database)
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert claimed.held
        assert await counted(store, PENDING) == (0, 1, 0)
        assert await store.reserve(claimed.lease, [BUDGET]) == ()
        assert await counted(store, PENDING) == (0, 0, 0)
        assert await counted(store) == (0, 100, 0)
        assert await store.finish_job(claimed.lease, DONE)
        assert await counted(store) == (70, 0, 70)


async def test_a_cancel_gives_the_place_free(database: Database) -> None:
    async with database.open() as store:
        job_id = await pending_job(store, database)
        assert await store.cancel_job(job_id, OWNER, None)
        assert await counted(store, PENDING) == (0, 0, 0)


async def test_a_queued_job_that_expires_gives_its_place_free(database: Database) -> None:
    async with database.open() as store:
        await pending_job(store, database)
        database.clock.advance(QUEUE_WAIT_S + 1)
        assert await store.expire_overdue(9) == 1
        assert await counted(store, PENDING) == (0, 0, 0)


async def test_a_job_that_is_submitted_with_a_claim_needs_no_place(database: Database) -> None:
    async with database.open() as store:
        none = PENDING._replace(limit=0)
        assert await store.submit_job(new_job(database), CLAIM, none)
        assert await counted(store, PENDING) == (0, 0, 0)


async def test_to_reserve_nothing_gives_the_place_free(database: Database) -> None:
    async with database.open() as store:
        await pending_job(store, database)
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        for _ in range(2):
            assert await store.reserve(claimed.lease, []) == ()
            assert await counted(store, PENDING) == (0, 0, 0)


async def test_a_job_that_may_not_begin_yet_keeps_its_place(database: Database) -> None:
    async with database.open() as store:
        await pending_job(store, database)
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        none = BUDGET._replace(limit=0)
        assert await store.reserve(claimed.lease, [none])
        assert await store.put_back(claimed.lease, UNSENT, 0, database.clock.now() + SECOND)
        assert await counted(store, PENDING) == (0, 1, 0)
        (again,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert again.held
        assert await store.finish_job(again.lease, DONE._replace(held=True))
        assert await counted(store, PENDING) == (0, 0, 0)


async def test_a_job_that_has_begun_has_no_place_when_it_waits_again(database: Database) -> None:
    async with database.open() as store:
        await pending_job(store, database)
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert await store.reserve(claimed.lease, [BUDGET]) == ()
        assert await store.put_back(claimed.lease, UNSENT._replace(held=True), 0)
        assert await counted(store, PENDING) == (0, 0, 0)


# Put back as not begun


async def not_begun(store: Store, database: Database, for_s: float = 1_000) -> str:
    """The id of a job that was put back, and counts as not begun for so many seconds."""
    lease = await running_job(store, database)
    now = database.clock.now()
    assert await store.put_back(lease, UNSENT, now, now + int(for_s * SECOND))
    return lease.job_id


async def test_a_job_put_back_as_not_begun_has_its_whole_time_once_it_is_claimed(
    database: Database,
) -> None:
    async with database.open() as store:
        job_id = await not_begun(store, database)
        database.clock.advance(999)
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert claimed.lease.job_id == job_id
        assert claimed.deadline_at == database.clock.now() + int(JOB_DEADLINE_S * SECOND)


async def test_a_job_put_back_otherwise_keeps_its_deadline(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        deadline_at = database.clock.now() + int(JOB_DEADLINE_S * SECOND)
        assert await store.put_back(lease, UNSENT, 0)
        database.clock.advance(100)
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert claimed.deadline_at == deadline_at


async def test_what_has_begun_after_all_keeps_the_deadline_it_then_had(database: Database) -> None:
    async with database.open() as store:
        job_id = await not_begun(store, database)
        lease = await claim_again(store, job_id)
        deadline_at = database.clock.now() + int(JOB_DEADLINE_S * SECOND)
        assert await store.put_back(lease, UNSENT, 0)
        database.clock.advance(100)
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert claimed.deadline_at == deadline_at


async def test_a_job_put_back_as_not_begun_is_not_claimed_after_its_deadline(
    database: Database,
) -> None:
    async with database.open() as store:
        job_id = await not_begun(store, database)
        database.clock.advance(1_000)
        assert await store.expire_overdue(9) == 0
        database.clock.advance(0.001)
        assert await store.claim_jobs(LANE, 9, CLAIM) == []
        assert await store.expire_overdue(9) == 1
        view = await read(store, job_id)
        assert view.state is State.EXPIRED
        assert message(view.body) == queue_deadline_failure().message


async def test_a_job_that_has_begun_expires_as_one_that_was_not_finished(
    database: Database,
) -> None:
    async with database.open() as store:
        lease = await claim_again(store, await not_begun(store, database))
        assert await store.put_back(lease, UNSENT, 0)
        database.clock.advance(JOB_DEADLINE_S + 1)
        assert await store.expire_overdue(9) == 1
        view = await read(store, lease.job_id)
        assert message(view.body) == job_deadline_failure().message


async def test_a_suspect_put_back_as_not_begun_has_its_whole_time_as_well(
    database: Database,
) -> None:
    async with database.open() as store:
        lease = await claim_again(store, await suspect(store, database, losses=2))
        now = database.clock.now()
        assert await store.put_back(lease, UNSENT, now, now + 1_000 * SECOND)
        database.clock.advance(500)
        (claimed,) = await store.claim_suspects(2, 9, 9, CLAIM)
        assert claimed.deadline_at == database.clock.now() + int(JOB_DEADLINE_S * SECOND)


def message(body: bytes | None) -> str:
    """What an error says."""
    return json.loads(body or b"")["error"]["message"]


async def test_a_job_that_goes_on_elsewhere_without_a_call_keeps_its_place(
    database: Database,
) -> None:
    async with database.open() as store:
        await pending_job(store, database)
        (claimed,) = await store.claim_jobs(LANE, 1, CLAIM)
        lease = await store.begin_attempt(claimed.lease, UNSENT, 60.0)
        assert lease is not None
        assert await counted(store, PENDING) == (0, 1, 0)
        assert await store.reserve(lease, ()) == ()
        assert await counted(store, PENDING) == (0, 0, 0)
