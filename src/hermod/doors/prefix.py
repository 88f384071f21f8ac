"""What every door does to a body: models named without a provider get the door's own
(wire-contract 8.1), and what a client packed up is unpacked."""

from collections.abc import Container
from typing import Final

import msgspec

from hermod.kinds import json_guard

_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def with_provider(model: str, known_providers: Container[str], default: str) -> str:
    """`model` with `default/` in front, unless it begins with a known provider or is empty."""
    provider, slash, _ = model.partition("/")
    if not model or (slash and provider in known_providers):
        return model
    return f"{default}/{model}"


def prefixed(body: bytes, default: str, known_providers: Container[str]) -> bytes:
    """A request whose `model` names a provider; every other value is left as it was written.

    A body without a readable `model` comes back as it is: its kind's check has the words for it.
    Never raises.
    """
    if json_guard.problem(body, json_guard.DEPTH_MAX) is not None:
        return body
    try:
        members = _members_of(body)
        model = msgspec.json.decode(members["model"], type=str)
    except (msgspec.DecodeError, KeyError):
        return body
    named = with_provider(model, known_providers, default)
    if named == model:
        return body
    members["model"] = msgspec.Raw(msgspec.json.encode(named))
    return msgspec.json.encode(members)


def spread(body: bytes) -> bytes:
    """A request whose `extra_params` stand beside its own members, which win (wire-contract 2.4).

    A body without such an object comes back as it is. Never raises.
    """
    if b'"extra_params"' not in body:
        return body
    if json_guard.problem(body, json_guard.DEPTH_MAX) is not None:
        return body
    try:
        members = _members_of(body)
        more = _members_of(members["extra_params"])
    except (msgspec.DecodeError, KeyError):
        return body
    del members["extra_params"]
    return msgspec.json.encode(more | members)
