"""What an upstream's reply comes to, whatever its dialect: an accepted result, or a fault."""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.outcome import Answer, Fault, Native, Outcome, Retryable
from hermod.domain.usage import Usage
from hermod.kinds import json_guard
from hermod.kinds.kind import Holds, Kind, Reply
from hermod.kinds.shapes import ABSENT, begins, is_empty_array, is_empty_text
from hermod.providers.adapter import Answered, Refusal
from hermod.providers.upstream_errors import (
    is_html,
    refusal,
    retry_after_s,
    retryable,
    shown,
    told_by,
)
from hermod.providers.usage import answer_usage

_DEPTH_MAX: Final = 256
"""Levels of a reply; more than any answer has, and few enough for every decoder."""
UNREADABLE: Final = "failed to unmarshal response from provider API"
_EMPTY: Final = "empty response received from provider"
_JSON: Final = "application/json"
_INVALID: Final = "upstream_invalid"
"""`error.type` of a reply that claims success and is no answer (reliability.md F11)."""

_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_begins_with_object: Final = re.compile(rb"\[[ \t\r\n]*\{").match
_says_something: Final = re.compile(rb'\{[ \t\r\n]*"|"[^"]').match
"""An object with a member, or a text with a character."""


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
    read: Callable[[str | None, bytes], Answered | Failure] | None = None,
    refuse: Refusal | None = None,
    retry_after_in: Callable[[bytes], float | None] | None = None,
    raw_request: bytes | None = None,
    show_raw_response: bool = False,
    resolved: str | None = None,
    dropped: tuple[str, ...] = (),
    price: Callable[[Usage | None], int | None] | None = None,
) -> Outcome:
    """What the upstream's reply comes to: an accepted result, or a fault (wire-contract 4.6).

    `now_at` (microseconds) is for a `retry_after` that is a date. `read` and `refuse` are the
    dialect's, where it is not OpenAI's, and `retry_after_in` finds in an error when to come back;
    `resolved` is the upstream's name for the model, where it has another; `price` tells the cost in
    nano-dollars, of an answer without a usage too. With `raw_request` and `show_raw_response` the
    caller sees what the upstream saw and said (`extra_fields.raw_request`, `.raw_response`). Never
    raises.
    """
    if 200 <= status < 300:
        found = read(content_type, body) if read else read_answer(kind.reply, content_type, body)
    elif 400 <= status < 600:
        found = (refuse or refusal)(status, content_type, body)
    elif 300 <= status < 400:
        # Never followed: it would carry the key to another host (reliability.md F13).
        found = invalid("unexpected redirect")
    else:
        found = invalid(f"unexpected status {status}")
    raw_response = body if show_raw_response else None
    if isinstance(found, Failure):
        again = retryable(found)
        asked_s = retry_after_s(retry_after, now_at)
        if asked_s is None and retry_after_in is not None:
            asked_s = retry_after_in(body)
        failure = found.of(provider=provider, model=model, request_type=kind.request_type)
        return Fault(
            failure.showing(raw_request, raw_response),
            again,
            None if again is Retryable.NO else asked_s,
        )
    extra_fields: dict[str, object] = {
        "request_type": kind.request_type,
        "provider": provider,
        "model_requested": model,
        # The two names that newer clients look for (wire-contract 1.16).
        "original_model_requested": model,
        "resolved_model_used": resolved or model,
        "latency": latency_ms,
        "chunk_index": 0,
    }
    if dropped:
        extra_fields["dropped_compat_plugin_params"] = dropped
    usage = found.usage
    cost_usd_nanos = None if price is None else price(usage)
    if cost_usd_nanos is not None:
        extra_fields["cost_usd_nanos"] = cost_usd_nanos
    if raw_request is not None:
        extra_fields["raw_request"] = _as_json(raw_request)
    if raw_response is not None:
        extra_fields["raw_response"] = _as_json(raw_response)
    end = found.body.rindex(b"}")
    return Answer(
        b'%b,"extra_fields":%b}'
        % (memoryview(found.body)[:end], msgspec.json.encode(extra_fields)),
        found.native,
        usage,
        cost_usd_nanos,
    )


