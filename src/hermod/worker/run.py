"""One leased job from its claim to its end."""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

from hermod.calls.call import Caller
from hermod.calls.spec import Called, CallSpec
from hermod.domain.cancellation import cancelled_failure
from hermod.domain.clock import Clock
from hermod.domain.course import Again, End, Progress, Surroundings, next_step
from hermod.domain.deadlines import job_deadline_failure
from hermod.domain.errors import StoreError
from hermod.domain.failpoint import failpoint
from hermod.domain.failure import Failure
from hermod.domain.job import (
    AttemptState,
    ClaimedJob,
    Finish,
    OnUnknown,
    Principal,
    Retry,
    State,
    Target,
)
from hermod.domain.live import Live
from hermod.domain.outcome import Answer, Fault, Outcome, Retryable
from hermod.domain.retry import STAY_S
from hermod.store.api import Store
from hermod.worker.admission import FREE, Admission, Admitted, Later
from hermod.worker.ends import attempt_state, completed, failed, located, named, unknown
from hermod.worker.gate import ByteGate
from hermod.worker.outage import Outage
from hermod.worker.running import Phase, Run, Stop, Stopped

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", Retry, Finish)

_SECOND = 1_000_000
_LEAVING = Failure("the gateway is shutting down", status_code=503)
_UNRECORDED = Failure("the gateway could not finish this call", status_code=503)


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
        admission: Admission | None = None,
    ) -> None:
        """`large_bodies`: how many bytes of them are in memory at once, per lane.

        Without an admission nothing is limited.
        """
        self._store = store
        self._caller = caller
        self._clock = clock
        self._lease_s = lease_s
        self.outage = Outage(clock)
        """What the jobs and the loops of one worker tell about the store."""
        self._gates: defaultdict[str, ByteGate] = defaultdict(partial(ByteGate, large_bodies))
        self._chance = chance
        self._admission = admission

    async def execute(self, run: Run) -> None:
        """Carry the job to its end, or to the point where it is given back."""
        try:
            await self._execute(run)
        except (asyncio.CancelledError, Stopped):
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
                run.live.end(Fault(located(run.job, _UNRECORDED)))
        if run.handle is not None and run.stopped in {Stop.CANCELLED, Stop.CALLER_GONE}:
            target = _target(run.job)
            await self._caller.call_off(
                run.job.kind, target.provider, run.handle, run.job.options, run.lease.job_id
            )

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
        progress = _progress_of(job)
        target = _target(job) if progress.at else Target(job.lane, job.model)
        targets: tuple[Target | None, ...] = ()
        tried: dict[int, Later | None] = {}
        if run.lease.attempt > 1:
            run.handle = await self._ordered_before(run)
            run.resumes = run.handle is not None
        while True:
            refused = await self._refused(run, body, target)
            later = tried[progress.at] = refused and refused.later
            called = refused or await self._call(run, body, target, progress)
            outcome = called.outcome
            run.handle = _still_out(run, called)
            if isinstance(outcome, Answer):
                await self._finish(run, completed(outcome, called.key_name), outcome)
                return
            outcome = _located(outcome, target, job.kind) if progress.at else outcome
            targets = targets or await self._targets(job, body)
            once = job.on_unknown is OnUnknown.FAIL and run.live is None
            known = [n for n, each in enumerate(targets) if each is not None]
            step = self._next_step(run, called, outcome, progress, target, known)
            if once and outcome.unknown:
                # Wherever it went next, it might be done twice; and its client must hear of it.
                if isinstance(step, Again) and outcome.retryable is not Retryable.NO:
                    await self._finish(run, unknown(job, outcome.failure.message, called.key_name))
                    return
                step = End(outcome.failure)
            if isinstance(step, End):
                ended = replace(outcome, failure=step.failure)
                await self._finish(run, failed(job, ended, outcome, called.key_name), ended)
                return
            turns = step.progress.at != progress.at
            if later is not None and (step.delay_s > 0 or not turns):
                if step.progress.at in tried:
                    await self._postpone(run, outcome, progress, step, targets, tried)
                    return
                step = replace(step, delay_s=0.0)  # it may have room before this one
            ended = self._ended(outcome, called.key_name, step.spent)
            if turns:
                ended = _of_ordered(run, ended)
                run.handle = None
                target = targets[step.progress.at] or target
            progress = step.progress
            run.ended = ended._replace(
                target=target if progress.at else None, progress=progress.encode()
            )
            run.due_at = self._clock.now() + int(step.delay_s * _SECOND)
            # An outcome that is known only in memory would be unknown to whoever comes after us.
            if once or step.delay_s > STAY_S:
                run.is_held_back = outcome.retryable is Retryable.HELD and step.delay_s > 0
                await self._put_back(run, run.ended, run.due_at)
                return
            if not await self._next_attempt(run, run.ended, step.delay_s):
                return

    def _next_step(
        self,
        run: Run,
        called: Called,
        fault: Fault,
        progress: Progress,
        target: Target,
        targets: list[int],
    ) -> End | Again:
        if run.live is not None and run.live.begun:
            return End(fault.failure)
        return next_step(
            fault,
            progress,
            Surroundings(
                policy=self._caller.retry_policy(target.provider),
                other_keys=called.other_keys,
                key_id=called.key_id,
                targets=targets,
                remaining_s=self._remaining_s(run.job),
                chance=self._chance(),
                waits=run.live is None,
            ),
        )

    async def _targets(self, job: ClaimedJob, body: bytes) -> tuple[Target | None, ...]:
        """Where the job may go: its own provider and model, then its fallbacks."""
        own = Target(job.lane, job.model)
        return own, *await self._caller.fallbacks(body, job.options, job.lane)

    async def _refused(self, run: Run, body: bytes, target: Target) -> "_NotCalled | None":
        """Why the target may not be called now, if it may not."""
        admission = self._admission
        # What was ordered is fetched, whatever the limits say now: it is reserved for.
        if admission is None or run.handle is not None:
            return None
        # While it waits in there, a job that must not be sent twice would look as if it were.
        stays = run.live is not None or run.job.on_unknown is not OnUnknown.FAIL
        ends_s = self._clock.monotonic() + (STAY_S if stays else 0.0)
        while True:
            found = await self._while_leased(run, admission.admit, run.job, run.lease, target, body)
            if isinstance(found, Admitted):
                run.admitted = found
                if run.job.held:
                    run.job = run.job._replace(held=False)
                return None
            if found is None:
                run.stopped = Stop.LEASE_LOST
                raise Stopped
            if isinstance(found, Fault):
                return _NotCalled(found)
            left_s = ends_s - self._clock.monotonic()
            if found.stay is None or left_s <= 0:
                if run.live is not None or found.at is None:
                    return _NotCalled(found.fault)
                return _NotCalled(replace(found.fault, retryable=Retryable.HELD), later=found)
            run.enter(Phase.QUEUEING)
            await admission.room(found.stay, min(left_s, 1.0))
            run.phase = Phase.WRITING

    async def _postpone(
        self,
        run: Run,
        fault: Fault,
        progress: Progress,
        step: Again,
        targets: tuple[Target | None, ...],
        tried: dict[int, Later | None],
    ) -> None:
        """Give the job up until one of its targets has room for it: it counts as not begun."""
        assert self._admission is not None
        job = run.job
        rooms = {n: (later.at or 0, later) for n, later in tried.items() if later is not None}
        soonest = min(rooms, key=lambda n: rooms[n][0])
        run_at = self._admission.puts_off(job, rooms[soonest][1])
        there = step.progress.at
        if soonest != progress.at:
            progress = step.progress
        if there != progress.at and tried[there] is None:
            # It was called, and said when it may be called again.
            due_at = self._clock.now() + int(step.delay_s * _SECOND)
            if due_at < run_at:
                progress, run_at = step.progress, due_at
        ended = self._ended(fault, None, spent=False)._replace(
            target=targets[progress.at] if progress.at else None, progress=progress.encode()
        )
        until = self._admission.waits_until(job)
        if not await self._while_leased(run, self._store.put_back, run.lease, ended, run_at, until):
            log.warning("job %s: lease lost", run.lease.job_id)

    def _settled(self, run: Run) -> None:
        """What the attempt held is free again, or kept by whoever comes after us."""
        admitted, run.admitted, run.resumes = run.admitted, FREE, False
        if self._admission is not None:
            self._admission.ended(admitted)

    async def _call(self, run: Run, body: bytes, target: Target, progress: Progress) -> Called:
        """One upstream call, under an attempt that is already committed."""
        job = run.job
        remaining_s = self._remaining_s(job)
        if remaining_s <= 0:
            return Called(Fault(job_deadline_failure(), sent=False, job_deadline=True))
        spec = CallSpec(
            job.kind,
            target.provider,
            target.model,
            body,
            job.options,
            run.lease.job_id,
            run.lease.attempt,
            remaining_s,
            run.live,
            progress.dead,
            progress.tired,
            progress.at > 0,
            run.admitted.key_ids,
            run.handle,
            partial(self._note_handle, run),
            # While it waits in there, a job that must not be sent twice would look as if it were.
            0.0 if job.on_unknown is OnUnknown.FAIL and run.live is None else STAY_S,
            run.live is not None and progress.comes_again,
        )
        if run.stopped is not None:
            raise Stopped
        run.phase = Phase.CALLING
        called = await self._caller.call(spec)
        run.phase = Phase.WRITING
        return called

    async def _note_handle(self, run: Run, handle: str) -> None:
        """So that whoever comes after us asks for the work instead of ordering it again."""
        run.handle = handle
        await self._store.record_handle(run.lease, handle)

    async def _ordered_before(self, run: Run) -> str | None:
        """The work that attempts before this run ordered, if their upstream can be asked."""
        job, attempt = run.job, run.lease.attempt
        target = _target(job)
        if not self._caller.orders(job.kind, target.provider):
            return None
        principal = Principal(job.tenant_id, job.owner)
        found = await self._store.read_attempts(run.lease.job_id, principal)
        # Not only of the last one: it may have asked for the work of the one before it.
        same = [each for each in found if each.n < attempt and (each.lane, each.model) == target]
        return next((each.handle for each in reversed(same) if each.handle), None)

    async def _next_attempt(self, run: Run, ended: Retry, delay_s: float) -> bool:
        """Wait in the slot, then commit the next attempt; False if the lease is lost."""
        run.enter(Phase.WAITING)
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        run.phase = Phase.WRITING
        asked_at = self._clock.monotonic()
        ended = ended._replace(held=run.settles)
        lease = await self._while_leased(
            run, self._store.begin_attempt, run.lease, ended, self._lease_s
        )
        run.ended = None
        if lease is None or run.handle is None:
            self._settled(run)
        if lease is None:
            return False
        run.lease = lease
        run.job = run.job._replace(target=ended.target, progress=ended.progress)
        run.renewed_at = asked_at
        return True

    def _remaining_s(self, job: ClaimedJob) -> float:
        return (job.deadline_at - self._clock.now()) / _SECOND

    def _ended(self, fault: Fault, key_name: str | None, spent: bool) -> Retry:
        state = AttemptState.UNSENT if fault.retryable is Retryable.HELD else attempt_state(fault)
        return Retry(
            attempt_state=state,
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
        finish = _of_ordered(run, finish._replace(held=run.holds))
        try:
            if not await self._while_leased(run, self._store.finish_job, run.lease, finish):
                log.warning("job %s: lease lost, its result is dropped", run.lease.job_id)
        finally:
            self._settled(run)
            # An answer that was paid for reaches its caller, recorded or not.
            if run.live is not None and outcome is not None:
                run.live.end(named(run.job, outcome))

    async def _break_off(self, run: Run, live: Live, why: Stop) -> None:
        """End a job whose caller waits, or has gone: nobody else would run it."""
        cancelled = why in {Stop.CALLER_GONE, Stop.CANCELLED}
        words = _LEAVING if why is Stop.DRAINED else _UNRECORDED
        failure = located(run.job, cancelled_failure() if cancelled else words)
        fault = Fault(failure, unknown=run.phase is Phase.CALLING)
        live.end(fault)
        if why not in {Stop.DRAINED, Stop.CALLER_GONE}:
            return
        finish = failed(run.job, fault, fault, None)._replace(held=run.holds)
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
        finish = _of_ordered(run, finish)
        try:
            await self._store.finish_job(run.lease, finish)
        except StoreError as error:
            log.debug("job %s: its end could not be written: %s", run.lease.job_id, error)
            self.outage.failed("writing", error)

    async def _put_back(self, run: Run, ended: Retry, run_at: int) -> None:
        ended = ended._replace(held=run.settles)
        if not await self._while_leased(run, self._store.put_back, run.lease, ended, run_at):
            log.warning("job %s: lease lost", run.lease.job_id)
        self._settled(run)

    async def _give_back(self, run: Run) -> None:
        """Let another process have the job: a shutdown is nobody's failure."""
        job = run.job
        called = run.phase is Phase.CALLING
        try:
            held = run.settles  # if it has only its place in the queue, it keeps that
            if called and job.on_unknown is OnUnknown.FAIL:
                finish = unknown(job, None, None)._replace(held=run.holds)
                await self._store.finish_job(run.lease, finish)
            elif run.ended is not None:
                ended = run.ended._replace(held=held)
                await self._store.put_back(run.lease, ended, run.due_at)
            else:
                state = AttemptState.UNKNOWN if called else AttemptState.UNSENT
                ended = Retry(state, spent=False, error_type=Stop.DRAINED.value, held=held)
                await self._store.put_back(run.lease, _kept(ended, job), self._clock.now())
        except StoreError as error:
            log.debug("job %s: could not be given back: %s", run.lease.job_id, error)
            self.outage.failed("giving jobs back", error)
            self.outage.left(1)

    async def _crash(self, run: Run) -> None:
        """A defect of ours ends the job, in Bifrost's words for a worker's panic."""
        failure = Failure("internal error: the worker failed unexpectedly", status_code=500)
        fault = Fault(failure, unknown=run.phase is Phase.CALLING)
        try:
            await self._finish(run, failed(run.job, fault, fault, None), fault)
        except Exception:  # nothing is left to try: the lease runs out and the job runs again
            log.exception("job %s: its end could not be written", run.lease.job_id)


class _NotCalled(Called, frozen=True):
    """A call that may not be made."""

    later: Later | None = None
    """Where it is worth waiting until it may be made."""


def _located(fault: Fault, target: Target, kind: str) -> Fault:
    """The fault, saying at which fallback it happened."""
    failure = fault.failure.of(provider=target.provider, model=target.model, request_type=kind)
    return replace(fault, failure=failure)


def _still_out(run: Run, called: Called) -> str | None:
    """What can still be asked for after a call: also what could not be asked for now."""
    outcome = called.outcome
    if called.handle is None and isinstance(outcome, Fault) and not outcome.sent:
        return run.handle
    return called.handle


def _of_ordered(run: Run, ended: E) -> E:
    """The end of an attempt after which nobody asks for what was ordered: it may be done yet."""
    return ended if run.handle is None else ended._replace(attempt_state=AttemptState.UNKNOWN)


def _target(job: ClaimedJob) -> Target:
    """Where its next call goes."""
    return job.target or Target(job.lane, job.model)


def _progress_of(job: ClaimedJob) -> Progress:
    """What an earlier run remembered; a text of another release may mean nothing here."""
    try:
        if job.progress is not None:
            return Progress.decode(job.progress)
    except ValueError:
        log.warning("job %s: its progress cannot be read, it begins anew", job.lease.job_id)
    return Progress(spent=job.attempts_spent)


def _kept(ended: Retry, job: ClaimedJob) -> Retry:
    """Of a job that is given back as it came: where it was to go, and what it knew."""
    return ended._replace(target=job.target, progress=job.progress)
