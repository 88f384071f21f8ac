"""One leased job from its claim to its end."""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import ParamSpec, TypeVar

from hermod.calls.call import Called, Caller, CallSpec
from hermod.domain.cancellation import cancelled_failure
from hermod.domain.clock import Clock
from hermod.domain.deadlines import job_deadline_failure
from hermod.domain.errors import StoreError
from hermod.domain.failpoint import failpoint
from hermod.domain.failure import Failure
from hermod.domain.job import (
    AttemptState,
    ClaimedJob,
    Finish,
    Lease,
    OnUnknown,
    Retry,
    State,
)
from hermod.domain.live import Live
from hermod.domain.outcome import Answer, Fault, Outcome
from hermod.domain.retry import GiveUp, decide
from hermod.domain.suspicion import unknown_outcome_failure
from hermod.store.api import Store
from hermod.worker.gate import ByteGate
from hermod.worker.outage import Outage

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_SECOND = 1_000_000
_LEAVING = Failure("the gateway is shutting down", status_code=503)
_UNRECORDED = Failure("the gateway could not finish this call", status_code=503)


class Stop(Enum):
    """Why a run was told to stop."""

    LEASE_LOST = "lease_lost"
    STORE_AWAY = "store_away"
    """The lease will run out before it can be renewed."""
    DRAINED = "drained"
    CALLER_GONE = "caller_gone"
    """Nobody waits for the answer any more."""
    CANCELLED = "cancelled"
    """The job has ended in the store; only the call is still out."""


class _Stopped(Exception):
    """The run was told to stop."""


class Phase(Enum):
    """What a run is doing, as far as stopping it goes."""

    WRITING = "writing"
    """Between two of the others: a store verb may be under way."""
    QUEUEING = "queueing"
    """Its large body has yet to be let into memory."""
    CALLING = "calling"
    """The upstream call is out."""
    WAITING = "waiting"
    """A backoff is waited out in the slot."""
    FINISHING = "finishing"
    """The end of the job is known and only has to be written."""


_INTERRUPTIBLE = frozenset({Phase.QUEUEING, Phase.CALLING, Phase.WAITING})


_BETWEEN_STEPS = {
    Phase.WRITING: frozenset({Stop.DRAINED, Stop.CALLER_GONE, Stop.CANCELLED}),
    Phase.FINISHING: frozenset({Stop.DRAINED}),
}
"""What takes effect at the next step when it comes during a write. A result that is there is
recorded, whoever has left."""


@dataclass(slots=True)
class Run:
    """A job in a slot of this process."""

    job: ClaimedJob
    lease: Lease
    renewed_at: float
    """Monotonic, seconds: when the lease was last known to be ours."""
    suspicion: int = 0
    """Above zero while it occupies a suspect slot."""
    task: "asyncio.Task[None] | None" = None
    stopped: Stop | None = None
    phase: Phase = Phase.WRITING
    ended: Retry | None = None
    """How the attempt ended whose backoff is being waited out."""
    due_at: int = 0
    """When that backoff is over, on the wall clock."""
    live: Live | None = None
    """Who waits for the answer on an open connection. Such a job never runs a second time: it ends
    here, however it ends."""

    def stop(self, why: Stop) -> bool:
        """Have the run end soon; False if it goes on, or was told so before.

        A write to the store is never cut short, a call or a wait is.
        """
        if self.stopped is not None or why not in _BETWEEN_STEPS.get(self.phase, Stop):
            return False  # of the lease, a write hears from the store: it may just have given it up
        self.stopped = why
        if why is Stop.LEASE_LOST:
            log.warning("job %s: lease lost, stopping", self.lease.job_id)
        if self.task is not None and self.phase in _INTERRUPTIBLE:
            self.task.cancel()
        return True

    def enter(self, phase: Phase) -> None:
        """Begin something that `stop` may cut short. Raises when it already was called."""
        self.phase = phase
        if self.stopped is not None:
            raise _Stopped


