"""A stream of chat completion chunks as a stream of Google's responses (streamGenerateContent)."""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from hermod.doors import told
from hermod.doors.genai_reply import (
    Part,
    candidate_of,
    finish_reason,
    function_call,
    response,
    shown_error,
    spoken,
)
from hermod.kinds import own_words, sse

_CUT_SHORT: Final = "the stream ended before the response was complete"
_UNEXPLAINED: Final = "the response failed"
_GATEWAY_FAULT: Final = 500


@dataclass(slots=True)
class _Call:
    """A function call as far as it was written."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _Choice:
    """A choice as far as it was written."""

    calls: dict[int, _Call] = field(default_factory=dict[int, _Call])
    reason: str | None = None


class Chunks:
    """Takes a chat stream in pieces cut anywhere, gives Google's.

    A function call is sent whole, and the last response carries the finish reasons and what was
    spent: so does Google.
    """

    def __init__(self, *, as_events: bool, event_bytes_max: int = sse.EVENT_BYTES_MAX) -> None:
        """`as_events` for `alt=sse`; without it the stream is one JSON array, Google's default."""
        self._as_events = as_events
        self._reader = sse.Reader(event_bytes_max)
        self._choices: dict[int, _Choice] = {}
        self._around: dict[str, msgspec.Raw] = {}
        """Id, model and usage, as last told."""
        self._out: list[bytes] = []
        self._sent_any = False
        self._is_own = False
        """Whether it is Google's own stream: then only its end says that it is whole."""
        self._ended = False

    @property
    def content_type(self) -> str:
        """Of what comes out."""
        return "text/event-stream" if self._as_events else "application/json; charset=UTF-8"

    def feed(self, piece: bytes) -> bytes:
        """The bytes for the client that `piece` allows for. Never raises."""
        if self._ended:
            return b""
        try:
            events = self._reader.feed(piece)
        except sse.TooLong as wrong:
            self._break_off(_GATEWAY_FAULT, str(wrong))
            events = []
        for event in events:
            if not self._ended:
                self._take(event.data)
        return self._taken()

    def end(self) -> bytes:
        """The rest, when the upstream has closed: an error, unless every choice had finished."""
        if not self._ended:
            if self._is_complete:
                self._finish()
            else:
                self._break_off(_GATEWAY_FAULT, _CUT_SHORT)
        return self._taken()

    @property
    def _is_complete(self) -> bool:
        choices = self._choices.values()
        return bool(choices) and all(choice.reason is not None for choice in choices)

    def _taken(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _send(self, data: bytes) -> None:
        if self._as_events:
            # Google ends its lines this way, and some of its clients split there.
            self._out.append(sse.written(data).replace(b"\n", b"\r\n"))
        else:
            self._out.append((b",\r\n" if self._sent_any else b"[") + data)
        self._sent_any = True

    def _close(self) -> None:
        if not self._as_events:
            self._out.append(b"]" if self._sent_any else b"[]")
        self._ended = True

    def _take(self, data: bytes) -> None:
        if data.strip() == b"[DONE]":
            self._end_of_stream()
            return
        chunk = told.members(data)
        own = own_words.event_in(chunk.get(own_words.MEMBER), own_words.GOOGLE)
        if own is not None:
            self._is_own = True
            self._send(own.data.encode())
            return
        if "error" in chunk:
            error = told.members(chunk["error"])
            status = told.count(chunk.get("status_code")) or told.count(error.get("code"))
            message = told.text(error.get("message")) or _UNEXPLAINED
            self._break_off(status if 400 <= status < 600 else _GATEWAY_FAULT, message)
            return
        self._around |= {name: chunk[name] for name in ("id", "model", "usage") if name in chunk}
        candidates = [
            candidate
            for raw in told.items(chunk.get("choices"))
            if (candidate := self._grow(told.members(raw))) is not None
        ]
        if candidates:
            around = {name: raw for name, raw in self._around.items() if name != "usage"}
            self._send(msgspec.json.encode(response(around, candidates)))

    def _end_of_stream(self) -> None:
        if self._is_own:
            self._close()
        elif self._is_complete:
            self._finish()
        else:
            self._break_off(_GATEWAY_FAULT, _CUT_SHORT)

    def _grow(self, piece: told.Members) -> dict[str, object] | None:
        """Take a piece of a choice; the candidate to send at once, if there is one."""
        index = told.count(piece.get("index"))
        choice = self._choices.setdefault(index, _Choice())
        delta = told.members(piece.get("delta"))
        for position, raw in enumerate(told.items(delta.get("tool_calls"))):
            call = told.members(raw)
            at = told.count(call["index"]) if "index" in call else position
            self._grow_call(choice.calls.setdefault(at, _Call()), call)
        choice.reason = finish_reason(piece) or choice.reason
        parts = spoken(delta)
        return candidate_of(index, parts, None) if parts else None

    @staticmethod
    def _grow_call(call: _Call, piece: told.Members) -> None:
        function = told.members(piece.get("function"))
        call.id = call.id or told.text(piece.get("id"))
        call.name = call.name or told.text(function.get("name"))
        call.arguments.append(told.text(function.get("arguments")))

    def _finish(self) -> None:
        candidates: list[dict[str, object]] = []
        for index, choice in sorted(self._choices.items()):
            parts: list[Part] = [
                function_call(call.id, call.name, "".join(call.arguments))
                for _, call in sorted(choice.calls.items())
            ]
            candidates.append(candidate_of(index, parts or [{"text": ""}], choice.reason))
        self._send(msgspec.json.encode(response(self._around, candidates)))
        self._close()

    def _break_off(self, status: int, message: str) -> None:
        self._send(shown_error(status, message))
        self._close()
