"""What happens to a run, or to a lane, while something else happens to another."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from hermod.domain.errors import StoreUnavailable
from hermod.domain.job import AttemptState, Claim, ClaimedJob, Lease, OnUnknown, Retry, State
from hermod.store.sqlite import SqliteStore
from hermod.worker.running import Phase
from tests.support.database import tamper
from tests.support.worker_bench import (
    CLOCK,
    LARGE_BODY,
    NEVER_S,
    bench,
    database_in,
    eventually,
    phases,
    states,
)
from tests.worker.locked import impatient, locked

T = TypeVar("T")


class Attended(SqliteStore):
    """The real store. Whoever says how an attempt failed has to be let in by the test."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, CLOCK)
        self.doors: list[asyncio.Event] = []
        """One for everybody who came, in the order of arrival."""
        self.refusals = 0

    async def begin_attempt(self, lease: Lease, ended: Retry, lease_s: float) -> Lease | None:
        begin = super().begin_attempt
        return await self._let_in(lambda: begin(lease, ended, lease_s))

    async def put_back(
        self, lease: Lease, ended: Retry, run_at: int, deadline_at: int | None = None
    ) -> bool:
        put_back = super().put_back
        return await self._let_in(lambda: put_back(lease, ended, run_at, deadline_at))

    async def _let_in(self, verb: Callable[[], Awaitable[T]]) -> T:
        door = asyncio.Event()
        self.doors.append(door)
        await door.wait()
        try:
            return await verb()
        except StoreUnavailable:
            self.refusals += 1
            raise


