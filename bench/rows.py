"""What is measured, row by row. Each repetition measures all versions, one after the other.

A row gives figures by name, one value per repetition; `report.py` knows what they mean.
"""

import json
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.load import Figures
from bench.machine import resident_mb
from bench.processes import (
    ASYNC_CHAT,
    CHAT,
    Failed,
    Running,
    Served,
    Version,
    body,
    call,
    constant,
    free_port,
    gateway,
    start_gateway,
    stop,
    upstream,
    wait_until_ready,
)
from bench.run import MODEL, Bench, submit

_STALLED: Final = "slow?seconds=80000"
_NEVER_MS: Final = "80000000"
_UPSTREAM_MS: Final = 50
_SOME_CLIENTS: Final = 64
_WAITING: Final = 128
"""Callers of synchronous calls: enough to keep the gateway busy, few enough to see what it adds."""
_LANE: Final = 64
"""Calls in flight of the row with a backlog."""
_KILLED_JOBS: Final = 50
_DRAIN_S: Final = 20.0
_PATIENCE_S: Final = 60.0
_LANE_ERROR: Final = "the mock upstream saw only {seen} of {wanted} calls after {seconds:.0f} s"


Start = Callable[[Version, Path, Running], AbstractContextManager[Served]]
"""Starts a system with a fresh store, all of whose calls go to a provider of one slot."""


def submits(bench: Bench) -> None:
    """Durable submits on SQLite."""

    @contextmanager
    def start(version: Version, folder: Path, mock: Running) -> Generator[Served]:
        with gateway(version, folder, mock.address, concurrency=1) as running:
            yield running.served

    compare_submits(bench, "submit", bench.versions, start)


def compare_submits(bench: Bench, row: str, versions: Sequence[Version], start: Start) -> None:
    """Durable submits against the same server that answers a constant 202.

    The only provider runs one call that does not end, so each submit is stored, queued and nothing
    else: no claim, no upstream call, no finish.
    """
    with ExitStack() as stack:
        mock = stack.enter_context(upstream(bench.versions[0], bench.fresh(row)))
        pairs: list[tuple[Version, Served, Running]] = []
        for version in versions:
            folder = bench.fresh(f"{row}-{version.name}")
            served = stack.enter_context(start(version, folder, mock))
            reply = submit(served.ports[0], _STALLED)
            ceiling = stack.enter_context(constant(version, folder, 202, reply))
            pairs.append((version, served, ceiling))
        sent = json.dumps(body(_STALLED))
        for repetition in range(bench.repetitions):
            for version, served, ceiling in pairs:
                bench.say(f"{row} {repetition + 1}/{bench.repetitions} {version.name}")
                sent_to: list[Figures] = []
                for name, system in ((f"{row} ceiling", ceiling.served), (row, served)):
                    plan = bench.plan(system, mock, path=ASYNC_CHAT, body=sent)
                    sent_to.append(bench.run(name, version, plan))
                bench.compare(version, row, "202", *sent_to)


def whole_jobs(bench: Bench) -> None:
    """Whole jobs, polls and latencies, on one gateway and one mock upstream of 50 ms."""
    with ExitStack() as stack:
        folder = bench.fresh("jobs")
        mock = stack.enter_context(upstream(bench.versions[0], folder, "--latency-ms", "50"))
        served: list[tuple[Version, Running]] = []
        for version in bench.versions:
            app_dir = bench.fresh(f"jobs-{version.name}")
            running = stack.enter_context(gateway(version, app_dir, mock.address))
            served.append((version, running))
            time.sleep(1)
            bench.results.add(version, "rss_idle_mb", resident_mb(running.pid))
        ids: dict[str, tuple[str, ...]] = {}
        rates: list[float] = []
        for repetition in range(bench.repetitions):
            for version, running in served:
                bench.say(f"whole jobs {repetition + 1}/{bench.repetitions} {version.name}")
                figures = bench.closed_jobs("", version, running.served, mock)
                bench.results.add(version, "rss_busy_mb", resident_mb(running.pid))
                ids[version.name] = figures.ids
                rates.append(figures.per_s("completed"))
        _polls(bench, served, mock, ids)
        rate = min(rates) / 2
        for repetition in range(bench.repetitions):
            for version, running in served:
                bench.say(
                    f"latencies at {rate:.0f}/s {repetition + 1}/{bench.repetitions} {version.name}"
                )
                bench.latencies("", version, running.served, mock, rate)


