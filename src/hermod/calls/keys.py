"""Which of a provider's keys a call uses: a decision without I/O (wire-contract 8.6)."""

import hashlib
import json
from collections.abc import Callable, Collection, Container, Sequence
from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.provider import HEADER_PROVIDED, KeySettings, ProviderSettings

_WITH_DEPLOYMENTS: Final = frozenset({"azure", "bedrock", "replicate", "vertex", "vllm"})
"""Providers where a model is served under a name of the key's own."""


class Chosen(msgspec.Struct, frozen=True):
    """The key of a call, and what is left beside it."""

    key: KeySettings | None
    """None where none is needed."""
    others: int = 0
    """How many other keys could have been used."""
    wait_s: float = 0.0
    """How long even this one has to wait, which has to wait least."""


def choose_key(
    provider: ProviderSettings,
    model: str,
    chance: float,
    *,
    name: str | None = None,
    key_id: str | None = None,
    dead: Container[str] = (),
    tired: str | None = None,
    only: Collection[str] | None = None,
    wait_s: Callable[[KeySettings | None], float] | None = None,
) -> Chosen | Failure:
    """A key by weight, `chance` in [0, 1); a Failure where none fits.

    Weights that are all zero count as equal. A caller may insist on one key, by its id or else by
    its name: it must be one that could have been chosen. `dead` are ids of keys that were refused
    for this job; `tired` is that of one which was told to slow down, and `wait_s` says how long a
    key has to wait: both count only as long as there are others. `only` are the ids or names of
    the keys that who asks may use; None where he may use all.
    """
    present = [key for key in provider.keys if key.usable]
    if not present:
        if provider.keyless:
            return Chosen(None, 0, wait_s(None) if wait_s is not None else 0.0)
        return Failure(f"no keys found for provider: {provider.name} and model: {model}")
    eligible = [key for key in present if key.allows(model) and may_use(key, only)]
    if not eligible:
        what = "model/deployment" if provider.row.name in _WITH_DEPLOYMENTS else "model"
        return Failure(f"no keys found that support {what}: {model}")
    if key_id or name:
        found = _named(provider, model, eligible, name=name, key_id=key_id)
        if isinstance(found, Failure):
            return found
        return Chosen(found, 0, wait_s(found) if wait_s is not None else 0.0)
    if len(eligible) == 1:
        return Chosen(eligible[0], 0, wait_s(eligible[0]) if wait_s is not None else 0.0)
    alive = [key for key in eligible if key.id not in dead]
    others = max(len(alive) - 1, 0)
    alive = alive or eligible
    waits = [wait_s(key) if wait_s is not None else 0.0 for key in alive]
    least_s = min(waits)
    ready = [key for key, wait in zip(alive, waits, strict=True) if wait <= least_s]
    fresh = [key for key in ready if key.id != tired] or ready
    # The choice is made among all that live, so that a session keeps its key as long as it can.
    key = _weighted(alive, chance)
    if key not in fresh:
        key = _weighted(fresh, chance)
    return Chosen(key, others, least_s)


def may_use(key: KeySettings, only: Collection[str] | None) -> bool:
    """Whether a key is among those that a virtual key permits. A caller's own always is."""
    return only is None or key.id in only or key.name in only or key.id == HEADER_PROVIDED


def _weighted(keys: Sequence[KeySettings], chance: float) -> KeySettings:
    total = sum(key.weight for key in keys)
    if total <= 0:
        return keys[int(chance * len(keys))]
    point = chance * total
    for key in keys:
        point -= key.weight
        if point < 0:
            return key
    return keys[-1]


def _named(
    provider: ProviderSettings,
    model: str,
    eligible: list[KeySettings],
    *,
    name: str | None,
    key_id: str | None,
) -> KeySettings | Failure:
    for key in eligible:
        if key.id == key_id if key_id else key.name == name:
            return key
    wanted = f"id {_quoted(key_id)}" if key_id else f"name {_quoted(name or '')}"
    return Failure(
        f"no supported key found with {wanted} for provider: {provider.name} and model: {model}"
    )


def session_chance(session_id: str) -> float:
    """The `chance` of a session: always the same one in [0, 1), so that its calls use one key as
    long as the keys stay as they are (`x-bf-session-id`), in every process and without a memory."""
    digest = hashlib.sha256(session_id.encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
