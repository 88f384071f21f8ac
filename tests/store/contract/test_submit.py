"""Submitting a job."""

import asyncio

from hermod.domain.job import AttemptState, AttemptView, JobView, Lease, State, size_of
from tests.store.backends import SECOND, Database
from tests.store.jobs import (
    CLAIM,
    JOB_DEADLINE_S,
    LANE,
    LEASE_S,
    OTHER_CLAIM,
    OWNER,
    attempts,
    new_job,
    queued_job,
    read,
    running_job,
)


async def test_a_submitted_job_is_queued_and_readable(database: Database) -> None:
    async with database.open() as store:
        job = new_job(database, ttl_s=7, ttl_requested=True)
        assert await store.submit_job(job) is None
        assert await store.read_job(job.id, OWNER, job.kind) == JobView(
            id=job.id,
            kind=job.kind,
            state=State.QUEUED,
            created_at=job.created_at,
            completed_at=None,
            expires_at=None,
            ttl_s=7,
            ttl_requested=True,
            status_code=None,
            request_id="request-1",
            lane=job.lane,
            model=job.model,
            body=None,
        )


async def test_a_submitted_job_survives_a_crash(database: Database) -> None:
    async with database.open() as store:
        job_id = await queued_job(store, database)
        before = await read(store, job_id)
        database.crash()
    async with database.open() as store:
        assert await read(store, job_id) == before


async def test_a_queued_job_has_no_attempt(database: Database) -> None:
    async with database.open() as store:
        assert await attempts(store, await queued_job(store, database)) == ()


async def test_a_job_submitted_with_a_claim_is_born_running(database: Database) -> None:
    async with database.open() as store:
        job = new_job(database)
        lease = await store.submit_job(job, CLAIM)
        assert lease == Lease(job.id, 1, CLAIM.worker_id)
        assert (await read(store, job.id)).state is State.RUNNING


async def test_a_job_submitted_with_a_claim_has_its_first_attempt(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        database.crash()
    async with database.open() as store:
        assert await attempts(store, lease.job_id) == (
            AttemptView(
                n=1,
                state=AttemptState.SENDING,
                lane=LANE,
                model="gpt-4o",
                key_name=None,
                worker_id=CLAIM.worker_id,
                started_at=database.clock.now(),
                ended_at=None,
                status_code=None,
                error_type=None,
                handle=None,
            ),
        )


async def test_a_job_submitted_with_a_claim_can_be_claimed_by_nobody(database: Database) -> None:
    async with database.open() as store:
        await running_job(store, database)
        assert await store.claim_jobs(LANE, 10, OTHER_CLAIM) == []


async def test_the_lease_of_a_submit_lasts_as_long_as_its_claim_says(database: Database) -> None:
    async with database.open() as store:
        await running_job(store, database)
        database.clock.advance(LEASE_S)
        assert await store.recover_lost_leases(10) == 0
        database.clock.advance(0.001)
        assert await store.recover_lost_leases(10) == 1


async def test_the_job_deadline_of_a_submit_with_a_claim_runs_from_now(database: Database) -> None:
    async with database.open() as store:
        deadline_at = database.clock.now() + int(JOB_DEADLINE_S * SECOND)
        lease = await running_job(store, database)
        await store.release_worker(lease.worker_id, 10)
        (claimed,) = await store.claim_jobs(LANE, 10, CLAIM)
        assert claimed.deadline_at == deadline_at


async def test_a_claimed_job_is_what_was_submitted(database: Database) -> None:
    async with database.open() as store:
        job = new_job(database, options='{"passthrough":true}')
        await store.submit_job(job)
        (claimed,) = await store.claim_jobs(LANE, 10, CLAIM)
        assert claimed._asdict() == {
            "lease": Lease(job.id, 1, CLAIM.worker_id),
            "tenant_id": job.tenant_id,
            "owner": job.owner,
            "kind": job.kind,
            "lane": job.lane,
            "model": job.model,
            "created_at": job.created_at,
            "deadline_at": database.clock.now() + int(JOB_DEADLINE_S * SECOND),
            "attempts_spent": 0,
            "suspicion": 0,
            "on_unknown": job.on_unknown,
            "ttl_s": job.ttl_s,
            "options": '{"passthrough":true}',
            "size": size_of(job.body),
            "body": job.body,
            "target": None,
            "progress": None,
            "held": False,
        }


async def test_text_that_no_encoding_minds_is_kept_as_it_is(database: Database) -> None:
    async with database.open() as store:
        model = "gpt-é-模型-😀-'; DROP TABLE job; --"
        await queued_job(store, database, model=model, lane=model, request_id=model)
        (claimed,) = await store.claim_jobs(model, 10, CLAIM)
        assert claimed.model == model
        assert (await read(store, claimed.lease.job_id)).request_id == model


async def test_a_nul_is_kept_or_spoils_only_its_own_submit(database: Database) -> None:
    # No request can bring one (kinds/kind.py), and PostgreSQL has no place for it.
    async with database.open() as store:
        model = "gpt\x00-4o"
        good = new_job(database)
        answer, _ = await asyncio.gather(
            store.submit_job(new_job(database, model=model)),
            store.submit_job(good),
            return_exceptions=True,
        )
        claimed = await store.claim_jobs(LANE, 10, CLAIM)
        models = [job.model for job in claimed]
        assert models == ([good.model] if answer else [model, good.model])