def _polls(
    bench: Bench,
    served: Sequence[tuple[Version, Running]],
    mock: Running,
    ids: dict[str, tuple[str, ...]],
) -> None:
    with ExitStack() as stack:
        ceilings: list[Running] = []
        for version, running in served:
            _, reply = call(running.port, "GET", f"{ASYNC_CHAT}/{ids[version.name][0]}")
            folder = bench.fresh(f"polls-{version.name}")
            ceilings.append(stack.enter_context(constant(version, folder, 200, reply)))
        for repetition in range(bench.repetitions):
            for (version, running), ceiling in zip(served, ceilings, strict=True):
                bench.say(f"polls {repetition + 1}/{bench.repetitions} {version.name}")
                sent_to: list[Figures] = []
                for name, server in (("poll ceiling", ceiling), ("polls", running)):
                    plan = bench.plan(server.served, mock, path=ASYNC_CHAT, ids=ids[version.name])
                    sent_to.append(bench.run(name, version, plan))
                bench.compare(version, "poll", "200", *sent_to)


def synchronous(bench: Bench) -> None:
    """Calls whose callers wait, on one gateway and one mock upstream of 50 ms."""
    with ExitStack() as stack:
        mock = stack.enter_context(
            upstream(bench.versions[0], bench.fresh("sync"), "--latency-ms", str(_UPSTREAM_MS))
        )
        served = [
            (version, stack.enter_context(gateway(version, bench.fresh(name), mock.address)))
            for version in bench.versions
            for name in (f"sync-{version.name}",)
        ]
        sent = json.dumps(body(MODEL))
        for repetition in range(bench.repetitions):
            for version, running in served:
                bench.say(f"synchronous calls {repetition + 1}/{bench.repetitions} {version.name}")
                plan = bench.plan(
                    running.served, mock, path=CHAT, body=sent, connections=_WAITING, warmup_s=2
                )
                figures = bench.run("sync", version, plan)
                answered = figures.counts.get("200")
                if not answered:
                    raise Failed(f"no synchronous call was answered: {figures.counts}")
                latency = figures.latency_ms["200"]
                for name, value in {
                    "per_s": figures.per_s("200"),
                    "cpu_ms": figures.sut_cpu_s * 1000 / answered,
                    "added_p50_ms": latency.p50 - _UPSTREAM_MS,
                    "added_p99_ms": latency.p99 - _UPSTREAM_MS,
                }.items():
                    bench.results.add(version, f"sync_{name}", value)


