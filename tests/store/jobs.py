"""Where tests begin: a new job, a running one, one on its third attempt."""

from typing import Any, Final

from hermod.domain.ids import uuid7
from hermod.domain.job import (
    AttemptState,
    AttemptView,
    Claim,
    Finish,
    JobView,
    Lease,
    Mode,
    NewJob,
    Principal,
    Retry,
    State,
)
from hermod.domain.suspicion import SUSPECT_FROM
from hermod.store.api import Store
from tests.store.backends import SECOND, Database

OWNER: Final = Principal("default", "vk:1")
ADMIN: Final = Principal("default", "admin:token", is_admin=True)
LANE: Final = "openai"
LEASE_S: Final = 30.0
JOB_DEADLINE_S: Final = 3_600.0
QUEUE_WAIT_S: Final = 86_400.0
TTL_S: Final = 600
CLAIM: Final = Claim("worker-1", LEASE_S, JOB_DEADLINE_S)
OTHER_CLAIM: Final = Claim("worker-2", LEASE_S, JOB_DEADLINE_S)
COMPLETED: Final = Finish(
    State.COMPLETED,
    200,
    b'{"answer":42}',
    AttemptState.SUCCEEDED,
    attempt_status_code=200,
    key_name="main",
)
FAILED: Final = Retry(AttemptState.FAILED, spent=True, error_type="server_error")
UNSENT: Final = Retry(AttemptState.UNSENT, spent=False, error_type="drained")
UNKNOWN: Final = Retry(AttemptState.UNKNOWN, spent=False, error_type="drained")


def new_job(database: Database, **changes: Any) -> NewJob:
    """A request that was checked, now."""
    now = database.clock.now()
    job = NewJob(
        id=uuid7(now),
        tenant_id=OWNER.tenant_id,
        owner=OWNER.owner,
        kind="chat_completion",
        mode=Mode.ASYNC,
        lane=LANE,
        model="gpt-4o",
        created_at=now,
        queue_deadline_at=now + int(QUEUE_WAIT_S * SECOND),
        ttl_s=TTL_S,
        ttl_requested=False,
        body=b'{"model":"openai/gpt-4o"}',
        request_id="request-1",
    )
    return job._replace(**changes)


async def queued_job(store: Store, database: Database, **changes: Any) -> str:
    """The id of a job that nobody has started."""
    job = new_job(database, **changes)
    await store.submit_job(job)
    return job.id


async def running_job(
    store: Store, database: Database, claim: Claim = CLAIM, **changes: Any
) -> Lease:
    """The lease of a job on its first attempt."""
    lease = await store.submit_job(new_job(database, **changes), claim)
    assert lease is not None
    return lease


async def waiting_job(
    store: Store, database: Database, in_s: float = 0.0, ended: Retry = FAILED, **changes: Any
) -> str:
    """The id of a job that was started once and is to be started again in so many seconds."""
    lease = await running_job(store, database, **changes)
    run_at = database.clock.now() + int(in_s * SECOND)
    assert await store.put_back(lease, ended, run_at)
    return lease.job_id


async def finished_job(
    store: Store, database: Database, finish: Finish = COMPLETED, **changes: Any
) -> str:
    """The id of a job that has ended."""
    lease = await running_job(store, database, **changes)
    assert await store.finish_job(lease, finish)
    return lease.job_id


async def suspect(
    store: Store, database: Database, losses: int, lane: str = LANE, **changes: Any
) -> str:
    """The id of a waiting job that lost its lease so many times in a row."""
    lease = await running_job(store, database, lane=lane, **changes)
    for lost in range(1, losses + 1):
        await lose_leases(store, database)
        if lost < losses:
            if lost < SUSPECT_FROM:
                claimed = await store.claim_jobs(lane, 1, CLAIM)
            else:
                claimed = await store.claim_suspects(lost, lost, 1, CLAIM)
            assert [job.lease.job_id for job in claimed] == [lease.job_id]
    return lease.job_id


async def claim_again(store: Store, job_id: str, claim: Claim = CLAIM) -> Lease:
    """The lease of a waiting job, whatever its suspicion. No other job may be due."""
    claimed = await store.claim_jobs(LANE, 1, claim)
    claimed += await store.claim_suspects(2, 9, 1, claim)
    assert [job.lease.job_id for job in claimed] == [job_id]
    return claimed[0].lease


async def lose_leases(store: Store, database: Database) -> int:
    """Let every lease run out and be noticed; how many there were."""
    database.clock.advance(LEASE_S + 1)
    return await store.recover_lost_leases(1_000)


async def read(store: Store, job_id: str) -> JobView:
    """The job, as its owner sees it."""
    view = await store.read_job(job_id, OWNER, None)
    assert view is not None
    return view


async def attempts(store: Store, job_id: str) -> tuple[AttemptView, ...]:
    """Its timeline, as its owner sees it."""
    return await store.read_attempts(job_id, OWNER)


async def states(store: Store, job_id: str) -> list[AttemptState]:
    """How its attempts ended."""
    return [attempt.state for attempt in await attempts(store, job_id)]
