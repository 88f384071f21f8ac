"""F14b and its like: many at once on a budget for few, with kills in between (P12, P13, H9)."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.faults.places import Place, free_port
from tests.faults.upstreams import Recorder
from tests.support.waiting import wait_until

NANOS: Final = 1_000_000_000
CALL_USD: Final = 0.01
CALL_NANOS: Final = 10_000_000
PAYS_FOR: Final = 10
JOBS: Final = 500
VALUE: Final = "sk-bf-00000000-0000-4000-8000-00000000f14b"
PATH: Final = "/v1/async/chat/completions"


def config(upstream: Recorder, **limits: Any) -> dict[str, Any]:
    """A gateway with one key, whose calls cost a cent each."""
    configs = [{"provider": "openai", "weight": 1, "allowed_models": ["*"], "key_ids": ["*"]}]
    key = {"id": "vk-1", "name": "one", "value": VALUE, "provider_configs": configs, **limits}
    return {
        "providers": {"openai": upstream.provider()},
        "governance": {"virtual_keys": [key]},
        "hermod": {
            "lease_s": 2,
            "renew_s": 0.5,
            "upkeep_s": 0.2,
            "prices": {"openai/*": {"request_usd": CALL_USD}},
        },
    }


def budget(calls: int) -> dict[str, Any]:
    return {"id": "budget-1", "max_limit": calls * CALL_USD, "reset_duration": "1d"}


@asynccontextmanager
async def caller() -> AsyncGenerator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=64)
    async with aiohttp.ClientSession(connector=connector, headers={"x-bf-vk": VALUE}) as session:
        yield session


async def submitted(session: aiohttp.ClientSession, urls: list[str], jobs: int) -> list[str]:
    async def one(n: int) -> str:
        body = {"model": "openai/any", "messages": [{"role": "user", "content": f"job {n}"}]}
        async with session.post(urls[n % len(urls)] + PATH, json=body) as response:
            assert response.status == 202, await response.text()
            return (await response.json())["id"]

    return list(await asyncio.gather(*(one(n) for n in range(jobs))))


async def ends(
    session: aiohttp.ClientSession, url: str, job_ids: list[str]
) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for job_id in job_ids:
        while True:
            async with session.get(f"{url}{PATH}/{job_id}") as response:
                assert response.status in (200, 202), await response.text()
                if response.status == 200:
                    found.append(await response.json())
                    break
            await asyncio.sleep(0.2)
    return found


def books(place: Place) -> tuple[int, int, int, int, int]:
    """Used, reserved and total of the budget, what all jobs cost, and how many holds are open."""
    ((used, reserved, total),) = place.rows(
        "SELECT used, reserved, total FROM meter WHERE id = ?", "budget-1"
    )
    ((cost,),) = place.rows("SELECT sum(cost_usd_nanos) FROM job")
    ((holds,),) = place.rows("SELECT count(*) FROM hold")
    return int(used), int(reserved), int(total), int(cost or 0), int(holds)


@pytest.mark.parametrize("kills", [False, True], ids=["calm", "killed"])
async def test_a_budget_for_ten_pays_for_no_more_than_ten_of_five_hundred(
    place: Place, tmp_path: Path, kills: bool
) -> None:
    ports = (free_port(), free_port())
    with Recorder(tmp_path / "calls", "--latency-ms", "700") as upstream:
        told = config(upstream, budget=budget(PAYS_FOR))
        gateways = [place.start(f"g{port}", told, port=port) for port in ports]
        for gateway in gateways:
            gateway.wait_ready()
        async with caller() as session:
            job_ids = await submitted(session, [gateway.url for gateway in gateways], JOBS)
            if kills:
                # In the middle of calls that are paid for, again and again.
                for _ in range(2):
                    await asyncio.sleep(0.3)
                    gateways[1].send(signal.SIGKILL)
                    await asyncio.to_thread(gateways[1].wait_exit)
                    gateways[1] = place.start(f"g{ports[1]}", told, port=ports[1])
                    gateways[1].wait_ready()
            found = await ends(session, gateways[0].url, job_ids)
        used, reserved, total, cost, holds = await settled(place)
        for gateway in gateways:
            gateway.kill()
            assert "Traceback" not in gateway.output
    done = sum(job["status"] == "completed" for job in found)
    refused = [job for job in found if job["status"] == "failed"]
    assert {job["status_code"] for job in refused} == {402}
    assert {job["error"]["type"] for job in refused} == {"budget_exceeded"}
    assert (reserved, holds) == (0, 0)
    assert used == total == cost <= PAYS_FOR * CALL_NANOS
    if not kills:
        assert (done, used) == (PAYS_FOR, PAYS_FOR * CALL_NANOS)


async def settled(place: Place) -> tuple[int, int, int, int, int]:
    await asyncio.to_thread(wait_until, lambda: books(place)[4] == 0)
    return books(place)


async def test_jobs_that_only_wait_for_each_others_calls_are_all_paid_for(
    place: Place, tmp_path: Path
) -> None:
    """Two at once fit into the budget's rest, and failing calls give back what they held."""
    with Recorder(tmp_path / "calls", "--latency-ms", "50") as upstream:
        told = config(upstream, budget=budget(40), max_parallel_jobs=4)
        with place.start("gateway", told) as gateway:
            async with caller() as session:
                job_ids = await submitted(session, [gateway.url], 40)
                found = await ends(session, gateway.url, job_ids)
            used, reserved, total, cost, holds = await settled(place)
            assert "Traceback" not in gateway.output
    assert {job["status"] for job in found} == {"completed"}
    assert (used, reserved, total, cost, holds) == (40 * CALL_NANOS, 0, used, used, 0)
