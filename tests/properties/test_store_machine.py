"""Any sequence of verbs and crashes leaves the store as the model says (reliability.md 6)."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hermod.domain.errors import LimitReached
from hermod.domain.job import (
    TERMINAL,
    AttemptState,
    Claim,
    ClaimedJob,
    Lease,
    Metered,
    OnUnknown,
    Principal,
    Retry,
    State,
    Target,
)
from hermod.domain.meter import Hold, Unit, Window
from hermod.store.api import Store
from tests.properties.store_model import MONEY, Job, Model, run_ats
from tests.store.backends import BACKENDS, SECOND, Database
from tests.store.jobs import ADMIN, COMPLETED, LEASE_S, OWNER, new_job
from tests.support.postgres import Cluster

EXAMPLES = {"SqliteDatabase": 60, "PostgresDatabase": 15}
"""So many that both take less than half a minute: a server is further away than a file."""

QUEUE_WAIT_S = 3 * LEASE_S
JOB_DEADLINE_S = 6 * LEASE_S
TTL_S = 60
SIZES = st.sampled_from([0, 100, 70_000])
LANES = st.sampled_from(["openai", "groq"])
WORKERS = st.sampled_from(["worker-1", "worker-2"])
LIMITS = st.sampled_from([0, 1, 2, 1_000])
SECONDS = st.sampled_from([0.000_001, LEASE_S / 2, LEASE_S + 1, 2 * LEASE_S])
USED = (None, Metered(3, 0, None), Metered(10, 5, 700))
METERED = st.sampled_from(USED)
ENDS = st.sampled_from(
    [
        Retry(state, spent, metered=metered, target=target, progress=progress)
        for state in (AttemptState.FAILED, AttemptState.UNSENT, AttemptState.UNKNOWN)
        for spent in (True, False)
        for metered in USED
        for target in (None, Target("anthropic", "claude"), Target("groq", "m"))
        for progress in (None, '{"dead":["main"]}')
    ]
)

PERIOD = Window(lasts_us=int(2 * LEASE_S * SECOND))
DAY_US = 86_400 * SECOND
MIDNIGHT = Window(1_760_000_000_000_000 // DAY_US * DAY_US, DAY_US)
PENDING = Hold("pending", Unit.PENDING, 1, 3, Window(), "VK")
HOLDS = st.sampled_from(
    [
        holds
        for money in (0, 40, 1_500)
        for holds in (
            (Hold(MONEY, Unit.USD_NANOS, money, 3_000, PERIOD, "VK"),),
            (
                Hold("tokens", Unit.TOKENS, 4, 30, PERIOD, "VK"),
                Hold("parallel", Unit.PARALLEL, 1, 2, Window(), "VK"),
                Hold(MONEY, Unit.USD_NANOS, money, 3_000, PERIOD, "VK"),
            ),
            (
                Hold("requests", Unit.REQUESTS, 1, 5, MIDNIGHT, "Team"),
                Hold("tokens", Unit.TOKENS, 20, 30, PERIOD, "VK"),
            ),
        )
    ]
)

MACHINE: st.SearchStrategy[Any] = st.runner()
HELD = MACHINE.flatmap(lambda machine: st.sampled_from(machine.held()))
GIVEN = MACHINE.flatmap(lambda machine: st.sampled_from(machine.given))
"""Every lease that was ever given out, most of them stale."""
KNOWN = MACHINE.flatmap(lambda machine: st.sampled_from(list(machine.model.jobs.values())))
"""Every job that there should be, whatever has become of it."""

Answer = TypeVar("Answer")


def claim_of(worker_id: str) -> Claim:
    return Claim(worker_id, LEASE_S, JOB_DEADLINE_S)


def when(anything: Callable[[Model], Sequence[object]]) -> Callable[[Any], Any]:
    """Have a rule run only when it finds something to do."""
    return precondition(lambda machine: bool(anything(machine.model)))


class StoreMachine(RuleBasedStateMachine):
    """One database, two workers, one model."""

    new_database: Callable[[Path], AbstractContextManager[Database]]

    def __init__(self) -> None:
        super().__init__()
        self._loop = uvloop.new_event_loop()
        self._resources = ExitStack()
        folder = Path(self._resources.enter_context(TemporaryDirectory()))
        self._database = self._resources.enter_context(self.new_database(folder))
        self._clock = self._database.clock
        self.model = Model(self._clock)
        self.given: list[Lease] = []
        self._opened = AsyncExitStack()
        self._store = self._open()

    def _open(self) -> Store:
        return self._run(self._opened.enter_async_context(self._database.open()))

    def _run(self, verb: Coroutine[Any, Any, Answer]) -> Answer:
        return self._loop.run_until_complete(verb)

    def teardown(self) -> None:
        self._run(self._opened.aclose())
        self._run(self._loop.shutdown_default_executor())
        self._loop.close()
        self._resources.close()

    def held(self) -> list[Lease]:
        """Every lease that is good for something."""
        return [lease for lease in self.given if self.model.held(lease)]

    # Clients

    @initialize(lane=LANES, queued=st.integers(0, 2), running=st.integers(0, 2))
    def begin(self, lane: str, queued: int, running: int) -> None:
        for _ in range(queued):
            self.submit(lane, 100, 0, OnUnknown.RETRY, None, None)
        for _ in range(running):
            self.submit(lane, 100, 0, OnUnknown.RETRY, "worker-1", None)

    @rule(
        lane=LANES,
        size=SIZES,
        priority=st.integers(-1, 1),
        on_unknown=st.sampled_from([OnUnknown.RETRY] * 3 + [OnUnknown.FAIL]),
        worker_id=st.none() | WORKERS,
        pending=st.sampled_from([None, PENDING]),
    )
    def submit(
        self,
        lane: str,
        size: int,
        priority: int,
        on_unknown: OnUnknown,
        worker_id: str | None,
        pending: Hold | None,
    ) -> None:
        job = new_job(
            self._database,
            lane=lane,
            body=b"x" * size,
            priority=priority,
            on_unknown=on_unknown,
            ttl_s=TTL_S,
            queue_deadline_at=self._clock.now() + int(QUEUE_WAIT_S * SECOND),
        )
        claim = claim_of(worker_id) if worker_id else None
        expected = self.model.submit(job, claim, pending)
        try:
            lease = self._run(self._store.submit_job(job, claim, pending))
        except LimitReached as limit:
            assert limit.refusal == expected
            return
        assert lease == expected
        self.given += [lease] if lease else []

    @when(lambda model: list(model.jobs))
    @rule(job=KNOWN, principal=st.sampled_from([OWNER, ADMIN]))
    def cancel(self, job: Job, principal: Principal) -> None:
        view = self._run(self._store.cancel_job(job.new.id, principal, job.new.kind))
        self.model.cancel(job)
        assert view == self.model.view(job)

    @when(lambda model: model.in_state(State.QUEUED, State.WAITING, State.RUNNING))
    @rule(job=KNOWN)
    def cancel_what_is_somebody_elses(self, job: Job) -> None:
        stranger = Principal(job.new.tenant_id, "vk:2")
        assert self._run(self._store.cancel_job(job.new.id, stranger, None)) is None
        assert self._run(self._store.cancel_job(job.new.id, ADMIN, "embedding")) is None

    # Workers

    @when(lambda model: model.in_state(State.QUEUED, State.WAITING))
    @rule(lane=LANES, limit=LIMITS, worker_id=WORKERS)
    def claim(self, lane: str, limit: int, worker_id: str) -> None:
        claim = claim_of(worker_id)
        claimed = self._run(self._store.claim_jobs(lane, limit, claim))
        due = self.model.waiting(lambda job: job.new.lane == lane and not job.is_suspect)
        queued = self.model.queued(lane)
        jobs = self._jobs(claimed)
        waited = jobs[: min(limit, len(due))]
        assert all(job in due for job in waited)
        assert run_ats(waited) == run_ats(due[:limit])
        assert jobs[len(waited) :] == queued[: limit - len(waited)]
        self._start(claimed, claim)

    @when(lambda model: model.waiting(lambda job: job.is_suspect))
    @rule(levels=st.sampled_from([(2, 4), (2, 2), (3, 4), (0, 1)]), limit=LIMITS)
    def claim_suspects(self, levels: tuple[int, int], limit: int) -> None:
        claim = claim_of("worker-1")
        low, high = levels
        claimed = self._run(self._store.claim_suspects(low, high, limit, claim))
        due = self.model.waiting(lambda job: job.is_suspect and low <= job.suspicion <= high)
        jobs = self._jobs(claimed)
        assert all(job in due for job in jobs)
        assert run_ats(jobs) == run_ats(due[:limit])
        self._start(claimed, claim)

    def _jobs(self, claimed: Sequence[ClaimedJob]) -> list[Job]:
        return [self.model.jobs[job.lease.job_id] for job in claimed]

    def _start(self, claimed: Sequence[ClaimedJob], claim: Claim) -> None:
        for given, job in zip(claimed, self._jobs(claimed), strict=True):
            assert (given.attempts_spent, given.suspicion) == (job.spent, job.suspicion)
            assert (given.target, given.progress) == (job.target, job.progress)
            assert given.lease == self.model.start(job, claim)
            assert given.held == job.has_place
            assert given.deadline_at == job.deadline_at
            body = given.body
            if body is None:
                body = self._run(self._store.read_request(given.lease))
            assert body == job.new.body
            self.given.append(given.lease)

    @precondition(lambda self: bool(self.given))
    @rule(some=st.lists(GIVEN, max_size=4))
    def renew(self, some: list[Lease]) -> None:
        held = [lease for lease in some if self.model.held(lease)]
        renewed = self._run(self._store.renew_leases(some, LEASE_S))
        assert renewed == {lease.job_id for lease in held}
        for lease in held:
            self.model.renew(self.model.jobs[lease.job_id], LEASE_S)

    @precondition(lambda self: bool(self.held()))
    @rule(lease=HELD, holds=HOLDS)
    def reserve(self, lease: Lease, holds: tuple[Hold, ...]) -> None:
        expected = self.model.reserve(self.model.jobs[lease.job_id], holds)
        assert self._run(self._store.reserve(lease, holds)) == expected

    @precondition(lambda self: bool(self.held()))
    @rule(lease=HELD, ended=ENDS)
    def begin_attempt(self, lease: Lease, ended: Retry) -> None:
        job = self.model.jobs[lease.job_id]
        ended = ended._replace(held=bool(job.holds))
        begun = self._run(self._store.begin_attempt(lease, ended, LEASE_S))
        self.model.end_attempt(job, ended)
        assert begun == self.model.start(job, claim_of(lease.worker_id))
        assert begun
        self.given.append(begun)

    @precondition(lambda self: bool(self.held()))
    @rule(lease=HELD, ended=ENDS, in_s=SECONDS, not_begun=st.booleans())
    def put_back(self, lease: Lease, ended: Retry, in_s: float, not_begun: bool) -> None:
        job = self.model.jobs[lease.job_id]
        # What may not begin yet keeps its place in the queue.
        ended = ended._replace(held=bool(job.holds) and not (not_begun and job.has_place))
        run_at = self._clock.now() + int(in_s * SECOND)
        deadline_at = run_at + int(LEASE_S * SECOND) if not_begun else None
        assert self._run(self._store.put_back(lease, ended, run_at, deadline_at))
        self.model.end_attempt(job, ended)
        self.model.wait(job, run_at, deadline_at)

    @precondition(lambda self: bool(self.held()))
    @rule(lease=HELD, state=st.sampled_from(sorted(TERMINAL)), size=SIZES, metered=METERED)
    def finish(self, lease: Lease, state: State, size: int, metered: Metered | None) -> None:
        job = self.model.jobs[lease.job_id]
        finish = COMPLETED._replace(
            state=state, body=b"y" * size, metered=metered, held=bool(job.holds)
        )
        assert self._run(self._store.finish_job(lease, finish))
        self.model.finish(job, finish)

    @precondition(lambda self: len(self.given) > len(self.held()))
    @rule(lease=GIVEN, size=SIZES, ended=ENDS)
    def write_with_a_stale_lease(self, lease: Lease, size: int, ended: Retry) -> None:
        if self.model.held(lease):
            return
        assert not self._run(self._store.finish_job(lease, COMPLETED._replace(body=b"z" * size)))
        assert not self._run(self._store.put_back(lease, ended, 0))
        assert not self._run(self._store.begin_attempt(lease, ended, LEASE_S))
        assert not self._run(self._store.renew_leases([lease], LEASE_S))
        assert not self._run(self._store.record_handle(lease, "stale"))
        assert self._run(self._store.reserve(lease, [PENDING])) is None
        assert self._run(self._store.read_request(lease)) is None

    # Upkeep

    @when(lambda model: model.in_state(State.RUNNING))
    @rule(worker_id=WORKERS, limit=LIMITS)
    def release_worker(self, worker_id: str, limit: int) -> None:
        n = self._run(self._store.release_worker(worker_id, limit))
        self.model.lose(self._changed(self.model.leased_by(worker_id), n, limit))

    @when(Model.run_out)
    @rule(limit=LIMITS)
    def recover(self, limit: int) -> None:
        n = self._run(self._store.recover_lost_leases(limit))
        self.model.lose(self._changed(self.model.run_out(), n, limit))

    @when(Model.overdue)
    @rule(limit=LIMITS)
    def expire_overdue(self, limit: int) -> None:
        n = self._run(self._store.expire_overdue(limit))
        self.model.expire(self._changed(self.model.overdue(), n, limit))

    @when(Model.expired)
    @rule()
    def delete_expired(self) -> None:
        expired = self.model.expired()
        assert self._run(self._store.delete_expired(1_000)) == len(expired)
        self.model.delete(expired)

    def _changed(self, eligible: list[Job], n: int, limit: int) -> list[Job]:
        """Which of them a verb with a limit has taken: any, but as many as it says."""
        changed = [job for job in eligible if self._state(job) is not job.state]
        assert len(changed) == n == min(limit, len(eligible))
        return changed

    def _state(self, job: Job) -> State | None:
        view = self._read(job)
        return view.state if view else None

    def _read(self, job: Job) -> Any:
        return self._run(self._store.read_job(job.new.id, ADMIN, None))

    # The world

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self._clock.advance(seconds)

    @rule()
    def crash(self) -> None:
        self._database.crash()
        self._run(self._opened.aclose())
        self._store = self._open()

    @when(lambda model: model.in_state(State.RUNNING))
    @rule()
    def everything_restarts_and_claims_all_again(self) -> None:
        self.crash()
        for worker_id in ("worker-1", "worker-2"):
            self.release_worker(worker_id, 1_000)
        for lane in ("openai", "groq"):
            self.claim(lane, 1_000, "worker-1")
        self.claim_suspects((2, 4), 1_000)

    # What always holds

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        self._run(self._compare())

    async def _compare(self) -> None:
        jobs = list(self.model.jobs.values())
        reads = (self._store.read_job(job.new.id, ADMIN, None) for job in jobs)
        views = await asyncio.gather(*reads)
        assert views == [self.model.view(job) for job in jobs]
        there = [job for job, view in zip(jobs, views, strict=True) if view is not None]
        await asyncio.gather(*map(self._compare_attempts, there))
        counts, due, suspects_due_at = await asyncio.gather(
            self._store.counts(), self._store.due_lanes(), self._store.suspects_due_at()
        )
        assert counts == self._database.count_jobs() == self.model.counts()
        assert due == self.model.due_lanes()
        assert suspects_due_at == self.model.suspects_due_at()
        await self._compare_meters()

    async def _compare_meters(self) -> None:
        meters = await self._store.read_meters(
            [MONEY, "tokens", "requests", "parallel", "pending", "none"]
        )
        assert meters == self.model.meters
        jobs = self.model.jobs.values()
        for meter_id, meter in meters.items():
            held = [hold.amount for job in jobs for hold in job.holds if hold.meter_id == meter_id]
            assert meter.reserved == sum(held)
        if MONEY in meters:
            charged = sum(job.charged for job in jobs)
            assert meters[MONEY].total == charged + self.model.charged_before
        assert await self._store.settle_leftovers(9) == 0

    async def _compare_attempts(self, job: Job) -> None:
        attempts = await self._store.read_attempts(job.new.id, ADMIN)
        assert [attempt.state for attempt in attempts] == job.attempts
        assert [(attempt.lane, attempt.model) for attempt in attempts] == job.targets
        assert [attempt.n for attempt in attempts] == list(range(1, len(attempts) + 1))
        assert [(attempt.cost_usd_nanos, attempt.estimated) for attempt in attempts] == [
            (cost.usd_nanos, cost.estimated) for cost in job.costs
        ]
        sending = [attempt.n for attempt in attempts if attempt.ended_at is None]
        assert sending == ([len(attempts)] if job.state is State.RUNNING else [])


@pytest.mark.time_limit(600)
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.__name__)
def test_any_history_of_verbs_is_the_models(
    backend: Any, start_cluster: Callable[[], Cluster]
) -> None:
    new_database = partial(backend.new, start_cluster=start_cluster)
    machine = type("Machine", (StoreMachine,), {"new_database": staticmethod(new_database)})
    limits = settings(
        max_examples=EXAMPLES[backend.__name__], stateful_step_count=30, deadline=None
    )
    run_state_machine_as_test(machine, settings=limits)
