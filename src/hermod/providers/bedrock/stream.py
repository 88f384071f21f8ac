"""A streamed answer of Converse as OpenAI's chunks.

Source: Amazon Bedrock API reference, "ConverseStream". The events come in AWS's binary framing;
`:message-type` tells events from exceptions.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds import json_guard
from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import Outgoing
from hermod.providers.bedrock.eventstream import EventMessage, EventStreamParser
from hermod.providers.bedrock.reply import (
    finish_reason,
    malformed,
    sealed_detail,
    text_detail,
    usage_in,
)
from hermod.providers.chat_words import wants_usage
from hermod.providers.lenient import count, members, text

_DEPTH_MAX: Final = 64
"""Levels of an event."""
_UNREADABLE: Final = Failure(
    "an event of the provider's stream is no JSON", error_type="upstream_invalid"
)
_LAST: Final = b"data: [DONE]\n\n"
_ID_BYTES: Final = 4096
"""Of the request that go into the answer's id."""
_STATUS: Final = {
    "internalServerException": 500,
    "modelStreamErrorException": 424,
    "modelTimeoutException": 408,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
    "validationException": 400,
}


def open_stream(kind: AnyKind, outgoing: Outgoing) -> "ConverseStream":
    """See `Dialect.open_stream`."""
    return ConverseStream(outgoing)


class ConverseStream:
    """See `StreamTranslator`."""

    def __init__(self, outgoing: Outgoing) -> None:
        seed = b"%d%b" % (outgoing.now_s, outgoing.body[:_ID_BYTES])
        self._head: dict[str, object] = {
            "id": f"chatcmpl-{blake2b(seed, digest_size=12).hexdigest()}",
            "object": "chat.completion.chunk",
            "created": outgoing.now_s,
            "model": outgoing.model,
        }
        self._with_usage = wants_usage(outgoing)
        self._parser = EventStreamParser()
        self._usage: Usage | None = None
        self._calls: dict[int, int] = {}
        """OpenAI's index of a call by its block's."""
        self._unsaid: set[int] = set()
        """Blocks of calls whose arguments have not begun."""
        self._is_over = False
        self._has_failed = False

    @property
    def usage(self) -> Usage | None:
        """What the last event told."""
        return self._usage

    def feed(self, piece: bytes) -> bytes:
        """See `StreamTranslator.feed`."""
        if self._has_failed:
            return b""
        messages, error = self._parser.feed(piece)
        events = b"".join(map(self._translate, messages))
        if error is not None and not self._has_failed:
            events += self._fail(Failure(str(error), error_type="upstream_invalid"))
        return events

    def end(self) -> bytes:
        """See `StreamTranslator.end`."""
        is_whole = self._is_over and not self._has_failed and self._parser.is_between
        return _LAST if is_whole else b""

    def _translate(self, message: EventMessage) -> bytes:
        if self._has_failed:
            return b""
        event = _members_of(message.payload)
        if message.text(":message-type") != "event":
            return self._fail(_failure(message, event or {}))
        if event is None:
            return self._fail(_UNREADABLE)
        name = message.text(":event-type")
        index = count(event.get("contentBlockIndex"))
        match name:
            case "messageStart":
                return self._chunk({"role": "assistant", "content": ""})
            case "contentBlockStart":
                return self._start(members(event.get("start")), index)
            case "contentBlockDelta":
                return self._delta(members(event.get("delta")), index)
            case "contentBlockStop" if index in self._unsaid:
                # Nothing was said, which is no JSON; an empty object is meant.
                return self._arguments("{}", index)
            case "messageStop":
                return self._stop(text(event.get("stopReason")))
            case "metadata":
                return self._metadata(event)
            case _:
                return b""

    def _start(self, start: Mapping[str, Any], index: int) -> bytes:
        use = members(start.get("toolUse"))
        if not use or use.get("type") == "server_tool_use":
            return b""
        self._unsaid.add(index)
        call = {
            "index": self._calls.setdefault(index, len(self._calls)),
            "id": text(use.get("toolUseId")),
            "type": "function",
            "function": {"name": text(use.get("name")), "arguments": ""},
        }
        return self._chunk({"tool_calls": [call]})

    def _delta(self, delta: Mapping[str, Any], index: int) -> bytes:
        said = text(delta.get("text"))
        if said:
            return self._chunk({"content": said})
        use = members(delta.get("toolUse"))
        if use:
            return self._arguments(text(use.get("input")), index)
        thought = members(delta.get("reasoningContent"))
        if thought:
            return self._thought(thought, index)
        return b""

    def _arguments(self, written: str, index: int) -> bytes:
        call = self._calls.get(index)
        if call is None or not written:
            return b""
        self._unsaid.discard(index)
        return self._chunk({"tool_calls": [{"index": call, "function": {"arguments": written}}]})

    def _thought(self, thought: Mapping[str, Any], index: int) -> bytes:
        said, signature = text(thought.get("text")), text(thought.get("signature"))
        sealed = text(thought.get("redactedContent"))
        delta: dict[str, object] = {"reasoning": said} if said else {}
        if said or signature:
            detail = text_detail(said, signature or None)
        elif sealed:
            detail = sealed_detail(sealed)
        else:
            return b""
        return self._chunk({**delta, "reasoning_details": [{**detail, "index": index}]})

    def _stop(self, reason: str) -> bytes:
        if reason.startswith("malformed_"):
            return self._fail(malformed(reason))
        self._is_over = True
        return self._chunk({}, finish_reason(reason, has_calls=bool(self._calls)))

    def _metadata(self, event: Mapping[str, Any]) -> bytes:
        shown, self._usage = usage_in(event.get("usage"))
        if not self._with_usage or shown is None:
            return b""
        return _event({**self._head, "choices": [], "usage": shown})

    def _chunk(self, delta: dict[str, object], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _event({**self._head, "choices": [choice]})

    def _fail(self, failure: Failure) -> bytes:
        self._has_failed = True
        error: dict[str, object] = {"message": failure.message, "type": failure.error_type}
        if failure.status_code is not None:
            error["code"] = str(failure.status_code)
        return _event({"error": error})


def _members_of(payload: bytes) -> dict[str, Any] | None:
    """None for what is no JSON."""
    if json_guard.problem(payload, _DEPTH_MAX) is not None:
        return None
    try:
        return members(msgspec.json.decode(payload or b"{}"))
    except msgspec.DecodeError:
        return None


def _failure(message: EventMessage, event: Mapping[str, Any]) -> Failure:
    """What an exception in the stream says; errors of the framing say it in their headers."""
    name = message.text(":exception-type") or message.text(":error-code")
    said = text(event.get("message")) or text(event.get("Message"))
    said = said or text(event.get("originalMessage")) or message.text(":error-message")
    status = _STATUS.get(name)
    return Failure(
        said or "the stream ended with an error", status_code=status, error_type=name or None
    )


def _event(value: object) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(value)
