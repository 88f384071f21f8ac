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

_TURNS: Final = 8
"""So often everybody submits in each repetition, somebody else first each time: whatever else the
machine does meanwhile meets all of them."""


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
            bench.say(f"callers {repetition + 1}/{bench.repetitions}")
            cpu_s = dict.fromkeys(_HEADERS, 0.0)
            accepted = dict.fromkeys(_HEADERS, 0)
            names = list(_HEADERS)
            for turn in range(_TURNS):
                first = turn % len(names)
                for who in names[first:] + names[:first]:
                    plan = bench.plan(
                        running.served,
                        mock,
                        path=ASYNC_CHAT,
                        body=sent,
                        header=_HEADERS[who],
                        seconds=bench.seconds / _TURNS,
                    )
                    figures = bench.run(f"callers {who}", version, plan)
                    if not figures.counts.get("202"):
                        raise Failed(f"callers {who}: nothing was accepted: {figures.counts}")
                    cpu_s[who] += figures.sut_cpu_s
                    accepted[who] += figures.counts["202"]
            cpu_us = {who: cpu_s[who] * 1e6 / accepted[who] for who in names}
            for who in names:
                bench.results.add(version, f"callers_{who}_cpu_us", cpu_us[who])
            for who in names[1:]:
                bench.results.add(version, f"callers_{who}_ratio", cpu_us[who] / cpu_us["open"])
