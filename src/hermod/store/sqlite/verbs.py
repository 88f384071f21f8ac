"""The verbs as they run inside a transaction, each over a list of calls of its kind.

A verb returns one result per call, in order. It may run twice when its group has to be taken
apart, so it touches nothing but the transaction.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from hermod.domain.cancellation import CANCELLED, cancelled_failure
from hermod.domain.deadlines import job_deadline_failure, queue_deadline_failure
from hermod.domain.failure import Failure
from hermod.domain.job import (
    AttemptState,
    Claim,
    ClaimedJob,
    Finish,
    Lease,
    NewJob,
    OnUnknown,
    Principal,
    Resealed,
    Retry,
    State,
    Target,
    size_of,
)
from hermod.domain.meter import Hold, Refusal
from hermod.domain.suspicion import failure_after_loss
from hermod.store.payloads import REQUEST_PART, Chunk, ChunkKey, id_bytes, id_text, inline
from hermod.store.sqlite.driver import Row
from hermod.store.sqlite.meters import (
    has_place,
    is_ordered,
    settle,
    settle_unfetched,
    take,
)
from hermod.store.sqlite.transaction import Transaction, fence

_SECOND: Final = 1_000_000
_NO_TARGET: Final = (None, None)
_UNMETERED: Final = (None, None, None)


class Submit(NamedTuple):
    job: NewJob
    raw_id: bytes
    claim: Claim | None
    pending: Hold | None = None


class ClaimLane(NamedTuple):
    lane: str
    limit: int
    claim: Claim


class ClaimSuspects(NamedTuple):
    min_suspicion: int
    max_suspicion: int
    limit: int
    claim: Claim


class Renew(NamedTuple):
    leases: tuple[Lease, ...]
    lease_s: float


class NextAttempt(NamedTuple):
    lease: Lease
    ended: Retry
    lease_s: float


class PutBack(NamedTuple):
    lease: Lease
    ended: Retry
    run_at: int
    deadline_at: int | None = None


class FinishJob(NamedTuple):
    lease: Lease
    finish: Finish


class Handle(NamedTuple):
    lease: Lease
    handle: str


class Cancel(NamedTuple):
    raw_id: bytes
    principal: Principal
    kind: str | None


def submit_job(tx: Transaction, calls: Sequence[Submit]) -> list[Lease | Refusal | None]:
    seq: int = tx.rows("next_seq")[0][0]
    jobs: list[Row] = []
    requests: list[Row] = []
    attempts: list[Row] = []
    holders: list[Row] = []
    results: list[Lease | Refusal | None] = []
    for job, raw_id, claim, pending in calls:
        if claim is None:
            if pending is not None:
                if refused := take(tx, seq, [pending]):
                    results += refused
                    continue
                holders.append((True, seq))
            state = State.QUEUED
            attempt, worker_id, lease_until, started_at = 0, None, None, None
            deadline_at = job.queue_deadline_at
            results.append(None)
            tx.woken.add(job.lane)
        else:
            state = State.RUNNING
            attempt, worker_id, started_at = 1, claim.worker_id, tx.now
            lease_until = tx.boot_now + int(claim.lease_s * _SECOND)
            deadline_at = tx.now + int(claim.job_deadline_s * _SECOND)
            attempts.append((seq, 1, job.lane, job.model, worker_id, tx.now))
            results.append(Lease(job.id, 1, claim.worker_id))
        tx.moved(job.tenant_id, job.lane, None, state)
        jobs.append(
            (
                seq,
                raw_id,
                job.tenant_id,
                job.owner,
                job.kind,
                job.mode.value,
                job.lane,
                job.model,
                state.value,
                job.priority,
                attempt,
                job.on_unknown.value,
                worker_id,
                lease_until,
                deadline_at,
                job.created_at,
                started_at,
                job.ttl_s,
                job.ttl_requested,
                job.request_id,
                job.options,
            )
        )
        requests.append((seq, size_of(job.body), inline(job.body)))
        seq += 1
    tx.run_many("insert_job", jobs)
    tx.run_many("set_held", holders)
    tx.run_many("insert_request", requests)
    tx.run_many("insert_attempt", attempts)
    return results


def put_chunk(tx: Transaction, calls: Sequence[Chunk]) -> list[None]:
    tx.run_many("insert_chunk", calls)
    return [None] * len(calls)


def drop_chunk(tx: Transaction, calls: Sequence[ChunkKey]) -> list[None]:
    tx.run_many("delete_chunk", calls)
    return [None] * len(calls)


def claim_jobs(tx: Transaction, calls: Sequence[ClaimLane]) -> list[list[ClaimedJob]]:
    results: list[list[ClaimedJob]] = []
    for lane, limit, claim in calls:
        values = {"lane": lane, "limit": max(limit, 0), "now": tx.now, **_lease_values(tx, claim)}
        claimed = _claimed(tx, tx.rows("claim_waiting", values), State.WAITING, claim)
        if len(claimed) < limit:
            values["limit"] = limit - len(claimed)
            claimed += _claimed(tx, tx.rows("claim_queued", values), State.QUEUED, claim)
        results.append(claimed)
    return results


def claim_suspects(tx: Transaction, calls: Sequence[ClaimSuspects]) -> list[list[ClaimedJob]]:
    results: list[list[ClaimedJob]] = []
    for low, high, limit, claim in calls:
        values = {"min_suspicion": low, "max_suspicion": high, "now": tx.now}
        values |= {"limit": max(limit, 0), **_lease_values(tx, claim)}
        results.append(_claimed(tx, tx.rows("claim_suspects", values), State.WAITING, claim))
    return results


def _lease_values(tx: Transaction, claim: Claim) -> dict[str, Any]:
    return {
        "worker_id": claim.worker_id,
        "lease_until": tx.boot_now + int(claim.lease_s * _SECOND),
        "job_deadline_at": tx.now + int(claim.job_deadline_s * _SECOND),
    }


def _claimed(tx: Transaction, rows: list[Row], was: State, claim: Claim) -> list[ClaimedJob]:
    rows.sort(key=itemgetter(0, 1))
    jobs: list[ClaimedJob] = []
    for _, seq, raw_id, attempt, tenant_id, owner, kind, lane, model, *rest in rows:
        created_at, deadline_at, spent, suspicion, on_unknown, ttl_s = rest[:6]
        options, to_provider, to_model, progress, held = rest[6:]
        if held and not (held := has_place(tx, seq)) and not is_ordered(tx, seq, attempt - 1):
            # What the attempt before left with an older release.
            settle(tx, seq, attempt - 1)
        target = None if to_provider is None else Target(to_provider, to_model)
        tx.moved(tenant_id, lane, was, State.RUNNING)
        goes_to = target or (lane, model)
        tx.run("insert_attempt", (seq, attempt, *goes_to, claim.worker_id, tx.now))
        ((size, body),) = tx.rows("request_body", (seq,)) or ((0, None),)
        jobs.append(
            ClaimedJob(
                lease=Lease(id_text(raw_id), attempt, claim.worker_id),
                tenant_id=tenant_id,
                owner=owner,
                kind=kind,
                lane=lane,
                model=model,
                created_at=created_at,
                deadline_at=deadline_at,
                attempts_spent=spent,
                suspicion=suspicion,
                on_unknown=OnUnknown(on_unknown),
                ttl_s=ttl_s,
                options=options,
                size=size,
                body=body,
                target=target,
                progress=progress,
                held=bool(held),
            )
        )
    return jobs


def renew_leases(tx: Transaction, calls: Sequence[Renew]) -> list[frozenset[str]]:
    results: list[frozenset[str]] = []
    for leases, lease_s in calls:
        until = tx.boot_now + int(lease_s * _SECOND)
        results.append(
            frozenset(
                lease.job_id for lease in leases if tx.rows("renew_lease", (until, *fence(lease)))
            )
        )
    return results


def begin_attempt(tx: Transaction, calls: Sequence[NextAttempt]) -> list[Lease | None]:
    results: list[Lease | None] = []
    for lease, ended, lease_s in calls:
        until = tx.boot_now + int(lease_s * _SECOND)
        rows = tx.rows("next_attempt", (*_after(ended), until, *fence(lease)))
        results.append(lease._replace(attempt=lease.attempt + 1) if rows else None)
        for seq, lane, model, held in rows:
            _end_attempt(tx, seq, lease.attempt, ended)
            if held and (ended.held or not _outlives(tx, seq, lease.attempt)):
                settle(tx, seq, lease.attempt)
            n = lease.attempt + 1
            goes_to = ended.target or (lane, model)
            tx.run("insert_attempt", (seq, n, *goes_to, lease.worker_id, tx.now))
    return results


def put_back(tx: Transaction, calls: Sequence[PutBack]) -> list[bool]:
    results: list[bool] = []
    for lease, ended, run_at, deadline_at in calls:
        rows = tx.rows("put_back", (*_after(ended), run_at, deadline_at, *fence(lease)))
        results.append(bool(rows))
        for seq, tenant_id, lane, held in rows:
            _end_attempt(tx, seq, lease.attempt, ended)
            if held and (ended.held or not _outlives(tx, seq, lease.attempt)):
                settle(tx, seq, lease.attempt)
            tx.moved(tenant_id, lane, State.RUNNING, State.WAITING)
            tx.woken.add(lane)
    return results


def _outlives(tx: Transaction, seq: int, n: int) -> bool:
    """Whether what a job holds is not for its attempt `n` alone."""
    return has_place(tx, seq) or is_ordered(tx, seq, n)


def _after(ended: Retry) -> Row:
    """What the end of an attempt does to its job, as both queries begin."""
    return (
        *(ended.target or _NO_TARGET),
        ended.progress,
        *(ended.metered or _UNMETERED),
        int(ended.spent),
        _clears(ended),
    )


def _clears(ended: Retry) -> bool:
    """Whether the attempt proved that the job does not kill its worker."""
    return ended.attempt_state is AttemptState.FAILED


def record_handle(tx: Transaction, calls: Sequence[Handle]) -> list[bool]:
    return [
        bool(tx.rows("record_handle", (handle, lease.attempt, *fence(lease))))
        for lease, handle in calls
    ]


def finish_job(tx: Transaction, calls: Sequence[FinishJob]) -> list[bool]:
    attempts: list[Row] = []
    bodies: list[Row] = []
    holders: list[tuple[int, int]] = []
    results: list[bool] = []
    for lease, finish in calls:
        metered = finish.metered or _UNMETERED
        values = (finish.state.value, finish.status_code, tx.now, *metered, *fence(lease))
        rows = tx.rows("finish_job", values)
        results.append(bool(rows))
        for seq, tenant_id, lane, held in rows:
            tx.moved(tenant_id, lane, State.RUNNING, finish.state)
            if held:
                holders.append((seq, lease.attempt))
            attempts.append(
                (
                    finish.attempt_state.value,
                    tx.now,
                    finish.attempt_status_code,
                    finish.error_type,
                    finish.key_name,
                    *metered,
                    seq,
                    lease.attempt,
                )
            )
            bodies.append((seq, lease.attempt, len(finish.body), inline(finish.body)))
    tx.run_many("end_attempt", attempts)
    tx.run_many("insert_result", bodies)
    for seq, n in holders:
        settle(tx, seq, n)
    return results


def cancel_job(tx: Transaction, calls: Sequence[Cancel]) -> list[None]:
    ended = Retry(AttemptState.UNKNOWN, spent=False, error_type=CANCELLED)
    for call in calls:
        values = {"id": call.raw_id, **call.principal._asdict(), "kind": call.kind}
        for seq, attempt, tenant_id, lane, kind, model, held, state in tx.rows(
            "cancellable", values
        ):
            was = State(state)
            if was is State.RUNNING:
                _end_attempt(tx, seq, attempt, ended)
            if held:
                settle_unfetched(tx, seq, attempt)
            failure = cancelled_failure().of(provider=lane, model=model, request_type=kind)
            # Not as the attempt's result: pieces that its own finish may have written are orphans.
            _end_job(tx, seq, REQUEST_PART, State.CANCELLED, failure)
            tx.moved(tenant_id, lane, was, State.CANCELLED)
    return [None] * len(calls)


def _end_attempt(tx: Transaction, seq: int, n: int, ended: Retry) -> None:
    ended_at = tx.now if ended.ended_at is None else min(ended.ended_at, tx.now)
    values = (ended.attempt_state.value, ended_at, ended.attempt_status_code, ended.error_type)
    tx.run("end_attempt", (*values, ended.key_name, *(ended.metered or _UNMETERED), seq, n))


def release_worker(tx: Transaction, calls: Sequence[tuple[str, int]]) -> list[int]:
    return [_lose(tx, tx.rows("leases_of_worker", call), "worker_died") for call in calls]


def recover_lost_leases(tx: Transaction, calls: Sequence[int]) -> list[int]:
    return [
        _lose(tx, tx.rows("leases_run_out", (tx.boot_now, limit)), "lease_lost") for limit in calls
    ]


def _lose(tx: Transaction, rows: Sequence[Row], why: str) -> int:
    """End the attempts of leases that nobody holds any more; their outcome is unknown."""
    ended = Retry(AttemptState.UNKNOWN, spent=False, error_type=why)
    for seq, attempt, tenant_id, lane, kind, model, held, suspicion, on_unknown in rows:
        _end_attempt(tx, seq, attempt, ended)
        failure = failure_after_loss(suspicion, OnUnknown(on_unknown))
        if held and (failure is not None or not is_ordered(tx, seq, attempt)):
            settle_unfetched(tx, seq, attempt)
        if failure is None:
            tx.run("lose_lease", (tx.now, seq))
            tx.moved(tenant_id, lane, State.RUNNING, State.WAITING)
            tx.woken.add(lane)
        else:
            failure = failure.of(provider=lane, model=model, request_type=kind)
            _end_job(tx, seq, attempt, State.FAILED, failure)
            tx.moved(tenant_id, lane, State.RUNNING, State.FAILED)
    return len(rows)


def _end_job(tx: Transaction, seq: int, part: int, state: State, failure: Failure) -> None:
    """End a job without its worker's help."""
    values = (state.value, failure.status_code or 500, tx.now, tx.now, seq)
    tx.run("end_unleased", values)
    body = failure.to_json()
    tx.run("insert_result", (seq, part, len(body), body))


