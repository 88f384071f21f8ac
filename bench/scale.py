"""Rows about more than one process: on PostgreSQL, and several on one SQLite file.

One gateway runs on the processor of the system under test, as it does on SQLite. Several, and
PostgreSQL, run where the kernel puts them, beside the load.
"""

import json
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bench.database import Server, has_postgres, server
from bench.machine import resident_mb
from bench.processes import Running, Served, Version, body, gateway, upstream
from bench.rows import compare_submits
from bench.run import MODEL, Bench

_CALLS_PER_S: Final = 9.7
"""Seldom, so that everybody is idle before each; out of step with anything that looks on a beat."""
_MANY_PROCESSES: Final = (1, 2, 4)


def postgres(bench: Bench) -> None:
    """Submits, whole jobs and latencies: one process, then two gateways and two workers."""
    versions = [version for version in bench.versions if has_postgres(version)]
    with server() as database:
        bench.results.notes["postgres"] = database.description()

        @contextmanager
        def start(version: Version, folder: Path, mock: Running) -> Generator[Served]:
            url = database.create(folder.name)
            options = ("--database", url)
            with gateway(version, folder, mock.address, 1, options) as running:
                yield database.served(gateway=[(running.pid, running.port)])

        compare_submits(bench, "pg_submit", versions, start)
        _one_and_four(bench, versions, database)


class _System(NamedTuple):
    version: Version
    row: str
    served: Served

    @property
    def key(self) -> tuple[str, str]:
        return self.version.name, self.row


def _one_and_four(bench: Bench, versions: Sequence[Version], database: Server) -> None:
    with ExitStack() as stack:
        folder = bench.fresh("pg-jobs")
        mock = stack.enter_context(upstream(bench.versions[0], folder, "--latency-ms", "50"))
        urls: dict[str, str] = {}
        systems: list[_System] = []
        for version in versions:
            urls[version.name] = url = database.create(f"one_{version.name}")
            app_dir = bench.fresh(f"one-{version.name}")
            start = gateway(version, app_dir, mock.address, options=("--database", url))
            one = stack.enter_context(start)
            served = database.served(gateway=[(one.pid, one.port)])
            four = _two_and_two(bench, version, database, mock, stack)
            systems += [_System(version, "pg_one_", served), _System(version, "pg_four_", four)]
            time.sleep(1)
            bench.results.add(version, "pg_one_rss_idle_mb", resident_mb(one.pid))
            for part in ("gateway", "worker"):
                idle_mb = resident_mb(four.parts[part][0])
                bench.results.add(version, f"pg_{part}_rss_idle_mb", idle_mb)
        rates: dict[tuple[str, str], list[float]] = {}
        for repetition in range(bench.repetitions):
            for system in systems:
                bench.say(_step(bench, system, "jobs", repetition))
                written = database.wal_bytes()
                figures = bench.closed_jobs(system.row, system.version, system.served, mock)
                rates.setdefault(system.key, []).append(figures.per_s("completed"))
                written = database.wal_bytes() - written
                bench.results.notes.setdefault(f"{system.row}wal_bytes", []).append(written)
            for one, four in zip(systems[::2], systems[1::2], strict=True):
                ratio = rates[four.key][-1] / rates[one.key][-1]
                bench.results.add(one.version, "pg_four_ratio", ratio)
        for repetition in range(bench.repetitions):
            for system in systems:
                rate = min(rates[system.key]) / 2
                bench.say(_step(bench, system, f"latencies at {rate:.0f}/s", repetition))
                bench.latencies(system.row, system.version, system.served, mock, rate)
        for version in versions:
            kept = database.disk_per_job(urls[version.name])
            bench.results.add(version, "pg_disk_per_job_kb", kept / 1000)


def _step(bench: Bench, system: _System, what: str, repetition: int) -> str:
    of_all = f"{repetition + 1}/{bench.repetitions}"
    return f"{system.row}{what} {of_all} {system.version.name}"


