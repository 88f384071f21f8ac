"""What the request types have in common: how a body is read, and in which order it is judged.

Types are checked, ranges and enumerations are the upstream's business, and unknown fields are never
an error (wire-contract 1.4).
"""

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from hermod.domain.errors import bad_request
from hermod.kinds import json_guard
from hermod.kinds.shapes import ABSENT, Shapes, Strings

MODEL_LENGTH_MAX: Final = 2048
"""Characters of `model`: it is part of the small hot row of a job, and longer ones do not exist."""


class Checked(NamedTuple):
    """Where a request that passed every check goes."""

    provider: str
    model: str
    """What follows the first slash of the `model` field."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A request type (wire-contract 1.1)."""

    path: str
    """Below `/v1/async/`, and below an OpenAI-shaped upstream's base URL."""
    request_type: str
    """Stored with the job and shown in its results and errors."""
    known_fields: frozenset[str]
    """The documented ones; all others are forwarded or dropped, as configured."""
    check: Callable[[bytes, Container[str]], Checked]
    """Of a body and the known providers; raises `Refused` with the contract's message.

    The order is JSON, model, fallbacks, required fields, stream (wire-contract 1.4).
    """
    essential: str
    """The array in the upstream's reply without which it is no answer."""
    essential_may_be_empty: bool = False
    never_sent: frozenset[str] = frozenset({"fallbacks"})
    """Fields that are for the gateway only."""


class Body(msgspec.Struct, frozen=True, gc=False):
    """The fields of every request type. A kind adds its own."""

    model: str | None = None
    fallbacks: Strings = ABSENT
    """Strings that name no model are dropped when the job runs, never an error here."""


AnyBody = TypeVar("AnyBody", bound=Body)


class Reader(Generic[AnyBody]):
    """Turns bodies into a kind's struct, or refuses them."""

    def __init__(self, struct: type[AnyBody]) -> None:
        self._decode = msgspec.json.Decoder(struct).decode
        self._shapes = Shapes(struct)
        self.fields = frozenset(struct.__struct_fields__)

    def read(self, body: bytes) -> AnyBody:
        """The documented fields of `body`; `Refused` when it is no JSON or a type is wrong."""
        json_guard.check_text(body)
        try:
            asked = self._decode(body)
        except msgspec.DecodeError as error:
            raise bad_request(f"invalid request format: {error}") from None
        self._shapes.check(asked)
        return asked


def split_model(model: str | None, known_providers: Container[str]) -> Checked:
    """The provider and what follows the first slash (wire-contract 8.1)."""
    provider, _, name = (model or "").partition("/")
    # PostgreSQL cannot store a NUL in a text.
    if not name or "\0" in name or len(name) > MODEL_LENGTH_MAX or provider not in known_providers:
        raise bad_request("model should be in provider/model format")
    return Checked(provider, name)
