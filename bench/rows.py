"""What is measured, row by row. Each repetition measures all versions, one after the other.

A row gives figures by name, one value per repetition; `report.py` knows what they mean.
"""

import json
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from bench.load import Figures, Plan
from bench.machine import resident_mb
from bench.processes import (
    ASYNC_CHAT,
    Failed,
    Running,
    Version,
    body,
    call,
    constant,
    free_port,
    gateway,
    load,
    start_gateway,
    stop,
    upstream,
    wait_until_ready,
)

MODEL: Final = "gpt-4o-mini"
_STALLED: Final = "slow?seconds=80000"
_NEVER_MS: Final = "80000000"
_MANY_CLIENTS: Final = 512
"""Enough to saturate: one job takes at least 125 ms, so fewer would be the limit themselves."""
_SOME_CLIENTS: Final = 64
_LANE: Final = 64
"""Calls in flight of the row with a backlog."""
_KILLED_JOBS: Final = 50
_DRAIN_S: Final = 20.0
_PATIENCE_S: Final = 60.0
_LANE_ERROR: Final = "the mock upstream saw only {seen} of {wanted} calls after {seconds:.0f} s"


@dataclass
class Results:
    """Everything measured, and what it came from."""

    values: dict[str, dict[str, list[float]]] = field(
        default_factory=dict[str, dict[str, list[float]]]
    )
    """By figure and version, a value per repetition."""
    runs: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    """The load generator's figures, as they came."""
    doubts: list[str] = field(default_factory=list[str])

    def add(self, version: Version, figure: str, value: float) -> None:
        """One value of one repetition."""
        self.values.setdefault(figure, {}).setdefault(version.name, []).append(value)