class Runner:
    """Executes runs. Beside the gates for large bodies it holds nothing that outlives one."""

    def __init__(
        self,
        store: Store,
        caller: Caller,
        clock: Clock,
        lease_s: float,
        large_bodies: int,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`large_bodies`: how many bytes of them are in memory at once, per lane."""
        self._store = store
        self._caller = caller
        self._clock = clock
        self._lease_s = lease_s
        self.outage = Outage(clock)
        """What the jobs and the loops of one worker tell about the store."""
        self._gates: defaultdict[str, ByteGate] = defaultdict(partial(ByteGate, large_bodies))
        self._chance = chance

    async def execute(self, run: Run) -> None:
        """Carry the job to its end, or to the point where it is given back."""
        try:
            await self._execute(run)
        except (asyncio.CancelledError, _Stopped):
            if run.stopped is None:
                raise
            if run.live is not None:
                await self._break_off(run, run.live, run.stopped)
            elif run.stopped is Stop.DRAINED:
                await self._give_back(run)
        except StoreError as error:
            # The lease runs out, and then this or another worker takes the job again.
            log.debug("job %s: left to its lease: %s", run.lease.job_id, error)
            self.outage.failed("writing", error)
            self.outage.left(1)
        except Exception:  # the boundary of a job: it ends as failed, the worker goes on
            log.exception("job %s: unexpected error", run.lease.job_id)
            await self._crash(run)
        finally:
            if run.live is not None:
                # Whatever went wrong with the writing: nobody shall wait for ever.
                run.live.end(Fault(_at(run.job, _UNRECORDED)))

    async def _execute(self, run: Run) -> None:
        body = run.job.body
        if body is not None:
            await self._carry(run, body)
            return
        run.enter(Phase.QUEUEING)
        arrived_at = self._clock.now()
        async with self._gates[run.job.lane].hold(run.job.size):
            run.phase = Phase.WRITING
            # The deadline is for the work, not for the wait until there is room to begin it.
            waited = max(self._clock.now() - arrived_at, 0)
            run.job = run.job._replace(deadline_at=run.job.deadline_at + waited)
            body = await self._while_leased(run, self._store.read_request, run.lease)
            if body is not None:
                await self._carry(run, body)

    async def _carry(self, run: Run, body: bytes) -> None:
        """Call until the job has ended, or has to wait for long."""
        job = run.job
        spent = job.attempts_spent
        while True:
            called = await self._call(run, body)
            outcome = called.outcome
            if isinstance(outcome, Answer):
                await self._finish(run, _completed(outcome, called.key_name), outcome)
                return
            decision = decide(
                outcome,
                self._caller.retry_policy(job.lane),
                spent=spent,
                waits=max(run.lease.attempt - 1 - spent, 0),
                remaining_s=self._remaining_s(job),
                chance=self._chance(),
            )
            live = run.live
            once = job.on_unknown is OnUnknown.FAIL and live is None
            if isinstance(decision, GiveUp) or (
                live is not None and (live.begun or not decision.keeps_slot)
            ):
                await self._finish(run, _failed(job, outcome, called.key_name), outcome)
                return
            if once and outcome.unknown:
                await self._finish(run, _unknown(job, outcome.failure.message, called.key_name))
                return
            run.ended = self._ended(outcome, called.key_name, decision.spent)
            run.due_at = self._clock.now() + int(decision.delay_s * _SECOND)
            # An outcome that is known only in memory would be unknown to whoever comes after us.
            if once or not decision.keeps_slot:
                await self._put_back(run, run.ended, run.due_at)
                return
            if not await self._next_attempt(run, run.ended, decision.delay_s):
                return
            spent += decision.spent

    async def _call(self, run: Run, body: bytes) -> Called:
        """One upstream call, under an attempt that is already committed."""
        job = run.job
        remaining_s = self._remaining_s(job)
        if remaining_s <= 0:
            return Called(Fault(job_deadline_failure(), sent=False, job_deadline=True))
        spec = CallSpec(
            kind=job.kind,
            provider=job.lane,
            model=job.model,
            body=body,
            options=job.options,
            job_id=run.lease.job_id,
            attempt=run.lease.attempt,
            remaining_s=remaining_s,
            live=run.live,
        )
        if run.stopped is not None:
            raise _Stopped
        run.phase = Phase.CALLING
        called = await self._caller.call(spec)
        run.phase = Phase.WRITING
        return called

    async def _next_attempt(self, run: Run, ended: Retry, delay_s: float) -> bool:
        """Wait in the slot, then commit the next attempt; False if the lease is lost."""
        run.enter(Phase.WAITING)
        await asyncio.sleep(delay_s)
        run.phase = Phase.WRITING
        asked_at = self._clock.monotonic()
        lease = await self._while_leased(
            run, self._store.begin_attempt, run.lease, ended, self._lease_s
        )
        run.ended = None
        if lease is None:
            return False
        run.lease = lease
        run.renewed_at = asked_at
        return True

    def _remaining_s(self, job: ClaimedJob) -> float:
        return (job.deadline_at - self._clock.now()) / _SECOND

    def _ended(self, fault: Fault, key_name: str | None, spent: bool) -> Retry:
        return Retry(
            attempt_state=_attempt_state(fault),
            spent=spent,
            error_type=fault.failure.error_type or fault.failure.type,
            attempt_status_code=fault.failure.status_code,
            key_name=key_name,
            ended_at=self._clock.now(),
        )

    async def _while_leased(
        self, run: Run, verb: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A store verb, again while the store fails, the lease lives and nobody is leaving.

        What is known here would be lost otherwise: an answer that was paid for, or how a call
        ended.
        """
        delay_s = 0.1
        while True:
            try:
                return await verb(*args, **kwargs)
            except StoreError as error:
                lease_ends_s = run.renewed_at + self._lease_s
                if run.stopped is not None or self._clock.monotonic() + delay_s > lease_ends_s:
                    raise
                self.outage.failed("writing", error)
            # Jitter, or all jobs would come at once when the store is back.
            await asyncio.sleep(delay_s * (0.5 + self._chance() / 2))
            delay_s = min(delay_s * 2, 2.0)

    async def _finish(self, run: Run, finish: Finish, outcome: Outcome | None = None) -> None:
        """End the job; `outcome` is for a caller who waits."""
        run.phase = Phase.FINISHING
        failpoint("worker.answer_before_finish")
        try:
            if not await self._while_leased(run, self._store.finish_job, run.lease, finish):
                log.warning("job %s: lease lost, its result is dropped", run.lease.job_id)
        finally:
            # An answer that was paid for reaches its caller, recorded or not.
            if run.live is not None and outcome is not None:
                run.live.end(_named(run.job, outcome))

    async def _break_off(self, run: Run, live: Live, why: Stop) -> None:
        """End a job whose caller waits, or has gone: nobody else would run it."""
        cancelled = why in {Stop.CALLER_GONE, Stop.CANCELLED}
        words = _LEAVING if why is Stop.DRAINED else _UNRECORDED
        failure = _at(run.job, cancelled_failure() if cancelled else words)
        fault = Fault(failure, unknown=run.phase is Phase.CALLING)
        live.end(fault)
        if why not in {Stop.DRAINED, Stop.CALLER_GONE}:
            return
        finish = _failed(run.job, fault, None)
        if cancelled:
            finish = finish._replace(state=State.CANCELLED)
        if run.ended is not None:
            # Between two attempts: how the last one ended is known, and may have cost money.
            finish = finish._replace(
                attempt_state=run.ended.attempt_state,
                error_type=run.ended.error_type,
                attempt_status_code=run.ended.attempt_status_code,
                key_name=run.ended.key_name,
            )
        try:
            await self._store.finish_job(run.lease, finish)
        except StoreError as error:
            log.debug("job %s: its end could not be written: %s", run.lease.job_id, error)
            self.outage.failed("writing", error)

    async def _put_back(self, run: Run, ended: Retry, run_at: int) -> None:
        if not await self._while_leased(run, self._store.put_back, run.lease, ended, run_at):
            log.warning("job %s: lease lost", run.lease.job_id)

    async def _give_back(self, run: Run) -> None:
        """Let another process have the job: a shutdown is nobody's failure."""
        job = run.job
        called = run.phase is Phase.CALLING
        try:
            if called and job.on_unknown is OnUnknown.FAIL:
                await self._store.finish_job(run.lease, _unknown(job, None, None))
            elif run.ended is not None:
                await self._store.put_back(run.lease, run.ended, run.due_at)
            else:
                state = AttemptState.UNKNOWN if called else AttemptState.UNSENT
                ended = Retry(state, spent=False, error_type=Stop.DRAINED.value)
                await self._store.put_back(run.lease, ended, self._clock.now())
        except StoreError as error:
            log.debug("job %s: could not be given back: %s", run.lease.job_id, error)
            self.outage.failed("giving jobs back", error)
            self.outage.left(1)

    async def _crash(self, run: Run) -> None:
        """A defect of ours ends the job, in Bifrost's words for a worker's panic."""
        failure = Failure("internal error: the worker failed unexpectedly", status_code=500)
        fault = Fault(failure, unknown=run.phase is Phase.CALLING)
        try:
            await self._finish(run, _failed(run.job, fault, None), fault)
        except Exception:  # nothing is left to try: the lease runs out and the job runs again
            log.exception("job %s: its end could not be written", run.lease.job_id)


def _completed(answer: Answer, key_name: str | None) -> Finish:
    return Finish(
        state=State.COMPLETED,
        status_code=200,
        body=answer.body,
        attempt_state=AttemptState.SUCCEEDED,
        attempt_status_code=200,
        key_name=key_name,
    )


def _failed(job: ClaimedJob, fault: Fault, key_name: str | None) -> Finish:
    failure = _at(job, fault.failure)
    return Finish(
        state=State.EXPIRED if fault.job_deadline else State.FAILED,
        status_code=failure.status_code or 500,
        body=failure.to_json(),
        attempt_state=_attempt_state(fault),
        error_type=failure.error_type or failure.type,
        attempt_status_code=failure.status_code,
        key_name=key_name,
    )


def _attempt_state(fault: Fault) -> AttemptState:
    return AttemptState.UNKNOWN if fault.unknown else AttemptState.FAILED


def _unknown(job: ClaimedJob, cause: str | None, key_name: str | None) -> Finish:
    failure = replace(_at(job, unknown_outcome_failure()), cause=cause)
    return Finish(
        state=State.FAILED,
        status_code=500,
        body=failure.to_json(),
        attempt_state=AttemptState.UNKNOWN,
        error_type=failure.error_type,
        key_name=key_name,
    )


def _named(job: ClaimedJob, outcome: Outcome) -> Outcome:
    """The outcome, saying on which call it came."""
    if isinstance(outcome, Answer):
        return outcome
    return replace(outcome, failure=_at(job, outcome.failure))


def _at(job: ClaimedJob, failure: Failure) -> Failure:
    return failure.of(provider=job.lane, model=job.model, request_type=job.kind)
