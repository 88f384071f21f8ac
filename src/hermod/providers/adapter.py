"""What a provider's dialect has to offer: build a request, read a reply. Nothing is sent here."""

from typing import NamedTuple, Protocol

from hermod.domain.failure import Failure
from hermod.domain.outcome import Native
from hermod.kinds.kind import AnyKind


class Outgoing(NamedTuple):
    """A stored request on its way to an upstream."""

    body: bytes
    """As the client sent it."""
    content_type: str | None
    """Of a form, with its boundary; None for JSON."""
    model: str
    """As the upstream knows it."""
    forward_unknown: bool
    """Whether fields that are not documented go along."""
    boundary: str
    """A fresh one, for a form that has to be written anew."""


class Prepared(NamedTuple):
    """The body of a request, ready to be sent."""

    content_type: str
    body: bytes


class Answered(NamedTuple):
    """A reply that was found to be an answer."""

    body: bytes
    """A JSON object, without `extra_fields`."""
    native: Native | None = None


class Adapter(Protocol):
    """One dialect. A module with these two functions is one."""

    def build(self, kind: AnyKind, outgoing: Outgoing) -> Prepared:
        """The upstream's form of a request that passed `kind.check`."""
        ...

    def read(
        self, kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
    ) -> Answered | Failure:
        """A reply with a status of success, or why it is no answer. Never raises."""
        ...
