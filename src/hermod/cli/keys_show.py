"""How `hermod keys` shows virtual keys, from what the management API would answer. Pure."""

from collections.abc import Sequence
from typing import Any

from hermod.domain.wire_time import from_rfc3339

Json = dict[str, Any]


def table(shown: Sequence[Json], now: int) -> list[str]:
    """A line for each of them, below a heading."""
    head = ("NAME", "ID", "VALUE", "STATE", "EXPIRES", "USED", "TEAM")
    rows = [
        (
            key["name"],
            key["id"],
            key["value"][-4:] if key["value"] else "-",
            _state(key, now),
            key.get("expires_at", "-"),
            "; ".join(_used(key)) or "-",
            key.get("team", {}).get("name", "-"),
        )
        for key in shown
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]


def lines(key: Json, now: int) -> list[str]:
    """All about one, for people."""
    found = [
        f"{key['name']} ({key['id']})",
        f"  value     {key['value'] or 'none: only tokens lead here'}",
        f"  state     {_state(key, now)}, expires {key.get('expires_at', 'never')}",
    ]
    found += [f"  used      {each}" for each in _used(key)]
    for name, word in (("team", "team"), ("customer", "customer")):
        if name in key:
            found.append(f"  {word:<9} {key[name]['name']} ({key[name]['id']})")
    for name, word in (
        ("max_parallel_jobs", "parallel"), ("max_pending_jobs", "pending"), ("on_limit", "on limit")
    ):  # fmt: skip
        if name in key:
            found.append(f"  {word:<9} {key[name]}")
    for config in key["provider_configs"]:
        models = ", ".join(config["allowed_models"]) or "none"
        but = ", ".join(config["blacklisted_models"])
        found.append(
            f"  {config['provider']:<9} models {models}{f', but not {but}' if but else ''}; "
            f"keys {', '.join(config['key_ids']) or 'none'}"
        )
        found += [f"            {each}" for each in _used(config)]
    return found


def _state(key: Json, now: int) -> str:
    ends = key.get("expires_at")
    at = from_rfc3339(ends) if ends else None
    state = "active" if key["is_active"] else "revoked"
    if at is not None and at <= now:
        state = "expired"
    return f"{state}, file" if key.get("managed_by") else state


def _used(part: Json) -> list[str]:
    """What is used of each limit, in its present period."""
    found: list[str] = []
    if budget := part.get("budget"):
        used, most = budget["current_usage"], budget["max_limit"]
        found.append(f"${used:.6g} of ${most:.6g} per {budget['reset_duration']}")
    limit = part.get("rate_limit", {})
    for side in ("request", "token"):
        if (most := limit.get(f"{side}_max_limit")) is not None:
            used, period = limit[f"{side}_current_usage"], limit[f"{side}_reset_duration"]
            found.append(f"{used} of {most} {side}s per {period}")
    return found
