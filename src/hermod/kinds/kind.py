"""What the request types have in common: how a body is read, and in which order it is judged.

Types are checked, ranges and enumerations are the upstream's business, and unknown fields are never
an error (wire-contract 1.4).
"""

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from hermod.domain.errors import bad_request
from hermod.kinds import json_guard
from hermod.kinds.form import Form
from hermod.kinds.shapes import ABSENT, Shapes, Strings

MODEL_LENGTH_MAX: Final = 2048
"""Characters of `model`: it is part of the small hot row of a job, and longer ones do not exist."""

NOT_A_MODEL: Final = "model should be in provider/model format"

_looks_whole: Final = re.compile(r"[+-]?[0-9]{1,64}").fullmatch
_INT64: Final = range(-(2**63), 2**63)
_SHOWN: Final = 40
"""Characters of a wrong value in its refusal."""


class Checked(NamedTuple):
    """Where a request that passed every check goes."""

    provider: str
    model: str
    """What follows the first slash of the `model` field."""
    stream: bool = False
    """Whether it asks for a stream: a job refuses that, a synchronous call gives one."""


class Holds(StrEnum):
    """What the essential member of a reply is."""

    OBJECTS = "an array of objects"
    TEXT = "a text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What makes an upstream's reply an answer."""

    essential: str
    """The member without which it is none."""
    holds: Holds = Holds.OBJECTS
    may_be_empty: bool = False
    text_as: str | None = None
    """The member of the result that takes a reply in plain text, where that is an answer."""
    binary_as: str | None = None
    """The member that takes a reply in bytes, as base64, where that is an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A request type (wire-contract 1.1)."""

    path: str
    """Below `/v1/async/` and `/v1/`, and below an OpenAI-shaped upstream's base URL."""
    request_type: str
    """Stored with the job and shown in its results and errors."""
    reply: Reply
    never_sent: frozenset[str] = frozenset({"fallbacks"})
    """Fields that are for the gateway only."""
    plural: str = ""
    """How the refusal of a stream names it (wire-contract 1.4); empty if it cannot be asked for."""
    example: Mapping[str, object] = field(default_factory=dict[str, object])
    """A request with everything that is required; `/openapi.json` shows it. Of a file its name."""
    known_fields: frozenset[str] = field(init=False, default=frozenset())
    """The documented fields; all others are forwarded or dropped, as configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonKind(Kind):
    """A request type whose body is a JSON object."""

    struct: type["Body"]
    """The documented fields with their types."""
    described: Mapping[str, Mapping[str, object]] = field(
        default_factory=dict[str, dict[str, object]]
    )
    """JSON Schemas of fields of which their types say too little; `/openapi.json` shows them."""
    check: Callable[[bytes, Container[str]], Checked]
    """Of a body and the known providers; raises `Refused` with the contract's message.

    The order is JSON, model, fallbacks, required fields (wire-contract 1.4).
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "known_fields", frozenset(self.struct.__struct_fields__))


class FieldType(StrEnum):
    """What a form field holds."""

    TEXT = "text"
    TEXTS = "texts"
    """A text that may come several times."""
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    FILE = "file"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class FormField:
    """A documented field of a form."""

    type: FieldType
    required: bool = False
    or_named: str | None = None
    """Another name it may come under instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormKind(Kind):
    """A request type whose body is multipart/form-data (RFC 7578)."""

    fields: Mapping[str, FormField]
    check: Callable[[Form, Container[str]], Checked]
    """Of a form and the known providers; raises `Refused` with the contract's message."""

    def __post_init__(self) -> None:
        others = {each.or_named for each in self.fields.values() if each.or_named}
        object.__setattr__(self, "known_fields", frozenset(others | self.fields.keys()))


AnyKind = JsonKind | FormKind


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

    def read(self, body: bytes) -> AnyBody:
        """The documented fields of `body`; `Refused` when it is no JSON or a type is wrong."""
        json_guard.check_text(body)
        try:
            asked = self._decode(body)
        except msgspec.DecodeError as error:
            raise bad_request(f"invalid request format: {error}") from None
        self._shapes.check(asked)
        return asked


def form_model(form: Form, known_providers: Container[str]) -> Checked:
    """Like `split_model`, of a form, where a missing model has its own message (1.4)."""
    model = form.text("model")
    if not model:
        raise bad_request("model is required")
    return split_model(model, known_providers)


def asks_for_stream(form: Form) -> bool:
    """Whether the field `stream` is exactly `true` (wire-contract 1.4)."""
    return form.text("stream") == "true"


def check_images(form: Form) -> None:
    """Refuse a form with no image under either name (wire-contract 1.12)."""
    if not form.named("image[]") and not form.named("image"):
        raise bad_request("at least one image is required")


def check_integers(form: Form, fields: Mapping[str, FormField]) -> None:
    """Refuse the first integer field that is none (1.12); an empty one counts as absent."""
    for name, documented in fields.items():
        value = form.text(name) if documented.type is FieldType.INTEGER else None
        if value and not (_looks_whole(value) and int(value) in _INT64):
            raise bad_request(f"invalid {name} value: {value[:_SHOWN]!r} is not an integer")


NO_PROVIDER: Final = ""
"""Among the known providers: models may come without a prefix, to be placed by who knows more."""


def split_model(model: str | None, known_providers: Container[str]) -> Checked:
    """The provider and what follows the first slash (wire-contract 8.1).

    Where models may come without a prefix (8.3), the provider of one is `NO_PROVIDER`.
    """
    whole = model or ""
    provider, _, name = whole.partition("/")
    if (not name or provider not in known_providers) and NO_PROVIDER in known_providers:
        provider, name = NO_PROVIDER, whole
    # PostgreSQL cannot store a NUL in a text.
    if not name or "\0" in name or len(name) > MODEL_LENGTH_MAX or provider not in known_providers:
        raise bad_request(NOT_A_MODEL)
    return Checked(provider, name)
