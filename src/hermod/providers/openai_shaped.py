"""OpenAI's dialect: build a request, parse a reply. Nothing is sent here.

Values travel as bytes, in both directions: what a client wrote reaches the upstream with its
numbers, key order and escapes, and what the upstream wrote reaches the client (design.md 8, 4).
What an upstream's row says is left out, renamed or called otherwise (docs/decisions/0009).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.provider import Row
from hermod.kinds.kind import AnyKind, JsonKind, Kind
from hermod.kinds.shapes import begins, is_null
from hermod.providers import multipart_body
from hermod.providers.adapter import Answered, Dialect, Outgoing, Prepared
from hermod.providers.replies import read_answer

_JSON: Final = "application/json"
_CHAT: Final = "chat_completion"
_SPOKEN: Final = ("messages", "input")
"""Where a request holds messages with roles: a chat's, and a response's."""

_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_objects_of: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `hermod.providers.adapter.Dialect.build`."""
    row = outgoing.provider.row if outgoing.provider is not None else None
    if isinstance(kind, JsonKind):
        body = build_body(
            kind, outgoing.body, outgoing.model, forward_unknown=outgoing.forward_unknown, row=row
        )
        return Prepared(_JSON, body)
    assert outgoing.content_type is not None
    dropped = kind.never_sent | row.drops if row is not None else kind.never_sent
    body, content_type = multipart_body.rebuild(
        outgoing.body,
        outgoing.content_type,
        replace={"model": outgoing.model},
        drop=dropped | {f"{name}[]" for name in dropped},
        known=None if outgoing.forward_unknown else kind.known_fields,
        boundary=outgoing.boundary,
    )
    return Prepared(content_type, body)


def build_body(
    kind: Kind, body: bytes, model: str, *, forward_unknown: bool, row: Row | None = None
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
    if row is not None:
        for name in row.drops:
            sent.pop(name, None)
        for name, theirs in row.renames.items():
            if name in sent:
                _rename(sent, name, theirs)
            elif "." in name and name.partition(".")[0] in sent and kind.request_type == _CHAT:
                _lift(sent, name, theirs)
        if row.roles:
            _change_roles(sent, row.roles)
    return msgspec.json.encode(sent)


def _rename(sent: dict[str, msgspec.Raw], name: str, theirs: str) -> None:
    """Give a field its other name. Of two values the newer name's counts, unless it is null."""
    value = sent.pop(name)
    if theirs not in sent or not is_null(value):
        sent[theirs] = value


def _lift(sent: dict[str, msgspec.Raw], path: str, theirs: str) -> None:
    """Give a member of an object a name of its own; what else the object says stays in it."""
    outer, _, inner = path.partition(".")
    if is_null(sent[outer]):
        del sent[outer]
        return
    members = _members_of(sent[outer])
    value = members.pop(inner, None)
    if value is None:
        return
    if not is_null(value):
        sent[theirs] = value
    if all(is_null(each) for each in members.values()):
        del sent[outer]
    else:
        sent[outer] = msgspec.Raw(msgspec.json.encode(members))


def _change_roles(sent: dict[str, msgspec.Raw], roles: Mapping[str, str]) -> None:
    for place in _SPOKEN:
        raw = sent.get(place)
        if raw is None or begins(raw) != "[":
            continue
        wanted = {f'"{role}"'.encode(): f'"{theirs}"'.encode() for role, theirs in roles.items()}
        # Decoded only where such a role may be: messages are the bulk of a request.
        text = bytes(raw)
        if not any(role in text for role in wanted):
            continue
        messages = _objects_of(raw)
        for message in messages:
            theirs = wanted.get(bytes(message.get("role", b"")))
            if theirs is not None:
                message["role"] = msgspec.Raw(theirs)
        sent[place] = msgspec.Raw(msgspec.json.encode(messages))


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `hermod.providers.adapter.Dialect.read`."""
    return read_answer(kind.reply, content_type, body)


DIALECT: Final = Dialect("openai", build, read)
"""What most upstreams speak."""
