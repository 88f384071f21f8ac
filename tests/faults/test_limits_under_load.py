"""Ten keys with limits of their own under load: nobody exceeds, nobody starves, nothing fails that
could have waited (P13; product.md M6)."""

import asyncio
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.faults.places import Place, free_port
from tests.faults.upstreams import Recorder

KEYS: Final = 10
PERIOD_S: Final = 2
PER_PERIOD: Final = 6
AT_ONCE: Final = 2
PATH: Final = "/v1/async/chat/completions"


def value(n: int) -> str:
    return f"sk-bf-00000000-0000-4000-8000-{n:012d}"


def config(upstream: Recorder) -> dict[str, Any]:
    """Half of the keys may make so many requests in a period, the others so many calls at once."""
    configs = [{"provider": "openai", "weight": 1, "allowed_models": ["*"], "key_ids": ["*"]}]
    keys: list[dict[str, Any]] = []
    for n in range(KEYS):
        key = {"id": f"vk-{n}", "name": f"key {n}", "value": value(n), "provider_configs": configs}
        if n % 2:
            key["max_parallel_jobs"] = AT_ONCE
        else:
            key["rate_limit"] = {
                "id": f"limit-{n}",
                "request_max_limit": PER_PERIOD,
                "request_reset_duration": f"{PERIOD_S}s",
            }
        keys.append(key)
    return {
        "providers": {"openai": upstream.provider()},
        "governance": {"virtual_keys": keys},
        "hermod": {"upkeep_s": 0.2},
    }


async def test_keys_with_limits_neither_exceed_them_nor_starve(
    place: Place, tmp_path: Path, all_points: bool
) -> None:
    periods = 30 if all_points else 3
    jobs_each = PER_PERIOD * periods
    with Recorder(tmp_path / "calls", "--latency-ms", "100") as upstream:
        told = config(upstream)
        ports = (free_port(), free_port())
        gateways = [place.start(f"g{port}", told, port=port) for port in ports]
        for gateway in gateways:
            gateway.wait_ready()
        connector = aiohttp.TCPConnector(limit=64)
        async with aiohttp.ClientSession(connector=connector) as session:
            owners: dict[str, int] = {}

            async def submit(n: int, i: int) -> None:
                body = {"model": "openai/any", "messages": [{"role": "user", "content": f"{i}"}]}
                url = gateways[i % 2].url + PATH
                headers = {"x-bf-vk": value(n)}
                async with session.post(url, json=body, headers=headers) as response:
                    assert response.status == 202, await response.text()
                    owners[(await response.json())["id"]] = n

            await asyncio.gather(*(submit(n, i) for i in range(jobs_each) for n in range(KEYS)))
            states = Counter[tuple[str, int]]()
            for job_id, n in owners.items():
                while True:
                    url = f"{gateways[0].url}{PATH}/{job_id}"
                    headers = {"x-bf-vk": value(n)}
                    async with session.get(url, headers=headers) as response:
                        if response.status == 200:
                            job = await response.json()
                            states[job["status"], job["status_code"]] += 1
                            break
                    await asyncio.sleep(0.2)
        calls = upstream.calls()
        ends = {(reply.job_id, reply.attempt): reply.at_s for reply in upstream.replies()}
        for gateway in gateways:
            gateway.kill()
            assert "Traceback" not in gateway.output
    assert states == {("completed", 200): KEYS * jobs_each}
    began: defaultdict[int, list[float]] = defaultdict(list)
    for call in calls:
        began[owners[call.job_id]].append(call.at_s)
    for n, at in began.items():
        assert len(at) == jobs_each
        if n % 2 == 0:
            # A period begins with a call, so no span of one has more than two periods' worth.
            assert most_within(at, PERIOD_S) <= 2 * PER_PERIOD
            assert len(at) <= PER_PERIOD * (1 + (max(at) - min(at)) / PERIOD_S + 1)
        else:
            spans = [
                (call.at_s, ends[call.job_id, call.attempt])
                for call in calls
                if owners[call.job_id] == n
            ]
            assert most_at_once(spans) <= AT_ONCE


def most_within(at: list[float], span_s: float) -> int:
    """How many of these instants lie within a span of this length, at most."""
    at = sorted(at)
    return max(sum(1 for other in at if first <= other < first + span_s) for first in at)


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """How many of these spans overlap, at most."""
    edges = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most