def object_in(content_type: str | None, body: bytes) -> dict[str, Any] | Failure:
    """The JSON object that a dialect's reply with a status of success must be, decoded.

    A Failure (`upstream_invalid`) for anything else, an object with an `error` included. For
    dialects whose answers are translated; never raises.
    """
    if not body.strip():
        return invalid(_EMPTY)
    members = _decoded(body)
    if isinstance(members, str):
        if is_html(content_type, body):
            return invalid("HTML response received from provider", shown(body))
        return invalid(UNREADABLE, members)
    wrong = _error_in(members, body)
    if wrong is not None:
        return wrong
    try:
        return cast("dict[str, Any]", msgspec.json.decode(body))
    except msgspec.DecodeError as error:  # a number that no float holds
        return invalid(UNREADABLE, str(error))


def read_answer(expected: Reply, content_type: str | None, body: bytes) -> Answered | Failure:
    """The reply's JSON without `extra_fields`, or why it is no answer."""
    if not body.strip() and not (expected.text_as and expected.may_be_empty):
        return invalid(_EMPTY)
    if expected.binary_as or expected.text_as:
        label = (content_type or "").partition(";")[0].strip().lower()
    else:
        label = _JSON
    if expected.binary_as and _is_binary(label, body) and not is_html(content_type, body):
        encoded = b64encode(body)
        whole = b'{"%b":"%b"}' % (expected.binary_as.encode(), encoded)
        return Answered(whole, Native(label or "application/octet-stream", body))
    members = _decoded(body)
    if isinstance(members, str):
        # The label counts only where the body is no JSON: many servers get it wrong.
        if is_html(content_type, body):
            return invalid("HTML response received from provider", shown(body))
        if expected.text_as and label != _JSON:
            return _plain_text(expected.text_as, content_type, body)
        return invalid(UNREADABLE, members)
    wrong = _error_in(members, body) or _lack_in(members, expected)
    if wrong is not None:
        return wrong
    usage = answer_usage(members)
    if "extra_fields" in members:
        del members["extra_fields"]
        body = msgspec.json.encode(members)
    return Answered(body, None, usage)


def _is_binary(label: str, body: bytes) -> bool:
    """Whether a reply is bytes, where bytes are an answer. Some servers do not label errors."""
    if label.startswith(("audio/", "application/octet-stream")):
        return True
    return label != _JSON and not body[:64].lstrip().startswith(b"{")


def _plain_text(member: str, content_type: str | None, body: bytes) -> Answered | Failure:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return invalid(UNREADABLE, "invalid UTF-8")
    native = Native(content_type or "text/plain; charset=utf-8", body)
    return Answered(msgspec.json.encode({member: text}), native)


def _as_json(raw: bytes) -> msgspec.Raw | str:
    """The JSON text itself, or the text as a string."""
    if isinstance(_decoded(raw), str):
        return shown(raw)
    return msgspec.Raw(raw)


def _decoded(body: bytes) -> dict[str, msgspec.Raw] | str:
    """The members of a JSON object, or why it is none."""
    found = json_guard.problem(body, _DEPTH_MAX)
    if found is not None:
        return found
    try:
        return _members_of(body)
    except msgspec.DecodeError as error:
        return str(error)


def _lack_in(members: Mapping[str, msgspec.Raw], expected: Reply) -> Failure | None:
    """What the reply lacks of an answer of its kind."""
    essential = members.get(expected.essential, ABSENT)
    if expected.holds is Holds.TEXT:
        fits = begins(essential) == '"' and (expected.may_be_empty or not is_empty_text(essential))
    elif is_empty_array(essential):
        if expected.may_be_empty:
            return None
        return invalid(_EMPTY, f"`{expected.essential}` is empty")
    else:
        fits = _begins_with_object(essential)
    if not fits:
        return invalid(UNREADABLE, f"`{expected.essential}` is not {expected.holds.value}")
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
        return invalid(UNREADABLE, shown(body))
    if told.code is not None and re.fullmatch(r"[45][0-9][0-9]", told.code):
        return told.failure(int(told.code))
    return Failure(
        told.message or UNREADABLE,
        error_type=_INVALID,
        code=told.code or told.type,
        param=told.param,
        event_id=told.event_id,
    )


def invalid(message: str, cause: str | None = None) -> Failure:
    """A reply that claims success and is no answer (reliability.md F11)."""
    return Failure(message, error_type=_INVALID, cause=cause)
