"""The load generator: `python -m bench.load`, a plan as JSON on stdin, figures as JSON on stdout.

A process of its own, so that its cost is known and never mixed with what it measures. A closed loop
has a fixed number of clients that each wait for their answer; an open loop sends at fixed instants
and counts latency from the instant it meant to send, so that a stall is not hidden by its own
back-pressure.
"""

import asyncio
import gc
import itertools
import os
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final, Literal

import msgspec
import uvloop

from bench.machine import Usage, usage
from bench.wire import Wire, get, post

_STAMP: Final = re.compile(rb'"id":"chatcmpl-(\d{20})"')
"""Where the mock upstream says when it finished."""
_OBSERVE_AFTER_S: Final = 0.05
"""No answer is there before: every poll too many costs the server that is measured."""
_OBSERVE_EVERY_S: Final = 0.001
_AFTER_ERROR_S: Final = 0.05
DATABASE: Final = "database"
"""The part of a system under test that is not ours."""


class Plan(msgspec.Struct, forbid_unknown_fields=True):
    """What to do."""

    mode: Literal["calls", "jobs"]
    ports: tuple[int, ...]
    """Connections are dealt out to them in turn."""
    sut: dict[str, tuple[int, ...]]
    """By part of the system under test, the processes that head its trees."""
    upstream_pid: int
    seconds: float
    """Length of the measured window."""
    warmup_s: float = 1.0
    connections: int = 64
    """Clients of a closed loop; the most of an open one."""
    rate: float = 0.0
    """Arrivals per second of an open loop; 0 is a closed loop."""
    path: str = "/v1/async/chat/completions"
    header: str = ""
    """Calls: one more in each request, as in `name: value`."""
    body: str | None = None
    """Calls: POST this; None GETs `path/<id>` for each of `ids` in turn. Jobs: POST this."""
    ids: tuple[str, ...] = ()
    limit: int = 0
    """Calls: stop after so many instead of after `seconds`, without warm-up."""
    poll_ms: tuple[float, ...] = (25.0, 100.0)
    """Jobs: the wait before each poll; the last one repeats."""
    observe_per_s: float = 0.0
    """Jobs: how many a second are watched by a poll each millisecond for their completion lag."""
    keep_ids: int = 0
    """Jobs: return so many ids of completed ones."""
    times_call: bool = False
    """Jobs: measure from the submit to the call at an upstream that answers at once."""


class Percentiles(msgspec.Struct):
    """Milliseconds."""

    count: int
    p50: float
    p99: float
    p999: float
    max: float


class Figures(msgspec.Struct):
    """What happened inside the window."""

    window_s: float
    counts: dict[str, int]
    latency_ms: dict[str, Percentiles]
    cpu_s: dict[str, float]
    """CPU time by part of the system under test."""
    sut_waited_share: float
    """How long threads of the system under test waited for a processor, over the window."""
    generator_share: float
    """CPU time of this process over the window."""
    load_share: float
    """The same with the mock upstream: above 0.8 the figures are not to be trusted."""
    foreign_share: float
    """CPU time of everybody else on the machine; 1.0 is one whole processor."""
    ids: tuple[str, ...] = ()

    def per_s(self, name: str) -> float:
        """A count over the window."""
        return self.counts.get(name, 0) / self.window_s

    @property
    def sut_cpu_s(self) -> float:
        """CPU time of our own processes, whatever their part."""
        return sum(cpu_s for part, cpu_s in self.cpu_s.items() if part != DATABASE)


