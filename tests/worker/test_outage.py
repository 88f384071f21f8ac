"""What a worker tells of a store that goes away."""

import logging
from pathlib import Path

import pytest

from hermod.clock import SystemClock
from hermod.domain.errors import StoreUnavailable
from hermod.domain.job import Claim, State
from hermod.store.sqlite import SqliteStore
from hermod.worker.identity import Identity
from hermod.worker.outage import Outage
from hermod.worker.running import Phase
from tests.support.worker_bench import CLOCK, NEVER_S, bench, database_in, eventually, phases
from tests.worker.locked import impatient, locked

AWAY = StoreUnavailable("nobody there")
JOBS = 20


class SteppedClock(SystemClock):
    """A steady clock that stands still, until it is put forward."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def monotonic(self) -> float:
        return self.at_s


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What it said of the store, at whatever level people see."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.INFO and record.name.startswith("hermod.worker")
    ]


def test_it_is_told_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    clock = SteppedClock()
    outage = Outage(clock)
    outage.worked()
    for what in ("claiming", "renewing leases", "claiming"):
        outage.failed(what, AWAY)
        clock.at_s += 3
    outage.left(2)
    outage.worked()
    outage.worked()
    assert told(caplog) == [
        "the store fails (claiming): nobody there; trying until it works again",
        "the store works again; it failed for 6.0 s, and 2 jobs were left to their leases",
    ]


def test_what_fails_every_second_while_the_rest_works_is_one_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = SteppedClock()
    outage = Outage(clock)
    for _ in range(60):
        outage.failed("claiming for openai", AWAY)
        clock.at_s += 0.9
        outage.worked()
    assert len(told(caplog)) == 1


class LateStore(SqliteStore):
    """The real store, which does not take the first dead worker's leases."""

    fails = True

    async def release_worker(self, worker_id: str, limit: int) -> int:
        if self.fails:
            self.fails = False
            raise AWAY
        return await super().release_worker(worker_id, limit)


async def test_a_store_that_fails_while_a_worker_starts_is_waited_for(tmp_path: Path) -> None:
    store = LateStore(database_in(tmp_path), CLOCK)
    async with bench(tmp_path, store) as b:
        dead = Identity(b.folder)
        job_id = await b.submit(claim=Claim(dead.worker_id, NEVER_S, NEVER_S))
        dead.release()
        worker = await b.worker()
        assert (await b.ended(job_id)).state is State.COMPLETED
        assert not store.fails
        await worker.drain(5)


async def test_jobs_that_lose_the_store_are_counted_and_not_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SteppedClock()
    async with bench(tmp_path, clock=clock) as b:
        impatient(b.store)
        worker = await b.worker(lease_s=30, renew_s=10, upkeep_s=NEVER_S)
        for _ in range(JOBS):
            await b.submit("slow?seconds=1000")
        await eventually(lambda: phases(worker) == [Phase.CALLING] * JOBS)
        with locked(database_in(tmp_path)), caplog.at_level(logging.INFO):
            clock.at_s += 29
            with pytest.raises(StoreUnavailable):
                await worker._renew()
            await eventually(lambda: not worker.running)
            await worker.drain(0)
    assert told(caplog) == [f"the store failed: {JOBS} jobs are left to their leases"]
