"""OpenAI's dialect: build a request, parse a reply. Nothing is sent here.

Values travel as bytes, in both directions: what a client wrote reaches the upstream with its
numbers, key order and escapes, and what the upstream wrote reaches the client (design.md 8, 4).
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from hermod import __version__
from hermod.domain.failure import Failure
from hermod.domain.outcome import Answer, Fault, Outcome, Retryable
from hermod.kinds import json_guard
from hermod.kinds.kind import Kind
from hermod.kinds.shapes import ABSENT, is_empty_array
from hermod.providers.upstream_errors import (
    is_html,
    refusal,
    retry_after_s,
    retryable,
    shown,
    told_by,
)

_DEPTH_MAX: Final = 256
"""Levels of a reply; more than any answer has, and few enough for every decoder."""
_UNREADABLE: Final = "failed to unmarshal response from provider API"
_EMPTY: Final = "empty response received from provider"
_INVALID: Final = "upstream_invalid"
"""`error.type` of a reply that claims success and is no answer (reliability.md F11)."""

_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_begins_with_object: Final = re.compile(rb"\[[ \t\r\n]*\{").match
_says_something: Final = re.compile(rb'\{[ \t\r\n]*"|"[^"]').match
"""An object with a member, or a text with a character."""


def build_body(kind: Kind, body: bytes, model: str, *, forward_unknown: bool) -> bytes:
    """The request for the upstream: `body` with its `model` replaced and the gateway's fields gone.

    `body` passed `kind.check`. Undocumented fields are left out unless `forward_unknown`.
    """
    members = _members_of(body)
    members["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(
        {
            name: value
            for name, value in members.items()
            if name not in kind.never_sent and (forward_unknown or name in kind.known_fields)
        }
    )


def build_headers(key: str | None, extra: Mapping[str, str], request_tag: str) -> dict[str, str]:
    """The headers of a request. Of those in `extra` none replaces the gateway's own but the agent.

    `request_tag` names the attempt, so that both ends can find it in their logs.
    """
    own = {"Content-Type": "application/json", "X-Client-Request-Id": request_tag}
    if key:
        own["Authorization"] = f"Bearer {key}"
    taken = {name.lower() for name in own}
    theirs = {name: value for name, value in extra.items() if name.lower() not in taken}
    if "user-agent" not in {name.lower() for name in theirs}:
        theirs["User-Agent"] = f"Hermod/{__version__}"
    return theirs | own


def parse_reply(
    kind: Kind,
    status: int,
    content_type: str | None,
    body: bytes,
    retry_after: str | None,
    *,
    provider: str,
    model: str,
    latency_ms: int,
    now_at: int,
) -> Outcome:
    """What the upstream's reply comes to: an accepted result, or a fault (wire-contract 4.6).

    `now_at` (microseconds) is for a `retry_after` that is a date. Never raises.
    """
    if 200 <= status < 300:
        read = _read_answer(kind, content_type, body)
    elif 400 <= status < 600:
        read = refusal(status, content_type, body)
    elif 300 <= status < 400:
        # Never followed: it would carry the key to another host (reliability.md F13).
        read = _invalid("unexpected redirect")
    else:
        read = _invalid(f"unexpected status {status}")
    if isinstance(read, Failure):
        again = retryable(read)
        return Fault(
            read.of(provider=provider, model=model, request_type=kind.request_type),
            again,
            None if again is Retryable.NO else retry_after_s(retry_after, now_at),
        )
    extra_fields = {
        "request_type": kind.request_type,
        "provider": provider,
        "model_requested": model,
        # The two names that newer clients look for (wire-contract 1.16).
        "original_model_requested": model,
        "resolved_model_used": model,
        "latency": latency_ms,
        "chunk_index": 0,
    }
    end = read.rindex(b"}")
    return Answer(
        b'%b,"extra_fields":%b}' % (memoryview(read)[:end], msgspec.json.encode(extra_fields))
    )


def _read_answer(kind: Kind, content_type: str | None, body: bytes) -> bytes | Failure:
    """The reply's JSON without `extra_fields`, or why it is no answer."""
    if not body.strip():
        return _invalid(_EMPTY)
    members = _decoded(body)
    if isinstance(members, str):
        # The label counts only where the body is no JSON: many servers get it wrong.
        if is_html(content_type, body):
            return _invalid("HTML response received from provider", shown(body))
        return _invalid(_UNREADABLE, members)
    wrong = _error_in(members, body) or _lack_in(members, kind)
    if wrong is not None:
        return wrong
    if members.pop("extra_fields", None) is not None:
        return msgspec.json.encode(members)
    return body


def _decoded(body: bytes) -> dict[str, msgspec.Raw] | str:
    """The members of a JSON object, or why it is none."""
    found = json_guard.problem(body, _DEPTH_MAX)
    if found is not None:
        return found
    try:
        return _members_of(body)
    except msgspec.DecodeError as error:
        return str(error)


def _lack_in(members: Mapping[str, msgspec.Raw], kind: Kind) -> Failure | None:
    """What the reply lacks of an answer of that kind."""
    essential = members.get(kind.essential, ABSENT)
    if is_empty_array(essential):
        if kind.essential_may_be_empty:
            return None
        return _invalid(_EMPTY, f"`{kind.essential}` is empty")
    if not _begins_with_object(essential):
        return _invalid(_UNREADABLE, f"`{kind.essential}` is not an array of objects")
    return None


def _error_in(members: Mapping[str, msgspec.Raw], body: bytes) -> Failure | None:
    """The error that a reply with a 2xx status holds, if it does.

    Some servers send every error so, with the HTTP status as its code (OpenRouter): then it is an
    error of that status.
    """
    error = members.get("error")
    if error is None or not _says_something(error):
        if bytes(members.get("object", b"")) != b'"error"':
            return None
        error = None
    told = told_by(body)
    if told is None and error is not None:
        told = told_by(b'{"error":%b}' % error)
    if told is None:
        return _invalid(_UNREADABLE, shown(body))
    if told.code is not None and re.fullmatch(r"[45][0-9][0-9]", told.code):
        return told.failure(int(told.code))
    return Failure(
        told.message or _UNREADABLE,
        error_type=_INVALID,
        code=told.code or told.type,
        param=told.param,
        event_id=told.event_id,
    )


def _invalid(message: str, cause: str | None = None) -> Failure:
    return Failure(message, error_type=_INVALID, cause=cause)