class Meter:
    """Counts and times what happens while the window is open."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.is_open = False
        self.counts: Counter[str] = Counter()
        self.latencies: dict[str, list[float]] = {}
        self.ids: list[str] = []
        self._edges: list[tuple[float, float, Usage]] = []

    def open(self) -> None:
        """The window begins."""
        self._edges.append(self._sample())
        self.is_open = True

    def close(self) -> None:
        """The window ends."""
        self.is_open = False
        self._edges.append(self._sample())

    def _sample(self) -> tuple[float, float, Usage]:
        used = usage(self._plan.sut, {os.getpid(), self._plan.upstream_pid})
        return time.monotonic(), time.process_time(), used

    def took(self, name: str, since: float, until: float | None = None) -> None:
        """Something that began at `since` ended now, or at `until`."""
        if self.is_open:
            ended = time.monotonic() if until is None else until
            self.counts[name] += 1
            self.latencies.setdefault(name, []).append(ended - since)

    def figures(self) -> Figures:
        """Everything, once the window is closed."""
        (wall_0, own_0, used_0), (wall_1, own_1, used_1) = self._edges
        window_s = wall_1 - wall_0
        return Figures(
            window_s=window_s,
            counts=dict(self.counts),
            latency_ms={name: percentiles(all_s) for name, all_s in self.latencies.items()},
            cpu_s={part: used_1.sut_s[part] - cpu_s for part, cpu_s in used_0.sut_s.items()},
            sut_waited_share=(used_1.sut_waited_s - used_0.sut_waited_s) / window_s,
            generator_share=(own_1 - own_0) / window_s,
            load_share=(used_1.load_s - used_0.load_s) / window_s,
            foreign_share=(used_1.foreign_s - used_0.foreign_s) / window_s,
            ids=tuple(self.ids),
        )


def percentiles(all_s: Iterable[float]) -> Percentiles:
    """Of seconds."""
    ordered = sorted(all_s)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 3)

    return Percentiles(len(ordered), at(0.5), at(0.99), at(0.999), at(1))


class Calls:
    """One kind of request, over and over."""

    def __init__(self, plan: Plan, meter: Meter, loop: asyncio.AbstractEventLoop) -> None:
        self._plan, self._meter, self._loop = plan, meter, loop
        if plan.body is not None:
            requests = [post(plan.path, plan.body.encode(), plan.header)]
        else:
            requests = [get(f"{plan.path}/{job_id}") for job_id in plan.ids]
        self._requests = itertools.cycle(requests)
        self._left = plan.limit or sys.maxsize
        self._busy = 0
        self._wires = [
            Wire(loop, port)
            for port in itertools.islice(itertools.cycle(plan.ports), plan.connections)
        ]
        self.drained = loop.create_future()

    def start(self) -> None:
        """Every client sends its first request."""
        for wire in self._wires:
            self._next(wire)

    def stop(self) -> None:
        """Send no more; `drained` is set when all answers are there."""
        self._left = 0
        self._leave()

    def _next(self, wire: Wire) -> None:
        if self._left <= 0:
            self._leave()
            return
        self._left -= 1
        self._busy += 1
        sent = time.monotonic()
        wire.send(next(self._requests), lambda status, _: self._ended(wire, sent, status))

    def _ended(self, wire: Wire, sent: float, status: int) -> None:
        self._busy -= 1
        self._meter.took(str(status), sent)
        if status:
            self._next(wire)
        else:
            self._loop.call_later(_AFTER_ERROR_S, self._next, wire)

    def _leave(self) -> None:
        if self._busy == 0 and not self.drained.done():
            self.drained.set_result(None)


class Jobs:
    """Submit, poll until the end, and again."""

    def __init__(self, plan: Plan, meter: Meter, loop: asyncio.AbstractEventLoop) -> None:
        self.plan, self.meter, self.loop = plan, meter, loop
        self.request = post(plan.path, (plan.body or "").encode())
        self.ports = itertools.cycle(plan.ports)
        self.running = True
        self.drained = loop.create_future()
        self._idle: list[Client] = []
        self._late: deque[float] = deque()
        self._made = 0
        self._busy = 0
        self._next_arrival = 0.0
        self._next_observed = 0.0

    def start(self) -> None:
        """All clients of a closed loop, or the clock of an open one."""
        if self.plan.rate:
            self._next_arrival = time.monotonic()
            self._tick()
        else:
            for _ in range(self.plan.connections):
                self._begin(Client(self), time.monotonic())

    def stop(self) -> None:
        """Submit no more; `drained` is set when every job has ended."""
        self.running = False
        self._late.clear()
        self._leave()

    def ended(self, client: "Client") -> None:
        """A client's job is over."""
        self._busy -= 1
        if not self.running:
            self._leave()
        elif not self.plan.rate:
            self._begin(client, time.monotonic())
        elif self._late:
            self._begin(client, self._late.popleft())
        else:
            self._idle.append(client)

    def _begin(self, client: "Client", intended: float) -> None:
        self._busy += 1
        observed = bool(self.plan.observe_per_s) and intended >= self._next_observed
        if observed:
            self._next_observed = intended + 1 / self.plan.observe_per_s
        client.submit(intended, observed)

    def _tick(self) -> None:
        if not self.running:
            return
        now = time.monotonic()
        while self._next_arrival <= now:
            self._arrive(self._next_arrival)
            self._next_arrival += 1 / self.plan.rate
        self.loop.call_later(0.001, self._tick)

    def _arrive(self, intended: float) -> None:
        if self._idle:
            self._begin(self._idle.pop(), intended)
        elif self._made < self.plan.connections:
            self._made += 1
            self._begin(Client(self), intended)
        else:
            self._late.append(intended)

    def _leave(self) -> None:
        if self._busy == 0 and not self.drained.done():
            self.drained.set_result(None)


