"""The worker: its slots, and the loops that fill them and keep their leases."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, cast

from hermod.domain.clock import Clock
from hermod.domain.errors import StoreError
from hermod.domain.job import Claim, ClaimedJob
from hermod.domain.live import Live
from hermod.domain.suspicion import ALONE_FROM, POISON_AT, SHARED_SUSPECT_SLOTS, SUSPECT_FROM
from hermod.store.api import Store
from hermod.worker.identity import Identity
from hermod.worker.lanes import Boundless, Lane, Lanes, Room
from hermod.worker.run import Runner
from hermod.worker.running import Phase, Run, Stop
from hermod.worker.settings import WorkerSettings
from hermod.worker.upkeep import Upkeep

log = logging.getLogger(__name__)

CLAIM_BATCH = 100
_STORE_PAUSE_S = 1.0
_SUSPECTS = "suspects"
_LAST_CALL_S = 5.0
"""A worker that cannot renew stops its calls this long before the lease ends."""
_SHORTEST_PAUSE_S = 0.05
"""Between two looks at an upstream that has no room."""


class Worker:
    """Runs jobs in this process. It is also the `Slots` of the submits that happen beside it."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        clock: Clock,
        identity: Identity,
        settings: WorkerSettings,
        chance: Callable[[], float] = random.random,
        room: Room | None = None,
    ) -> None:
        """`room` is asked before the backlog takes a slot: None if upstreams have no limits."""
        self._store = store
        self._runner = runner
        self._room = room or Boundless()
        self._outage = runner.outage
        self._chance = chance
        self._clock = clock
        self._settings = settings
        self._claim = Claim(identity.worker_id, settings.lease_s, settings.job_deadline_s)
        self._lanes = Lanes(settings.slots, settings.lane_slots, claims=settings.claims)
        self._upkeep = Upkeep(store, clock, identity)
        self._runs: dict[str, Run] = {}
        self._wake = asyncio.Event()
        self._next_due_s: float | None = 0.0
        self._draining = False
        self._leaving = False
        """The grace of the drain is over."""
        self._reserved = 0
        """Slots held for jobs whose commit is under way, or on their way to a caller."""
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._claiming: asyncio.Task[None] | None = None
        self._committing: set[asyncio.Task[None]] = set()
        """Until they have a run, which keeps its own."""
        self._resting: dict[str, float] = {}
        """Until when, monotonic, a lane whose claim failed is left alone."""
        self._loops: list[asyncio.Task[None]] = []

    @property
    def running(self) -> int:
        """How many jobs hold a slot."""
        return len(self._runs)

    @property
    def leaving(self) -> bool:
        """See `hermod.jobs.slots.Slots`."""
        return self._draining

    async def open(self) -> None:
        """Take over what dead predecessors left, then begin."""
        # A store that fails just now is no reason to leave: the first upkeep does the same.
        await self._guarded("taking over", self._upkeep.bury_the_dead)
        loop = asyncio.get_running_loop()
        if self._settings.claims:
            self._store.on_work(self._work_came)
            self._claiming = loop.create_task(self._claim_work())
        self._loops = [loop.create_task(work()) for work in (self._renew_all, self._tidy_up)]

    async def drain(self, grace_s: float, leave_s: float = 5.0) -> None:
        """Start nothing more; let what runs finish for `grace_s`, then give it back.

        What the store does not take back within `leave_s` is left to its lease.
        """
        ends_s = self._clock.monotonic() + grace_s
        self._draining = True
        self._wake.set()
        for lane in self._lanes:
            lane.dismiss()
        for run in list(self._runs.values()):
            if run.phase is Phase.WAITING:
                run.stop(Stop.DRAINED)
        if self._claiming is not None:
            # A claim under way must end first: what it commits, nobody else would give back.
            await asyncio.wait({self._claiming}, timeout=max(grace_s, leave_s / 2))
        if not await self._is_quiet(ends_s - self._clock.monotonic()):
            log.info("drain: giving %d running jobs back", len(self._runs))
        self.hurry()
        await self.settle(leave_s)
        self._outage.ends()
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def settle(self, leave_s: float = 5.0) -> None:
        """Wait for jobs to be given back, those included that were accepted at the last moment."""
        if not await self._is_quiet(leave_s):
            left = len(self._runs) + self._reserved
            log.error("drain: %d jobs are left to their leases", left)

    async def _is_quiet(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._quiet.wait()
        except TimeoutError:
            return self._quiet.is_set()
        return True

    def hurry(self) -> None:
        """End a drain now: give every job back that has not ended yet."""
        if self._draining:
            self._leaving = True
            for run in list(self._runs.values()):
                run.stop(Stop.DRAINED)

    # Slots

    def resize(self, lane_slots: Mapping[str, int]) -> None:
        """Have other caps, by lane, from now on: see `WorkerSettings.lane_slots`."""
        self._lanes.resize(lane_slots)
        self._serve_callers()
        self._wake.set()

    def reserve(self, lane: str) -> Claim | None:
        """See `hermod.jobs.slots.Slots`."""
        place = self._lanes[lane]
        busy = place.backlog or place.callers or place.taken >= place.cap
        if busy or self._draining or not self._settings.claims:
            return None
        if not self._may_begin(place)[0]:
            return None
        place.taken += 1
        return self._reserved_one()

    async def wait_for_slot(self, lane: str, patience_s: float) -> Claim | None:
        """See `hermod.jobs.slots.Slots`."""
        place = self._lanes[lane]
        if self._draining:
            return None
        if place.free and not place.callers:
            place.taken += 1
            return self._reserved_one()
        if len(place.callers) >= self._settings.callers_max:
            return None
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        place.callers.append(turn)
        try:
            async with asyncio.timeout(patience_s):
                await turn
        except TimeoutError:
            pass  # a slot may have come in the same moment
        except asyncio.CancelledError:
            if place.leave(turn):
                self.give_back(lane)
            raise
        return self._claim if place.leave(turn) else None

    def _may_begin(self, lane: Lane) -> tuple[int, float]:
        """How many of the lane's free slots its upstream has room for, and when to ask again."""
        room, again_s = self._room.room(lane.name)
        free = lane.free
        if room is None or room >= lane.cap or not free:
            return free, 0.0
        # What was claimed or reserved and has not called yet will take its share.
        runs = [
            run for run in self._runs.values() if run.job.lane == lane.name and not run.suspicion
        ]
        phases = [run.phase for run in runs if not run.is_elsewhere]
        called = min(phases.count(Phase.CALLING), self._room.out(lane.name))
        gone = called + phases.count(Phase.FINISHING) + len(runs) - len(phases)
        to_come = lane.taken - gone
        room = max(room, lane.detour)
        return max(min(free, room - to_come), 0), max(again_s, _SHORTEST_PAUSE_S)

    def _reserved_one(self) -> Claim:
        self._reserved += 1
        self._quiet.clear()
        return self._claim

    def give_back(self, lane: str) -> None:
        """See `hermod.jobs.slots.Slots`."""
        self._reserved -= 1
        self._freed(lane)
        self._note_quiet()

    def carry(
        self, lane: str, commit: Coroutine[Any, Any, ClaimedJob], live: Live | None = None
    ) -> asyncio.Future[None]:
        """See `hermod.jobs.slots.Slots`."""
        loop = asyncio.get_running_loop()
        committed: asyncio.Future[None] = loop.create_future()
        # One task for both: a second one for each job would be felt.
        self._committing.add(loop.create_task(self._carry(lane, commit, committed, live)))
        return committed

    async def _carry(
        self,
        lane: str,
        commit: Coroutine[Any, Any, ClaimedJob],
        committed: asyncio.Future[None],
        live: Live | None,
    ) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            job = await commit
        except BaseException as error:  # a cancellation, too, must give the slot back
            self.give_back(lane)
            if not committed.done():
                committed.set_exception(error)
            # This frame is in the error's traceback: they would keep each other.
            del committed
            if isinstance(error, Exception):
                return
            raise
        finally:
            self._committing.discard(task)
        self._reserved -= 1
        run = self._enter(job, task, live=live)
        if not committed.done():
            committed.set_result(None)
        elif live is not None:
            run.stop(Stop.CALLER_GONE)
        await self._occupy(run)

    def caller_gone(self, job_id: str) -> None:
        """See `hermod.jobs.slots.Slots`."""
        run = self._runs.get(job_id)
        if run is not None:
            run.stop(Stop.CALLER_GONE)

    def cancelled(self, job_id: str) -> None:
        """See `hermod.jobs.slots.Slots`."""
        run = self._runs.get(job_id)
        if run is not None:
            run.stop(Stop.CANCELLED)

    def _note_quiet(self) -> None:
        if not self._runs and not self._reserved:
            self._quiet.set()

    def _begin(self, job: ClaimedJob, suspicion: int = 0) -> None:
        run = self._enter(job, None, suspicion)
        run.task = asyncio.get_running_loop().create_task(self._occupy(run))

    def _enter(
        self,
        job: ClaimedJob,
        task: "asyncio.Task[None] | None",
        suspicion: int = 0,
        live: Live | None = None,
    ) -> Run:
        run = Run(job, job.lease, self._clock.monotonic(), suspicion, task, live=live)
        before = self._runs.get(job.lease.job_id)
        if before is not None:
            # We froze and lost the lease, and are the first to take the job again. Nobody will
            # renew the earlier run any more, so nobody else would stop its call.
            before.stop(Stop.LEASE_LOST)
        self._runs[job.lease.job_id] = run
        self._quiet.clear()
        if self._leaving:
            run.stop(Stop.DRAINED)
        return run

    async def _occupy(self, run: Run) -> None:
        try:
            await self._runner.execute(run)
        finally:
            job = run.job
            if self._runs.get(job.lease.job_id) is run:
                del self._runs[job.lease.job_id]
            if run.is_held_back:
                self._lanes[job.lane].came_back()
            elif run.is_elsewhere and run.ended is None:
                self._lanes[job.lane].went_elsewhere()
            if run.suspicion:
                self._wake.set()
            else:
                self._freed(job.lane)
            self._note_quiet()

    def _freed(self, lane: str) -> None:
        place = self._lanes[lane]
        if place.taken <= place.cap and place.hand_over():
            self._reserved_one()
            return
        place.taken -= 1
        if place.backlog:
            self._wake.set()

    def _serve_callers(self) -> None:
        """Give callers what the backlog had its turn for and did not need."""
        for lane in self._lanes:
            while lane.free and lane.callers:
                lane.taken += 1
                lane.backlogs_turn = False
                self._freed(lane.name)

    # Claiming

    def _work_came(self, lane: str) -> None:
        self._lanes[lane].backlog = True
        if not self._draining:
            self._wake.set()

    async def _claim_work(self) -> None:
        while not self._draining:
            await self._doze()
            self._wake.clear()
            went_well = await self._guarded("claiming", self._claim_all)
            self._serve_callers()
            if not went_well:
                await asyncio.sleep(self._jittered(_STORE_PAUSE_S))
                self._wake.set()

    async def _claim_all(self) -> None:
        while await self._claim_once():
            pass

    async def _doze(self) -> None:
        """Until work comes, a slot becomes free, a wait is over, or it is time to look anyway."""
        due_s = self._settings.upkeep_s
        if self._next_due_s is not None:
            due_s = min(due_s, max(self._next_due_s, 0.01))
        if not self._wake.is_set():
            try:
                async with asyncio.timeout(due_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _claim_once(self) -> bool:
        """Look at the store, fill free slots; whether there may be more to claim at once."""
        now = self._clock.now()
        due = await self._store.due_lanes()
        suspects_at = await self._store.suspects_due_at()
        self._lanes.looked(due, now)
        later = [at for at in (*due.values(), suspects_at) if at is not None and at > now]
        self._next_due_s = (min(later) - now) / 1_000_000 if later else None
        claims: list[tuple[str, Callable[[], Awaitable[bool]]]] = []
        for name, run_at in due.items():
            if run_at > now or not self._lanes[name].free:
                continue
            more, again_s = self._may_begin(self._lanes[name])
            if more:
                claims.append((name, partial(self._claim_lane, name)))
            else:
                self._look_again_in(again_s)
        if suspects_at is not None and suspects_at <= now:
            claims.append((_SUSPECTS, self._claim_suspects))
        again = False
        for name, claim in claims:
            again |= await self._try_claim(name, claim)
        return again and not self._draining

    async def _try_claim(self, name: str, claim: Callable[[], Awaitable[bool]]) -> bool:
        """Claim, unless we are leaving or this has just failed: one lane must not stop others."""
        if self._draining or self._clock.monotonic() < self._resting.get(name, 0.0):
            return False
        claimed: list[bool] = []

        async def once() -> None:
            claimed.append(await claim())

        if not await self._guarded(f"claiming for {name}", once):
            self._resting[name] = self._clock.monotonic() + _STORE_PAUSE_S
            self._look_again_in(_STORE_PAUSE_S)
        return any(claimed)

    def _look_again_in(self, pause_s: float) -> None:
        due_s = self._next_due_s
        self._next_due_s = pause_s if due_s is None else min(due_s, pause_s)

    async def _claim_lane(self, name: str) -> bool:
        lane = self._lanes[name]
        room, again_s = self._may_begin(lane)
        asked = min(room, CLAIM_BATCH)
        if not asked:
            # A caller or a submit took it while the loop served other lanes.
            self._look_again_in(again_s or _SHORTEST_PAUSE_S)
            return False
        lane.taken += asked
        claimed: list[ClaimedJob] = []
        try:
            claimed = await self._store.claim_jobs(name, asked, self._claim)
        finally:
            lane.taken -= asked - len(claimed)
        for job in claimed:
            self._begin(job)
        return bool(claimed)

    async def _claim_suspects(self) -> bool:
        """Fill the suspect slots: one that must be alone, else a few others.

        The next ones start when all of these have ended, so that nobody overtakes the one who
        must be alone for ever.
        """
        if any(run.suspicion for run in self._runs.values()):
            return False
        for low, high, room in (
            (ALONE_FROM, POISON_AT, 1),
            (SUSPECT_FROM, ALONE_FROM - 1, SHARED_SUSPECT_SLOTS),
        ):
            claimed = await self._store.claim_suspects(low, high, room, self._claim)
            for job in claimed:
                self._begin(job, job.suspicion)
            if claimed:
                return True
        return False

    # Leases

    async def _renew_all(self) -> None:
        pause_s = self._settings.renew_s
        while True:
            await asyncio.sleep(pause_s)
            renewed = await self._guarded("renewing leases", self._renew)
            pause_s = self._settings.renew_s if renewed else self._jittered(self._retry_s)

    @property
    def _retry_s(self) -> float:
        """How soon a renewal that failed is tried again."""
        return min(self._settings.renew_s, _STORE_PAUSE_S)

    async def _renew(self) -> None:
        """Extend every lease. Raises StoreError, having stopped what may be lost before long."""
        runs = list(self._runs.values())
        if not runs:
            return
        asked_at = self._clock.monotonic()
        leases = {run.lease.job_id: (run, run.lease) for run in runs}
        try:
            held = await self._store.renew_leases(
                [lease for _, lease in leases.values()], self._settings.lease_s
            )
        except StoreError:
            self._stop_what_cannot_be_renewed(runs)
            raise
        for job_id, (run, lease) in leases.items():
            if job_id in held:
                run.renewed_at = asked_at
            elif run.lease == lease and self._runs.get(job_id) is run:
                run.stop(Stop.LEASE_LOST)

    def _stop_what_cannot_be_renewed(self, runs: list[Run]) -> None:
        """Losing the store means stopping the work, before the lease does."""
        now = self._clock.monotonic()
        last_call_s = min(_LAST_CALL_S, self._settings.lease_s / 6)
        margin_s = self._retry_s + last_call_s
        for run in runs:
            ends = now + margin_s > run.renewed_at + self._settings.lease_s
            if ends and run.stop(Stop.STORE_AWAY):
                self._outage.left(1)

    # Upkeep

    async def _tidy_up(self) -> None:
        while True:
            # After a pause of the whole process our own leases have run out too, and still are
            # ours if nobody was there to take them.
            if await self._guarded("renewing leases", self._renew):
                await self._guarded("upkeep", self._upkeep.pass_once)
            await asyncio.sleep(self._settings.upkeep_s)

    async def _guarded(self, what: str, action: Callable[[], Awaitable[None]]) -> bool:
        """Whether it went well. Nobody would notice the end of a loop, and jobs would wait."""
        try:
            await action()
        except StoreError as error:
            self._outage.failed(what, error)
        except OSError as error:
            log.warning("%s: %s", what, error)
        except Exception:  # the boundary of a loop
            log.exception("%s: unexpected error", what)
        else:
            self._outage.worked()
            return True
        return False

    def _jittered(self, pause_s: float) -> float:
        """Up to half of it less: what failed together shall not come back together."""
        return pause_s * (0.5 + self._chance() / 2)
