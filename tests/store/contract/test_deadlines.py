"""Jobs that nobody runs and whose deadline has passed."""

from hermod.domain.deadlines import job_deadline_failure, queue_deadline_failure
from hermod.domain.failure import Failure
from hermod.domain.job import AttemptState, State
from tests.store.backends import Database
from tests.store.jobs import (
    JOB_DEADLINE_S,
    LANE,
    QUEUE_WAIT_S,
    attempts,
    finished_job,
    queued_job,
    read,
    running_job,
    states,
    suspect,
    waiting_job,
)


def shown(failure: Failure) -> bytes:
    """A failure as it is stored with the jobs of these tests."""
    return failure.of(provider=LANE, model="gpt-4o", request_type="chat_completion").to_json()


async def test_a_job_that_was_not_started_in_time_expires(database: Database) -> None:
    async with database.open() as store:
        job_id = await queued_job(store, database)
        database.clock.advance(QUEUE_WAIT_S)
        assert await store.expire_overdue(9) == 0
        database.clock.wall += 1
        assert await store.expire_overdue(9) == 1
        database.crash()
    async with database.open() as store:
        view = await read(store, job_id)
        assert (view.state, view.status_code) == (State.EXPIRED, 504)
        assert view.body == shown(queue_deadline_failure())
        assert await attempts(store, job_id) == ()


async def test_a_job_that_was_not_finished_in_time_expires(database: Database) -> None:
    async with database.open() as store:
        job_id = await waiting_job(store, database, in_s=2 * JOB_DEADLINE_S)
        database.clock.advance(JOB_DEADLINE_S)
        assert await store.expire_overdue(9) == 0
        database.clock.wall += 1
        assert await store.expire_overdue(9) == 1
        view = await read(store, job_id)
        assert (view.state, view.status_code) == (State.EXPIRED, 504)
        assert view.body == shown(job_deadline_failure())
        assert await states(store, job_id) == [AttemptState.FAILED]


async def test_a_suspect_that_was_not_finished_in_time_expires(database: Database) -> None:
    async with database.open() as store:
        job_id = await suspect(store, database, 2)
        database.clock.advance(JOB_DEADLINE_S + 1)
        assert await store.expire_overdue(9) == 1
        assert (await read(store, job_id)).state is State.EXPIRED


async def test_an_expired_job_has_its_ttl_from_then(database: Database) -> None:
    async with database.open() as store:
        job_id = await queued_job(store, database, ttl_s=60)
        database.clock.advance(QUEUE_WAIT_S + 1)
        await store.expire_overdue(9)
        view = await read(store, job_id)
        assert view.completed_at == database.clock.now()
        assert view.expires_at == database.clock.now() + 60_000_000


async def test_a_running_job_is_left_to_its_worker(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        database.clock.advance(2 * (JOB_DEADLINE_S + QUEUE_WAIT_S))
        assert await store.expire_overdue(9) == 0
        assert (await read(store, lease.job_id)).state is State.RUNNING


async def test_a_finished_job_does_not_expire_again(database: Database) -> None:
    async with database.open() as store:
        await finished_job(store, database)
        before = database.dump()
        database.clock.advance(JOB_DEADLINE_S + QUEUE_WAIT_S)
        assert await store.expire_overdue(9) == 0
        assert database.dump() == before


async def test_the_most_overdue_expire_first_and_no_more_than_the_limit(database: Database) -> None:
    async with database.open() as store:
        now = database.clock.now()
        by_deadline = {
            deadline_at: await queued_job(store, database, queue_deadline_at=deadline_at)
            for deadline_at in (now + 3, now + 1, now + 2)
        }
        database.clock.wall += 10
        assert await store.expire_overdue(2) == 2
        states_by_deadline = {
            deadline_at - now: (await read(store, job_id)).state
            for deadline_at, job_id in by_deadline.items()
        }
        assert states_by_deadline == {1: State.EXPIRED, 2: State.EXPIRED, 3: State.QUEUED}
        assert [await store.expire_overdue(2) for _ in range(2)] == [1, 0]
