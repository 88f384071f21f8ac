"""Leases that were lost: with their worker, or by time."""

import json
from collections.abc import Awaitable, Callable

import pytest

from hermod.domain.job import AttemptState, Mode, OnUnknown, State
from hermod.domain.suspicion import POISON_AT, poison_failure, unknown_outcome_failure
from hermod.store.api import Store
from tests.store.backends import Database
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    FAILED,
    LANE,
    LEASE_S,
    OTHER_CLAIM,
    attempts,
    finished_job,
    lose_leases,
    queued_job,
    read,
    running_job,
    states,
    suspect,
    waiting_job,
)


async def release(store: Store, database: Database) -> int:
    """Have the worker be known to be dead; how many leases it had."""
    del database
    return await store.release_worker(CLAIM.worker_id, 9)


async def test_a_lease_that_ran_out_is_taken(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        assert await lose_leases(store, database) == 1
        database.crash()
    async with database.open() as store:
        assert (await read(store, lease.job_id)).state is State.WAITING


async def test_a_lost_job_is_due_at_once(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        await lose_leases(store, database)
        assert await store.due_lanes() == {LANE: database.clock.now()}
        (claimed,) = await store.claim_jobs(LANE, 9, OTHER_CLAIM)
        assert claimed.lease.job_id == lease.job_id


async def test_the_outcome_of_a_lost_attempt_is_unknown(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        await lose_leases(store, database)
        (attempt,) = await attempts(store, lease.job_id)
        assert (attempt.state, attempt.error_type) == (AttemptState.UNKNOWN, "lease_lost")
        assert attempt.ended_at == database.clock.now()


async def test_a_lost_attempt_is_not_a_spent_one(database: Database) -> None:
    async with database.open() as store:
        await running_job(store, database)
        await lose_leases(store, database)
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert claimed.attempts_spent == 0


async def test_leases_that_hold_are_not_taken(database: Database) -> None:
    async with database.open() as store:
        await running_job(store, database)
        database.clock.advance(LEASE_S / 2)
        later = await running_job(store, database)
        database.clock.advance(LEASE_S / 2 + 1)
        assert await store.recover_lost_leases(9) == 1
        assert (await read(store, later.job_id)).state is State.RUNNING


async def test_leases_are_judged_by_their_own_clock(database: Database) -> None:
    async with database.open() as store:
        await running_job(store, database)
        database.clock.wall += 365 * 86_400 * 1_000_000
        assert await store.recover_lost_leases(9) == 0
        database.clock.wall -= 2 * 365 * 86_400 * 1_000_000
        database.clock.lease += int((LEASE_S + 1) * 1_000_000)
        assert await store.recover_lost_leases(9) == 1


async def test_recovery_takes_no_more_than_its_limit(database: Database) -> None:
    async with database.open() as store:
        for _ in range(5):
            await running_job(store, database)
        database.clock.advance(LEASE_S + 1)
        assert [await store.recover_lost_leases(2) for _ in range(4)] == [2, 2, 1, 0]


async def test_recovery_leaves_what_does_not_run_alone(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        await waiting_job(store, database)
        await finished_job(store, database)
        before = database.dump()
        assert await lose_leases(store, database) == 0
        assert await store.release_worker(CLAIM.worker_id, 9) == 0
        assert database.dump() == before


# A worker that is known to be dead


async def test_the_leases_of_a_dead_worker_are_taken_at_once(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        assert await store.release_worker(CLAIM.worker_id, 9) == 1
        (attempt,) = await attempts(store, lease.job_id)
        assert (attempt.state, attempt.error_type) == (AttemptState.UNKNOWN, "worker_died")
        assert (await read(store, lease.job_id)).state is State.WAITING


async def test_the_leases_of_other_workers_are_left_to_them(database: Database) -> None:
    async with database.open() as store:
        mine = await running_job(store, database)
        theirs = await running_job(store, database, OTHER_CLAIM)
        assert await store.release_worker(CLAIM.worker_id, 9) == 1
        assert (await read(store, mine.job_id)).state is State.WAITING
        assert (await read(store, theirs.job_id)).state is State.RUNNING


async def test_releasing_a_worker_takes_no_more_than_its_limit(database: Database) -> None:
    async with database.open() as store:
        for _ in range(5):
            await running_job(store, database)
        assert [await store.release_worker(CLAIM.worker_id, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_job_of_a_dead_worker_survives_the_crash_of_the_store(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        database.crash()
    async with database.open() as store:
        assert await store.release_worker(CLAIM.worker_id, 9) == 1
        (claimed,) = await store.claim_jobs(LANE, 9, OTHER_CLAIM)
        assert (claimed.lease.job_id, claimed.lease.attempt) == (lease.job_id, 2)


# Suspicion


async def test_every_lost_lease_raises_the_suspicion(database: Database) -> None:
    async with database.open() as store:
        await suspect(store, database, 1)
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        levels = [claimed.suspicion]
        for _ in range(2):
            await lose_leases(store, database)
            (claimed,) = await store.claim_suspects(2, 9, 9, CLAIM)
            levels.append(claimed.suspicion)
        assert levels == [1, 2, 3]


async def test_a_dead_worker_raises_the_suspicion_as_well(database: Database) -> None:
    async with database.open() as store:
        await running_job(store, database)
        await store.release_worker(CLAIM.worker_id, 9)
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert claimed.suspicion == 1


async def test_a_job_that_lost_its_lease_too_often_is_poison(database: Database) -> None:
    async with database.open() as store:
        job_id = await suspect(store, database, POISON_AT)
        database.crash()
    async with database.open() as store:
        view = await read(store, job_id)
        assert (view.state, view.status_code) == (State.FAILED, 500)
        expected = poison_failure().of(
            provider=LANE, model="gpt-4o", request_type="chat_completion"
        )
        assert view.body == expected.to_json()
        assert json.loads(view.body or b"")["type"] == "poison"
        assert await states(store, job_id) == [AttemptState.UNKNOWN] * POISON_AT


async def test_poison_expires_like_any_other_result(database: Database) -> None:
    async with database.open() as store:
        view = await read(store, await suspect(store, database, POISON_AT))
        assert view.completed_at == database.clock.now()
        assert view.expires_at == database.clock.now() + view.ttl_s * 1_000_000


async def test_the_neighbours_of_a_poison_job_are_claimed_on(database: Database) -> None:
    async with database.open() as store:
        poison = await suspect(store, database, POISON_AT - 1)
        neighbour = await running_job(store, database)
        (claimed,) = await store.claim_suspects(2, 9, 9, CLAIM)
        assert claimed.lease.job_id == poison
        await store.release_worker(CLAIM.worker_id, 9)
        assert (await read(store, poison)).state is State.FAILED
        (claimed,) = await store.claim_jobs(LANE, 9, OTHER_CLAIM)
        assert claimed.lease.job_id == neighbour.job_id


async def test_a_finished_job_is_past_suspicion(database: Database) -> None:
    async with database.open() as store:
        await suspect(store, database, POISON_AT - 1)
        (claimed,) = await store.claim_suspects(2, 9, 9, CLAIM)
        assert await store.finish_job(claimed.lease, COMPLETED)
        assert await store.suspects_due_at() is None


# Jobs that must not be sent twice


async def test_a_job_that_must_not_be_sent_twice_fails_with_its_lease(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database, on_unknown=OnUnknown.FAIL)
        assert await lose_leases(store, database) == 1
        view = await read(store, lease.job_id)
        assert (view.state, view.status_code) == (State.FAILED, 500)
        expected = unknown_outcome_failure().of(
            provider=LANE, model="gpt-4o", request_type="chat_completion"
        )
        assert view.body == expected.to_json()
        assert await states(store, lease.job_id) == [AttemptState.UNKNOWN]


@pytest.mark.parametrize("take", [lose_leases, release], ids=["by time", "with its worker"])
async def test_a_call_that_somebody_waited_for_is_not_made_again(
    database: Database, take: Callable[[Store, Database], Awaitable[int]]
) -> None:
    async with database.open() as store:
        # On its second attempt, which no loss has led to: neither is it a suspect.
        lease = await running_job(store, database, mode=Mode.SYNC, on_unknown=OnUnknown.FAIL)
        assert await store.begin_attempt(lease, FAILED, LEASE_S)
        assert await take(store, database) == 1
        view = await read(store, lease.job_id)
        assert (view.state, view.status_code) == (State.FAILED, 500)
        assert await states(store, lease.job_id) == [AttemptState.FAILED, AttemptState.UNKNOWN]
        assert await store.due_lanes() == {}
        assert await store.suspects_due_at() is None
        assert await store.claim_jobs(LANE, 9, CLAIM) == []
        assert await store.claim_suspects(0, 9, 9, CLAIM) == []


async def test_a_job_that_must_not_be_sent_twice_fails_with_its_worker(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database, on_unknown=OnUnknown.FAIL)
        assert await store.release_worker(CLAIM.worker_id, 9) == 1
        assert (await read(store, lease.job_id)).state is State.FAILED
        assert await store.claim_jobs(LANE, 9, CLAIM) == []
