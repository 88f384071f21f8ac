"""What the store's verbs mean, on a dictionary. Its clock is theirs."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hermod.domain.cancellation import cancelled_failure
from hermod.domain.deadlines import job_deadline_failure, queue_deadline_failure
from hermod.domain.failure import Failure
from hermod.domain.job import (
    TERMINAL,
    AttemptState,
    Claim,
    Finish,
    JobView,
    Lease,
    Metered,
    NewJob,
    OnUnknown,
    Retry,
    State,
    Target,
)
from hermod.domain.meter import (
    EMPTY,
    Hold,
    Meter,
    Refusal,
    Unit,
    is_estimate,
    refusal,
    rolled,
    settled,
)
from hermod.domain.suspicion import (
    POISON_AT,
    SUSPECT_FROM,
    poison_failure,
    unknown_outcome_failure,
)
from tests.store.backends import SECOND, ManualClock

MONEY: Final = "budget"
"""The meter that whoever holds money holds it of."""


@dataclass
class Cost:
    """What an attempt has used, once it has ended."""

    tokens: tuple[int, int] | None = None
    usd_nanos: int | None = None
    estimated: bool = False
    held: bool = False
    """Whether it was charged to the budget."""


@dataclass
class Job:
    """A job as it should be."""

    new: NewJob
    state: State
    deadline_at: int
    run_at: int = 0
    worker_id: str | None = None
    lease_until: int = 0
    begun: bool = False
    spent: int = 0
    suspicion: int = 0
    attempts: list[AttemptState] = field(default_factory=list[AttemptState])
    targets: list[Target] = field(default_factory=list[Target])
    """Where each attempt went."""
    costs: list[Cost] = field(default_factory=list[Cost])
    """Of each attempt."""
    holds: list[Hold] = field(default_factory=list[Hold])
    target: Target | None = None
    progress: str | None = None
    status_code: int | None = None
    completed_at: int | None = None
    expires_at: int | None = None
    result: bytes | None = None

    @property
    def is_suspect(self) -> bool:
        return self.suspicion >= SUSPECT_FROM

    @property
    def used(self) -> tuple[int | None, int | None, int | None]:
        """Tokens of the input, of the output, and what they cost."""
        tokens = [each.tokens for each in self.costs if each.tokens is not None]
        prices = [each.usd_nanos for each in self.costs if each.usd_nanos is not None]
        return (
            sum(each[0] for each in tokens) if tokens else None,
            sum(each[1] for each in tokens) if tokens else None,
            sum(prices) if prices else None,
        )

    @property
    def has_place(self) -> bool:
        """Whether what it holds is its place among the pending jobs."""
        return any(hold.unit is Unit.PENDING for hold in self.holds)

    @property
    def charged(self) -> int:
        """What of its cost the budget must know of."""
        return sum(each.usd_nanos or 0 for each in self.costs if each.held)


class Model:
    """Every job that there should be, oldest first."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.jobs: dict[str, Job] = {}
        self.meters: dict[str, Meter] = {}
        self.charged_before = 0
        """What jobs that are deleted have cost."""

    # Which jobs a verb may touch

    def held(self, lease: Lease) -> Job | None:
        """The job that a lease is good for."""
        job = self.jobs.get(lease.job_id)
        if job is None or job.state is not State.RUNNING:
            return None
        return job if (len(job.attempts), job.worker_id) == lease[1:] else None

    def waiting(self, wanted: Callable[[Job], bool]) -> list[Job]:
        """Due waiting jobs, those that were due first first."""
        now = self._clock.now()
        due = [
            job
            for job in self.in_state(State.WAITING)
            if job.run_at <= now <= job.deadline_at and wanted(job)
        ]
        return sorted(due, key=lambda job: job.run_at)

    def queued(self, lane: str) -> list[Job]:
        """Queued jobs of a lane, by priority and age."""
        now = self._clock.now()
        due = [
            job
            for job in self.in_state(State.QUEUED)
            if job.new.lane == lane and now <= job.deadline_at
        ]
        return sorted(due, key=lambda job: -job.new.priority)

    def in_state(self, *states: State) -> list[Job]:
        return [job for job in self.jobs.values() if job.state in states]

    def leased_by(self, worker_id: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.worker_id == worker_id]

    def run_out(self) -> list[Job]:
        now = self._clock.lease
        return [job for job in self.in_state(State.RUNNING) if job.lease_until < now]

    def overdue(self) -> list[Job]:
        now = self._clock.now()
        return [job for job in self.in_state(State.QUEUED, State.WAITING) if job.deadline_at < now]

    def expired(self) -> list[Job]:
        now = self._clock.now()
        return [j for j in self.jobs.values() if j.expires_at is not None and j.expires_at <= now]

    # What it does to them

    def submit(
        self, new: NewJob, claim: Claim | None, pending: Hold | None
    ) -> Lease | Refusal | None:
        job = Job(new, State.QUEUED, new.queue_deadline_at)
        if pending and not claim and (refused := self.reserve(job, [pending])):
            return refused[0]
        self.jobs[new.id] = job
        return self.start(job, claim) if claim else None

    def reserve(self, job: Job, holds: Sequence[Hold]) -> tuple[Refusal, ...]:
        if job.holds and not job.has_place:
            return ()
        now = self._clock.now()
        meters = [rolled(self.meters.get(hold[0], EMPTY), hold.window, now) for hold in holds]
        asked = [refusal(hold, at, now) for hold, at in zip(holds, meters, strict=True)]
        refused = tuple(each for each in asked if each)
        if not refused:
            self._give_place_up(job)
            job.holds = list(holds)
            for hold, at in zip(holds, meters, strict=True):
                self.meters[hold.meter_id] = at._replace(reserved=at.reserved + hold.amount)
        return refused

    def _give_place_up(self, job: Job) -> None:
        for hold in job.holds:
            at = self.meters[hold.meter_id]
            self.meters[hold.meter_id] = at._replace(reserved=at.reserved - hold.amount)
        job.holds = []

    def _settle(self, job: Job, state: AttemptState, metered: Metered | None) -> None:
        cost = Cost()
        if metered:
            cost.tokens, cost.usd_nanos = metered[:2], metered.cost_usd_nanos
        for hold in job.holds:
            at = self.meters[hold.meter_id]
            used = settled(hold.unit, hold.amount, state, metered)
            self.meters[hold.meter_id] = Meter(
                at.began_at, at.used + used, at.reserved - hold.amount, at.total + used
            )
            cost.held |= hold.meter_id == MONEY
            if is_estimate(hold.unit, hold.amount, state, metered):
                cost.estimated = True
                if hold.unit is Unit.USD_NANOS:
                    cost.usd_nanos = used
        job.holds = []
        if job.costs:
            job.costs[-1] = cost

    def start(self, job: Job, claim: Claim) -> Lease:
        if not job.begun:
            job.begun = True
            job.deadline_at = self._clock.now() + int(claim.job_deadline_s * SECOND)
        job.state = State.RUNNING
        job.worker_id = claim.worker_id
        self.renew(job, claim.lease_s)
        job.attempts.append(AttemptState.SENDING)
        job.costs.append(Cost())
        job.targets.append(job.target or Target(job.new.lane, job.new.model))
        return Lease(job.new.id, len(job.attempts), claim.worker_id)

    def renew(self, job: Job, lease_s: float) -> None:
        job.lease_until = self._clock.lease + int(lease_s * SECOND)

    def end_attempt(self, job: Job, ended: Retry) -> None:
        job.attempts[-1] = ended.attempt_state
        job.spent += ended.spent
        if job.has_place and not ended.held:
            holds, job.holds = job.holds, []
            self._settle(job, ended.attempt_state, ended.metered)
            job.holds = holds
        else:
            self._settle(job, ended.attempt_state, ended.metered)
        job.target, job.progress = ended.target, ended.progress
        if ended.attempt_state is AttemptState.FAILED:
            job.suspicion = 0

    def wait(self, job: Job, run_at: int, deadline_at: int | None = None) -> None:
        if deadline_at is not None:
            job.begun, job.deadline_at = False, deadline_at
        job.state = State.WAITING
        job.run_at = run_at
        job.worker_id = None

    def finish(self, job: Job, finish: Finish) -> None:
        job.attempts[-1] = finish.attempt_state
        self._settle(job, finish.attempt_state, finish.metered)
        self._end(job, finish.state, finish.status_code, finish.body)

    def lose(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            job.attempts[-1] = AttemptState.UNKNOWN
            self._settle(job, AttemptState.UNKNOWN, None)
            job.suspicion += 1
            if job.new.on_unknown is OnUnknown.FAIL:
                self._fail(job, State.FAILED, unknown_outcome_failure())
            elif job.suspicion >= POISON_AT:
                self._fail(job, State.FAILED, poison_failure())
            else:
                self.wait(job, self._clock.now())

    def expire(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._give_place_up(job)
            failure = job_deadline_failure() if job.begun else queue_deadline_failure()
            self._fail(job, State.EXPIRED, failure)

    def cancel(self, job: Job) -> None:
        if job.state in TERMINAL:
            return
        if job.state is State.RUNNING:
            job.attempts[-1] = AttemptState.UNKNOWN
        if job.state is State.RUNNING:
            self._settle(job, AttemptState.UNKNOWN, None)
        self._give_place_up(job)
        self._fail(job, State.CANCELLED, cancelled_failure())

    def delete(self, jobs: Iterable[Job]) -> None:
        for job in list(jobs):
            self.charged_before += job.charged
            del self.jobs[job.new.id]

    def _fail(self, job: Job, state: State, failure: Failure) -> None:
        failure = failure.of(provider=job.new.lane, model=job.new.model, request_type=job.new.kind)
        assert failure.status_code
        self._end(job, state, failure.status_code, failure.to_json())

    def _end(self, job: Job, state: State, status_code: int, result: bytes) -> None:
        assert job.state not in TERMINAL
        job.state = state
        job.worker_id = None
        job.status_code = status_code
        job.result = result
        job.completed_at = self._clock.now()
        job.expires_at = job.completed_at + job.new.ttl_s * SECOND

    # How it looks

    def view(self, job: Job) -> JobView | None:
        if job.expires_at is not None and job.expires_at <= self._clock.now():
            return None
        new = job.new
        input_tokens, output_tokens, cost_usd_nanos = job.used
        return JobView(
            id=new.id,
            kind=new.kind,
            state=job.state,
            created_at=new.created_at,
            completed_at=job.completed_at,
            expires_at=job.expires_at,
            ttl_s=new.ttl_s,
            ttl_requested=new.ttl_requested,
            status_code=job.status_code,
            request_id=new.request_id,
            lane=new.lane,
            model=new.model,
            body=job.result,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost_usd_nanos=cost_usd_nanos,
            estimated=any(cost.estimated for cost in job.costs),
        )

    def counts(self) -> Mapping[tuple[str, str, State], int]:
        return Counter((job.new.tenant_id, job.new.lane, job.state) for job in self.jobs.values())

    def due_lanes(self) -> Mapping[str, int]:
        due: dict[str, int] = {}
        for job in self.jobs.values():
            if job.state is State.QUEUED:
                due[job.new.lane] = 0
            elif job.state is State.WAITING and not job.is_suspect:
                due[job.new.lane] = min(job.run_at, due.get(job.new.lane, job.run_at))
        return due

    def suspects_due_at(self) -> int | None:
        waiting = self.in_state(State.WAITING)
        return min((job.run_at for job in waiting if job.is_suspect), default=None)


def run_ats(jobs: Sequence[Job]) -> list[int]:
    """When they were due: those that were due at once have no order."""
    return [job.run_at for job in jobs]