def _two_and_two(
    bench: Bench, version: Version, database: Server, mock: Running, stack: ExitStack
) -> Served:
    """Two gateways and two workers, each with an app directory of its own."""
    url = database.create(f"four_{version.name}")
    parts: dict[str, list[tuple[int, int]]] = {"gateway": [], "worker": []}
    for part, role in (("gateway", "api"), ("worker", "worker")):
        for n in range(2):
            app_dir = bench.fresh(f"{role}-{n}-{version.name}")
            options = ("--database", url, "--role", role)
            start = gateway(version, app_dir, mock.address, options=options, cpu=None)
            running = stack.enter_context(start)
            parts[part].append((running.pid, running.port))
    return database.served(**parts)


def processes(bench: Bench) -> None:
    """`--processes N` on SQLite, where one transaction writes at a time."""
    for version in bench.versions:
        if not has_postgres(version):
            continue  # came with the same release
        with ExitStack() as stack:
            folder = bench.fresh("processes")
            mock = stack.enter_context(upstream(bench.versions[0], folder, "--latency-ms", "50"))
            systems: list[tuple[int, Served]] = []
            for n in _MANY_PROCESSES:
                app_dir = bench.fresh(f"processes-{n}-{version.name}")
                options = ("--processes", str(n))
                start = gateway(version, app_dir, mock.address, options=options, cpu=None)
                systems.append((n, stack.enter_context(start).served))
            for repetition in range(bench.repetitions):
                for n, system in systems:
                    step = f"{repetition + 1}/{bench.repetitions} {version.name}"
                    bench.say(f"{n} processes on SQLite {step}")
                    bench.closed_jobs(f"sqlite_{n}_", version, system, mock)


def wake(bench: Bench) -> None:
    """From the submit at one process to the call from an idle worker in another."""
    versions = [version for version in bench.versions if has_postgres(version)]
    with server() as database, ExitStack() as stack:
        bench.results.notes["postgres"] = database.description()
        folder = bench.fresh("wake")
        mock = stack.enter_context(upstream(bench.versions[0], folder, "--latency-ms", "0"))
        for version in versions:
            app_dir = bench.fresh(f"wake-{version.name}")
            url = database.create(f"wake_{version.name}")
            systems = {
                "wake_pg": _api_and_worker(
                    version, mock, stack, [app_dir / "api", app_dir / "worker"], url
                ),
                "wake_sqlite": _api_and_worker(version, mock, stack, [app_dir / "both"] * 2),
            }
            for repetition in range(bench.repetitions):
                for name, system in systems.items():
                    bench.say(f"{name} {repetition + 1}/{bench.repetitions} {version.name}")
                    _time_calls(bench, name, version, system, mock)


def _api_and_worker(
    version: Version,
    mock: Running,
    stack: ExitStack,
    app_dirs: Sequence[Path],
    url: str | None = None,
) -> Served:
    parts: dict[str, tuple[int, ...]] = {}
    ports: list[int] = []
    for role, app_dir in zip(("api", "worker"), app_dirs, strict=True):
        options = ("--role", role, *(("--database", url) if url else ()))
        start = gateway(version, app_dir, mock.address, options=options, cpu=None)
        running = stack.enter_context(start)
        parts[role] = (running.pid,)
        ports.append(running.port)
    return Served((ports[0],), parts)


def _time_calls(bench: Bench, name: str, version: Version, system: Served, mock: Running) -> None:
    plan = bench.plan(
        system,
        mock,
        "jobs",
        seconds=bench.seconds * 5,
        body=json.dumps(body(MODEL)),
        rate=_CALLS_PER_S,
        connections=64,
        poll_ms=(500.0,),
        times_call=True,
    )
    figures = bench.run(name, version, plan)
    for figure, measured in (("", "call"), ("submit_", "submit")):
        bench.results.add(version, f"{name}_{figure}p50_ms", figures.latency_ms[measured].p50)
        bench.results.add(version, f"{name}_{figure}p99_ms", figures.latency_ms[measured].p99)