def backlog(bench: Bench) -> None:
    """Memory, polls and claims with many queued jobs, against the same with few.

    The upstream first answers nothing, then is replaced by one that answers at once: what it counts
    per second is how fast jobs are claimed, called and finished.
    """
    few = max(3000, bench.backlog // 20)
    for version in bench.versions:
        port = free_port()
        with ExitStack() as stack:
            stalled = bench.fresh("stalled")
            mock = upstream(bench.versions[0], stalled, "--latency-ms", _NEVER_MS, port=port)
            silent = stack.enter_context(mock)
            app_dir = bench.fresh(f"backlog-{version.name}")
            running = stack.enter_context(gateway(version, app_dir, silent.address, _LANE))
            time.sleep(1)
            idle_mb = resident_mb(running.pid)
            for name, count in (("few", few), ("many", bench.backlog)):
                bench.say(f"backlog of {count} {version.name}")
                _fill_and_drain(bench, version, running, silent, name, count)
                if name == "many":
                    break
                stop(silent.process)
                mock = upstream(bench.versions[0], stalled, "--latency-ms", _NEVER_MS, port=port)
                silent = stack.enter_context(mock)
            grown = bench.results.values["rss_many_mb"][version.name][-1] - idle_mb
            bench.results.add(version, "rss_growth_mb", grown)
        for name in ("pending_polls", "drain"):
            ratio = [
                bench.results.values[f"{name}_{size}_per_s"][version.name][-1]
                for size in ("many", "few")
            ]
            bench.results.add(version, f"{name}_backlog_ratio", ratio[0] / ratio[1])


def _fill_and_drain(
    bench: Bench, version: Version, running: Running, silent: Running, name: str, count: int
) -> None:
    ids = [json.loads(submit(running.port, MODEL))["id"] for _ in range(_LANE + 200)]
    fill = bench.plan(
        running.served,
        silent,
        path=ASYNC_CHAT,
        body=json.dumps(body(MODEL)),
        connections=_SOME_CLIENTS,
        limit=count,
        seconds=30 + count / 500,
    )
    bench.run(f"fill {name}", version, fill)
    time.sleep(1)
    bench.results.add(version, f"rss_{name}_mb", resident_mb(running.pid))
    polls = bench.plan(running.served, silent, path=ASYNC_CHAT, ids=ids[_LANE:])
    figures = bench.run(f"pending polls, {name}", version, polls)
    bench.results.add(version, f"pending_polls_{name}_per_s", figures.per_s("202"))
    stop(silent.process)
    folder = bench.fresh("quick")
    with upstream(bench.versions[0], folder, "--latency-ms", "0", port=silent.port) as quick:
        per_s = _drain_per_s(quick, count)
        bench.results.add(version, f"drain_{name}_per_s", per_s)


def _drain_per_s(quick: Running, count: int) -> float:
    """Calls per second the upstream sees from a tenth of the backlog to nine tenths, or in time."""
    first: tuple[float, int] | None = None
    begun = time.monotonic()
    while True:
        now, seen = time.monotonic(), upstream_calls(quick)
        if first is None:
            if seen > count / 10 or seen > 1000:
                first = now, seen
            elif now - begun > _PATIENCE_S:
                raise Failed(_LANE_ERROR.format(seen=seen, wanted=count, seconds=now - begun))
        elif seen >= count * 0.9 or now - first[0] > _DRAIN_S:
            return (seen - first[1]) / (now - first[0])
        time.sleep(0.05)


def recovery(bench: Bench) -> None:
    """`kill -9` with running jobs, start again: when do they run again?"""
    for version in bench.versions:
        for repetition in range(bench.repetitions):
            bench.say(f"recovery {repetition + 1}/{bench.repetitions} {version.name}")
            folder = bench.fresh("recovery")
            app_dir = bench.fresh(f"recovery-{version.name}")
            with (
                upstream(bench.versions[0], folder, "--latency-ms", _NEVER_MS) as mock,
                gateway(version, app_dir, mock.address) as running,
            ):
                for _ in range(_KILLED_JOBS):
                    submit(running.port, MODEL)
                _wait_in_flight(mock, _KILLED_JOBS)
                running.process.send_signal(signal.SIGKILL)
                running.process.wait()
                _wait_in_flight(mock, 0)
                begun = time.monotonic()
                again = start_gateway(version, app_dir, running.port)
                try:
                    wait_until_ready(again, "/health/readiness", app_dir / "serve.log")
                    bench.results.add(version, "ready_s", time.monotonic() - begun)
                    _wait_in_flight(mock, _KILLED_JOBS)
                    bench.results.add(version, "running_again_s", time.monotonic() - begun)
                finally:
                    again.process.kill()
                    again.process.wait()


def _wait_in_flight(mock: Running, wanted: int) -> None:
    begun = time.monotonic()
    while (seen := json.loads(call(mock.port, "GET", "/stats")[1])["in_flight"]) != wanted:
        if time.monotonic() - begun > _PATIENCE_S:
            raise Failed(_LANE_ERROR.format(seen=seen, wanted=wanted, seconds=_PATIENCE_S))
        time.sleep(0.02)


def upstream_calls(mock: Running) -> int:
    """How many chat completions the mock upstream has answered."""
    calls = json.loads(call(mock.port, "GET", "/stats")[1])["calls"]
    return sum(calls.get("/v1/chat/completions", {}).values())
