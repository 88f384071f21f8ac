"""Where else a request may go: its field `fallbacks` (wire-contract 8.4)."""

from collections.abc import Sequence
from typing import Final, cast

import msgspec

from hermod.domain.job import Target
from hermod.kinds.kind import MODEL_LENGTH_MAX
from hermod.providers.multipart_body import fields_and_files

FALLBACKS_MAX: Final = 16
"""More than anybody has providers for one model."""
_NAMES: Final = frozenset({"fallbacks", "fallbacks[]"})


class _Asked(msgspec.Struct, gc=False):
    fallbacks: object = None


class _Routed(msgspec.Struct, gc=False):
    models: object = None


_read_routed: Final = msgspec.json.Decoder(_Routed).decode
_read: Final = msgspec.json.Decoder(_Asked).decode
_read_list: Final = msgspec.json.Decoder(list[object]).decode


def fallbacks_of(body: bytes, content_type: str | None) -> tuple[Target, ...]:
    """The targets named by a stored request, in order; what names no model is passed over.

    In a form they are fields of that name, each one model or a JSON array of them.
    """
    if content_type is None:
        return targets_of(_read(body).fallbacks)
    found: list[object] = []
    for name, text in fields_and_files(body, content_type).fields:
        if name in _NAMES:
            found += _listed(text)
    return targets_of(found)


def routed_models(body: bytes) -> tuple[str, ...]:
    """Models that an upstream which is a router itself may go on to: OpenRouter's `models`.

    The field is passed on like any other, so who limits models has to look at it. None in a form.
    """
    if b'"models"' not in body and b"\\u" not in body:
        return ()
    try:
        named = _read_routed(body).models
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    if isinstance(named, str):
        return (named,)
    if not isinstance(named, list):
        return ()
    return tuple(each for each in cast("list[object]", named) if isinstance(each, str))


def _listed(text: str) -> list[object]:
    if not text.startswith("["):
        return [text]
    try:
        return _read_list(text)
    except (ValueError, RecursionError):  # so are halves of a pair of surrogates
        return []


def targets_of(named: object) -> tuple[Target, ...]:
    """What a list names, in order; what names no model is passed over."""
    if not isinstance(named, list | tuple):
        return ()
    found: list[Target] = []
    for each in cast("Sequence[object]", named)[:FALLBACKS_MAX]:
        text = each if isinstance(each, str) else _spelled_out(each)
        provider, _, model = text.partition("/")
        if provider and model and "\0" not in text and len(model) <= MODEL_LENGTH_MAX:
            found.append(Target(provider, model))
    return tuple(found)


def _spelled_out(each: object) -> str:
    """`{"provider": …, "model": …}`, as Bifrost's own types write it."""
    if not isinstance(each, dict):
        return ""
    members = cast("dict[str, object]", each)
    return f"{members.get('provider') or ''}/{members.get('model') or ''}"
