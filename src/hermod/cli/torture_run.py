"""What `hermod torture` does."""

import asyncio
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import click
import uvloop

from hermod.clock import SystemClock
from hermod.config.database import database_fault
from hermod.domain.errors import StoreError
from hermod.mock_upstream import latency
from hermod.torture.cluster import Binaries, Cluster, ClusterFailed
from hermod.torture.driver import Progress, Run
from hermod.torture.history import History
from hermod.torture.journal import NoHistory, read_history, write_history
from hermod.torture.plan import Plan
from hermod.torture.programs import CouldNotRun, free_port
from hermod.torture.snapshot import see_that_it_is_free
from hermod.torture.stage import Place, Stage
from hermod.torture.verdict import judge

_FAILED = 1
_COULD_NOT_RUN = 2
_SHORT_LEASE_S = 3.0
_LONG_CALLS = "lognormal:1000,5000"
"""Some outlast the freeze and the lease: only then can who wakes disturb who has the job now."""
_POSTGRES = ("postgresql://", "postgres://")
_TELL_EVERY_S = 5.0
"""Where there is no terminal to write one line again and again."""


@dataclass(frozen=True)
class Asked:
    """The flags, by their names."""

    jobs: int
    kills: int
    freezes: int
    gateways: int | None
    workers: int | None
    database: str | None
    start_postgres: bool
    postgres_bin: Path | None
    yes_use_this_database: bool
    seed: int | None
    rate: float
    latency: str | None
    lease_s: float | None
    keep: Path | None
    as_json: bool

    @property
    def on_postgres(self) -> bool:
        """Otherwise SQLite."""
        return self.start_postgres or self.database is not None

    def plan(self) -> Plan:
        """What was asked for, with what is usual there."""
        usual = Plan()
        gateways, workers = (2, 2) if self.on_postgres else (usual.gateways, usual.workers)
        lease_s = self.lease_s or (_SHORT_LEASE_S if self.freezes else usual.lease_s)
        return replace(
            usual,
            jobs=self.jobs,
            kills=self.kills,
            freezes=self.freezes,
            gateways=gateways if self.gateways is None else self.gateways,
            workers=workers if self.workers is None else self.workers,
            kills_database=self.start_postgres,
            shared_app_dir=not self.on_postgres,
            seed=random.SystemRandom().randrange(100_000) if self.seed is None else self.seed,
            rate=self.rate,
            latency=self.latency or (_LONG_CALLS if self.freezes else usual.latency),
            lease_s=lease_s,
        )


