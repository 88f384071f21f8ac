"""Anthropic's dialect of chat: the Messages API (`POST /v1/messages`)."""

from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds.kind import AnyKind
from hermod.kinds.own_words import ANTHROPIC, Words
from hermod.providers.adapter import (
    Answered,
    Dialect,
    Outgoing,
    OwnWords,
    Prepared,
    StreamTranslator,
)
from hermod.providers.anthropic.answer import answered
from hermod.providers.anthropic.models import default_max_tokens
from hermod.providers.anthropic.request import messages_body
from hermod.providers.anthropic.stream import Stream

VERSION: Final = ("anthropic-version", "2023-06-01")
"""Of the API. The next one (2026-10-21) only takes things away (`temperature`, `top_p` and `top_k`
from all models, documents in an assistant's message): it is the operator's to ask for, with a
header of the provider's."""

_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


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


def own_body(outgoing: Outgoing, words: Words, *, version: str | None = None) -> bytes:
    """The client's own request for the Messages API. `version` as in `messages_body`."""
    body = _members_of(words.request)
    if version is None:
        body["model"] = msgspec.Raw(msgspec.json.encode(outgoing.model))
    else:
        body["anthropic_version"] = msgspec.Raw(msgspec.json.encode(version))
        body.pop("service_tier", None)  # the other clouds refuse it
    if outgoing.stream:
        body["stream"] = msgspec.Raw(b"true")
    if "max_tokens" not in body:
        body["max_tokens"] = msgspec.Raw(b"%d" % default_max_tokens(outgoing.model))
    return msgspec.json.encode(body)


def own_headers(words: Words) -> tuple[tuple[str, str], ...]:
    """The version that the client speaks, and the betas that it wants."""
    return tuple(({VERSION[0]: VERSION[1]} | words.headers).items())


def _build_own(outgoing: Outgoing, words: Words) -> Prepared:
    return Prepared("application/json", own_body(outgoing, words), headers=own_headers(words))


OWN: Final = OwnWords(ANTHROPIC, lambda _: True, _build_own, read, open_stream)
"""The Messages API's."""

DIALECT: Final = Dialect("anthropic", build, read, None, open_stream, own=(OWN,))
"""What Claude is spoken to in, by Anthropic and by others."""
