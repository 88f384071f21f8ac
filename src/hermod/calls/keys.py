"""Which of a provider's keys a call uses: a decision without I/O (wire-contract 8.6)."""

import hashlib
import json
from typing import Final

from hermod.domain.failure import Failure
from hermod.domain.provider import KeySettings, ProviderSettings

_WITH_DEPLOYMENTS: Final = frozenset({"azure", "bedrock", "replicate", "vertex", "vllm"})
"""Providers where a model is served under a name of the key's own."""


def choose_key(
    provider: ProviderSettings,
    model: str,
    chance: float,
    *,
    name: str | None = None,
    key_id: str | None = None,
) -> KeySettings | Failure | None:
    """A key by weight, `chance` in [0, 1); None where none is needed; a Failure where none fits.

    Weights that are all zero count as equal. A caller may insist on one key, by its id or else by
    its name: it must be one that could have been chosen.
    """
    present = [key for key in provider.keys if key.enabled and (key.value or key.base_url)]
    if not present:
        if provider.keyless:
            return None
        return Failure(f"no keys found for provider: {provider.name} and model: {model}")
    eligible = [key for key in present if key.allows(model)]
    if not eligible:
        what = "model/deployment" if provider.row.name in _WITH_DEPLOYMENTS else "model"
        return Failure(f"no keys found that support {what}: {model}")
    if key_id or name:
        return _named(provider, model, eligible, name=name, key_id=key_id)
    if len(eligible) == 1:
        return eligible[0]
    total = sum(key.weight for key in eligible)
    if total <= 0:
        return eligible[int(chance * len(eligible))]
    point = chance * total
    for key in eligible:
        point -= key.weight
        if point < 0:
            return key
    return eligible[-1]


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