async def test_a_drain_gives_back_large_jobs_that_wait_for_memory(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        job_ids = [await b.submit("slow?seconds=1000", body=LARGE_BODY) for _ in range(3)]
        worker = await b.worker()
        await eventually(lambda: phases(worker) == [Phase.CALLING] + [Phase.QUEUEING] * 2)
        await worker.drain(0)
        assert [(await b.job(job_id)).state for job_id in job_ids] == [State.WAITING] * 3
        attempts = [states(await b.attempts(job_id)) for job_id in job_ids]
        assert attempts == [[AttemptState.UNKNOWN], [AttemptState.UNSENT], [AttemptState.UNSENT]]


class SlowToTell(SqliteStore):
    """The real store. What a claim took is told when the test opens the door."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, CLOCK)
        self.door = asyncio.Event()
        self.claims = 0

    async def claim_jobs(self, lane: str, limit: int, claim: Claim) -> list[ClaimedJob]:
        claimed = await super().claim_jobs(lane, limit, claim)
        self.claims += 1
        await self.door.wait()
        return claimed


async def test_a_hurried_drain_gives_back_what_a_claim_under_way_has_taken(tmp_path: Path) -> None:
    store = SlowToTell(database_in(tmp_path))
    async with bench(tmp_path, store) as b:
        job_id = await b.submit("slow?seconds=1000")
        worker = await b.worker()
        await eventually(lambda: store.claims)
        draining = asyncio.create_task(worker.drain(0))
        await eventually(lambda: worker._draining)
        store.door.set()
        await draining
        assert (await b.job(job_id)).state is State.WAITING


async def test_a_renewal_in_one_group_with_next_attempts_loses_no_run(tmp_path: Path) -> None:
    store = Attended(database_in(tmp_path))
    async with bench(tmp_path, store) as b:
        worker = await b.worker(upkeep_s=NEVER_S)
        job_ids = [await b.submit("429?retry_after=0&times=1") for _ in range(2)]
        await eventually(lambda: len(store.doors) == 2)
        # The group runs both next attempts and then the renewal, which asks for the leases before
        # them; and of its answers, that of the renewal comes before the second next attempt's.
        store.doors[0].set()
        renewing = asyncio.create_task(worker._renew())
        store.doors[1].set()
        await renewing
        for job_id in job_ids:
            assert (await b.ended(job_id)).state is State.COMPLETED
        await worker.drain(5)


@pytest.mark.parametrize("on_unknown", OnUnknown)
async def test_a_known_failure_outlives_a_locked_database(
    tmp_path: Path, on_unknown: OnUnknown
) -> None:
    store = Attended(database_in(tmp_path))
    async with bench(tmp_path, store) as b:
        impatient(store)
        worker = await b.worker(upkeep_s=NEVER_S)
        job_id = await b.submit("429?retry_after=0&times=1", on_unknown=on_unknown)
        await eventually(lambda: store.doors)
        with locked(database_in(tmp_path)):
            store.doors[0].set()
            await eventually(lambda: store.refusals)
        await eventually(lambda: len(store.doors) == 2)
        store.doors[1].set()
        assert (await b.ended(job_id)).state is State.COMPLETED
        await worker.drain(5)
        attempts = states(await b.attempts(job_id))
        assert attempts == [AttemptState.FAILED, AttemptState.SUCCEEDED]


async def test_a_drained_wait_keeps_its_due_time(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        job_id = await b.submit("429?retry_after=4&times=1")
        await eventually(lambda: phases(worker) == [Phase.WAITING])
        await worker.drain(0)
        (attempt,) = await b.attempts(job_id)
        assert attempt.ended_at is not None
        assert (await b.store.due_lanes())["mock"] >= attempt.ended_at + 4_000_000


async def test_a_crash_during_the_backoff_of_a_job_sent_once_is_no_unknown_outcome(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        job_id = await b.submit("429?retry_after=5&times=1", on_unknown=OnUnknown.FAIL)
        # It is put back at once. Were the backoff waited out in the slot, this would be the moment.
        await b.until(
            job_id, lambda view: view.state is State.WAITING or phases(worker) == [Phase.WAITING]
        )
        (attempt,) = await b.attempts(job_id)
        await b.store.release_worker(attempt.worker_id, 10)  # as the next process would
        view = await b.job(job_id)
        await worker.drain(0)
        assert view.state is State.WAITING
        assert states(await b.attempts(job_id)) == [AttemptState.FAILED]


# One lane and another


class LameLane(SqliteStore):
    """The real store, but nothing can be claimed for groq."""

    async def claim_jobs(self, lane: str, limit: int, claim: Claim) -> list[ClaimedJob]:
        if lane == "groq":
            raise StoreUnavailable("database disk image is malformed")
        return await super().claim_jobs(lane, limit, claim)


async def test_a_lane_that_cannot_be_claimed_does_not_stop_the_others(tmp_path: Path) -> None:
    async with bench(tmp_path, LameLane(database_in(tmp_path), CLOCK)) as b:
        stuck = await b.submit(lane="groq")
        job_id = await b.submit()
        worker = await b.worker()
        assert (await b.ended(job_id)).state is State.COMPLETED
        assert (await b.job(stuck)).state is State.QUEUED
        await worker.drain(5)


async def test_a_damaged_row_does_not_stop_other_lanes(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        damaged = await b.submit(lane="groq")
        job_id = await b.submit()
        tamper(
            tmp_path,
            "PRAGMA ignore_check_constraints = 1;"
            "UPDATE job SET on_unknown = 'maybe' WHERE lane = 'groq'",
        )
        worker = await b.worker()
        assert (await b.ended(job_id)).state is State.COMPLETED
        assert (await b.job(damaged)).state is State.QUEUED
        await worker.drain(5)


async def test_large_bodies_of_a_hung_lane_hold_up_no_other_lanes(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        await b.submit("slow?seconds=1000", body=LARGE_BODY)
        await eventually(lambda: phases(worker) == [Phase.CALLING])
        elsewhere = await b.submit(lane="groq", body=LARGE_BODY)
        assert (await b.ended(elsewhere)).state is State.FAILED  # groq is not configured
        await worker.drain(0)


async def test_large_bodies_of_a_hung_lane_leave_another_lanes_slots_to_its_small_ones(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(lane_slots={"groq": 2})
        await b.submit("slow?seconds=1000", body=LARGE_BODY)
        await eventually(lambda: phases(worker) == [Phase.CALLING])
        for _ in range(2):
            await b.submit(lane="groq", body=LARGE_BODY)
        small = await b.submit(lane="groq")
        assert (await b.ended(small)).state is State.FAILED  # groq is not configured
        await worker.drain(0)
