"""A cancel that comes while another transaction has the job: only a server has such."""

import asyncio

import pytest

from hermod.domain.job import AttemptState, State
from tests.store.backends import PostgresDatabase
from tests.store.jobs import CLAIM, LANE, OWNER, new_job, read, running_job, states

WAITS = """SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'"""
CLAIMS = """
    WITH claimed AS (
        UPDATE hermod.job SET state = 'running', attempt = 1, worker_id = 'worker-1',
            lease_until = 0 WHERE id = $1 RETURNING *
    ), attempts AS (
        INSERT INTO hermod.attempt (job_id, n, state, lane, model, worker_id, started_at)
        SELECT id, 1, 'sending', lane, model, worker_id, 0 FROM claimed
    )
    UPDATE hermod.job_count SET state = 'running'"""
ENDS = """
    WITH ended AS (
        UPDATE hermod.job SET state = 'completed', status_code = 200, completed_at = 1,
            expires_at = 9e15, worker_id = NULL, lease_until = NULL WHERE id = $1 RETURNING *
    ), attempts AS (
        UPDATE hermod.attempt SET state = 'succeeded', ended_at = 1 WHERE job_id = $1
    ), results AS (
        INSERT INTO hermod.result (job_id, part, size, body) SELECT id, 1, 2, '{}' FROM ended
    )
    UPDATE hermod.job_count SET state = 'completed'"""


@pytest.mark.parametrize(
    ("change", "claim", "state", "ends"),
    [
        (CLAIMS, None, State.CANCELLED, [AttemptState.UNKNOWN]),
        (ENDS, CLAIM, State.COMPLETED, [AttemptState.SUCCEEDED]),
    ],
    ids=["a claim", "a finish"],
)
async def test_a_cancel_waits_for_who_has_the_job_and_then_sees_what_it_did(
    postgres: PostgresDatabase,
    change: str,
    claim: object,
    state: State,
    ends: list[AttemptState],
) -> None:
    async with postgres.open() as store:
        job = new_job(postgres)
        await store.submit_job(job, CLAIM if claim else None)
        postgres.rows("BEGIN")
        postgres.rows(change, job.id)
        cancel = asyncio.ensure_future(store.cancel_job(job.id, OWNER, None))
        while not await asyncio.to_thread(postgres.rows, WAITS):
            assert not cancel.done()
        postgres.rows("COMMIT")
        view = await cancel
        assert view is not None
        assert view.state is state
        assert await read(store, job.id) == view
        assert await states(store, job.id) == ends
        assert await store.counts() == postgres.count_jobs() == {("default", LANE, state): 1}


async def test_a_cancel_of_a_job_that_has_ended_waits_for_nobody(
    postgres: PostgresDatabase,
) -> None:
    async with postgres.open() as store:
        lease = await running_job(store, postgres)
        assert await store.cancel_job(lease.job_id, OWNER, None)
        postgres.rows("BEGIN")
        postgres.rows("SELECT id FROM hermod.job FOR UPDATE")
        view = await store.cancel_job(lease.job_id, OWNER, None)
        postgres.rows("ROLLBACK")
        assert view is not None
        assert view.state is State.CANCELLED
