"""F15: the wall clock jumps, or two workers disagree about it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.faults.places import Place, PostgresPlace, SqlitePlace
from tests.faults.workload import clients_of
from tests.support.inprocess import Running, gateway

BRIEF: dict[str, Any] = {"lease_s": 2, "renew_s": 0.4, "upkeep_s": 0.2, "drain_s": 5}
HOUR_S, DAY_S = 3_600.0, 86_400.0
AHEAD_S = 300.0


def url_of(running: Running) -> str:
    return str(running.http.base_url).rstrip("/")


@asynccontextmanager
async def skewed(place: Place, name: str, ahead_s: float) -> AsyncGenerator[Running]:
    """A gateway whose wall clock is wrong by so much."""
    app_dir, database = place.home(name)
    async with gateway(app_dir, config={"hermod": BRIEF}, database=database) as running:
        running.clock.ahead_s = ahead_s
        yield running


@pytest.mark.parametrize(
    "leap_s",
    [
        HOUR_S,
        pytest.param(-HOUR_S, marks=pytest.mark.long_form),
        pytest.param(DAY_S, marks=pytest.mark.long_form),
        -DAY_S,
    ],
)
async def test_a_leap_of_the_wall_clock_loses_no_lease_and_no_answer(
    file: SqlitePlace, leap_s: float
) -> None:
    async with (
        gateway(file.app_dir, config={"hermod": BRIEF}) as running,
        clients_of(url_of(running)) as clients,
    ):
        (job_id,) = await clients.submit_many(1, "mock/slow?seconds=2.7")
        await clients.submit_many(5, "mock/echo")
        # In the middle of a lease that will have to be renewed after the leap.
        running.clock.ahead_s = leap_s
        late = await clients.submit_many(5, "mock/echo")
        assert (await clients.end_of(job_id)).wire_state == "completed"
        for each in late:
            assert (await clients.end_of(each)).wire_state == "completed"
        # A result that ended after the leap is there for its whole TTL.
        running.clock.ahead_s += HOUR_S - 60
        for each in (job_id, *late):
            read = await clients.read(each)
            assert read is not None
            assert read.status == 200
    assert file.attempts_of(job_id) == [(1, "succeeded", None)]


async def test_two_workers_that_disagree_about_the_time_share_no_job(place: Place) -> None:
    async with (
        skewed(place, "ahead", AHEAD_S) as ahead,
        skewed(place, "behind", -AHEAD_S) as behind,
        clients_of(url_of(ahead), url_of(behind)) as clients,
    ):
        # Longer than a lease: each has to renew what the other would take.
        await clients.submit_many(20, "mock/slow?seconds=2.7")
        await clients.submit_many(20, "mock/echo")
        await clients.settle()
        assert clients.ends() == {"completed": 40}
        stored = await place.stored()
        clients.judge([], stored)
    assert {(attempt.n, attempt.state) for attempt in stored.attempts} == {(1, "succeeded")}
    assert len({attempt.worker_id for attempt in stored.attempts}) == 2


async def test_on_a_server_nothing_expires_by_the_clock_of_a_worker(server: PostgresPlace) -> None:
    async with (
        skewed(server, "ahead", AHEAD_S) as ahead,
        skewed(server, "behind", -AHEAD_S) as behind,
        clients_of(url_of(ahead)) as early,
        clients_of(url_of(behind)) as late,
    ):
        for clients in (early, late):
            job_id = await clients.submit("mock/echo", x_bf_async_job_result_ttl="60")
            assert job_id is not None
            end = await clients.end_of(job_id)
            # Time for the upkeep of both to delete what it takes to be expired.
            await asyncio.sleep(4 * BRIEF["upkeep_s"])
            for running in (ahead, behind):
                read = await clients.read(job_id, of=url_of(running))
                assert read is not None
                assert (read.status, read.digest) == (200, end.digest)
        ((skew_us,),) = server.rows(
            "SELECT max(abs(created_at - extract(epoch FROM now()) * 1000000)) FROM job"
        )
    assert skew_us < 60_000_000, "it was stored by the worker's clock"
