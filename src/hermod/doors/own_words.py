"""What a door hands on as it is, where the model that is asked speaks the door's own words."""

from collections.abc import Callable, Container, Mapping

import msgspec

from hermod.doors.asked import Fields
from hermod.kinds.own_words import Words

Speaks = Callable[[str, str], bool]
"""Whether a model (`provider/model`) is asked in the words of an API (kinds/own_words.py)."""


def nobody(model: str, api: str) -> bool:
    """Of a gateway whose providers all speak OpenAI's words."""
    return False


def carried(
    api: str, asked: Fields, ours: Container[str], headers: Mapping[str, str] | None = None
) -> Words:
    """The request without the members that are `ours`.

    `extra_params` stand beside its own members, which win (wire-contract 2.4).
    """
    members = {name: raw for name in asked if (raw := asked.raw(name)) is not None}
    members.pop("extra_params", None)
    extra = asked.get("extra_params")
    if extra is not None and extra.is_object:
        members = {name: value.raw for name, value in extra.entries()} | members
    sent = {name: raw for name, raw in members.items() if name not in ours}
    return Words(api, msgspec.Raw(msgspec.json.encode(sent)), dict(headers or {}))
