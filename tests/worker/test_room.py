"""The backlog of a lane waits in the store while its upstream has no room."""

from dataclasses import dataclass, field
from pathlib import Path

from hermod.domain.job import State
from hermod.worker.running import Phase
from hermod.worker.worker import Worker
from tests.support.worker_bench import NEVER_S, bench, eventually, phases

PATIENCE_S = 30.0


@dataclass
class Upstream:
    """An upstream of the lane `mock` that takes so many calls at once; others take any number."""

    at_once: int | None
    again_s: float = NEVER_S
    asked: list[str] = field(default_factory=list[str])
    worker: Worker | None = None
    most: int = 0

    def room(self, lane: str) -> tuple[int | None, float]:
        self.asked.append(lane)
        if lane != "mock" or self.at_once is None:
            return None, 0.0
        self.most = max(self.most, self.out(lane))
        return max(self.at_once - self.out(lane), 0), self.again_s

    def out(self, lane: str) -> int:
        del lane
        return phases(self.worker).count(Phase.CALLING) if self.worker else 0


async def test_a_lane_without_room_claims_nothing_and_holds_no_other_up(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        job_ids = [await b.submit() for _ in range(5)]
        worker = await b.worker(room=Upstream(0))
        elsewhere = await b.submit(lane="groq")
        assert (await b.ended(elsewhere)).state is State.FAILED  # groq is not configured
        assert [(await b.job(job_id)).state for job_id in job_ids] == [State.QUEUED] * 5
        assert not any([await b.attempts(job_id) for job_id in job_ids])
        await worker.drain(5)


async def test_no_more_are_claimed_at_once_than_there_is_room_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        for _ in range(10):
            await b.submit("slow?seconds=1000")
        upstream = Upstream(3)
        worker = upstream.worker = await b.worker(room=upstream)
        await eventually(lambda: phases(worker) == [Phase.CALLING] * 3)
        asked = len(upstream.asked)
        await eventually(lambda: len(upstream.asked) > asked + 3)
        counts = await b.store.counts()
        assert worker.running == counts["default", "mock", State.RUNNING] == 3
        await worker.drain(0)


async def test_claims_that_have_not_called_yet_take_from_the_room(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(room=Upstream(2), upkeep_s=NEVER_S)
        await eventually(lambda: not worker._lanes["mock"].backlog)
        assert worker.reserve("mock")
        assert worker.reserve("mock")
        assert worker.reserve("mock") is None
        worker.give_back("mock")
        assert worker.reserve("mock")
        for _ in range(2):
            worker.give_back("mock")
        await worker.drain(5)


async def test_a_lane_looks_again_when_the_time_has_come(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        upstream = Upstream(0, again_s=0.1)
        job_id = await b.submit()
        worker = await b.worker(room=upstream, upkeep_s=NEVER_S)
        await eventually(lambda: upstream.asked.count("mock") >= 2)
        assert (await b.job(job_id)).state is State.QUEUED
        upstream.at_once = None  # nobody says so: the lane finds out
        assert (await b.ended(job_id)).state is State.COMPLETED
        await worker.drain(5)


async def test_a_backlog_goes_one_by_one_where_there_is_room_for_one(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        job_ids = [await b.submit("slow?seconds=0.01") for _ in range(5)]
        upstream = Upstream(1)
        worker = upstream.worker = await b.worker(room=upstream, upkeep_s=NEVER_S)
        for job_id in job_ids:
            assert (await b.ended(job_id)).state is State.COMPLETED
        assert upstream.most <= 1
        await worker.drain(5)


async def test_a_submit_without_room_leaves_its_job_queued(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        upstream = Upstream(0)
        worker = await b.worker(room=upstream, upkeep_s=NEVER_S)
        await eventually(lambda: not worker._lanes["mock"].backlog)
        assert worker.reserve("mock") is None
        upstream.at_once = None
        assert worker.reserve("mock")
        worker.give_back("mock")
        await worker.drain(5)


async def test_a_caller_who_waits_is_not_held_up(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.submit()
        worker = await b.worker(room=Upstream(0), slots=1)
        assert await worker.wait_for_slot("mock", PATIENCE_S)
        worker.give_back("mock")
        await worker.drain(5)


async def test_a_backlog_without_room_takes_no_turn_from_callers(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.submit()
        worker = await b.worker(room=Upstream(0), slots=1, upkeep_s=NEVER_S)
        for _ in range(3):
            assert await worker.wait_for_slot("mock", PATIENCE_S)
            worker.give_back("mock")
        await worker.drain(5)


async def test_calls_that_wait_to_go_out_take_from_the_room_too(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        for _ in range(5):
            await b.submit("slow?seconds=1000")
        upstream = Upstream(2)  # as one whose calls never go out: it knows of none
        worker = await b.worker(room=upstream)
        await eventually(lambda: phases(worker) == [Phase.CALLING] * 2)
        asked = len(upstream.asked)
        await eventually(lambda: len(upstream.asked) > asked + 3)
        assert worker.running == 2
        await worker.drain(0)
