"""What a worker writes whose lease is no longer the current one changes nothing."""

from collections.abc import Awaitable, Callable

import pytest

from hermod.domain.ids import uuid7
from hermod.domain.job import Lease, Metered, Target
from hermod.store.api import Store
from tests.store.backends import Database
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    FAILED,
    LEASE_S,
    OTHER_CLAIM,
    OWNER,
    UNSENT,
    claim_again,
    finished_job,
    new_job,
    running_job,
    waiting_job,
)
from tests.store.limits import ALL

METERED = Metered(1, 2, 3)
SMALL = COMPLETED._replace(metered=METERED)
LARGE = SMALL._replace(body=b"x" * 3_000_000)
ON_ITS_WAY = FAILED._replace(metered=METERED, target=Target("groq", "m"), progress="{}")

Write = Callable[[Store, Lease], Awaitable[object]]
WRITES: dict[str, tuple[Write, object]] = {
    "finish_job": (lambda store, lease: store.finish_job(lease, SMALL), False),
    "finish_job of a large result": (lambda store, lease: store.finish_job(lease, LARGE), False),
    "put_back": (lambda store, lease: store.put_back(lease, ON_ITS_WAY, 0), False),
    "put_back as not begun": (lambda store, lease: store.put_back(lease, UNSENT, 0, 9), False),
    "reserve": (lambda store, lease: store.reserve(lease, ALL), None),
    "reserve of nothing": (lambda store, lease: store.reserve(lease, ()), None),
    "begin_attempt": (lambda store, lease: store.begin_attempt(lease, ON_ITS_WAY, LEASE_S), None),
    "renew_leases": (lambda store, lease: store.renew_leases([lease], LEASE_S), frozenset[str]()),
    "record_handle": (lambda store, lease: store.record_handle(lease, "upstream-1"), False),
    "read_request": (lambda store, lease: store.read_request(lease), None),
}


async def released(store: Store, database: Database) -> Lease:
    """The lease of a job that waits for its second attempt."""
    lease = await running_job(store, database)
    await store.put_back(lease, UNSENT, database.clock.now())
    return lease


async def taken_by_another(store: Store, database: Database) -> Lease:
    """The lease of a job that runs at another worker by now."""
    lease = await released(store, database)
    await claim_again(store, lease.job_id, OTHER_CLAIM)
    return lease


async def taken_by_itself(store: Store, database: Database) -> Lease:
    """The lease of an attempt whose job runs again at the same worker: only its number differs."""
    lease = await released(store, database)
    await claim_again(store, lease.job_id, CLAIM)
    return lease


async def of_the_last_attempt(store: Store, database: Database) -> Lease:
    """The lease of an attempt after which the worker began another one in its slot."""
    lease = await running_job(store, database)
    assert await store.begin_attempt(lease, FAILED, LEASE_S)
    return lease


async def of_an_attempt_to_come(store: Store, database: Database) -> Lease:
    """A lease that nobody was given."""
    lease = await running_job(store, database)
    return lease._replace(attempt=lease.attempt + 1)


async def of_another_worker(store: Store, database: Database) -> Lease:
    """A lease with the current attempt and the wrong worker."""
    lease = await running_job(store, database)
    return lease._replace(worker_id=OTHER_CLAIM.worker_id)


async def of_a_finished_job(store: Store, database: Database) -> Lease:
    """The lease under which a job was finished."""
    return Lease(await finished_job(store, database), 1, CLAIM.worker_id)


async def of_a_lost_job(store: Store, database: Database) -> Lease:
    """The lease of a worker that was declared dead."""
    lease = await running_job(store, database)
    await store.release_worker(lease.worker_id, 1)
    return lease


async def of_a_cancelled_job(store: Store, database: Database) -> Lease:
    """The lease under which a job ran when it was cancelled."""
    lease = await running_job(store, database)
    assert await store.cancel_job(lease.job_id, OWNER, None)
    return lease


async def of_a_queued_job(store: Store, database: Database) -> Lease:
    """A lease on a job that was never leased."""
    job = new_job(database)
    await store.submit_job(job)
    return Lease(job.id, 0, CLAIM.worker_id)


async def of_no_job(store: Store, database: Database) -> Lease:
    """A lease on a job that was deleted."""
    await running_job(store, database)
    return Lease(uuid7(database.clock.now()), 1, CLAIM.worker_id)


STALE = [
    released,
    taken_by_another,
    taken_by_itself,
    of_the_last_attempt,
    of_an_attempt_to_come,
    of_another_worker,
    of_a_finished_job,
    of_a_lost_job,
    of_a_cancelled_job,
    of_a_queued_job,
    of_no_job,
]


@pytest.mark.parametrize("stale", STALE, ids=lambda stale: stale.__name__)
@pytest.mark.parametrize(("write", "refusal"), WRITES.values(), ids=WRITES)
async def test_a_write_with_a_stale_lease_changes_nothing(
    database: Database,
    write: Write,
    refusal: object,
    stale: Callable[[Store, Database], Awaitable[Lease]],
) -> None:
    async with database.open() as store:
        lease = await stale(store, database)
        before = database.dump()
        assert await write(store, lease) == refusal
        assert database.dump() == before


@pytest.mark.parametrize(("write", "refusal"), WRITES.values(), ids=WRITES)
async def test_the_same_write_with_the_current_lease_is_not_refused(
    database: Database, write: Write, refusal: object
) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        assert await write(store, lease) != refusal


async def test_a_lease_that_ran_out_unnoticed_still_holds(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        database.clock.advance(10 * LEASE_S)
        assert await store.finish_job(lease, COMPLETED)


async def test_of_two_finishes_at_once_one_counts(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        first = store.finish_job(lease, COMPLETED)
        second = store.finish_job(lease, COMPLETED._replace(body=b"{}"))
        assert [await first, await second] == [True, False]


async def test_renewing_names_the_leases_that_still_hold(database: Database) -> None:
    async with database.open() as store:
        held = [await running_job(store, database) for _ in range(2)]
        lost = Lease(await waiting_job(store, database), 1, CLAIM.worker_id)
        renewed = await store.renew_leases([held[0], lost, held[1]], LEASE_S)
        assert renewed == {lease.job_id for lease in held}


async def test_a_renewed_lease_lasts_from_the_renewal(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        database.clock.advance(LEASE_S)
        await store.renew_leases([lease], 2 * LEASE_S)
        database.clock.advance(2 * LEASE_S)
        assert await store.recover_lost_leases(10) == 0
        database.clock.advance(0.001)
        assert await store.recover_lost_leases(10) == 1


async def test_renewing_no_lease_renews_none(database: Database) -> None:
    async with database.open() as store:
        assert await store.renew_leases([], LEASE_S) == frozenset()