def run_and_judge(asked: Asked) -> int:
    """The whole of it; the exit code."""
    folder: Path | None = None
    try:
        _refuse_nonsense(asked)
        folder = _folder(asked.keep)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            history = runner.run(_go(asked, folder))
        failed = _tell_verdict(history, asked)
        if failed or asked.keep:
            write_history(history, folder)
            click.echo(f"evidence in {folder}", err=True)
        else:
            shutil.rmtree(folder)
    except (CouldNotRun, ClusterFailed, StoreError, OSError) as error:
        said = error.whole if isinstance(error, StoreError) else str(error)
        return _give_up(f"{said}{_where_the_logs_are(folder, asked)}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        if folder is not None and asked.keep is None:
            shutil.rmtree(folder)
        return _give_up("stopped")
    return failed


def check_again(folder: Path, asked: Asked) -> int:
    """Judge a run that was kept; the exit code."""
    try:
        return _tell_verdict(read_history(folder), asked)
    except NoHistory as error:
        return _give_up(str(error))


def _refuse_nonsense(asked: Asked) -> None:
    """Raises CouldNotRun for what no run can come of, before anything is made."""
    if asked.start_postgres and asked.database is not None:
        raise CouldNotRun("--start-postgres or --database: a run is on one of them")
    if asked.database is not None:
        if not asked.database.startswith(_POSTGRES):
            raise CouldNotRun("--database takes postgresql://…; SQLite is used without it")
        if fault := database_fault(asked.database, ""):
            raise CouldNotRun(f"--database: {fault}")
    for name, value in (("--rate", asked.rate), ("--lease-s", asked.lease_s)):
        if value is not None and math.isnan(value):
            raise CouldNotRun(f"{name}: expected a number")
    if asked.latency is not None:
        try:
            latency(asked.latency)
        except ValueError as error:
            raise CouldNotRun(f"--latency: {error}") from error


async def _go(asked: Asked, folder: Path) -> History:
    task = asyncio.current_task()
    assert task is not None
    # The end of a terminal, too: nobody else would end our processes, or delete our folder.
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    plan = asked.plan()
    cluster: Cluster | None = None
    with tempfile.TemporaryDirectory(prefix="hermod-torture-pg-") as data:
        if asked.start_postgres:
            cluster = _cluster(asked, Path(data))
            await asyncio.to_thread(cluster.create)
        url = cluster.url if cluster is not None else asked.database
        place = Place(folder, os.environ, url, cluster, keep=asked.keep is not None)
        stage = Stage(plan, place, SystemClock())
        click.echo(_words(plan, asked), err=True)
        try:
            if cluster is not None:
                await asyncio.to_thread(cluster.start)
            elif url is not None:
                await see_that_it_is_free(url, may_hold_jobs=asked.yes_use_this_database)
            return await Run(stage, _Teller()).go()
        finally:
            await stage.close()
            if cluster is not None:
                shutil.copyfile(cluster.log, folder / "postgres.log")


def _cluster(asked: Asked, data: Path) -> Cluster:
    binaries = Binaries.find(asked.postgres_bin, os.environ.get("PATH", ""))
    # The user that root starts it as has to get there.
    data.chmod(0o711)
    return Cluster(data / "cluster", free_port(), binaries, SystemClock())


def _folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="hermod-torture-"))
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise CouldNotRun(f"{keep} is not empty")
    return keep


def _where_the_logs_are(folder: Path | None, asked: Asked) -> str:
    """A line for people. A folder of ours with nothing in it is deleted instead."""
    if folder is None:
        return ""
    if any(folder.iterdir()):
        return f"\nthe logs are in {folder}"
    if asked.keep is None:
        folder.rmdir()
    return ""


def _words(plan: Plan, asked: Asked) -> str:
    store = "PostgreSQL" if asked.on_postgres else "SQLite"
    names = Counter(group for _, group in plan.processes)
    who = ", ".join(f"{n} {group}" for group, n in names.items())
    return (
        f"torture on {store}: {plan.jobs} jobs, {plan.kills} kills, {plan.freezes} freezes; "
        f"processes: {who}; --seed {plan.seed}"
    )


class _Teller:
    """One line that changes on a terminal; elsewhere a line every few seconds."""

    def __init__(self) -> None:
        self._told_s = -_TELL_EVERY_S

    def __call__(self, so_far: Progress) -> None:
        line = (
            f"{so_far.elapsed_s:6.1f} s   accepted {so_far.accepted}   finished "
            f"{so_far.finished}   blows {so_far.blows} of {so_far.of_blows}"
        )
        if sys.stderr.isatty():
            click.echo(f"\r{line}  ", nl=False, err=True)
        elif so_far.elapsed_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = so_far.elapsed_s
            click.echo(line, err=True)


def _tell_verdict(history: History, asked: Asked) -> int:
    """Print it; the exit code."""
    verdict = judge(history)
    if sys.stderr.isatty():
        click.echo(err=True)
    if asked.as_json:
        click.echo(json.dumps(verdict.as_json()))
    else:
        click.echo(verdict.in_words())
    if asked.database is not None:
        click.echo(
            f"{len(history.final.jobs)} jobs of this run stay in the schema `hermod` of the "
            "database; Hermod deletes them when their time is over, a day from now",
            err=True,
        )
    return 0 if verdict.passed else _FAILED


def _give_up(why: str) -> int:
    click.echo(f"hermod torture: {why}", err=True)
    return _COULD_NOT_RUN
