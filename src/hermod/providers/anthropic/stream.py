"""Anthropic's stream of events as OpenAI's chunks.

Source: Anthropic's guide "Streaming Messages". Kinds of events and of blocks that are not known
here are passed over, as Anthropic asks of clients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hermod.domain.usage import Usage
from hermod.kinds import sse
from hermod.providers.adapter import Outgoing
from hermod.providers.anthropic.answer import (
    BETWEEN_THOUGHTS,
    annotations,
    finish_reason,
    refusal_text,
    sealed,
    shown_usage,
    thought,
    tool_call,
    usage_of,
)
from hermod.providers.chat_words import wants_usage
from hermod.providers.lenient import count, members, text
from hermod.providers.upstream_errors import Told, told_by

_DONE: Final = b"data: [DONE]\n\n"
_UNREADABLE: Final = "failed to unmarshal an event of the provider's stream"
_UNEXPLAINED: Final = "the provider's stream ended with an error"


@dataclass(slots=True)
class _Open:
    """A block that was begun."""

    kind: str
    place: int = 0
    """Of a call among the calls, of a thought among the details of the reasoning."""
    said: bool = False
    start: int = 0
    """Of a text, where it begins in the answer."""
    input: Any = None
    """Of a call, what came whole with its beginning."""


class Chunks:
    """Takes decoded events, gives OpenAI's events. For every cloud, whatever frames its events."""

    def __init__(self, outgoing: Outgoing) -> None:
        self.is_whole = False
        """Whether the last event was there."""
        self.failed = False
        """Whether the upstream said that it failed; nothing is given after that."""
        self._out: list[bytes] = []
        self._id = f"msg-{outgoing.now_s}"
        self._model = outgoing.model
        self._created = outgoing.now_s
        self._wants_usage = wants_usage(outgoing)
        self._spent: dict[str, Any] = {}
        self._open: dict[int, _Open] = {}
        self._begun = False
        self._finished = False
        self._calls = 0
        self._details = 0
        self._length = 0
        self._has_thought = False
        self._takers: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
        }

    @property
    def usage(self) -> Usage | None:
        """What has been told of it so far."""
        return usage_of(self._spent) if self._spent else None

    def take(self, event: dict[str, Any]) -> bytes:
        """What this event has to say to the client. Never raises."""
        kind = text(event.get("type"))
        if self.is_whole or self.failed:
            return b""
        if kind == "error" or (kind not in self._takers and event.get("error")):
            return self.fail(told_by(msgspec.json.encode(event)))
        taker = self._takers.get(kind)
        if taker is not None:
            taker(event)
        out = b"".join(self._out)
        self._out.clear()
        return out

    def fail(self, told: Told | None) -> bytes:
        """The event that tells of an error; it is the last one."""
        self.failed = True
        error: dict[str, object] = {"message": (told and told.message) or _UNEXPLAINED}
        error["type"] = (told and told.type) or "api_error"
        if told is not None and told.code is not None:
            error["code"] = told.code
        return sse.written(msgspec.json.encode({"error": error}))

    # What is sent

    def _chunk(self, choices: list[object], **more: object) -> None:
        whole: dict[str, object] = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }
        self._out.append(sse.written(msgspec.json.encode(whole | more)))

    def _delta(self, delta: dict[str, object], finish: str | None = None) -> None:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", "content": "", **delta}
        self._chunk([{"index": 0, "delta": delta, "finish_reason": finish}])

    def _say(self, piece: str) -> None:
        if piece:
            self._length += len(piece)
            self._delta({"content": piece})

    def _think(self, block: _Open, detail: dict[str, object]) -> None:
        delta: dict[str, object] = {"reasoning_details": [detail]}
        piece = text(detail.get("text"))
        if piece:
            apart = self._has_thought and not block.said
            delta["reasoning"] = BETWEEN_THOUGHTS + piece if apart else piece
            block.said = self._has_thought = True
        self._delta(delta)

    def _call(self, block: _Open, arguments: str) -> None:
        if arguments:
            block.said = True
            self._delta(
                {"tool_calls": [{"index": block.place, "function": {"arguments": arguments}}]}
            )

    # What is taken

    def _message_start(self, event: dict[str, Any]) -> None:
        message = members(event.get("message"))
        self._id = text(message.get("id")) or self._id
        self._model = text(message.get("model")) or self._model
        self._spend(message)
        if not self._begun:
            self._delta({})

    def _spend(self, holder: dict[str, Any]) -> None:
        """Counts are of all so far; one that is not told again stays."""
        told = members(holder.get("usage"))
        self._spent |= {name: value for name, value in told.items() if value is not None}

    def _block_start(self, event: dict[str, Any]) -> None:
        told = members(event.get("content_block"))
        block = self._open[count(event.get("index"))] = _Open(text(told.get("type")))
        if block.kind == "text":
            block.start = self._length
            self._say(text(told.get("text")))
        elif block.kind == "thinking":
            block.place = self._details
            self._details += 1
            if text(told.get("thinking")) or text(told.get("signature")):
                self._think(block, thought(block.place, told))
        elif block.kind == "redacted_thinking":
            self._think(block, sealed(self._details, told))
            self._details += 1
        elif block.kind == "tool_use":
            block.place = self._calls
            block.input = told.get("input")
            self._calls += 1
            self._delta({"tool_calls": [{"index": block.place, **tool_call(told, "")}]})

    def _block_delta(self, event: dict[str, Any]) -> None:
        block = self._open.get(count(event.get("index")))
        delta = members(event.get("delta"))
        kind = text(delta.get("type"))
        if block is None:
            return
        if block.kind == "text" and kind == "text_delta":
            self._say(text(delta.get("text")))
        elif block.kind == "text" and kind == "citations_delta":
            notes = annotations([delta.get("citation")], block.start, self._length)
            if notes:
                self._delta({"annotations": notes})
        elif block.kind == "thinking" and kind == "thinking_delta":
            if text(delta.get("thinking")):
                self._think(block, thought(block.place, delta))
        elif block.kind == "thinking" and kind == "signature_delta":
            self._think(block, thought(block.place, delta))
        elif block.kind == "tool_use" and kind == "input_json_delta":
            self._call(block, text(delta.get("partial_json")))

    def _block_stop(self, event: dict[str, Any]) -> None:
        block = self._open.pop(count(event.get("index")), None)
        if block is not None and block.kind == "tool_use" and not block.said:
            self._call(block, msgspec.json.encode(members(block.input)).decode())

    def _message_delta(self, event: dict[str, Any]) -> None:
        self._spend(event)
        delta = members(event.get("delta"))
        reason = text(delta.get("stop_reason"))
        if reason and not self._finished:
            refusal = reason == "refusal"
            self._finish(
                reason, {"refusal": refusal_text(delta.get("stop_details"))} if refusal else {}
            )

    def _finish(self, reason: str, delta: dict[str, object]) -> None:
        self._finished = True
        self._delta(delta, finish_reason(reason, called=self._calls > 0))

    def _message_stop(self, event: dict[str, Any]) -> None:
        if not self._finished:
            self._finish("", {})
        self.is_whole = True
        usage = self.usage
        if usage is not None and self._wants_usage:
            self._chunk([], usage=shown_usage(usage))


class Stream:
    """Anthropic's server-sent events, in pieces cut anywhere."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._reader = sse.Reader()
        self._chunks = Chunks(outgoing)

    @property
    def usage(self) -> Usage | None:
        """See `StreamTranslator.usage`."""
        return self._chunks.usage

    def feed(self, piece: bytes) -> bytes:
        """See `StreamTranslator.feed`."""
        try:
            events = self._reader.feed(piece)
        except sse.TooLong as wrong:
            return b"" if self._chunks.failed else self._chunks.fail(Told(str(wrong)))
        return b"".join(self._take(event) for event in events)

    def end(self) -> bytes:
        """See `StreamTranslator.end`."""
        # Some servers leave out the empty line after the last event.
        rest = self.feed(b"\n\n")
        return rest + _DONE if self._chunks.is_whole else rest

    def _take(self, event: sse.Event) -> bytes:
        if self._chunks.failed or self._chunks.is_whole:
            return b""
        if event.name == "error":
            return self._chunks.fail(told_by(event.data))
        try:
            decoded: object = msgspec.json.decode(event.data)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return self._chunks.fail(Told(_UNREADABLE))
        return self._chunks.take(members(decoded))