@dataclass(frozen=True)
class Bench:
    """One run."""

    versions: Sequence[Version]
    seconds: float
    repetitions: int
    backlog: int
    folder: Path
    results: Results
    say: Callable[[str], None]

    def fresh(self, name: str) -> Path:
        """A new empty folder."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def run(self, row: str, version: Version, plan: Plan) -> Figures:
        """Load a server, and keep what came of it."""
        figures = load(plan)
        kept = msgspec.to_builtins(figures)
        kept.pop("ids")
        self.results.runs.append({"row": row, "version": version.name, **kept})
        where = f"{row} ({version.name})"
        if figures.load_share > 0.8:
            self.results.doubts.append(
                f"{where}: generator and mock used {figures.load_share:.0%} of their processor"
            )
        if figures.foreign_share > 0.1:
            self.results.doubts.append(
                f"{where}: other processes used {figures.foreign_share:.0%} of a processor"
            )
        strange = {
            name: count
            for name, count in figures.counts.items()
            if name == "failed" or (name[-3:].isdecimal() and name[-3:] not in {"202", "200"})
        }
        if strange or "0" in figures.counts:
            self.results.doubts.append(f"{where}: unexpected answers {strange or figures.counts}")
        return figures

    def compare(
        self, version: Version, row: str, status: str, ceiling: Figures, served: Figures
    ) -> None:
        """Calls that were answered with `status`, against the constant server."""
        per_s = [ceiling.per_s(status), served.per_s(status)]
        cpu_us = [each.sut_cpu_s * 1e6 / each.counts[status] for each in (ceiling, served)]
        for name, value in {
            "ceiling_per_s": per_s[0],
            "per_s": per_s[1],
            "ratio": per_s[1] / per_s[0],
            "ceiling_cpu_us": cpu_us[0],
            "cpu_us": cpu_us[1],
            "cpu_ratio": cpu_us[0] / cpu_us[1],
        }.items():
            self.results.add(version, f"{row}_{name}", value)

    def plan(self, running: Running, mock: Running, mode: str = "calls", **more: object) -> Plan:
        """A plan for the load generator."""
        plan = {"mode": mode, "port": running.port, "sut_pid": running.pid}
        plan |= {"upstream_pid": mock.pid, "seconds": self.seconds}
        return msgspec.convert(plan | more, Plan)


def submits(bench: Bench) -> None:
    """Durable submits against the same server that answers a constant 202.

    The only provider runs one call that does not end, so each submit is stored, queued and nothing
    else: no claim, no upstream call, no finish.
    """
    with ExitStack() as stack:
        mock = stack.enter_context(upstream(bench.versions[0], bench.fresh("submits")))
        pairs: list[tuple[Version, Running, Running]] = []
        for version in bench.versions:
            folder = bench.fresh(f"submits-{version.name}")
            served = stack.enter_context(gateway(version, folder, mock.address, concurrency=1))
            reply = submit(served, _STALLED)
            ceiling = stack.enter_context(constant(version, folder, 202, reply))
            pairs.append((version, served, ceiling))
        sent = json.dumps(body(_STALLED))
        for repetition in range(bench.repetitions):
            for version, served, ceiling in pairs:
                bench.say(f"submits {repetition + 1}/{bench.repetitions} {version.name}")
                sent_to: list[Figures] = []
                for name, server in (("ceiling", ceiling), ("submits", served)):
                    plan = bench.plan(server, mock, path=ASYNC_CHAT, body=sent)
                    sent_to.append(bench.run(name, version, plan))
                bench.compare(version, "submit", "202", *sent_to)


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
                figures = _closed_jobs(bench, version, running, mock)
                ids[version.name] = figures.ids
                rates.append(figures.per_s("completed"))
        _polls(bench, served, mock, ids)
        _latencies(bench, served, mock, min(rates) / 2)


def _closed_jobs(bench: Bench, version: Version, running: Running, mock: Running) -> Figures:
    plan = bench.plan(
        running,
        mock,
        "jobs",
        body=json.dumps(body(MODEL)),
        connections=_MANY_CLIENTS,
        warmup_s=2,
        keep_ids=1000,
    )
    figures = bench.run("jobs", version, plan)
    completed = figures.counts.get("completed", 0)
    if not completed:
        raise Failed(f"no job was completed: {figures.counts}")
    polls = sum(count for name, count in figures.counts.items() if name.startswith("poll "))
    bench.results.add(version, "jobs_per_s", figures.per_s("completed"))
    bench.results.add(version, "cpu_ms_per_job", figures.sut_cpu_s * 1000 / completed)
    bench.results.add(version, "polls_per_job", polls / completed)
    bench.results.add(version, "busy_share", figures.sut_cpu_s / figures.window_s)
    bench.results.add(version, "rss_busy_mb", resident_mb(running.pid))
    return figures


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
                    plan = bench.plan(server, mock, path=ASYNC_CHAT, ids=ids[version.name])
                    sent_to.append(bench.run(name, version, plan))
                bench.compare(version, "poll", "200", *sent_to)


def _latencies(
    bench: Bench, served: Sequence[tuple[Version, Running]], mock: Running, rate: float
) -> None:
    for repetition in range(bench.repetitions):
        for version, running in served:
            bench.say(
                f"latencies at {rate:.0f}/s {repetition + 1}/{bench.repetitions} {version.name}"
            )
            plan = bench.plan(
                running,
                mock,
                "jobs",
                body=json.dumps(body(MODEL)),
                rate=rate,
                connections=1024,
                observe_per_s=20,
            )
            figures = bench.run("latencies", version, plan)
            for figure, name in (("submit", "submit"), ("lag", "completion lag")):
                measured = figures.latency_ms.get(name)
                if measured is None:
                    raise Failed(f"no {name} was measured: {figures.counts}")
                bench.results.add(version, f"{figure}_p50_ms", measured.p50)
                bench.results.add(version, f"{figure}_p99_ms", measured.p99)
            spent = figures.sut_cpu_s * 1000 / figures.counts["completed"]
            bench.results.add(version, "half_load_cpu_ms_per_job", spent)


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
    ids = [json.loads(submit(running, MODEL))["id"] for _ in range(_LANE + 200)]
    fill = bench.plan(
        running,
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
    polls = bench.plan(running, silent, path=ASYNC_CHAT, ids=ids[_LANE:])
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
                    submit(running, MODEL)
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


def submit(running: Running, model: str) -> bytes:
    """The 202 to one job. Raises Failed."""
    status, reply = call(running.port, "POST", ASYNC_CHAT, body(model))
    if status != 202:
        raise Failed(f"a submit was answered {status}: {reply[:500]!r}")
    return reply
