"""F20: a long queue. F21: a noisy neighbour, as far as this release knows neighbours.

The figures are printed at the end of a run; the bounds are ten times what is promised, so that
they only catch work that grows with the queue.

Of P20 the part that exists is proved here: lanes do not wait for each other. Within one lane jobs
run by priority and age, so a tenant's backlog still delays another's job there until virtual keys
bring fair shares.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hermod.domain.job import Claim
from tests.faults.places import Place, config_for
from tests.faults.upstreams import Recorder
from tests.faults.verbs import opened
from tests.faults.workload import Clients, clients_of
from tests.support.program import Gateway

BACKLOG, LONG_BACKLOG = 100_000, 1_000_000
LENIENCE = 10
CLAIM_S, POLL_S, START_S, UPKEEP_S, BESIDE_S = 0.025, 0.010, 2.0, 0.100, 1.0
"""Promised (reliability.md 4, F20; P20)."""
MAY_GROW_MB = 20.0
QUIET: dict[str, Any] = {"upkeep_s": 0.5, "drain_s": 1}


class Crowded(NamedTuple):
    """A gateway that was started on a backlog in the lane of `openai`, which has one slot."""

    gateway: Gateway
    clients: Clients
    upstream: Recorder
    started_in_s: float
    idle_mb: float


@asynccontextmanager
async def crowded(place: Place, folder: Path, backlog: int) -> AsyncGenerator[Crowded]:
    with Recorder(folder / "calls", "--echo", "--latency-ms", "3600000") as upstream:
        config = config_for(QUIET, openai=upstream)
        config["providers"]["openai"]["concurrency_and_buffer_size"] = {"concurrency": 1}
        with place.start("first", config) as first:
            async with clients_of(first.url) as clients:
                await clients.submit_many(20, "mock/echo")
                await clients.settle()
                await clients.submit("openai/any")
                queued = await clients.submit("openai/any")
                assert queued is not None
                idle_mb = first.rss_mb()
                first.kill()
        place.multiply(queued, backlog)
        began_s = time.monotonic()
        with place.start("second", config) as second:
            await asyncio.to_thread(second.wait_ready)
            started_in_s = time.monotonic() - began_s
            async with clients_of(second.url) as clients:
                yield Crowded(second, clients, upstream, started_in_s, idle_mb)


async def timed(times: int, action: Callable[[], Awaitable[object]]) -> list[float]:
    """How long each took, in seconds."""
    found: list[float] = []
    for _ in range(times):
        began_s = time.monotonic()
        await action()
        found.append(time.monotonic() - began_s)
    return found


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def shown(times: list[float]) -> str:
    """Median and 99th percentile."""
    return f"p50 {statistics.median(times) * 1000:.1f} ms, p99 {p99(times) * 1000:.1f} ms"


@pytest.mark.time_limit(900)
async def test_a_long_queue_slows_nobody_down(
    place: Place, tmp_path: Path, all_points: bool, figure: Callable[[str], None]
) -> None:
    backlog = LONG_BACKLOG if all_points else BACKLOG
    async with crowded(place, tmp_path, backlog) as there:
        clients = there.clients
        job_id = await clients.submit("openai/any")
        assert job_id is not None

        async def poll() -> None:
            read = await clients.read(job_id)
            assert read is not None
            assert read.wire_state == "pending"

        async def run_one() -> None:
            """Submit, run and read in another lane."""
            await clients.end_of(await clients.submit("mock/echo") or "")

        polls = await timed(300, poll)
        others = await timed(20, run_one)
        grown_mb = there.gateway.rss_mb() - there.idle_mb
        there.gateway.kill()
    claims, upkeeps = await figures_of_the_store(place)
    figure(f"{backlog} queued: started in {there.started_in_s:.2f} s, {grown_mb:+.1f} MB")
    figure(f"poll {shown(polls)}; a job of another lane, with its polls, {shown(others)}")
    figure(f"claim {shown(claims)}; upkeep {shown(upkeeps)}")
    assert there.started_in_s <= START_S * LENIENCE
    assert p99(polls) <= POLL_S * LENIENCE
    assert max(others) <= BESIDE_S * LENIENCE
    assert p99(claims) <= CLAIM_S * LENIENCE
    assert p99(upkeeps) <= UPKEEP_S * LENIENCE
    assert grown_mb <= MAY_GROW_MB


async def figures_of_the_store(place: Place) -> tuple[list[float], list[float]]:
    """How long claims take, and passes of the upkeep that find next to nothing to do."""
    async with opened(place.store()) as store:
        claim = Claim("a" * 32, 3_600, 3_600)

        async def claim_some() -> None:
            assert len(await store.claim_jobs("openai", 10, claim)) == 10

        async def tidy_up() -> None:
            await store.due_lanes()
            await store.suspects_due_at()
            for step in (store.recover_lost_leases, store.expire_overdue, store.delete_expired):
                await step(200)

        return await timed(100, claim_some), await timed(100, tidy_up)
