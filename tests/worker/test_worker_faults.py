"""The worker when the store, or the machine, fails it."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hermod.domain.errors import StoreUnavailable
from hermod.domain.job import AttemptState, Claim, ClaimedJob, Finish, Lease, State
from hermod.store.sqlite import SqliteStore
from hermod.worker.identity import Identity
from tests.support.worker_bench import (
    CLOCK,
    NEVER_S,
    Bench,
    bench,
    database_in,
    eventually,
    states,
)


class Faulty(SqliteStore):
    """The real store, on a bad day that a test decides on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, CLOCK)
        self.claimed = asyncio.Event()
        self.may_return = asyncio.Event()
        self.may_return.set()
        self.finishes = 0
        self.finish_fails = False
        self.looks = 0
        self.fault: Exception | None = None
        """Raised by the next look for work and by the next upkeep."""

    async def claim_jobs(self, lane: str, limit: int, claim: Claim) -> list[ClaimedJob]:
        jobs = await super().claim_jobs(lane, limit, claim)
        self.claimed.set()
        await self.may_return.wait()
        return jobs

    async def finish_job(self, lease: Lease, finish: Finish) -> bool:
        self.finishes += 1
        if self.finish_fails:
            raise StoreUnavailable("not today")
        return await super().finish_job(lease, finish)

    async def due_lanes(self) -> dict[str, int]:
        self.looks += 1
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return dict(await super().due_lanes())


@asynccontextmanager
async def bad_day(folder: Path) -> AsyncGenerator[tuple[Bench, Faulty]]:
    store = Faulty(database_in(folder))
    async with bench(folder, store) as b:
        yield b, store


async def test_a_claim_that_is_under_way_when_the_drain_begins_is_no_lost_job(
    tmp_path: Path,
) -> None:
    async with bad_day(tmp_path) as (b, store):
        store.may_return.clear()
        job_id = await b.submit()
        worker = await b.worker()
        await store.claimed.wait()
        draining = asyncio.create_task(worker.drain(20))
        await asyncio.sleep(0)
        store.may_return.set()
        await draining
        assert (await b.job(job_id)).state is State.COMPLETED


async def test_a_claim_that_ends_after_the_grace_is_given_back_unsent(tmp_path: Path) -> None:
    async with bad_day(tmp_path) as (b, store):
        store.may_return.clear()
        job_id = await b.submit()
        worker = await b.worker()
        await store.claimed.wait()
        draining = asyncio.create_task(worker.drain(20))
        await asyncio.sleep(0)
        worker.hurry()
        store.may_return.set()
        await draining
        assert (await b.job(job_id)).state is State.WAITING
        assert states(await b.attempts(job_id)) == [AttemptState.UNSENT]


async def test_a_drain_ends_although_a_result_cannot_be_written(tmp_path: Path) -> None:
    async with bad_day(tmp_path) as (b, store):
        store.finish_fails = True
        worker = await b.worker(lease_s=NEVER_S)
        job_id = await b.submit()
        await eventually(lambda: store.finishes)
        async with asyncio.timeout(20):
            await worker.drain(0)
        assert (await b.job(job_id)).state is State.RUNNING


async def test_a_result_that_cannot_be_written_at_first_is_written_later(tmp_path: Path) -> None:
    async with bad_day(tmp_path) as (b, store):
        store.finish_fails = True
        worker = await b.worker()
        job_id = await b.submit()
        await eventually(lambda: store.finishes >= 2)
        store.finish_fails = False
        assert (await b.ended(job_id)).state is State.COMPLETED
        assert len(await b.attempts(job_id)) == 1
        await worker.drain(5)


async def test_an_unforeseen_error_while_claiming_is_logged_and_not_the_end_of_claiming(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bad_day(tmp_path) as (b, store):
        store.fault = ValueError("a defect")
        worker = await b.worker()
        job_id = await b.submit()
        with caplog.at_level(logging.ERROR):
            assert (await b.ended(job_id)).state is State.COMPLETED
        await worker.drain(5)
        assert "a defect" in caplog.text


async def test_a_lock_that_cannot_be_opened_hides_no_other_dead_worker(tmp_path: Path) -> None:
    async with bad_day(tmp_path) as (b, _):
        dead = Identity(b.folder)
        (b.folder / "0.lock").mkdir()  # the first in the list, and no file
        job_id = await b.submit(claim=Claim(dead.worker_id, NEVER_S, NEVER_S))
        dead.release()
        worker = await b.worker()
        assert (await b.ended(job_id)).state is State.COMPLETED
        await worker.drain(5)