def expire_overdue(tx: Transaction, calls: Sequence[int]) -> list[int]:
    results: list[int] = []
    for limit in calls:
        rows = tx.rows("overdue", (tx.now, limit))
        for seq, attempt, tenant_id, lane, kind, model, held, state, started_at in rows:
            was = State(state)
            failure = queue_deadline_failure() if started_at is None else job_deadline_failure()
            if held:
                settle_unfetched(tx, seq, attempt)
            failure = failure.of(provider=lane, model=model, request_type=kind)
            _end_job(tx, seq, attempt, State.EXPIRED, failure)
            tx.moved(tenant_id, lane, was, State.EXPIRED)
        results.append(len(rows))
    return results


def delete_expired(tx: Transaction, calls: Sequence[int]) -> list[int]:
    results: list[int] = []
    for limit in calls:
        rows = tx.rows("expired", (tx.now, limit))
        keys = [(row[0],) for row in rows]
        for query in ("delete_attempts", "delete_request", "delete_result", "delete_job"):
            tx.run_many(query, keys)
        tx.run_many("delete_chunks", [(row[1],) for row in rows])
        for _, _, tenant_id, lane, state in rows:
            tx.moved(tenant_id, lane, State(state), None)
        results.append(len(rows))
    return results


def reseal_jobs(tx: Transaction, calls: Sequence[tuple[Resealed, ...]]) -> list[int]:
    return [
        sum(
            len(tx.rows("reseal_job", (becomes, id_bytes(job_id), was)))
            for job_id, was, becomes in changes
        )
        for changes in calls
    ]
