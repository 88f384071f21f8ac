"""Anthropic's dialect of chat: the Messages API (`POST /v1/messages`)."""

from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import Answered, Dialect, Outgoing, Prepared, StreamTranslator
from hermod.providers.anthropic_answer import answered, refused
from hermod.providers.anthropic_request import messages_body
from hermod.providers.anthropic_stream import Stream

VERSION: Final = ("anthropic-version", "2023-06-01")
"""Of the API. The next one (2026-10-21) takes no `temperature` from any model, and tells nothing
more; it is the operator's to ask for, with a header of the provider's."""


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    made = messages_body(kind, outgoing)
    return Prepared(
        "application/json",
        msgspec.json.encode(made.body),
        headers=(VERSION,),
        dropped=made.dropped,
    )


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`."""
    return answered(outgoing, content_type, body)


def open_stream(kind: AnyKind, outgoing: Outgoing) -> StreamTranslator:
    """See `StreamTranslator`."""
    return Stream(outgoing)


DIALECT: Final = Dialect("anthropic", build, read, refused, open_stream)
"""What Claude is spoken to in, by Anthropic and by others."""
