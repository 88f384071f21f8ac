"""What a caller's credential costs: open and authenticated submits to one gateway, in turns."""

import json
from typing import Any, Final

from bench.processes import ASYNC_CHAT, Failed, body, gateway, upstream
from bench.run import Bench, submit

_STALLED: Final = "slow?seconds=80000"
_KEY: Final = "sk-bf-00000000-0000-4000-8000-0000000bench"
_LIMITED: Final = "sk-bf-00000000-0000-4000-8000-000000limited"
_HEADERS: Final = {
    "open": "",
    "dummy": "authorization: Bearer sk-no-credential-at-all-but-some-text",
    "key": f"authorization: Bearer {_KEY}",
    "limited": f"authorization: Bearer {_LIMITED}",
}


def _governance() -> dict[str, Any]:
    """A key without limits, and one with every kind of them."""
    configs = [{"provider": "openai", "weight": 1, "allowed_models": ["*"], "key_ids": ["*"]}]
    limits = {
        "budget": {"id": "b", "max_limit": 1_000_000, "reset_duration": "1d"},
        "rate_limit": {
            "id": "r",
            "request_max_limit": 1_000_000_000,
            "request_reset_duration": "1d",
            "token_max_limit": 1_000_000_000_000,
            "token_reset_duration": "1d",
        },
        "max_parallel_jobs": 1_000_000,
    }
    keys = [
        {"id": "k", "name": "k", "value": _KEY, "provider_configs": configs},
        {"id": "l", "name": "l", "value": _LIMITED, "provider_configs": configs, **limits},
    ]
    return {"governance": {"virtual_keys": keys}}


def callers(bench: Bench) -> None:
    """Durable submits on SQLite, by who asks; nothing runs meanwhile."""
    version = bench.versions[0]
    app_dir = bench.fresh("callers")
    with (
        upstream(version, bench.fresh("callers-mock")) as mock,
        gateway(version, app_dir, mock.address, 1, more=_governance()) as running,
    ):
        submit(running.port, _STALLED)
        sent = json.dumps(body(_STALLED))
        for repetition in range(bench.repetitions):
            cpu_us: dict[str, float] = {}
            for who, header in _HEADERS.items():
                bench.say(f"callers {repetition + 1}/{bench.repetitions} {who}")
                plan = bench.plan(running.served, mock, path=ASYNC_CHAT, body=sent, header=header)
                figures = bench.run(f"callers {who}", version, plan)
                accepted = figures.counts.get("202", 0)
                if not accepted:
                    raise Failed(f"callers {who}: nothing was accepted: {figures.counts}")
                cpu_us[who] = figures.sut_cpu_s * 1e6 / accepted
                bench.results.add(version, f"callers_{who}_cpu_us", cpu_us[who])
            for who in ("dummy", "key", "limited"):
                ratio = cpu_us[who] / cpu_us["open"]
                bench.results.add(version, f"callers_{who}_ratio", ratio)
