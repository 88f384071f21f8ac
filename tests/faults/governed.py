"""A key with limits of every sort, and what holds of its books and of what operators make."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol

KEY_ID: Final = "vk-1"
KEY: Final = {"x-bf-vk": "sk-bf-00000000-0000-4000-8000-0000000000a1"}
"""What shows it."""
KEYS: Final = "/api/governance/virtual-keys"
AUDIT: Final = "/api/governance/audit"
CALL_USD: Final = 0.01
CALL_NANOS: Final = 10_000_000
PRICES: Final = {"openai/*": {"request_usd": CALL_USD}}
LEFTOVER: Final = "leftover"
"""The meter of what an older release has left reserved."""


class Rows(Protocol):
    """A database that can be asked."""

    def rows(self, sql: str) -> Sequence[tuple[Any, ...]]: ...


def governance() -> Mapping[str, Any]:
    """The key, for the configuration. Of its limits only that on calls at once is ever reached."""
    configs = [{"provider": "openai", "weight": 1, "allowed_models": ["*"], "key_ids": ["*"]}]
    limit = {"id": "limit-1", "request_max_limit": 100_000, "request_reset_duration": "1d"}
    key = {
        "id": KEY_ID,
        "name": "limited",
        "value": KEY["x-bf-vk"],
        "provider_configs": configs,
        "budget": {"id": "budget-1", "max_limit": 1_000, "reset_duration": "1d"},
        "rate_limit": limit,
        "max_parallel_jobs": 2,
        "max_pending_jobs": 1_000,
    }
    return {"virtual_keys": [key]}


def judge_books(kept: Rows, calls: int) -> None:
    """Nobody holds anything, and what the key's jobs cost is what its meters say.

    `calls`: how many of its calls the upstream has answered well. Each has the same price, so an
    estimate is never wrong.
    """
    assert kept.rows("SELECT meter_id, amount FROM hold") == []
    assert kept.rows("SELECT id, reserved FROM meter WHERE reserved <> 0") == []
    mine = f"job WHERE owner = 'vk:{KEY_ID}'"
    ((jobs, cost),) = kept.rows(f"SELECT count(*), coalesce(sum(cost_usd_nanos), 0) FROM {mine}")
    found = {row[0]: row[1:] for row in kept.rows("SELECT id, used, total FROM meter")}
    if not jobs:
        return
    assert found["budget-1"] == (int(cost), int(cost))
    assert found["limit-1:requests"] == (cost // CALL_NANOS, cost // CALL_NANOS)
    assert calls * CALL_NANOS <= cost, "a call was not paid for"


def judge_documents(kept: Rows, made: Collection[str]) -> None:
    """A key is there with the trace of its making, and counted, or there is nothing of it.

    `made`: the ids of those whose making was answered.
    """
    keys = [id_ for (id_,) in kept.rows("SELECT id FROM document WHERE type = 'virtual_key'")]
    traced = [
        target for (target,) in kept.rows("SELECT target FROM audit WHERE action LIKE '%create'")
    ]
    assert set(keys) >= set(made), "a key that was made is lost"
    assert sorted(keys) == sorted(traced)
    counted = kept.rows("SELECT value FROM meta WHERE name = 'documents_revision'")
    assert int(counted[0][0] if counted else 0) == len(keys)
