"""F9: the database goes away, in every way it can."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import asyncpg
import pytest

from tests.faults.places import PostgresPlace, config_for
from tests.faults.upstreams import Recorder
from tests.faults.workload import Clients, clients_of
from tests.support.postgres import Cluster
from tests.support.program import Gateway
from tests.support.waiting import wait_until

OURS: dict[str, Any] = {"upkeep_s": 0.5, "drain_s": 10}
BACK_S = 5.0
"""Promised, from the database's first answer to ours."""
SHORT_BACK_S = 15.0
"""What a short run among other programs is given."""


@pytest.fixture(scope="module")
def fragile() -> Iterator[Cluster]:
    """A server of these tests' own, which they may stop, freeze and starve."""
    with Cluster({"max_connections": 40, "fsync": "off"}) as started:
        yield started


@pytest.fixture
def shaky(tmp_path: Path, fragile: Cluster) -> Iterator[PostgresPlace]:
    """A database on it."""
    with PostgresPlace.new(tmp_path, lambda: fragile) as found:
        yield found


class Load(NamedTuple):
    """Clients that go on submitting while a test does its worst."""

    place: PostgresPlace
    upstream: Recorder
    gateways: list[Gateway]
    clients: Clients

    async def back_s(self) -> float:
        """How long until every gateway accepts a job again."""
        began_s = time.monotonic()
        for gateway in self.gateways:
            async with asyncio.timeout(60):
                while await self.clients.submit("openai/any", to=gateway.url) is None:
                    await asyncio.sleep(0.05)
        back_s = time.monotonic() - began_s
        await self.clients.submit_many(20, "openai/any")
        return back_s


@asynccontextmanager
async def load(place: PostgresPlace, folder: Path, **ours: float) -> AsyncGenerator[Load]:
    """Two gateways under load; in the end everything that was accepted is judged."""
    with Recorder(folder / "calls", "--echo", "--latency", "lognormal:100,400") as upstream:
        config = config_for(OURS | ours, openai=upstream)
        gateways = [place.start(name, config) for name in ("one", "two")]
        urls = [gateway.url for gateway in gateways]
        async with clients_of(*urls) as clients:
            over = asyncio.Event()
            tasks = [
                asyncio.create_task(clients.submit_until(over, "openai/any", 0.03))
                for _ in range(3)
            ]
            try:
                await upstream.holds(5)
                yield Load(place, upstream, gateways, clients)
                over.set()
                await asyncio.gather(*tasks)
                await clients.settle(60)
                await quiescence(place)
                for gateway in gateways:
                    assert gateway.process.poll() is None, gateway.output
                    gateway.send(signal.SIGTERM)
                    assert await asyncio.to_thread(gateway.wait_exit) == 0
                    assert "Traceback" not in gateway.output, gateway.output
                history = clients.judge([upstream], await place.stored())
                # An outage is told when it begins and ends, not once per job.
                assert all(len(gateway.output) < 50_000 for gateway in gateways)
                assert len(history.accepted) >= 20
            finally:
                over.set()
                await asyncio.gather(*tasks, return_exceptions=True)
                for gateway in gateways:
                    with gateway:
                        pass


async def quiescence(place: PostgresPlace) -> None:
    """Until every job has ended, those included that their clients know nothing of.

    The database may have stored one whose submitter had given up: under a lease, which has to run
    out first.
    """
    unfinished = "SELECT count(*) FROM job WHERE state IN ('queued', 'running', 'waiting')"
    await asyncio.to_thread(
        wait_until, lambda: place.rows(unfinished) == [(0,)], timeout_s=60, every_s=0.2
    )


@pytest.mark.time_limit(300)
async def test_a_database_that_crashes_again_and_again_loses_nothing(
    shaky: PostgresPlace,
    fragile: Cluster,
    tmp_path: Path,
    all_points: bool,
    figure: Callable[[str], None],
) -> None:
    dice = random.Random(9)
    times, low_s, high_s = (5, 2.0, 10.0) if all_points else (2, 0.5, 1.5)
    back: list[float] = []
    async with load(shaky, tmp_path) as under:
        for _ in range(times):
            await asyncio.to_thread(fragile.stop, "immediate")
            await asyncio.sleep(dice.uniform(low_s, high_s))
            await asyncio.to_thread(fragile.start)
            back.append(await under.back_s())
            await under.upstream.holds(3)
        shaky.reconnect()
    figure(f"back after {[round(each, 2) for each in back]} s")
    assert max(back) <= (BACK_S if all_points else SHORT_BACK_S)


async def test_a_crash_of_one_backend_loses_nothing(shaky: PostgresPlace, tmp_path: Path) -> None:
    async with load(shaky, tmp_path) as under:
        pid = shaky.rows(
            "SELECT min(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )[0][0]
        os.kill(pid, signal.SIGKILL)
        shaky.reconnect()
        await under.back_s()


async def test_backends_that_are_ended_in_the_middle_of_a_statement_lose_nothing(
    shaky: PostgresPlace, tmp_path: Path
) -> None:
    async with load(shaky, tmp_path) as under:
        for _ in range(20):
            shaky.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.15)
        await under.back_s()


@pytest.mark.time_limit(200)
async def test_a_frozen_database_is_waited_for(
    shaky: PostgresPlace, fragile: Cluster, tmp_path: Path, all_points: bool
) -> None:
    async with load(shaky, tmp_path) as under:
        await asyncio.to_thread(fragile.freeze)
        await asyncio.sleep(20 if all_points else 6)
        await asyncio.to_thread(fragile.thaw)
        await under.back_s()


async def test_without_a_free_connection_it_says_503_and_recovers(
    shaky: PostgresPlace, tmp_path: Path
) -> None:
    # A job whose submitter was told nothing keeps its lease until it ends.
    brief = {"lease_s": 8.0, "renew_s": 2.0}
    async with load(shaky, tmp_path, **brief) as under, Crowd(shaky.url) as crowd:
        async with asyncio.timeout(30):
            while 503 not in [submit.status for submit in under.clients.submits]:
                await crowd.take_everything()
                await under.clients.submit("openai/any")
        crowd.leave()
        await under.back_s()


class Crowd:
    """Somebody else, who takes every connection that there is."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections: list[asyncpg.Connection] = []

    async def take_everything(self) -> None:
        """End everybody else's connections and have them all, if the others are not faster."""
        await self._connect_while_possible()
        await self._connections[0].fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND NOT pid = ANY($1::int[])",
            [each.get_server_pid() for each in self._connections],
        )
        await self._connect_while_possible()

    async def _connect_while_possible(self) -> None:
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                self._connections.append(await asyncpg.connect(self._url))

    def leave(self) -> None:
        """Give them all back."""
        for each in self._connections:
            each.terminate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()
