"""F7: everything is killed at once. F18: killed in the middle of a drain. F19: a job that kills."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checking import Blow, Dump, History
from tests.faults.places import Place, PostgresPlace, config_for, free_port, state_of
from tests.faults.upstreams import Recorder
from tests.faults.workload import clients_of
from tests.support.program import Gateway
from tests.support.waiting import wait_until

HOUR: dict[str, Any] = {"lease_s": 3600, "renew_s": 1000, "upkeep_s": 0.3}
"""A lease that nobody waits out: only noticing the death helps."""
RECOVERY_S = 5.0
"""Promised after a restart on the same machine (P7)."""
SHORT_RECOVERY_S = 15.0
"""What a short run among other programs is given."""


async def test_jobs_run_again_soon_after_everything_was_killed(
    place: Place, tmp_path: Path, all_points: bool
) -> None:
    ports = (free_port(), free_port())
    with Recorder(tmp_path / "calls", "--echo", "--latency-ms", "1500") as upstream:
        config = config_for(HOUR, openai=upstream)
        gateways = [place.start(f"g{port}", config, port=port) for port in ports]
        urls = [gateway.url for gateway in gateways]
        blows: list[Blow] = []
        async with clients_of(*urls) as clients:
            for _ in range(3 if all_points else 1):
                over = asyncio.Event()
                load = asyncio.create_task(clients.submit_until(over, "openai/any", 0.01))
                await upstream.holds(50)
                killed_s = time.monotonic()
                for gateway in gateways:
                    gateway.send(signal.SIGKILL)
                for gateway in gateways:
                    await asyncio.to_thread(gateway.wait_exit)
                over.set()
                await load
                stored = await place.stored()
                blows.append(Blow("kill", "all", "all", killed_s, time.monotonic(), stored))
                gateways = [place.start(f"g{port}", config, port=port) for port in ports]
                await asyncio.to_thread(gateways[0].wait_ready)
                await clients.settle()
            for gateway in gateways:
                gateway.kill()
            history = clients.judge([upstream], await place.stored(), blows)
    for blow in blows:
        again_s = recovery_s(history, blow)
        assert len(again_s) >= 50
        assert max(again_s) <= (RECOVERY_S if all_points else SHORT_RECOVERY_S)


def recovery_s(history: History, blow: Blow) -> list[float]:
    """How long after the restart each job was called again that ran at the blow."""
    assert isinstance(blow.dump, Dump)
    again: dict[str, float] = {}
    running = {job.job_id for job in blow.dump.jobs if job.state == "running"}
    for call in sorted(history.calls, key=lambda call: call.at_s):
        if call.job_id in running and call.at_s > blow.back_s:
            again.setdefault(call.job_id, call.at_s - blow.back_s)
    assert again.keys() == running
    return list(again.values())


async def test_a_gateway_that_is_killed_while_it_drains_loses_nothing(
    place: Place, tmp_path: Path
) -> None:
    with Recorder(tmp_path / "calls", "--echo", "--latency-ms", "1500") as upstream:
        config = config_for(HOUR | {"drain_s": 3600}, openai=upstream)
        first = place.start("gateway", config)
        async with clients_of(first.url) as clients:
            await clients.submit_many(60, "openai/any")
            first.send(signal.SIGTERM)
            await asyncio.to_thread(wait_until, lambda: "draining" in first.output)
            # What the service manager does once its patience is over.
            first.kill()
            with place.start("gateway", config) as second:
                clients.urls = [second.url]
                await clients.settle()
                assert clients.ends() == {"completed": 60}
                second.kill()
            clients.judge([upstream], await place.stored())


@pytest.mark.long_form(place=PostgresPlace)
@pytest.mark.parametrize("end", ["abort", pytest.param("kill", marks=pytest.mark.long_form)])
async def test_a_job_that_ends_its_worker_is_poison_and_harms_no_other(
    place: Place, tmp_path: Path, end: str
) -> None:
    # Only the job for `openai` goes over the network: the mock's answer from inside the process.
    deadly = {"HERMOD_FAILPOINTS": f"net.waiting={end}"}
    with Recorder(tmp_path / "calls", "--latency-ms", "3600000") as upstream:
        config = config_for(HOUR, openai=upstream)
        port = free_port()
        gateway = place.start("gateway", config, port=port, environ=deadly)
        async with clients_of(gateway.url) as clients:
            # These run when it dies.
            await clients.submit_many(2, "mock/slow?seconds=1")
            await clients.submit_many(10, "mock/echo")
            culprit = await clients.submit("openai/any")
            assert culprit is not None
            code = await asyncio.to_thread(gateway.wait_exit)
            crashes = 1
            while code is not None:
                assert code in {-signal.SIGABRT, -signal.SIGKILL}, gateway.output
                gateway = place.start("gateway", config, port=port, environ=deadly)
                code = await exit_of(gateway, place, culprit)
                crashes += code is not None
            assert crashes == 4
            await clients.settle()
            assert (await clients.end_of(culprit)).error_type == "poison"
            assert clients.ends() == {"completed": 12, "failed": 1}
            gateway.kill()
            clients.judge([], await place.stored())
    assert place.attempts_of(culprit) == [(n, "unknown", "worker_died") for n in range(1, 5)]


async def exit_of(gateway: Gateway, place: Place, job_id: str) -> int | None:
    """The gateway's exit code; None once the job has ended and the gateway has not."""
    while (code := gateway.process.poll()) is None:
        await asyncio.sleep(0.05)
        if state_of(place, job_id) == "failed":
            return None
    return code
