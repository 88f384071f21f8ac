"""What the bridges share: JSON looked at leniently, and requests from which nothing is lost."""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, TypeGuard

import msgspec

from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.cargo import Cargo
from hermod.providers.lenient import count as count_of
from hermod.providers.lenient import items as list_of
from hermod.providers.lenient import text as text_of

Json = dict[str, object]

SUMMARY_GAP: Final = "\n\n"
"""Between two parts of one thought that become one text."""

_TAIL_MAX: Final = 48
_is_tail: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{_TAIL_MAX}}}").fullmatch
_prefix: Final = re.compile(r"(?:chatcmpl|cmpl|resp|gen|msg)[-_]")
_encode: Final = msgspec.json.Encoder().encode


def is_object(value: object) -> TypeGuard[Json]:
    """Whether a decoded JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Whether a decoded JSON value is an array."""
    return isinstance(value, list)


def objects_of(value: object) -> list[Json]:
    """The objects of an array."""
    return [item for item in list_of(value) if is_object(item)]


def first_count(source: Json, *names: str) -> int:
    """The first of these members that counts something."""
    return next((count for name in names if (count := count_of(source.get(name)))), 0)


def arguments_of(value: object) -> str:
    """A call's arguments as the text that they should be; some servers give the object."""
    if isinstance(value, str):
        return value
    return "" if value is None else _encode(value).decode()


def tail_of(upstream_id: object, otherwise: bytes) -> str:
    """The part that all ids of one answer share, made from the upstream's id.

    Where it has none that is fit, a digest of it, or of `otherwise`.
    """
    text = _prefix.sub("", text_of(upstream_id), count=1)
    if _is_tail(text):
        return text
    return sha256(text.encode("utf-8", "surrogatepass") or otherwise).hexdigest()[:32]


def written(members: object) -> bytes:
    """JSON for the wire."""
    return _encode(members)


class Crossing:
    """A request on its way into another type: its members, and what is lost of it."""

    def __init__(self, kind: AnyKind, outgoing: Outgoing) -> None:
        """Raises CannotCarry for JSON that cannot be decoded (a number like 1e400)."""
        self.cargo = Cargo(kind, outgoing)
        provider = outgoing.provider
        self.whom = provider.name if provider is not None else "this provider"
        self._may_drop = outgoing.drop_unsupported
        self._lost: list[str] = []

    def lose(self, what: str, why: str, param: str) -> None:
        """Leave something out, if the operator said that it may be. Raises CannotCarry."""
        if not self._may_drop:
            raise CannotCarry(f"{what}: {why}", param)
        self._lost.append(what)

    def refuse(self, names: Iterable[str], why: str) -> None:
        """Refuse members without which the answer would be another one. Raises CannotCarry."""
        for name in names:
            if self.cargo.take(name):
                raise CannotCarry(f"{name}: {why}", name)

    def carry(self, names: Iterable[str]) -> Json:
        """The members of the same name in the other type, those without a value left out."""
        found = ((name, self.cargo.take(name)) for name in names)
        return {name: value for name, value in found if value not in (None, "", {})}

    def finish(self, usual: Json | None = None) -> tuple[str, ...]:
        """What was left out; see `Cargo.finish`. Raises CannotCarry."""
        return (*self._lost, *self.cargo.finish(usual))
