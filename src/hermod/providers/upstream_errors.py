"""What an upstream's error reply says, and whether a retry can help (wire-contract 4.6, 8.5).

Servers that speak OpenAI's dialect do not agree on their errors: `{"error": {…}}`,
`{"error": "…"}`, `{"message": …}`, `{"detail": …}` (FastAPI), `{"errors": […]}`,
`{"object": "error", …}` (vLLM, Mistral), or one of them in an array (Gemini). All of it is a
stranger's text: it is cut to a sane length and never trusted to be well-formed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.outcome import Retryable
from hermod.kinds import json_guard

TEXT_MAX: Final = 4096
"""Characters of a stranger's text that are kept."""
_DEPTH_MAX: Final = 32
"""Levels of an error: it is read recursively."""
_NAME_MAX: Final = 256
_JSON_MAX: Final = 1 << 18
"""Bytes of an error that are read as JSON; a longer one is shown cut, as text."""
_MESSAGE_MEMBERS: Final = ("message", "detail", "msg", "error_description", "title", "errors")
"""Where a server may put its message, best first."""

_KEY_REFUSED: Final = frozenset({401, 402, 403})
"""Another key may be good (wire-contract 8.5)."""
_BACKOFF: Final = frozenset({408, 500, 502, 503, 504, 529})
_CALLERS_MISTAKE: Final = frozenset({400, 401, 402, 404, 405, 409, 413, 415, 422})
"""Their messages quote limits that waiting does not lift ("context length limit exceeded")."""
_SPEAKS_OF_RATE: Final = re.compile(
    r"rate[ _-]?limit|too[ _-]?many[ _-]?requests|quota[ _-]?exceeded|throttl|limit[ _-]?exceeded"
    r"|(?:requests|tokens)[ _-]per[ _-]minute",
    re.IGNORECASE,
)
_SILENT: Final = {
    401: "authentication failed: unauthorized (401) - check your API key",
    403: "access forbidden (403) - your API key may not have permission for this operation",
    404: "resource not found (404)",
    429: "rate limit exceeded (429)",
    500: "provider server error (500)",
    502: "provider server error (502)",
    503: "provider server error (503)",
    504: "provider server error (504)",
}
_HTML: Final = re.compile(rb"\s*(?:<!doctype html|<html)", re.IGNORECASE)
_SECONDS: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{0,9})?")
_DATE_LENGTH_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Told:
    """The parts of an error object that are worth showing."""

    message: str | None
    type: str | None = None
    code: str | None = None
    param: object = None
    event_id: str | None = None

    def failure(self, status: int) -> Failure:
        """As the error of a reply with that status."""
        return Failure(
            self.message or _unspoken(status),
            status_code=status,
            error_type=self.type,
            code=self.code,
            param=self.param,
            event_id=self.event_id,
        )


def refusal(status: int, content_type: str | None, body: bytes) -> Failure:
    """The failure of a 4xx or 5xx reply."""
    if not body.strip():
        return Failure(_unspoken(status), status_code=status)
    told = told_by(body)
    if told is not None:
        return told.failure(status)
    if is_html(content_type, body):
        return Failure(
            "HTML response received from provider", status_code=status, cause=shown(body)
        )
    return Failure(f"provider API error: {shown(body)}", status_code=status)


def retryable(failure: Failure) -> Retryable:
    """Whether trying the same provider again can help.

    A type or code that speaks of a rate limit makes it one at any status, as Bedrock's 400 with
    `ThrottlingException`; a message does unless the status says that the request is wrong.
    """
    status = failure.status_code
    said = [failure.error_type, failure.code]
    if status not in _CALLERS_MISTAKE:
        said.append(failure.message)
    if status == 429 or any(_SPEAKS_OF_RATE.search(text) for text in said if text):
        return Retryable.RATE_LIMITED
    if status in _KEY_REFUSED:
        return Retryable.OTHER_KEY
    return Retryable.BACKOFF if status in _BACKOFF else Retryable.NO


def retry_after_s(header: str | None, now_at: int) -> float | None:
    """Seconds to wait from `now_at` (microseconds), or None when the header says nothing usable.

    Seconds or an HTTP date (RFC 9110, 10.2.3); a date in the past is 0. Not capped.
    """
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    if not text or len(text) > _DATE_LENGTH_MAX:
        return None
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.fromtimestamp(now_at / 1e6, UTC)).total_seconds())


def told_by(body: bytes | msgspec.Raw) -> Told | None:
    """What an error object says; None when `body` is none, or too large, or no sound JSON."""
    text = bytes(body)
    if len(text) > _JSON_MAX or json_guard.problem(text, _DEPTH_MAX) is not None:
        return None
    try:
        whole: object = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    if isinstance(whole, list) and whole:
        whole = cast(list[object], whole)[0]
    return _told(cast(Mapping[str, object], whole)) if isinstance(whole, dict) else None


def is_html(content_type: str | None, body: bytes) -> bool:
    """Whether a body that is no JSON is a page for people."""
    return "text/html" in (content_type or "").lower() or _HTML.match(body) is not None


def shown(body: bytes) -> str:
    """The beginning of `body` as text."""
    # Four bytes are the longest character.
    return _cut(body[: 4 * TEXT_MAX + 4].decode("utf-8", "replace").strip())


def _unspoken(status: int) -> str:
    """What a status means where the upstream says nothing."""
    return _SILENT.get(status, f"empty response received from provider (HTTP {status})")


def _told(whole: Mapping[str, object]) -> Told | None:
    outer = whole
    error = whole.get("error")
    while isinstance(error, dict):
        # Some gateways wrap the error that they were given once more.
        whole, error = cast(Mapping[str, object], error), cast(Any, error).get("error")
    message = _message(whole)
    if message is None and isinstance(error, str):
        message = _cut(error)
    if message is None and whole is outer:
        return None
    first = _first_of(whole.get("errors"))
    status = whole.get("status")
    return Told(
        message,
        type=_name(whole.get("type"))
        or _name(whole.get("error_type"))
        or _name(status if isinstance(status, str) else None),
        code=_name(whole.get("code", first.get("code"))),
        param=_small(whole.get("param")),
        event_id=_name(outer.get("event_id"))
        or _name(whole.get("event_id"))
        or _name(outer.get("request_id")),
    )


def _message(source: Mapping[str, object]) -> str | None:
    """The first message that is there and not empty."""
    texts = (_in_words(source[name]) for name in _MESSAGE_MEMBERS if source.get(name) is not None)
    return next((_cut(text) for text in texts if text), None)


def _in_words(value: object) -> str:
    """A message that may come as a text, in pieces, or wrapped."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(map(_in_words, cast(list[object], value)[:TEXT_MAX]))
    if isinstance(value, dict):
        source = cast(Mapping[str, object], value)
        inner = _message(source)
        if inner is not None:
            place = source.get("loc")
            if isinstance(place, list):
                return f"{'.'.join(map(_in_words, cast(list[object], place)))}: {inner}"
            return inner
    return msgspec.json.encode(value).decode()


def _first_of(errors: object) -> Mapping[str, object]:
    if isinstance(errors, list) and errors:
        first = cast(list[object], errors)[0]
        if isinstance(first, dict):
            return cast(Mapping[str, object], first)
    return {}


def _name(value: object) -> str | None:
    """A type, code or id as text: a number is written out, nothing and "" are absent."""
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:_NAME_MAX]


def _small(value: object) -> object:
    """Any JSON, unless it is large."""
    return value if len(msgspec.json.encode(value)) <= TEXT_MAX else None


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"
