"""One run of the benchmark: what it measures, where it keeps what, and what it doubts."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.load import Figures, Plan
from bench.processes import ASYNC_CHAT, Failed, Running, Served, Version, body, call, load

MODEL: Final = "gpt-4o-mini"
_MANY_CLIENTS: Final = 512
"""Enough to saturate: one job takes at least 125 ms, so fewer would be the limit themselves."""


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
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    """What else belongs into the result file."""

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
    finished: int
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
        if not served.counts.get(status):
            raise Failed(f"{row}: no call was answered {status}: {served.counts}")
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
        self._cpu_by_part(version, row, served, served.counts[status])

    def _cpu_by_part(self, version: Version, row: str, figures: Figures, count: int) -> None:
        """What each part spent on one of `count`, and how busy the machine was."""
        if len(figures.cpu_s) == 1:
            return
        for part, cpu_s in figures.cpu_s.items():
            self.results.add(version, f"{row}_{part}_cpu_us", cpu_s * 1e6 / count)
        busy = sum(figures.cpu_s.values()) / figures.window_s
        busy += figures.load_share + figures.foreign_share
        self.results.add(version, f"{row}_processors", busy)

    def closed_jobs(self, row: str, version: Version, served: Served, mock: Running) -> Figures:
        """Whole jobs, as many as it can do."""
        plan = self.plan(
            served,
            mock,
            "jobs",
            body=json.dumps(body(MODEL)),
            connections=_MANY_CLIENTS,
            warmup_s=2,
            keep_ids=1000,
        )
        figures = self.run(f"{row}jobs", version, plan)
        completed = figures.counts.get("completed", 0)
        if not completed:
            raise Failed(f"no job was completed: {figures.counts}")
        polls = sum(count for name, count in figures.counts.items() if name.startswith("poll "))
        for name, value in {
            "jobs_per_s": figures.per_s("completed"),
            "cpu_ms_per_job": figures.sut_cpu_s * 1000 / completed,
            "polls_per_job": polls / completed,
            "busy_share": figures.sut_cpu_s / figures.window_s,
        }.items():
            self.results.add(version, f"{row}{name}", value)
        self._cpu_by_part(version, f"{row}jobs", figures, completed)
        return figures

    def latencies(
        self, row: str, version: Version, served: Served, mock: Running, rate: float
    ) -> None:
        """Whole jobs, `rate` of them per second."""
        plan = self.plan(
            served,
            mock,
            "jobs",
            body=json.dumps(body(MODEL)),
            rate=rate,
            connections=1024,
            observe_per_s=20,
        )
        figures = self.run(f"{row}latencies", version, plan)
        for figure, name in (("submit", "submit"), ("lag", "completion lag")):
            measured = figures.latency_ms.get(name)
            if measured is None:
                raise Failed(f"no {name} was measured: {figures.counts}")
            self.results.add(version, f"{row}{figure}_p50_ms", measured.p50)
            self.results.add(version, f"{row}{figure}_p99_ms", measured.p99)
        spent = figures.sut_cpu_s * 1000 / figures.counts["completed"]
        self.results.add(version, f"{row}half_load_cpu_ms_per_job", spent)

    def plan(self, served: Served, mock: Running, mode: str = "calls", **more: object) -> Plan:
        """A plan for the load generator."""
        plan = {"mode": mode, "ports": served.ports, "sut": served.parts}
        plan |= {"upstream_pid": mock.pid, "seconds": self.seconds}
        return msgspec.convert(plan | more, Plan)


def submit(port: int, model: str) -> bytes:
    """The 202 to one job. Raises Failed."""
    status, reply = call(port, "POST", ASYNC_CHAT, body(model))
    if status != 202:
        raise Failed(f"a submit was answered {status}: {reply[:500]!r}")
    return reply
