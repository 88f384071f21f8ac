"""What goes into a statement for many calls, and what comes out of it.

A call is a row; the columns travel as arrays, in the order of the `unnest` of their query.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from hermod.domain.job import (
    AttemptState,
    Claim,
    ClaimedJob,
    Finish,
    JobView,
    Lease,
    NewJob,
    OnUnknown,
    Principal,
    Retry,
    State,
    Target,
    size_of,
)
from hermod.domain.meter import Hold
from hermod.store.payloads import inline
from hermod.store.postgres.driver import Row

SECOND: Final = 1_000_000
_NO_TARGET: Final = (None, None)
_UNMETERED: Final = (None, None, None)
_STATES: Final = {state.value: state for state in State}


class Submit(NamedTuple):
    job: NewJob
    claim: Claim | None
    pending: Hold | None = None
    """Only without a claim."""


class Read(NamedTuple):
    job_id: str
    principal: Principal
    kind: str | None


class Stored(NamedTuple):
    """A job as it was read, and where its result lies when that is large."""

    view: JobView
    part: int | None
    size: int | None


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

    @property
    def ended(self) -> Finish:
        return self.finish


class Fenced(Protocol):
    """A call that ends an attempt."""

    @property
    def lease(self) -> Lease: ...

    @property
    def ended(self) -> Retry | Finish: ...


class Became(NamedTuple):
    """What came of an attempt, and where its job stands now."""

    state: str
    attempt: int
    worker_id: str | None
    run_at: int
    outcome: str
    error_type: str | None


def microseconds(seconds: float) -> int:
    return int(seconds * SECOND)


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as columns; empty ones when there is no row."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def submit_values(calls: Sequence[Submit]) -> list[list[Any]]:
    """$3 to $23 of `submit_job`."""
    return columns(map(_submit_row, calls), 21)


def _submit_row(call: Submit) -> tuple[Any, ...]:
    job, claim, pending = call
    return (
        job.id,
        job.tenant_id,
        job.owner,
        job.kind,
        job.mode.value,
        job.lane,
        job.model,
        job.priority,
        job.on_unknown.value,
        job.created_at,
        job.queue_deadline_at,
        job.ttl_s,
        job.ttl_requested,
        job.request_id,
        job.options,
        None if claim is None else claim.worker_id,
        None if claim is None else microseconds(claim.lease_s),
        None if claim is None else microseconds(claim.job_deadline_s),
        pending is not None,
        size_of(job.body),
        inline(job.body),
    )


def read_values(calls: Sequence[Read]) -> list[list[Any]]:
    """$2 to $7 of `read_job`."""
    return columns(((job_id, *principal, kind) for job_id, principal, kind in calls), 6)


def stored(job_id: str, row: Row) -> Stored:
    """A row of `read_job`, after its place."""
    view = JobView(
        id=job_id,
        kind=row[0],
        state=_STATES[row[1]],
        created_at=row[2],
        completed_at=row[3],
        expires_at=row[4],
        ttl_s=row[5],
        ttl_requested=row[6],
        status_code=row[7],
        request_id=row[8],
        lane=row[9],
        model=row[10],
        body=row[13],
        input_tokens=row[14],
        output_tokens=row[15],
        cost_usd_nanos=row[16],
        estimated=row[17],
    )
    return Stored(view, part=row[11], size=row[12])


def claimed(rows: Iterable[Row], claim: Claim) -> list[ClaimedJob]:
    """The rows of a claim, in their order."""
    return [
        ClaimedJob(
            lease=Lease(str(row[0]), row[1], claim.worker_id),
            tenant_id=row[2],
            owner=row[3],
            kind=row[4],
            lane=row[5],
            model=row[6],
            created_at=row[7],
            deadline_at=row[8],
            attempts_spent=row[9],
            suspicion=row[10],
            on_unknown=OnUnknown(row[11]),
            ttl_s=row[12],
            options=row[13],
            size=row[14],
            body=row[15],
            target=None if row[16] is None else Target(row[16], row[17]),
            progress=row[18],
            held=row[19],
        )
        for row in rows
    ]


def fence_values(leases: Iterable[Lease]) -> list[list[Any]]:
    """Ids, fencing tokens and workers."""
    return columns(leases, 3)


def _ended_row(lease: Lease, ended: Retry) -> tuple[Any, ...]:
    return (
        *lease,
        ended.attempt_state.value,
        ended.spent,
        text(ended.error_type),
        ended.attempt_status_code,
        text(ended.key_name),
        ended.ended_at,
        *(ended.metered or _UNMETERED),
        *map(text, ended.target or _NO_TARGET),
        text(ended.progress),
    )


def next_attempt_values(calls: Sequence[NextAttempt]) -> list[list[Any]]:
    """$3 to $18 of `begin_attempt`."""
    rows = ((*_ended_row(call.lease, call.ended), microseconds(call.lease_s)) for call in calls)
    return columns(rows, 16)


def put_back_values(calls: Sequence[PutBack]) -> list[list[Any]]:
    """$2 to $18 of `put_back`."""
    rows = ((*_ended_row(call.lease, call.ended), call.run_at, call.deadline_at) for call in calls)
    return columns(rows, 17)


def finish_values(calls: Sequence[FinishJob]) -> list[list[Any]]:
    """$2 to $15 of `finish_job`."""
    return columns((_finish_row(lease, finish) for lease, finish in calls), 14)


def _finish_row(lease: Lease, finish: Finish) -> tuple[Any, ...]:
    return (
        *lease,
        finish.state.value,
        finish.status_code,
        finish.attempt_state.value,
        text(finish.error_type),
        finish.attempt_status_code,
        text(finish.key_name),
        *(finish.metered or _UNMETERED),
        len(finish.body),
        inline(finish.body),
    )


def text(value: str | None) -> str | None:
    """What an upstream called something, as PostgreSQL can keep it: no NUL, no half characters."""
    if value is None:
        return None
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


# What a write that may have happened has left behind. The writer knows its attempt by its fencing
# token, and by how it said that the attempt ended.


def has_finished(call: FinishJob, became: Became) -> bool:
    return became.state == call.finish.state.value and _ended_so(
        became, call.finish.attempt_state, call.finish.error_type
    )


def was_put_back(call: PutBack, became: Became) -> bool:
    return (became.attempt, became.state, became.run_at) == (
        call.lease.attempt,
        State.WAITING.value,
        call.run_at,
    ) and _ended_so(became, call.ended.attempt_state, call.ended.error_type)


def has_begun(call: NextAttempt, became: Became) -> bool:
    return (became.attempt, became.state, became.worker_id) == (
        call.lease.attempt + 1,
        State.RUNNING.value,
        call.lease.worker_id,
    ) and _ended_so(became, call.ended.attempt_state, call.ended.error_type)


def _ended_so(became: Became, outcome: AttemptState, error_type: str | None) -> bool:
    return (became.outcome, became.error_type) == (outcome.value, text(error_type))
