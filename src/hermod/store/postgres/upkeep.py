"""The verbs that decide job by job, in a transaction of several statements: rare, and small."""

from collections.abc import Sequence
from typing import NamedTuple

from hermod.domain.cancellation import CANCELLED, cancelled_failure
from hermod.domain.deadlines import job_deadline_failure, queue_deadline_failure
from hermod.domain.failure import Failure
from hermod.domain.job import OnUnknown, State
from hermod.domain.suspicion import failure_after_loss
from hermod.store.payloads import REQUEST_PART
from hermod.store.postgres import meters
from hermod.store.postgres.calls import Read
from hermod.store.postgres.change import Change
from hermod.store.postgres.driver import Row


class Changed(NamedTuple):
    """What a verb did."""

    jobs: int
    """Or holds: how many of what it is about."""
    lanes: set[str]
    """Those in which work became claimable."""


class _End(NamedTuple):
    """A job that ends here, with no worker's help."""

    job_id: str
    part: int
    failure: Failure


async def release_worker(change: Change, worker_id: str, limit: int) -> Changed:
    """Take the leases of a worker that is known to be dead."""
    rows = await change.fetch("leases_of_worker", worker_id, max(limit, 0))
    return await _lose(change, rows, "worker_died")


async def recover(change: Change, lease_now: int | None, limit: int) -> Changed:
    """Take leases that have run out."""
    rows = await change.fetch("leases_run_out", lease_now, max(limit, 0))
    return await _lose(change, rows, "lease_lost")


async def _lose(change: Change, rows: Sequence[Row], why: str) -> Changed:
    """End the attempts of leases that nobody holds any more; their outcome is unknown."""
    if not rows:
        return Changed(0, set())
    now = await change.now()
    ids, attempts = [row[0] for row in rows], [row[1] for row in rows]
    await change.fetch("lost_attempts", now, ids, attempts, why)
    ordered = await meters.ordered(change, ids, attempts)
    again: list[str] = []
    ends: list[_End] = []
    lanes: set[str] = set()
    for job_id, attempt, tenant_id, lane, kind, model, suspicion, on_unknown in rows:
        failure = failure_after_loss(suspicion, OnUnknown(on_unknown))
        if failure is None:
            again.append(job_id)
            lanes.add(lane)
            change.moved(tenant_id, lane, State.RUNNING, State.WAITING)
        else:
            failure = failure.of(provider=lane, model=model, request_type=kind)
            ends.append(_End(job_id, attempt, failure))
            change.moved(tenant_id, lane, State.RUNNING, State.FAILED)
    kept = ordered.keys() & {str(job_id) for job_id in again}
    settled = [job_id for job_id in ids if str(job_id) not in kept]
    await meters.settle_ended(change, settled, ordered)
    await change.fetch("lose_leases", now, again)
    await _end(change, now, State.FAILED, ends)
    await change.flush_counts()
    return Changed(len(rows), lanes)


async def expire_overdue(change: Change, limit: int) -> Changed:
    """End jobs that nobody runs and whose deadline has passed."""
    rows = await change.fetch("overdue", change.given_now, max(limit, 0))
    if not rows:
        return Changed(0, set())
    ids, attempts = [row[0] for row in rows], [row[1] for row in rows]
    await meters.settle_ended(change, ids, await meters.ordered(change, ids, attempts))
    ends: list[_End] = []
    for job_id, attempt, tenant_id, lane, kind, model, state, started_at in rows:
        was = State(state)
        failure = queue_deadline_failure() if started_at is None else job_deadline_failure()
        ends.append(
            _End(job_id, attempt, failure.of(provider=lane, model=model, request_type=kind))
        )
        change.moved(tenant_id, lane, was, State.EXPIRED)
    await _end(change, await change.now(), State.EXPIRED, ends)
    await change.flush_counts()
    return Changed(len(rows), set())


async def cancel(change: Change, job: Read) -> Changed:
    """End a job that its owner no longer wants.

    Several statements, each with a look of its own: the first may have waited for a claim, and a
    single one would not see the attempt that this claim has recorded.
    """
    rows = await change.fetch("cancellable", job.job_id, *job.principal, job.kind)
    for job_id, attempt, tenant_id, lane, kind, model, state in rows:
        was = State(state)
        now = await change.now()
        if was is State.RUNNING:
            await change.fetch("lost_attempts", now, [job_id], [attempt], CANCELLED)
        ordered = await meters.ordered(change, [job_id], [attempt])
        await meters.settle_ended(change, [job_id], ordered)
        failure = cancelled_failure().of(provider=lane, model=model, request_type=kind)
        # Not as the attempt's result: pieces that its own finish may have written are orphans.
        await _end(change, now, State.CANCELLED, [_End(job_id, REQUEST_PART, failure)])
        change.moved(tenant_id, lane, was, State.CANCELLED)
    await change.flush_counts()
    return Changed(len(rows), set())


async def settle_leftovers(change: Change, limit: int) -> Changed:
    """Settle what jobs hold that have ended without it."""
    return Changed(await meters.settle_leftovers(change, limit), set())


async def _end(change: Change, now: int, state: State, ends: Sequence[_End]) -> None:
    if not ends:
        return
    ids = [end.job_id for end in ends]
    statuses = [end.failure.status_code or 500 for end in ends]
    await change.fetch("end_unleased", now, state.value, ids, statuses)
    bodies = [end.failure.to_json() for end in ends]
    parts = [end.part for end in ends]
    await change.fetch("insert_results", ids, parts, [len(body) for body in bodies], bodies)
