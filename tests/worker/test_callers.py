"""Callers who wait for a slot get the next one, and hear of it when none will come."""

import asyncio
from pathlib import Path

from hermod.domain.job import State
from hermod.worker.worker import Worker
from tests.support.worker_bench import NEVER_S, bench, eventually

PATIENCE_S = 30.0


async def waiting(worker: Worker, callers: int, *, before: int = 0) -> list["asyncio.Task[object]"]:
    """Callers who found every slot of the mock taken, behind so many others."""
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[object]] = [
        loop.create_task(worker.wait_for_slot("mock", PATIENCE_S)) for _ in range(callers)
    ]
    await eventually(lambda: len(worker._lanes["mock"].callers) == before + callers)
    return tasks


async def test_a_gateway_that_leaves_the_queue_to_others_gives_every_slot_to_callers(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=1, claims=False)
        assert await worker.wait_for_slot("mock", PATIENCE_S)
        for caller in await waiting(worker, 3):
            worker.give_back("mock")
            async with asyncio.timeout(5):
                assert await caller
        worker.give_back("mock")
        await worker.drain(1)


async def test_a_slot_that_a_stale_backlog_left_goes_to_the_next_caller(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=1)
        assert await worker.wait_for_slot("mock", PATIENCE_S)
        first, second = await waiting(worker, 2)
        worker._lanes["mock"].backlog = True  # of jobs that somebody else takes meanwhile
        worker.give_back("mock")
        assert await first
        worker.give_back("mock")
        async with asyncio.timeout(5):
            assert await second
        worker.give_back("mock")
        await worker.drain(1)


async def test_who_stopped_waiting_holds_up_nobody(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=1)
        assert await worker.wait_for_slot("mock", PATIENCE_S)
        assert await worker.wait_for_slot("mock", 0.01) is None
        (gone,) = await waiting(worker, 1)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert not worker._lanes["mock"].callers
        worker.give_back("mock")
        assert worker._lanes["mock"].free == 1
        await worker.drain(1)


async def test_a_slot_that_comes_for_a_caller_who_is_just_leaving_is_not_lost(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=1)
        assert await worker.wait_for_slot("mock", PATIENCE_S)
        (caller,) = await waiting(worker, 1)
        worker.give_back("mock")
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        assert worker._lanes["mock"].free == 1
        await worker.drain(1)
        assert worker._quiet.is_set()


async def test_a_drain_sends_away_who_waits_for_a_slot(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=1)
        job_id = await b.submit("slow?seconds=1000")
        await b.in_state(job_id, State.RUNNING)
        callers = await waiting(worker, 3)
        draining = asyncio.create_task(worker.drain(PATIENCE_S))
        async with asyncio.timeout(5):
            assert await asyncio.gather(*callers) == [None] * 3
        worker.hurry()
        await draining


async def test_a_drain_waits_for_a_slot_on_its_way_to_a_caller(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=1)
        assert await worker.wait_for_slot("mock", PATIENCE_S)
        await waiting(worker, 1)
        worker.give_back("mock")
        assert not worker._quiet.is_set()


async def test_nobody_passes_those_who_wait(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=2, upkeep_s=NEVER_S)
        await eventually(lambda: not worker._lanes["mock"].backlog)
        held = [await worker.wait_for_slot("mock", PATIENCE_S) for _ in range(2)]
        first, second = await waiting(worker, 2)
        worker._lanes["mock"].taken -= 1  # the backlog's turn, which it has not taken yet
        assert worker.reserve("mock") is None
        (third,) = await waiting(worker, 1, before=2)
        assert not third.done()
        for caller in (first, second, third):
            worker._freed("mock")
            assert await caller
        assert all(held)


async def test_only_so_many_callers_wait(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=1, callers_max=2)
        assert await worker.wait_for_slot("mock", PATIENCE_S)
        callers = await waiting(worker, 2)
        async with asyncio.timeout(5):
            assert await worker.wait_for_slot("mock", PATIENCE_S) is None
        for caller in callers:
            worker.give_back("mock")
            assert await caller
