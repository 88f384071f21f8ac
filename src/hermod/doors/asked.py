"""A request's JSON, read member by member: what is wrong is refused with the place where it is.

Values that only travel on are never decoded: they reach the upstream as they were written.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from hermod.domain.errors import Refused, bad_request
from hermod.kinds import json_guard
from hermod.kinds.shapes import begins, is_null, wrong_type

Spelling = Callable[[str], str]
"""From a member's name as written to the name that the code asks for."""

_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items_of: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text_of: Final = msgspec.json.Decoder(str).decode


def as_written(name: str) -> str:
    """The spelling of those who know only one."""
    return name


def read(body: bytes, spelling: Spelling = as_written) -> "Fields":
    """The members of a request; `Refused` (400) when it is no JSON object."""
    json_guard.check_text(body)
    try:
        members = _members_of(body)
    except msgspec.DecodeError as error:
        raise bad_request(f"invalid request format: {error}") from None
    return Fields(members, "$", spelling)


@dataclass(frozen=True, slots=True)
class Value:
    """One value and where it stands."""

    raw: msgspec.Raw
    place: str
    spelling: Spelling = as_written

    def refused(self, why: str) -> Refused:
        """A 400 that names the place."""
        return bad_request(f"invalid request format: {why} - at `{self.place}`")

    @property
    def is_text(self) -> bool:
        return begins(self.raw) == '"'

    def text_raw(self) -> msgspec.Raw:
        """The string as it was written, in its quotes."""
        if not self.is_text:
            raise wrong_type("str", self.place)
        return self.raw

    def text(self) -> str:
        """The string."""
        return _text_of(self.text_raw())

    def content_raw(self) -> bytes:
        """What stands between the quotes of a string, as it was written."""
        return bytes(memoryview(self.text_raw())[1:-1])

    def number(self) -> msgspec.Raw:
        """The number as it was written."""
        if begins(self.raw) not in "-0123456789":
            raise wrong_type("number", self.place)
        return self.raw

    def integer(self) -> int:
        """The whole number; 10.0 is one too."""
        try:
            number: object = msgspec.json.decode(self.number())
        except msgspec.DecodeError:  # larger than anything that counts
            raise wrong_type("int", self.place) from None
        if isinstance(number, float) and number.is_integer():
            return int(number)
        if not isinstance(number, int):
            raise wrong_type("int", self.place)
        return number

    def flag(self) -> bool:
        """True or false."""
        first = begins(self.raw)
        if first not in "tf":
            raise wrong_type("bool", self.place)
        return first == "t"

    def object_raw(self) -> msgspec.Raw:
        """The object as it was written."""
        if begins(self.raw) != "{":
            raise wrong_type("object", self.place)
        return self.raw

    def fields(self) -> "Fields":
        """The object's members."""
        return Fields(_members_of(self.object_raw()), self.place, self.spelling)

    @property
    def is_object(self) -> bool:
        return begins(self.raw) == "{"

    def entries(self) -> "list[tuple[str, Value]]":
        """The members of an object whose names are the caller's own, nulls included."""
        return [
            (name, Value(raw, f"{self.place}.{name}", self.spelling))
            for name, raw in _members_of(self.object_raw()).items()
        ]

    def items(self) -> "list[Value]":
        """The array's values."""
        if begins(self.raw) != "[":
            raise wrong_type("array", self.place)
        return [
            Value(raw, f"{self.place}[{index}]", self.spelling)
            for index, raw in enumerate(_items_of(self.raw))
        ]

    def choice(self, names: dict[str, str]) -> str:
        """What `names` has for this string; refused when it is none of them."""
        name = self.text()
        if name not in names:
            raise self.refused(f"{name[:100]!r} is none of {', '.join(names)}")
        return names[name]


class Fields:
    """The members of one object."""

    def __init__(self, members: dict[str, msgspec.Raw], place: str, spelling: Spelling) -> None:
        self.place = place
        self._spelling = spelling
        self._members = {spelling(name): raw for name, raw in members.items() if not is_null(raw)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def get(self, name: str) -> Value | None:
        """The member, or None where it is absent or null."""
        raw = self._members.get(name)
        return None if raw is None else Value(raw, f"{self.place}.{name}", self._spelling)

    def need(self, name: str) -> Value:
        """The member; refused where it is absent or null."""
        found = self.get(name)
        if found is None:
            raise bad_request(
                f"invalid request format: Object missing required field `{name}` "
                f"- at `{self.place}`"
            )
        return found

    def raw(self, name: str) -> msgspec.Raw | None:
        """The member as it was written, of whatever type."""
        return self._members.get(name)

    def refuse(self, *names: str) -> None:
        """Refuse what has no counterpart and must not be lost silently."""
        for name in names:
            found = self.get(name)
            if found is not None:
                raise found.refused("this is not supported here")
