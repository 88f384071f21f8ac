"""What is held of limits by jobs that a release had in between which knows of none."""

from collections.abc import Awaitable, Callable

import pytest

from hermod.domain.job import Metered
from hermod.store.api import Store
from tests.store.backends import Database
from tests.store.jobs import (
    JOB_DEADLINE_S,
    OWNER,
    TTL_S,
    UNKNOWN,
    attempts,
    claim_again,
    read,
    running_job,
)
from tests.store.limits import ALL, BUDGET, DONE, PARALLEL, REQUESTS, cost, counted, overlooked


async def leftover(store: Store, database: Database, metered: Metered | None = None) -> str:
    """The id of a job that ended, and still holds something."""
    lease = await running_job(store, database)
    assert await store.reserve(lease, ALL) == ()
    with overlooked(database):
        assert await store.finish_job(lease, DONE._replace(metered=metered, held=False))
    assert await counted(store) == (0, 100, 0)
    return lease.job_id


async def test_what_a_job_has_left_is_settled_as_its_attempt_ended(database: Database) -> None:
    async with database.open() as store:
        await leftover(store, database, Metered(1, 1, 60))
        assert await store.settle_leftovers(99) == len(ALL)
        assert await counted(store) == (60, 0, 60)
        assert await counted(store, REQUESTS) == (1, 0, 1)
        assert await counted(store, PARALLEL) == (0, 0, 0)


async def test_what_nobody_metered_is_charged_as_estimated(database: Database) -> None:
    async with database.open() as store:
        job_id = await leftover(store, database)
        await store.settle_leftovers(99)
        assert await counted(store) == (100, 0, 100)
        assert cost(await read(store, job_id)) == (100, True)
        assert [one.estimated for one in await attempts(store, job_id)] == [True]


async def test_leftovers_are_settled_once(database: Database) -> None:
    async with database.open() as store:
        await leftover(store, database)
        await store.settle_leftovers(99)
        before = database.dump()
        assert await store.settle_leftovers(99) == 0
        assert database.dump() == before


async def test_what_running_jobs_hold_is_left_to_them(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        assert await store.reserve(lease, [BUDGET]) == ()
        assert await store.settle_leftovers(99) == 0
        assert await counted(store) == (0, 100, 0)


async def test_what_a_deleted_job_has_left_is_charged_as_estimated(database: Database) -> None:
    async with database.open() as store:
        await leftover(store, database, Metered(1, 1, 60))
        database.clock.advance(TTL_S + 1)
        assert await store.delete_expired(9) == 1
        assert await store.settle_leftovers(99) == len(ALL)
        assert await counted(store) == (100, 0, 100)


async def test_leftovers_are_settled_as_many_at_a_time_as_asked_for(database: Database) -> None:
    async with database.open() as store:
        for _ in range(5):
            lease = await running_job(store, database)
            assert await store.reserve(lease, [BUDGET]) == ()
            with overlooked(database):
                assert await store.finish_job(lease, DONE._replace(held=False))
        assert [await store.settle_leftovers(2) for _ in range(4)] == [2, 2, 1, 0]
        assert await counted(store) == (350, 0, 350)


Next = Callable[[Store, Database, str], Awaitable[object]]


async def claim(store: Store, database: Database, job_id: str) -> object:
    del database
    # It is up to the store whether the claim settles it, or what is reserved after it.
    return await store.reserve(await claim_again(store, job_id), [PARALLEL]) == ()


async def cancel(store: Store, database: Database, job_id: str) -> object:
    del database
    return await store.cancel_job(job_id, OWNER, None)


async def expire(store: Store, database: Database, job_id: str) -> object:
    del job_id
    database.clock.advance(JOB_DEADLINE_S + 1)
    return await store.expire_overdue(9)


@pytest.mark.parametrize("happens", [claim, cancel, expire], ids=lambda happens: happens.__name__)
async def test_what_an_attempt_has_left_is_settled_with_what_happens_next(
    database: Database, happens: Next
) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        assert await store.reserve(lease, ALL) == ()
        with overlooked(database):
            assert await store.put_back(lease, UNKNOWN, 0)
        assert await counted(store) == (0, 100, 0)
        assert await happens(store, database, lease.job_id)
        assert await counted(store) == (100, 0, 100)
        assert cost(await read(store, lease.job_id)) == (100, True)
