"""What the calls of a job have used: of each attempt, and of all of them together."""

import asyncio

import pytest

from hermod.domain.job import AttemptView, JobView, Metered
from hermod.store.api import Store
from tests.store.backends import Database
from tests.store.jobs import (
    COMPLETED,
    FAILED,
    LEASE_S,
    OWNER,
    attempts,
    claim_again,
    lose_leases,
    read,
    running_job,
    waiting_job,
)

NOTHING = (None, None, None)
FIRST = Metered(10, 5, 1_000)
SECOND = Metered(200, 70, 30_000)
FREE = Metered(3, 0, 0)
UNPRICED = Metered(7, 1, None)
MOST = Metered(2**53 - 1, 2**53 - 1, 2**53 - 1)


def used(view: JobView | AttemptView) -> tuple[int | None, int | None, int | None]:
    """What a job, or an attempt, has used."""
    return view.input_tokens, view.output_tokens, view.cost_usd_nanos


async def used_by_each(store: Store, job_id: str) -> list[tuple[int | None, ...]]:
    """What every attempt of a job has used."""
    return [used(attempt) for attempt in await attempts(store, job_id)]


async def used_after(database: Database, *metered: Metered | None) -> JobView:
    """A job whose attempts have used so much; by turns the next one was in the slot or not."""
    async with database.open() as store:
        lease = await running_job(store, database)
        *before, last = metered
        for n, each in enumerate(before):
            ended = FAILED._replace(metered=each)
            if n % 2:
                await store.put_back(lease, ended, 0)
                lease = await claim_again(store, lease.job_id)
            else:
                begun = await store.begin_attempt(lease, ended, LEASE_S)
                assert begun
                lease = begun
        assert await store.finish_job(lease, COMPLETED._replace(metered=last))
        assert await used_by_each(store, lease.job_id) == [each or NOTHING for each in metered]
        return await read(store, lease.job_id)


async def test_a_finish_says_what_its_attempt_has_used(database: Database) -> None:
    assert used(await used_after(database, FIRST)) == FIRST


async def test_a_job_has_used_what_its_attempts_have(database: Database) -> None:
    view = await used_after(database, FIRST, SECOND, SECOND)
    assert used(view) == (410, 145, 61_000)


async def test_a_job_of_which_nothing_is_known_has_used_nothing_that_is_known(
    database: Database,
) -> None:
    assert used(await used_after(database, None, None, None)) == NOTHING


@pytest.mark.parametrize("place", range(3))
async def test_an_attempt_of_which_nothing_is_known_adds_nothing(
    database: Database, place: int
) -> None:
    metered: list[Metered | None] = [FIRST, FIRST]
    metered.insert(place, None)
    assert used(await used_after(database, *metered)) == (20, 10, 2_000)


@pytest.mark.parametrize("place", range(3))
async def test_an_attempt_without_a_price_adds_its_tokens(database: Database, place: int) -> None:
    metered: list[Metered | None] = [FIRST, FIRST]
    metered.insert(place, UNPRICED)
    assert used(await used_after(database, *metered)) == (27, 11, 2_000)


async def test_a_job_whose_attempts_have_no_price_has_none(database: Database) -> None:
    assert used(await used_after(database, UNPRICED, UNPRICED)) == (14, 2, None)


async def test_what_is_free_has_a_price(database: Database) -> None:
    assert used(await used_after(database, FREE)) == FREE


async def test_the_most_that_can_be_used_can_be_added_up(database: Database) -> None:
    view = await used_after(database, *[MOST] * 5)
    assert used(view) == (5 * (2**53 - 1),) * 3


async def test_what_was_used_is_known_before_the_job_ends(database: Database) -> None:
    async with database.open() as store:
        metered = FAILED._replace(metered=FIRST)
        job_id = await waiting_job(store, database, ended=metered)
        assert used(await read(store, job_id)) == FIRST
        lease = await claim_again(store, job_id)
        assert used(await read(store, job_id)) == FIRST
        await store.begin_attempt(lease, metered, LEASE_S)
        assert used(await read(store, job_id)) == (20, 10, 2_000)
        assert await used_by_each(store, job_id) == [FIRST, FIRST, NOTHING]


async def test_what_was_used_outlives_a_lost_lease_and_a_crash(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        await store.begin_attempt(lease, FAILED._replace(metered=FIRST), LEASE_S)
        await lose_leases(store, database)
        database.crash()
    async with database.open() as store:
        lease = await claim_again(store, lease.job_id)
        await store.finish_job(lease, COMPLETED._replace(metered=SECOND))
        assert used(await read(store, lease.job_id)) == (210, 75, 31_000)
        assert await used_by_each(store, lease.job_id) == [FIRST, NOTHING, SECOND]


async def test_a_cancelled_job_has_used_what_it_had(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        await store.begin_attempt(lease, FAILED._replace(metered=FIRST), LEASE_S)
        view = await store.cancel_job(lease.job_id, OWNER, None)
        assert view
        assert used(view) == FIRST
        assert await used_by_each(store, lease.job_id) == [FIRST, NOTHING]


async def test_jobs_have_used_each_its_own(database: Database) -> None:
    async with database.open() as store:
        metered = [Metered(n, 2 * n, 3 * n if n % 2 else None) if n % 3 else None for n in range(9)]
        leases = [await running_job(store, database) for _ in metered * 2]
        waiting, done = leases[: len(metered)], leases[len(metered) :]
        await asyncio.gather(
            *(
                store.put_back(lease, FAILED._replace(metered=each), 0)
                for lease, each in zip(waiting, metered, strict=True)
            ),
            *(
                store.finish_job(lease, COMPLETED._replace(metered=each))
                for lease, each in zip(done, metered, strict=True)
            ),
        )
        assert [used(await read(store, lease.job_id)) for lease in leases] == [
            each or NOTHING for each in metered * 2
        ]
