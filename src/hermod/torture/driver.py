"""A run: clients submit and read, blows fall, and in the end everything must have ended well."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from hermod.domain.errors import StoreError
from hermod.net.messages import NetError, Request
from hermod.torture.clients import Clients
from hermod.torture.history import Blow, History, Look, Scrape, Terms
from hermod.torture.plan import Planned, schedule
from hermod.torture.programs import CouldNotRun, Program
from hermod.torture.record import read_record
from hermod.torture.stage import Stage

_LOOK_S: Final = 0.02
_GLANCE_EVERY_S: Final = 1.0
_TELL_EVERY_S: Final = 0.5
_START_AGAIN_S: Final = 0.5
_START_TRIES: Final = 60
_SOON_S: Final = 1.0
"""A process that is away for longer is started again while other blows fall."""
_JOBS: Final = re.compile(r'^hermod_jobs\{lane="([^"]*)",state="([^"]*)"\} (\S+)$', re.MULTILINE)
_UNFINISHED: Final = frozenset({"queued", "running", "waiting"})


@dataclass(frozen=True)
class Progress:
    """So far."""

    elapsed_s: float
    accepted: int
    finished: int
    blows: int
    of_blows: int


class Run:
    """One run on one stage."""

    def __init__(self, stage: Stage, tell: Callable[[Progress], None]) -> None:
        self._stage = stage
        self._plan = stage.plan
        self._clock = stage.clock
        self._tell = tell
        self._clients = Clients(
            stage.plan, stage.purses, stage.client, stage.clock, stage.addresses
        )
        self._blows: list[Blow] = []
        self._looks: list[Look] = []
        self._scrapes: list[Scrape] = []
        self._schedule = schedule(stage.plan)
        self._beside: list[asyncio.Task[None]] = []
        """What goes on beside the blows; all of it must go well."""
        self._away: list[asyncio.Task[None]] = []
        """Processes that come back later."""

    async def go(self) -> History:
        """The whole of it. Raises CouldNotRun."""
        self._started_s = self._clock.monotonic()
        try:
            return await self._go()
        finally:
            await self._clients.stop()
            for task in (*self._beside, *self._away):
                task.cancel()
            await asyncio.gather(*self._beside, *self._away, return_exceptions=True)

    async def _go(self) -> History:
        await self._stage.open()
        self._clients.start()
        self._do_beside(self._supervise())
        self._do_beside(self._glance_again_and_again())
        self._do_beside(self._tell_again_and_again())
        for planned in self._schedule:
            await self._accepted(planned.accepted)
            await asyncio.sleep(planned.delay_s)
            await self._strike(planned)
        self._clients.may_end = True
        await self._accepted(self._plan.jobs)
        for task in self._away:
            await task
        clients = self._clients
        await self._until(lambda: len(clients.ended) == len(clients.accepted))
        await self._until(lambda: all(program.is_ready for program in self._stage.programs))
        await self._until_quiet()
        await clients.stop()
        await clients.read_everything()
        self._scrapes = [await self._scrape(program) for program in self._stage.programs]
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*(program.end("term") for program in self._stage.programs))
        self._tell(self._progress())
        return await self._history()

    def _do_beside(self, work: Coroutine[Any, Any, None]) -> None:
        self._beside.append(asyncio.get_running_loop().create_task(work))

    # Blows

    async def _strike(self, planned: Planned) -> None:
        if planned.group == "database":
            await self._strike_database(planned)
            return
        victim = await self._victim(planned)
        if planned.sort == "freeze":
            self._away.append(asyncio.create_task(self._freeze(victim, planned)))
            # So that the next blow finds it frozen.
            await self._until(lambda: victim.frozen)
            return
        at_s = self._clock.monotonic()
        victim.away = True
        code = await victim.end(planned.sort)
        dump = await self._stage.evidence.dump(f"blow-{len(self._blows) + 1}")
        alone = len([p for p in self._stage.programs if p.group != "gateway"]) == 1
        drained = planned.sort == "term" and code == 0 and alone
        binding = self._stage.place.url is not None or len(self._stage.programs) == 1

        async def come_back() -> None:
            await asyncio.sleep(planned.away_s)
            await self._start(victim)
            back_s = self._clock.monotonic()
            who = (planned.sort, victim.name, victim.group)
            self._blows.append(Blow(*who, at_s, back_s, dump, binding, drained))

        if planned.away_s < _SOON_S:
            await come_back()
        else:
            self._away.append(asyncio.create_task(come_back()))

    async def _victim(self, planned: Planned) -> Program:
        """One of the group that runs. Others are away or frozen already."""

        def there() -> list[Program]:
            group = [p for p in self._stage.programs if p.group == planned.group]
            return [program for program in group if program.is_up]

        if not await self._until(lambda: bool(there())):
            raise CouldNotRun(f"no {planned.group} has run for {self._plan.patience_s:g} s")
        found = there()
        return found[int(planned.draw * len(found))]

    async def _freeze(self, victim: Program, planned: Planned) -> None:
        async with self._stage.peace:
            at_s = self._clock.monotonic()
            victim.frozen = True
            await asyncio.to_thread(victim.pause)
        await asyncio.sleep(planned.away_s)
        async with self._stage.peace:
            victim.resume()
            victim.frozen = False
        back_s = self._clock.monotonic()
        self._blows.append(Blow("freeze", victim.name, victim.group, at_s, back_s))

    async def _strike_database(self, planned: Planned) -> None:
        cluster = self._stage.place.cluster
        assert cluster is not None
        hard = planned.draw < 0.5
        at_s = self._clock.monotonic()
        await asyncio.to_thread(cluster.kill if hard else cluster.stop_at_once)
        await asyncio.sleep(planned.away_s)
        await asyncio.to_thread(cluster.start)
        back_s = self._clock.monotonic()
        dump = await self._stage.evidence.dump(f"blow-{len(self._blows) + 1}")
        sort = "kill" if hard else "stop"
        self._blows.append(Blow(sort, "database", "database", at_s, back_s, dump))

    async def _start(self, program: Program) -> None:
        async with self._stage.peace:
            program.start(self._stage.client)

    # Beside the blows

    async def _supervise(self) -> None:
        """Start again what ended by itself, as any supervisor would. The checker judges it."""
        failures = 0
        while True:
            await asyncio.sleep(_START_AGAIN_S)
            if not self._stage.upstream.runs:
                raise CouldNotRun(f"the upstream ended:\n{self._stage.upstream.tail()}")
            for program in self._stage.programs:
                if program.runs or program.away or program.asked is not None:
                    continue
                program.bury()
                failures += 1
                if failures > _START_TRIES:
                    text = f"{program.name} ends again and again:\n{program.tail()}"
                    raise CouldNotRun(text)
                await self._start(program)

    async def _glance_again_and_again(self) -> None:
        while True:
            asked_s = self._clock.monotonic()
            try:
                seen = await self._stage.evidence.glance()
            except StoreError:
                pass  # it is away: that is what the run is about
            else:
                self._looks.append(Look(asked_s, self._clock.monotonic(), seen))
            await asyncio.sleep(_GLANCE_EVERY_S)

    async def _tell_again_and_again(self) -> None:
        while True:
            self._tell(self._progress())
            await asyncio.sleep(_TELL_EVERY_S)

    def _progress(self) -> Progress:
        clients = self._clients
        elapsed_s = self._clock.monotonic() - self._started_s
        of_blows = len(self._schedule)
        return Progress(
            elapsed_s, len(clients.accepted), len(clients.ended), len(self._blows), of_blows
        )

    # Waiting

    async def _accepted(self, jobs: int) -> None:
        if not await self._until(lambda: len(self._clients.accepted) >= jobs):
            tails = "\n".join(f"{p.name}:\n{p.tail()}" for p in self._stage.programs)
            raise CouldNotRun(f"no job accepted for {self._plan.patience_s:g} s\n{tails}")

    async def _until(self, holds: Callable[[], bool]) -> bool:
        """Wait; False when nothing at all happened for the run's patience."""
        clients = self._clients
        seen, seen_s = (0, 0), self._clock.monotonic()
        while not holds():
            self._raise_what_failed()
            now_s = self._clock.monotonic()
            if seen != (seen := (len(clients.accepted), len(clients.ended))):
                seen_s = now_s
            elif now_s - seen_s > self._plan.patience_s:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    def _raise_what_failed(self) -> None:
        self._clients.raise_if_broken()
        for task in (*self._beside, *self._away):
            if task.done() and (error := task.exception()):
                raise error

    async def _until_quiet(self) -> None:
        """Until no process counts a job that has not ended: also those that nobody knows of."""
        ends_s = self._clock.monotonic() + self._plan.patience_s
        while self._clock.monotonic() < ends_s:
            scrape = await self._scrape(self._stage.programs[0])
            left = sum(n for key, n in scrape.counts.items() if key.split("/")[1] in _UNFINISHED)
            if scrape.counts and not left:
                return
            await asyncio.sleep(_GLANCE_EVERY_S / 4)

    async def _scrape(self, program: Program) -> Scrape:
        """The numbers of jobs that a process shows; none at all if it does not answer."""
        try:
            reply = await self._stage.client.send(
                Request("GET", program.url + "/metrics"), timeout_s=10.0
            )
        except NetError:
            return Scrape(program.name, {})
        found = _JOBS.findall(reply.body.decode())
        return Scrape(program.name, {f"{lane}/{state}": int(float(n)) for lane, state, n in found})

    async def _history(self) -> History:
        stage = self._stage
        calls, replies = await asyncio.to_thread(read_record, stage.record)
        return History(
            final=await stage.evidence.dump("end"),
            terms=Terms(
                self._plan.seed,
                "sqlite" if stage.place.url is None else "postgresql",
                self._plan.lease_s,
                self._plan.upkeep_s,
                money=stage.purses.money,
                all_answered=True,
            ),
            submits=self._clients.submits,
            reads=self._clients.reads,
            calls=calls,
            replies=replies,
            blows=sorted(self._blows, key=lambda blow: blow.at_s),
            lives=[life for program in stage.programs for life in program.lives],
            looks=self._looks,
            scrapes=self._scrapes,
        )
