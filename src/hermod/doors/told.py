"""An upstream's JSON, looked at leniently: what is not there, or of another type, is empty.

A result was accepted and stored before; whatever it holds, it is shown as well as can be.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from hermod.kinds.shapes import is_null

_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items_of: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text_of: Final = msgspec.json.Decoder(str).decode
_number_of: Final = msgspec.json.Decoder(int | float).decode

Members = Mapping[str, msgspec.Raw]
Json = bytes | msgspec.Raw | None

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def members(value: Json) -> dict[str, msgspec.Raw]:
    """The members of an object, those that are null left out."""
    return {name: raw for name, raw in members_with_nulls(value).items() if not is_null(raw)}


def members_with_nulls(value: Json) -> dict[str, msgspec.Raw]:
    """The members of an object."""
    if value is None:
        return {}
    try:
        return _members_of(value)
    except _UNREADABLE:
        return {}


def items(value: Json) -> list[msgspec.Raw]:
    """The values of an array."""
    if value is None:
        return []
    try:
        return _items_of(value)
    except _UNREADABLE:
        return []


def text(value: Json) -> str:
    """A string."""
    if value is None:
        return ""
    try:
        return _text_of(value)
    except _UNREADABLE:
        return ""


def is_text(value: Json) -> bool:
    """Whether it is a string with something in it."""
    return value is not None and bytes(memoryview(value)[:1]) == b'"' and len(memoryview(value)) > 2


def number(value: Json) -> int | float | None:
    """A number."""
    if value is None:
        return None
    try:
        return _number_of(value)
    except _UNREADABLE:
        return None


def count(value: Json) -> int:
    """A number of something: whole, and not below zero."""
    found = number(value)
    return max(int(found), 0) if found is not None and abs(found) < 2**63 else 0


def content_text(value: Json) -> str:
    """The text of a content: a string, or the text of its blocks."""
    if is_text(value):
        return text(value)
    return "".join(text(members(block).get("text")) for block in items(value))


def error_of(failure: Json) -> tuple[int, str, str, str]:
    """Status, type, code and message of a BifrostError (wire-contract 4.1); 500 if none is set."""
    whole = members(failure)
    error = members(whole.get("error"))
    status = count(whole.get("status_code")) or 500
    return status, text(error.get("type")), text(error.get("code")), text(error.get("message"))


def arguments(written: str) -> object:
    """A call's arguments as the object that both APIs want; a model may have written none.

    What is no JSON object stands under `INVALID_JSON`, as Anthropic advises.
    """
    if not written.strip():
        return {}
    try:
        _members_of(written.encode())
    except _UNREADABLE:
        return {"INVALID_JSON": written}
    return msgspec.Raw(written.encode())
