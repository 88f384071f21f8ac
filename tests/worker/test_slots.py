"""A worker takes on as much as it has slots for, however much there is."""

from pathlib import Path

from hermod.domain.job import State
from tests.support.worker_bench import bench


async def test_a_backlog_is_claimed_as_far_as_there_are_slots(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        backlog = [await b.submit("slow?seconds=1000") for _ in range(5)]
        worker = await b.worker(slots=2)
        await b.in_state(backlog[0], State.RUNNING)
        counts = await b.store.counts()
        assert counts["default", "mock", State.RUNNING] == 2
        assert counts["default", "mock", State.QUEUED] == 3
        await worker.drain(0)
