"""Options of jobs that have not ended can be replaced, for secrets that are sealed anew."""

from typing import Final

import pytest

from hermod.domain.job import Mode, Resealed, SealedJob, State
from hermod.store.api import Store
from tests.store.backends import Database
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    LANE,
    OTHER_CLAIM,
    OWNER,
    finished_job,
    new_job,
    queued_job,
    read,
    running_job,
    waiting_job,
)

SEALED: Final = '{"labels":{"a":"ü"},"sealed":"v1:1:old"}'
ANEW: Final = '{"labels":{"a":"ü"},"sealed":"v1:2:new"}'
UNKNOWN: Final = "01900000-0000-7000-8000-000000000000"


async def found(store: Store, limit: int = 99) -> list[SealedJob]:
    """All there are, so many rows at a time."""
    jobs: list[SealedJob] = []
    last: str | None = None
    while True:
        page = await store.read_sealed_jobs(last, limit)
        jobs += page.jobs
        last = page.last
        if last is None:
            return jobs


@pytest.mark.parametrize("limit", [1, 2, 99])
async def test_jobs_with_sealed_secrets_are_found_in_any_portions(
    database: Database, limit: int
) -> None:
    async with database.open() as store:
        sealed: list[str] = []
        for options in (SEALED, None, SEALED, '{"key_name":"main"}', SEALED):
            job_id = await queued_job(store, database, options=options)
            sealed += [job_id] if options == SEALED else []
        assert await found(store, limit) == [SealedJob(each, SEALED) for each in sorted(sealed)]


async def test_queued_running_and_waiting_jobs_are_found(database: Database) -> None:
    async with database.open() as store:
        ids = {
            await queued_job(store, database, options=SEALED),
            (await running_job(store, database, options=SEALED)).job_id,
            await waiting_job(store, database, options=SEALED),
        }
        assert {job.id for job in await found(store)} == ids


async def test_secrets_that_nobody_else_will_need_are_passed_over(database: Database) -> None:
    async with database.open() as store:
        await finished_job(store, database, options=SEALED)
        cancelled = await queued_job(store, database, options=SEALED)
        await store.cancel_job(cancelled, OWNER, None)
        await running_job(store, database, options=SEALED, mode=Mode.SYNC)
        assert await found(store) == []


async def test_an_empty_database_has_none(database: Database) -> None:
    async with database.open() as store:
        assert await store.read_sealed_jobs(None, 9) == ((), None)


async def test_options_are_replaced_for_whoever_claims_the_job(database: Database) -> None:
    async with database.open() as store:
        job_id = await queued_job(store, database, options=SEALED)
        assert await store.reseal_jobs([Resealed(job_id, SEALED, ANEW)]) == 1
        database.crash()
    async with database.open() as store:
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert claimed.options == ANEW


async def test_several_are_replaced_at_once(database: Database) -> None:
    async with database.open() as store:
        ids = [await queued_job(store, database, options=SEALED) for _ in range(5)]
        changes = [Resealed(each, SEALED, ANEW) for each in reversed(ids)]
        assert await store.reseal_jobs([*changes, Resealed(UNKNOWN, SEALED, ANEW)]) == 5
        assert await found(store) == [SealedJob(each, ANEW) for each in sorted(ids)]
        assert await store.reseal_jobs([]) == 0


async def test_options_that_somebody_else_has_replaced_stay(database: Database) -> None:
    async with database.open() as store:
        job_id = await queued_job(store, database, options=SEALED)
        assert await store.reseal_jobs([Resealed(job_id, SEALED, ANEW)]) == 1
        assert await store.reseal_jobs([Resealed(job_id, SEALED, '{"sealed":"late"}')]) == 0
        assert await found(store) == [SealedJob(job_id, ANEW)]


async def test_a_job_that_has_ended_stays_as_it_is(database: Database) -> None:
    async with database.open() as store:
        job_id = await finished_job(store, database, options=SEALED)
        before = database.dump()
        assert await store.reseal_jobs([Resealed(job_id, SEALED, ANEW)]) == 0
        assert database.dump() == before


async def test_a_job_keeps_its_lease_and_its_place(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database, options=SEALED)
        first = await queued_job(store, database, options=SEALED)
        second = await store.submit_job(new_job(database))
        assert second is None
        changes = [Resealed(each, SEALED, ANEW) for each in (first, lease.job_id)]
        assert await store.reseal_jobs(changes) == 2
        (claimed,) = await store.claim_jobs(LANE, 1, OTHER_CLAIM)
        assert claimed.lease.job_id == first
        assert await store.finish_job(lease, COMPLETED)
        assert (await read(store, lease.job_id)).state is State.COMPLETED
