"""F6: a machine that sleeps longer than its leases. F8: workers that look like each other."""

import asyncio
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.places import Place, config_for
from tests.faults.upstreams import Recorder
from tests.faults.workload import clients_of
from tests.support.program import Gateway

JOBS = 40
BRIEF: dict[str, Any] = {"lease_s": 2, "renew_s": 0.4, "upkeep_s": 0.3}
BY_TIME: dict[str, Any] = {"upkeep_s": 0.5}
"""The default lease."""


def lost_leases(gateway: Gateway) -> int:
    return len(re.findall("lease lost", gateway.output))


@pytest.mark.time_limit(240)
async def test_a_frozen_worker_writes_nothing_when_it_wakes(
    place: Place, tmp_path: Path, all_points: bool
) -> None:
    ours, asleep_s = (BY_TIME, 45.0) if all_points else (BRIEF, 3.0)
    with (
        Recorder(tmp_path / "never", "--echo", "--latency-ms", "3600000") as never,
        Recorder(tmp_path / "quick", "--echo", "--latency-ms", "20") as quick,
        place.start("frozen", config_for(ours, openai=never)) as frozen,
    ):
        frozen.wait_ready()
        async with clients_of(frozen.url) as clients:
            await clients.submit_many(JOBS, "openai/any")
            await never.holds(JOBS)
            # Only now: it would take what the other one begins slowly.
            with place.start("awake", config_for(ours, openai=quick)) as awake:
                clients.urls[:] = [awake.url]
                await asyncio.to_thread(frozen.freeze)
                await asyncio.sleep(asleep_s)
                await clients.settle(40)
                assert clients.ends() == {"completed": JOBS}
                before = await place.dump()
                frozen.send(signal.SIGCONT)
                await never.forgets()
                assert lost_leases(frozen) == JOBS
                assert await place.dump() == before
                frozen.send(signal.SIGTERM)
                assert await asyncio.to_thread(frozen.wait_exit) == 0
                assert await place.dump() == before
                clients.judge([never, quick], await place.stored())


async def test_a_copied_app_dir_makes_nobody_take_the_leases_of_the_original(
    place: Place, tmp_path: Path
) -> None:
    with Recorder(tmp_path / "calls", "--echo", "--latency-ms", "2000") as upstream:
        config = config_for(BY_TIME, openai=upstream)
        with place.start("original", config) as original:
            async with clients_of(original.url) as clients:
                await clients.submit_many(JOBS, "openai/any")
                # Its workers' folder names a worker whose lock file nobody holds there.
                with place.start_twin("twin", "original", config) as twin:
                    clients.urls.append(twin.url)
                    await clients.settle()
                    assert lost_leases(original) == 0
                    history = clients.judge([upstream], await place.stored())
    assert len(history.calls) == JOBS
    assert {attempt.n for attempt in history.final.attempts} == {1}
