"""The types of documented fields, beyond what msgspec's own types say.

A `Raw` is not decoded, only looked at: what it holds may be large, and goes on as it came. Its
grammar was checked, so its first byte tells its type. An absent field reads like a null.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_type_hints

import msgspec

from hermod.domain.errors import Refused, bad_request
from hermod.kinds import json_guard

ABSENT: Final = msgspec.Raw(b"null")

_SPACE: Final = b" \t\r\n"
_DIGITS: Final = b"-0123456789"
_EVERY_DIGIT_ZERO: Final = bytes.maketrans(_DIGITS, b"0" * len(_DIGITS))


@dataclass(frozen=True, slots=True)
class Shape:
    """A condition on a field's value, attached to its type with `Annotated`."""

    expected: str
    accepts: Callable[[Any], object]
    """Called with what msgspec made of the value; its result counts as true or false."""


@dataclass(frozen=True, slots=True)
class Documented:
    """What a field may hold that its kind judges in code; for the description of the wire."""

    expected: str
    """As in `Shape`."""


class Object(msgspec.Struct, frozen=True, gc=False):
    """An object whose members are not our business."""


def begins(raw: msgspec.Raw) -> str:
    """The first character, which tells the type."""
    return chr(memoryview(raw)[0])


def is_null(raw: msgspec.Raw) -> bool:
    """Whether it is absent or null."""
    return begins(raw) == "n"


is_empty_array: Final = re.compile(rb"\[[ \t\r\n]*\]").match
_is_text: Final = re.compile(rb'["n]').match
is_empty_text: Final = re.compile(rb'""|n').match
"""An empty string, or null."""
_begins_visibly: Final = re.compile(rb'"[!#-\[\]-~]').match
_text_of: Final = msgspec.json.Decoder(str).decode
_is_text_or_object: Final = re.compile(rb'["{n]').match
is_content: Final = re.compile(rb'["\[n]').match
"""Text, an array of content blocks, or null."""


def is_strings(raw: msgspec.Raw) -> bool:
    """Whether it is an array of strings, or null.

    Without its strings, commas and spaces nothing but its own two brackets may be left.
    """
    first = begins(raw)
    if first != "[":
        return first == "n"
    left = (piece.translate(None, _SPACE + b",") for piece in json_guard.structure(memoryview(raw)))
    return b"".join(left) == b"[]"


def is_token_ids(raw: msgspec.Raw) -> bool:
    """Whether it is an array of integers, or an array of such arrays.

    Ids come by the million: this neither decodes them nor loops over them.
    """
    zeros = bytes(raw).translate(_EVERY_DIGIT_ZERO, _SPACE)
    inner = zeros.translate(None, b"0,").replace(b"[]", b"")
    mixed = b"0,[" in zeros or b"],0" in zeros
    return begins(raw) == "[" and inner in (b"", b"[]") and not mixed


def is_integers(raw: msgspec.Raw) -> bool:
    """Whether it is an array of integers, or null."""
    return is_null(raw) or (is_token_ids(raw) and bytes(raw).rfind(b"[") == 0)


def is_blank(raw: msgspec.Raw) -> bool:
    """Whether it is null, or a string of nothing but white space.

    Only a string that does not begin with a visible ASCII character is decoded for this.
    """
    return is_null(raw) or (not _begins_visibly(raw) and not _text_of(raw).strip())


def _is_whole(value: float) -> bool:
    return type(value) is int or value.is_integer()


def is_text_or_strings(raw: msgspec.Raw) -> bool:
    """Whether it is a string, an array of strings, or null."""
    return begins(raw) == '"' or is_strings(raw)


Number = float | None
Integer = Annotated[int | float | None, Shape("int | null", _is_whole)]
"""Some clients write 10 as 10.0; that is an integer too."""
Text = Annotated[msgspec.Raw, Shape("str | null", _is_text)]
Strings = Annotated[msgspec.Raw, Shape("array<str> | null", is_strings)]
Integers = Annotated[msgspec.Raw, Shape("array<int> | null", is_integers)]
TextOrStrings = Annotated[msgspec.Raw, Shape("str | array<str> | null", is_text_or_strings)]
TextOrObject = Annotated[msgspec.Raw, Shape("str | object | null", _is_text_or_object)]


def wrong_type(expected: str, path: str) -> Refused:
    """A documented field has the wrong JSON type (wire-contract 1.4)."""
    return bad_request(f"invalid request format: Expected `{expected}` - at `{path}`")


class Shapes:
    """The `Shape`s of one struct's fields."""

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        self._shapes = tuple(
            (name, mark)
            for name, hint in get_type_hints(struct, include_extras=True).items()
            for mark in getattr(hint, "__metadata__", ())
            if isinstance(mark, Shape)
        )

    def check(self, value: msgspec.Struct, path: str = "$") -> None:
        """Refuse the first field that has not its shape."""
        for name, shape in self._shapes:
            field = getattr(value, name)
            if field is not None and field is not ABSENT and not shape.accepts(field):
                raise wrong_type(shape.expected, f"{path}.{name}")
