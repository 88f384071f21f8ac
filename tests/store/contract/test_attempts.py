"""Attempts: how one ends and the next begins, in the slot or after a wait."""

import pytest

from hermod.domain.job import AttemptState, AttemptView, Lease, Retry, State
from tests.store.backends import SECOND, Database
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    FAILED,
    LANE,
    LEASE_S,
    UNKNOWN,
    UNSENT,
    attempts,
    claim_again,
    read,
    running_job,
    states,
    suspect,
    waiting_job,
)

ENDED = Retry(
    AttemptState.FAILED,
    spent=True,
    error_type="server_error",
    attempt_status_code=503,
    key_name="main",
)


async def test_the_next_attempt_is_the_same_workers(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        assert await store.begin_attempt(lease, FAILED, LEASE_S) == Lease(
            lease.job_id, 2, lease.worker_id
        )
        assert (await read(store, lease.job_id)).state is State.RUNNING


async def test_the_next_attempt_ends_the_one_before_with_all_that_is_known(
    database: Database,
) -> None:
    async with database.open() as store:
        started_at = database.clock.now()
        lease = await running_job(store, database)
        database.clock.advance(2)
        await store.begin_attempt(lease, ENDED, LEASE_S)
        database.crash()
    async with database.open() as store:
        ended, begun = await attempts(store, lease.job_id)
        assert ended == AttemptView(
            n=1,
            state=AttemptState.FAILED,
            lane=LANE,
            model="gpt-4o",
            key_name="main",
            worker_id=CLAIM.worker_id,
            started_at=started_at,
            ended_at=started_at + 2 * SECOND,
            status_code=503,
            error_type="server_error",
            handle=None,
        )
        assert (begun.n, begun.state) == (2, AttemptState.SENDING)
        assert (begun.started_at, begun.ended_at) == (database.clock.now(), None)


async def test_an_attempt_ends_when_its_call_did_not_when_its_wait_did(database: Database) -> None:
    async with database.open() as store:
        ended_at = database.clock.now() + SECOND
        lease = await running_job(store, database)
        database.clock.advance(60)
        lease = await store.begin_attempt(lease, ENDED._replace(ended_at=ended_at), LEASE_S)
        assert lease
        database.clock.advance(60)
        await store.put_back(lease, ENDED._replace(ended_at=ended_at + 60 * SECOND), 0)
        assert [attempt.ended_at for attempt in await attempts(store, lease.job_id)] == [
            ended_at,
            ended_at + 60 * SECOND,
        ]


@pytest.mark.parametrize("off_s", [-60, 60])
async def test_attempts_do_not_overlap_on_record_although_clocks_disagree(
    database: Database, off_s: int
) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        database.clock.advance(2)
        workers = database.clock.now() + off_s * SECOND
        lease = await store.begin_attempt(lease, ENDED._replace(ended_at=workers), LEASE_S)
        assert lease
        await store.put_back(lease, ENDED._replace(ended_at=workers), 0)
        first, second = await attempts(store, lease.job_id)
        assert first.ended_at is not None
        assert second.ended_at is not None
        assert first.started_at <= first.ended_at <= second.started_at <= second.ended_at
        assert second.ended_at <= database.clock.now()


async def test_the_next_attempt_has_a_lease_from_now(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        database.clock.advance(LEASE_S)
        await store.begin_attempt(lease, FAILED, 2 * LEASE_S)
        database.clock.advance(2 * LEASE_S)
        assert await store.recover_lost_leases(10) == 0
        database.clock.advance(0.001)
        assert await store.recover_lost_leases(10) == 1


async def test_only_spent_attempts_are_counted_as_spent(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        lease = await store.begin_attempt(lease, FAILED, LEASE_S)
        assert lease
        lease = await store.begin_attempt(lease, FAILED._replace(spent=False), LEASE_S)
        assert lease
        await store.put_back(lease, FAILED, 0)
        (claimed,) = await store.claim_jobs(LANE, 1, CLAIM)
        await store.put_back(claimed.lease, UNSENT, 0)
        (claimed,) = await store.claim_jobs(LANE, 1, CLAIM)
        assert claimed.attempts_spent == 2
        assert claimed.lease.attempt == 5


async def test_a_job_put_back_waits_for_its_time(database: Database) -> None:
    async with database.open() as store:
        job_id = await waiting_job(store, database, in_s=10)
        database.crash()
    async with database.open() as store:
        assert (await read(store, job_id)).state is State.WAITING
        assert await store.due_lanes() == {LANE: database.clock.now() + 10 * SECOND}


async def test_a_job_put_back_ends_its_attempt_with_all_that_is_known(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        database.clock.advance(2)
        await store.put_back(lease, ENDED, 0)
        (ended,) = await attempts(store, lease.job_id)
        assert (ended.state, ended.ended_at) == (AttemptState.FAILED, database.clock.now())
        assert (ended.status_code, ended.error_type) == (503, "server_error")
        assert ended.key_name == "main"


async def test_a_finish_ends_its_attempt_with_all_that_is_known(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        database.clock.advance(2)
        finish = COMPLETED._replace(
            state=State.FAILED,
            attempt_state=AttemptState.FAILED,
            error_type="server_error",
            attempt_status_code=503,
        )
        await store.finish_job(lease, finish)
        (ended,) = await attempts(store, lease.job_id)
        assert (ended.state, ended.ended_at) == (AttemptState.FAILED, database.clock.now())
        assert (ended.status_code, ended.error_type) == (503, "server_error")
        assert ended.key_name == "main"


async def test_a_job_has_one_attempt_in_flight_while_it_runs_and_none_after(
    database: Database,
) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        lease = await store.begin_attempt(lease, FAILED, LEASE_S)
        assert lease
        await store.put_back(lease, UNSENT, 0)
        lease = await claim_again(store, lease.job_id)
        await store.finish_job(lease, COMPLETED)
        assert await states(store, lease.job_id) == [
            AttemptState.FAILED,
            AttemptState.UNSENT,
            AttemptState.SUCCEEDED,
        ]


async def test_a_handle_is_kept_with_its_attempt(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        assert await store.record_handle(lease, "batch-1")
        lease = await store.begin_attempt(lease, FAILED, LEASE_S)
        assert lease
        assert await store.record_handle(lease, "batch-2")
        assert await store.record_handle(lease, "batch-3")
        handles = [attempt.handle for attempt in await attempts(store, lease.job_id)]
        assert handles == ["batch-1", "batch-3"]


# Suspicion


async def suspicion_after(database: Database, ended: Retry, *, in_slot: bool) -> int:
    """What is left of the suspicion of a job that lost two leases, after an attempt."""
    async with database.open() as store:
        lease = await claim_again(store, await suspect(store, database, 2))
        if in_slot:
            again = await store.begin_attempt(lease, ended, LEASE_S)
            assert again
            lease, ended = again, UNSENT
        await store.put_back(lease, ended, 0)
        claimed = await store.claim_jobs(LANE, 1, CLAIM)
        claimed += await store.claim_suspects(2, 9, 1, CLAIM)
        return claimed[0].suspicion


async def test_a_job_put_back_after_an_error_is_no_suspect(database: Database) -> None:
    assert await suspicion_after(database, FAILED, in_slot=False) == 0


async def test_a_job_tried_again_after_an_error_is_no_suspect(database: Database) -> None:
    assert await suspicion_after(database, FAILED, in_slot=True) == 0


async def test_a_job_put_back_unsent_stays_a_suspect(database: Database) -> None:
    assert await suspicion_after(database, UNSENT, in_slot=False) == 2


async def test_a_job_tried_again_unsent_stays_a_suspect(database: Database) -> None:
    assert await suspicion_after(database, UNSENT, in_slot=True) == 2


async def test_a_job_put_back_with_an_unknown_outcome_stays_a_suspect(database: Database) -> None:
    assert await suspicion_after(database, UNKNOWN, in_slot=False) == 2


async def test_a_job_tried_again_with_an_unknown_outcome_stays_a_suspect(
    database: Database,
) -> None:
    assert await suspicion_after(database, UNKNOWN, in_slot=True) == 2