class Client:
    """One connection that carries one job at a time."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._meter = jobs.meter
        self._wire = Wire(jobs.loop, next(jobs.ports))
        self._waits_s = [wait / 1000 for wait in jobs.plan.poll_ms]
        self._observed = False
        self._begun = 0.0
        self._sent = 0.0
        self._step = 0
        self._job_id = ""
        self._poll_request = b""

    def submit(self, intended: float, observed: bool) -> None:
        """Begin a job whose submission was meant for `intended`."""
        self._begun = self._sent = intended
        self._observed = observed
        self._wire.send(self._jobs.request, self._submitted)

    def _submitted(self, status: int, body: bytes) -> None:
        if status != 202:
            self._meter.took(f"submit {status}", self._sent)
            self._jobs.loop.call_later(_AFTER_ERROR_S, self._jobs.ended, self)
            return
        self._meter.took("submit", self._sent)
        start = body.index(b'"id":"') + 6
        self._job_id = body[start : body.index(b'"', start)].decode()
        self._poll_request = get(f"{self._jobs.plan.path}/{self._job_id}")
        self._step = 0
        self._wait()

    def _wait(self) -> None:
        if self._observed:
            wait_s = _OBSERVE_EVERY_S if self._step else _OBSERVE_AFTER_S
        else:
            wait_s = self._waits_s[min(self._step, len(self._waits_s) - 1)]
        self._step += 1
        self._jobs.loop.call_later(wait_s, self._poll)

    def _poll(self) -> None:
        self._sent = time.monotonic()
        self._wire.send(self._poll_request, self._polled)

    def _polled(self, status: int, body: bytes) -> None:
        if self._observed:
            self._meter.took("observer poll", self._sent)
        elif status == 202:
            self._meter.took("poll pending", self._sent)
        elif status == 200:
            self._meter.took("poll done", self._sent)
        else:
            self._meter.took(f"poll {status}", self._sent)
        if status == 200:
            self._done(body)
        else:
            self._wait()

    def _done(self, body: bytes) -> None:
        if self._meter.is_open:
            completed = b'"status":"completed"' in body
            self._meter.counts["completed" if completed else "failed"] += 1
            if completed and len(self._meter.ids) < self._jobs.plan.keep_ids:
                self._meter.ids.append(self._job_id)
        stamp = _STAMP.search(body)
        if stamp and self._observed:
            self._meter.took("completion lag", int(stamp[1]) / 1e9)
        if stamp and self._jobs.plan.times_call:
            self._meter.took("call", self._begun, int(stamp[1]) / 1e9)
        self._jobs.ended(self)


async def run(plan: Plan) -> Figures:
    """Carry out a plan."""
    loop = asyncio.get_running_loop()
    meter = Meter(plan)
    work = (Calls if plan.mode == "calls" else Jobs)(plan, meter, loop)
    if plan.limit:
        meter.open()
        work.start()
        async with asyncio.timeout(plan.seconds):
            await work.drained
        meter.close()
        return meter.figures()
    work.start()
    await asyncio.sleep(plan.warmup_s)
    meter.open()
    await asyncio.sleep(plan.seconds)
    meter.close()
    work.stop()
    # What is still under way is not counted, but must not disturb the next measurement.
    await asyncio.wait({work.drained}, timeout=10)
    return meter.figures()


def main() -> None:
    """Read the plan, run it, print the figures."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    # A collection in the middle would be measured as latency of the server.
    gc.freeze()
    gc.disable()
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(plan))) + b"\n")


if __name__ == "__main__":
    main()
