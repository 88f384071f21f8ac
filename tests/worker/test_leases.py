"""How a worker keeps its leases through a lock and through a sleep of the machine."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hermod.clock import SystemClock
from hermod.domain.errors import StoreUnavailable
from hermod.domain.job import AttemptState
from hermod.store.sqlite import SqliteStore
from hermod.store.sqlite.store import boot_clock
from hermod.worker.running import Phase
from hermod.worker.worker import Worker
from tests.support.worker_bench import (
    CLOCK,
    NEVER_S,
    bench,
    database_in,
    eventually,
    phases,
    states,
)
from tests.worker.locked import impatient, locked

LEASE_S = 30.0
RENEW_S = 10.0


class LateClock(SystemClock):
    """The real clock, whose steady hand can be put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@asynccontextmanager
async def worker_without_a_database(folder: Path) -> AsyncGenerator[tuple[Worker, LateClock]]:
    """A worker with five calls under way and the leases of the program, just as a lock begins."""
    clock = LateClock()
    async with bench(folder, clock=clock) as b:
        impatient(b.store)
        worker = await b.worker(lease_s=LEASE_S, renew_s=RENEW_S, upkeep_s=NEVER_S)
        for _ in range(5):
            await b.submit("slow?seconds=1000")
        await eventually(lambda: phases(worker) == [Phase.CALLING] * 5)
        with locked(database_in(folder)):
            yield worker, clock
        await worker.drain(0)


async def test_ten_seconds_of_a_locked_database_stop_no_call(tmp_path: Path) -> None:
    async with worker_without_a_database(tmp_path) as (worker, clock):
        # The lock begins right after a renewal: it is met by the next, and outlasts that by far.
        for clock.ahead_s in (RENEW_S, RENEW_S + 5, RENEW_S + 10):
            with pytest.raises(StoreUnavailable):
                await worker._renew()
            assert phases(worker) == [Phase.CALLING] * 5
            assert [run.stopped for run in worker._runs.values()] == [None] * 5


async def test_calls_end_before_leases_that_cannot_be_renewed(tmp_path: Path) -> None:
    async with worker_without_a_database(tmp_path) as (worker, clock):
        clock.ahead_s = LEASE_S - 1
        with pytest.raises(StoreUnavailable):
            await worker._renew()
        await eventually(lambda: not worker.running)


class Drowsy(SqliteStore):
    """The real store on a machine that can fall asleep, between two rounds of upkeep."""

    def __init__(self, path: Path) -> None:
        self.slept_us = 0
        self.falls_asleep_for_us = 0
        self.rounds = 0
        super().__init__(path, CLOCK, boot_now=lambda: boot_clock() + self.slept_us)

    async def delete_expired(self, limit: int) -> int:
        """The last step of a round."""
        deleted = await super().delete_expired(limit)
        self.rounds += 1
        self.slept_us, self.falls_asleep_for_us = self.slept_us + self.falls_asleep_for_us, 0
        return deleted


async def test_after_a_sleep_longer_than_the_lease_a_worker_keeps_its_own_leases(
    tmp_path: Path,
) -> None:
    store = Drowsy(database_in(tmp_path))
    async with bench(tmp_path, store) as b:
        worker = await b.worker(lease_s=LEASE_S)
        job_id = await b.submit("slow?seconds=1000")
        await eventually(lambda: phases(worker) == [Phase.CALLING])
        store.falls_asleep_for_us = int(LEASE_S + 1) * 1_000_000
        await eventually(lambda: store.slept_us)
        woke_in = store.rounds
        await eventually(lambda: store.rounds > woke_in)
        assert phases(worker) == [Phase.CALLING]
        assert states(await b.attempts(job_id)) == [AttemptState.SENDING]
        await worker.drain(0)
