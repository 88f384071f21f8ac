"""Callers of `on_work` hear of claimable jobs, after the commit that made them so."""

import asyncio

import pytest

from hermod.store.api import Store
from tests.store.backends import Database
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    FAILED,
    LANE,
    LEASE_S,
    finished_job,
    lose_leases,
    new_job,
    queued_job,
    running_job,
)


class Listener:
    """What was heard."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lanes: list[str] = []
        store.on_work(self._heard)

    def _heard(self, lane: str) -> None:
        self.lanes.append(lane)


class Looker(Listener):
    """And what the store had to give at that moment. To be asked, or its looks are left alone."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._looks: list[asyncio.Task[bool]] = []

    def _heard(self, lane: str) -> None:
        super()._heard(lane)
        self._looks.append(asyncio.ensure_future(self._is_due(lane)))

    async def _is_due(self, lane: str) -> bool:
        return lane in await self._store.due_lanes()

    async def found_work(self) -> bool:
        """Whether the lane was due each time it was named."""
        return all(await asyncio.gather(*self._looks))


async def turn() -> None:
    """Let the loop run what is ready."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_queued_job_is_heard_of_once_it_is_committed(database: Database) -> None:
    async with database.open() as store:
        listener = Looker(store)
        await queued_job(store, database)
        await turn()
        assert listener.lanes == [LANE]
        assert await listener.found_work()


async def test_a_job_put_back_is_heard_of(database: Database) -> None:
    async with database.open() as store:
        listener = Looker(store)
        lease = await running_job(store, database)
        await store.put_back(lease, FAILED, database.clock.now() + 1)
        await turn()
        assert listener.lanes == [LANE]
        assert await listener.found_work()


async def test_a_lost_job_is_heard_of(database: Database) -> None:
    async with database.open() as store:
        listener = Listener(store)
        await running_job(store, database)
        await lose_leases(store, database)
        await turn()
        assert listener.lanes == [LANE]


async def test_the_jobs_of_a_dead_worker_are_heard_of(database: Database) -> None:
    async with database.open() as store:
        listener = Listener(store)
        await running_job(store, database)
        await store.release_worker(CLAIM.worker_id, 9)
        await turn()
        assert listener.lanes == [LANE]


async def test_nothing_is_heard_of_jobs_that_nobody_can_claim(database: Database) -> None:
    async with database.open() as store:
        listener = Listener(store)
        lease = await running_job(store, database)
        assert await store.begin_attempt(lease, FAILED, LEASE_S)
        await store.renew_leases([lease], LEASE_S)
        await store.put_back(lease, FAILED, 0)
        await finished_job(store, database)
        await store.claim_jobs(LANE, 9, CLAIM)
        await turn()
        assert listener.lanes == []


async def test_nothing_is_heard_of_a_submit_that_failed(database: Database) -> None:
    async with database.open() as store:
        job = new_job(database)
        await store.submit_job(job)
        await turn()
        listener = Listener(store)
        with pytest.raises(Exception):  # noqa: B017, PT011  whatever the engine says of a second id
            await store.submit_job(job)
        await turn()
        assert listener.lanes == []


async def test_every_lane_of_a_group_is_heard_of(database: Database) -> None:
    async with database.open() as store:
        listener = Listener(store)
        lanes = [f"lane-{n % 3}" for n in range(30)]
        await asyncio.gather(*(queued_job(store, database, lane=lane) for lane in lanes))
        await turn()
        assert set(listener.lanes) == set(lanes)


async def test_everybody_who_asked_hears(database: Database) -> None:
    async with database.open() as store:
        first, second = Listener(store), Listener(store)
        await queued_job(store, database)
        await turn()
        assert first.lanes == second.lanes == [LANE]


async def test_a_listener_that_fails_harms_nobody(database: Database) -> None:
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context["exception"]))

    def fail(lane: str) -> None:
        raise ValueError(lane)

    async with database.open() as store:
        store.on_work(fail)
        listener = Listener(store)
        await queued_job(store, database)
        lease = await running_job(store, database)
        assert await store.finish_job(lease, COMPLETED)
        await turn()
        assert listener.lanes == [LANE]
        assert [type(complaint) for complaint in complaints] == [ValueError]
