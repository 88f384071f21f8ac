"""What is reserved for work that is ordered now and fetched later: it costs once."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hermod.domain.job import AttemptState, Lease, OnUnknown, State, Target
from hermod.store.api import Store
from tests.store.backends import SECOND, Database
from tests.store.jobs import (
    ADMIN,
    CLAIM,
    FAILED,
    LEASE_S,
    UNKNOWN,
    UNSENT,
    attempts,
    claim_again,
    lose_leases,
    read,
    running_job,
)
from tests.store.limits import (
    ALL,
    BUDGET,
    DONE,
    FAILED_HOLDING,
    PARALLEL,
    REQUESTS,
    TOKENS,
    UNKNOWN_HOLDING,
    cost,
    counted,
)

HANDLE = "key:prediction-1"
ELSEWHERE = Target("elsewhere", "model")


async def ordered(store: Store, database: Database, **changes: Any) -> Lease:
    """The lease of a job whose first attempt has ordered, and reserved for it."""
    lease = await running_job(store, database, **changes)
    assert await store.reserve(lease, ALL) == ()
    assert await store.record_handle(lease, HANDLE)
    return lease


Leave = Callable[[Store, Database, Lease], Awaitable[Lease]]
"""Ends an attempt, not its work; the lease of the next one."""


async def lost(store: Store, database: Database, lease: Lease) -> Lease:
    assert await lose_leases(store, database) == 1
    return await claim_again(store, lease.job_id)


async def released(store: Store, database: Database, lease: Lease) -> Lease:
    del database
    assert await store.release_worker(lease.worker_id, 9) == 1
    return await claim_again(store, lease.job_id)


async def begun_again(store: Store, database: Database, lease: Lease) -> Lease:
    del database
    begun = await store.begin_attempt(lease, UNKNOWN, LEASE_S)
    assert begun is not None
    return begun


async def refused_to_tell(store: Store, database: Database, lease: Lease) -> Lease:
    """An error is the answer to the question for the work: that is no failure of the work."""
    del database
    begun = await store.begin_attempt(lease, FAILED, LEASE_S)
    assert begun is not None
    return begun


async def given_back(store: Store, database: Database, lease: Lease) -> Lease:
    assert await store.put_back(lease, UNSENT, database.clock.now())
    return await claim_again(store, lease.job_id)


WAYS: dict[str, Leave] = {
    "lost": lost,
    "released": released,
    "begun again": begun_again,
    "refused to tell": refused_to_tell,
    "given back": given_back,
}
each_way = pytest.mark.parametrize("leave", WAYS.values(), ids=WAYS)


@each_way
async def test_work_that_a_later_attempt_fetches_costs_what_it_costs_once(
    database: Database, leave: Leave
) -> None:
    async with database.open() as store:
        lease = await ordered(store, database)
        for _ in range(2):
            lease = await leave(store, database, lease)
            assert await counted(store) == (0, 100, 0)
        assert await store.finish_job(lease, DONE)
        used = {BUDGET: 70, TOKENS: 35, REQUESTS: 1, PARALLEL: 0}
        for hold, amount in used.items():
            assert await counted(store, hold) == (amount, 0, amount), hold
        assert cost(await read(store, lease.job_id)) == (70, False)
        shown = [
            (each.cost_usd_nanos, each.estimated) for each in await attempts(store, lease.job_id)
        ]
        assert shown == [(None, False), (None, False), (70, False)]


@each_way
async def test_work_that_has_failed_costs_nothing(database: Database, leave: Leave) -> None:
    async with database.open() as store:
        lease = await leave(store, database, await ordered(store, database))
        ended = DONE._replace(
            state=State.FAILED, attempt_state=AttemptState.FAILED, status_code=500, metered=None
        )
        assert await store.finish_job(lease, ended)
        assert await counted(store) == (0, 0, 0)
        assert cost(await read(store, lease.job_id)) == (None, False)


async def cancelled(store: Store, database: Database, job_id: str) -> None:
    del database
    await store.cancel_job(job_id, ADMIN, None)


async def expired(store: Store, database: Database, job_id: str) -> None:
    del job_id
    database.clock.advance(1_000_000)
    assert await store.expire_overdue(9) == 1


@pytest.mark.parametrize("end", [cancelled, expired])
@pytest.mark.parametrize("leave", ["lost", "given back"])
async def test_work_that_nobody_fetches_is_charged_as_estimated(
    database: Database, leave: str, end: Callable[[Store, Database, str], Awaitable[None]]
) -> None:
    async with database.open() as store:
        lease = await ordered(store, database)
        if leave == "lost":
            assert await lose_leases(store, database) == 1
        else:
            assert await store.put_back(lease, UNSENT, database.clock.now() + SECOND)
        await end(store, database, lease.job_id)
        assert await counted(store) == (100, 0, 100)
        assert cost(await read(store, lease.job_id)) == (100, True)
        (first,) = await attempts(store, lease.job_id)
        assert (first.cost_usd_nanos, first.estimated) == (100, True)


async def test_a_job_that_ends_with_its_lease_is_charged_as_estimated(database: Database) -> None:
    async with database.open() as store:
        lease = await ordered(store, database, on_unknown=OnUnknown.FAIL)
        assert await lose_leases(store, database) == 1
        assert (await read(store, lease.job_id)).state is State.FAILED
        assert await counted(store) == (100, 0, 100)
        assert cost(await read(store, lease.job_id)) == (100, True)


async def test_a_cancel_while_it_is_fetched_charges_it_once(database: Database) -> None:
    async with database.open() as store:
        lease = await lost(store, database, await ordered(store, database))
        await store.cancel_job(lease.job_id, ADMIN, None)
        assert await counted(store) == (100, 0, 100)
        assert cost(await read(store, lease.job_id)) == (100, True)


async def test_whoever_goes_elsewhere_pays_for_both(database: Database) -> None:
    async with database.open() as store:
        lease = await ordered(store, database)
        begun = await store.begin_attempt(
            lease, UNKNOWN_HOLDING._replace(target=ELSEWHERE), LEASE_S
        )
        assert begun is not None
        assert await counted(store) == (100, 0, 100)
        assert await store.reserve(begun, [BUDGET]) == ()
        # What was ordered at the first provider is no reason to keep what the second one holds.
        assert await lose_leases(store, database) == 1
        assert await counted(store) == (200, 0, 200)


async def test_what_was_ordered_is_still_reserved_after_a_crash(database: Database) -> None:
    async with database.open() as store:
        lease = await ordered(store, database)
        database.crash()
    async with database.open() as store:
        assert await store.release_worker(CLAIM.worker_id, 9) == 1
        assert await counted(store) == (0, 100, 0)
        again = await claim_again(store, lease.job_id)
        assert await store.finish_job(again, DONE)
        assert await counted(store) == (70, 0, 70)


async def test_a_failed_attempt_that_ordered_and_is_over_costs_nothing(database: Database) -> None:
    """The worker says so: the work has failed, and goes elsewhere."""
    async with database.open() as store:
        lease = await ordered(store, database)
        ended = FAILED_HOLDING._replace(target=ELSEWHERE)
        assert await store.begin_attempt(lease, ended, LEASE_S)
        assert await counted(store) == (0, 0, 0)
