"""OpenAI's dialect: build a request, parse a reply. Nothing is sent here.

Values travel as bytes, in both directions: what a client wrote reaches the upstream with its
numbers, key order and escapes, and what the upstream wrote reaches the client (design.md 8, 4).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds.kind import AnyKind, JsonKind, Kind
from hermod.providers import multipart_body
from hermod.providers.adapter import Answered, Dialect, Outgoing, Prepared
from hermod.providers.replies import read_answer

_JSON: Final = "application/json"
_NOTHING: Final[frozenset[str]] = frozenset()
_NO_RENAMES: Final[Mapping[str, str]] = {}

_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `hermod.providers.adapter.Adapter.build`."""
    if isinstance(kind, JsonKind):
        row = outgoing.provider.row if outgoing.provider is not None else None
        body = build_body(
            kind,
            outgoing.body,
            outgoing.model,
            forward_unknown=outgoing.forward_unknown,
            drops=row.drops if row is not None else _NOTHING,
            renames=row.renames if row is not None else _NO_RENAMES,
        )
        return Prepared(_JSON, body)
    assert outgoing.content_type is not None
    body, content_type = multipart_body.rebuild(
        outgoing.body,
        outgoing.content_type,
        replace={"model": outgoing.model},
        drop=kind.never_sent | {f"{name}[]" for name in kind.never_sent},
        known=None if outgoing.forward_unknown else kind.known_fields,
        boundary=outgoing.boundary,
    )
    return Prepared(content_type, body)


def build_body(
    kind: Kind,
    body: bytes,
    model: str,
    *,
    forward_unknown: bool,
    drops: frozenset[str] = _NOTHING,
    renames: Mapping[str, str] = _NO_RENAMES,
) -> bytes:
    """The request for the upstream: `body` with its `model` replaced and the gateway's fields gone.

    `body` passed `kind.check`. Undocumented fields are left out unless `forward_unknown`.
    """
    members = _members_of(body)
    members["model"] = msgspec.Raw(msgspec.json.encode(model))
    sent = {
        name: value
        for name, value in members.items()
        if name not in kind.never_sent and (forward_unknown or name in kind.known_fields)
    }
    if drops or renames:
        for name in drops & sent.keys():
            del sent[name]
        for name, theirs in renames.items():
            if name in sent:
                sent[theirs] = sent.pop(name)
    return msgspec.json.encode(sent)


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `hermod.providers.adapter.Adapter.read`."""
    return read_answer(kind.reply, content_type, body)


DIALECT: Final = Dialect("openai", build, read)
"""What most upstreams speak."""
