"""A stream of Responses events as a stream of Anthropic's (Messages API, streaming)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from hermod.doors import told
from hermod.doors.anthropic_reply import (
    UNTYPED_ERROR,
    Block,
    blocks,
    said_in,
    shown_error,
    stop_reason,
    thought_in,
    tool_use,
    usage,
)
from hermod.kinds import own_words, sse

_CUT_SHORT: Final = "the stream ended before the response was complete"
_UNEXPLAINED: Final = "the response failed"
_RATE_LIMITED: Final = frozenset({"rate_limit_exceeded", "429"})

_Key = tuple[int, str, int]
"""Output index, type of the block, and index of the part."""


@dataclass(slots=True)
class _Open:
    """A block that was begun."""

    index: int
    said: bool = False
    closed: bool = False
    part: str = ""
    """Of a thinking block: the part that it is in."""


class Events:
    """Takes a Responses stream in pieces cut anywhere, gives Anthropic's.

    What an upstream announces but never streams piece by piece is sent whole when its item is done.
    """

    def __init__(self, model: str = "", event_bytes_max: int = sse.EVENT_BYTES_MAX) -> None:
        """`model` is shown where the stream names none."""
        self._model = model
        self._reader = sse.Reader(event_bytes_max)
        self._out: list[bytes] = []
        self._opened: dict[_Key, _Open] = {}
        self._started = False
        self._ended = False
        self._called = False
        self._refused = False
        self._takers: Final[dict[str, Callable[[told.Members], None]]] = {
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.output_text.delta": self._text_delta,
            "response.output_text.done": self._text_done,
            "response.refusal.delta": self._refusal_delta,
            "response.refusal.done": self._refusal_done,
            "response.reasoning_summary_text.delta": self._summary_delta,
            "response.reasoning_text.delta": self._thought_delta,
            "response.function_call_arguments.delta": self._arguments_delta,
            "response.completed": self._finish,
            "response.incomplete": self._finish,
            "response.failed": self._fail,
            "error": self._fail,
        }

    def feed(self, piece: bytes) -> bytes:
        """The bytes for the client that `piece` allows for. Never raises."""
        if self._ended:
            return b""
        try:
            events = self._reader.feed(piece)
        except sse.TooLong as wrong:
            self._break_off(UNTYPED_ERROR, str(wrong))
            events = []
        for event in events:
            if not self._ended:
                self._take(told.members(event.data), event.name)
        return self._taken()

    def end(self) -> bytes:
        """The rest, when the upstream has closed: an error, unless the response was complete."""
        if not self._ended:
            self._break_off(UNTYPED_ERROR, _CUT_SHORT)
        return self._taken()

    def _taken(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _send(self, name: str, **members: object) -> None:
        self._out.append(sse.written(msgspec.json.encode({"type": name, **members}), name))

    def _take(self, event: told.Members, name: str) -> None:
        if not event:
            return
        own = own_words.event_in(event.get(own_words.MEMBER), own_words.ANTHROPIC)
        if own is not None:
            self._out.append(sse.written(own.data.encode(), own.name or None))
            self._ended = own.name == "message_stop"
            return
        kind = told.text(event.get("type"))
        if kind not in self._takers and (name == "error" or "error" in event):
            self._fail(event)
            return
        if kind.startswith("response."):
            self._start(told.members(event.get("response")))
        taker = self._takers.get(kind)
        if taker is not None:
            taker(event)

    def _start(self, response: told.Members) -> None:
        if self._started:
            return
        self._started = True
        message: dict[str, object] = {
            "id": told.text(response.get("id")),
            "type": "message",
            "role": "assistant",
            "model": told.text(response.get("model")) or self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage(response),
        }
        self._send("message_start", message=message)

    # Blocks

    def _open(self, key: _Key, block: Block) -> _Open:
        found = self._opened.get(key)
        if found is None:
            # Calls may be written side by side; everything else ends where the next begins.
            for (_, kind, _), other in self._opened.items():
                if kind != "tool_use":
                    self._close(other)
            found = self._opened[key] = _Open(len(self._opened))
            self._send("content_block_start", index=found.index, content_block=block)
        return found

    def _delta(self, to: _Open, kind: str, member: str, value: object) -> None:
        to.said = True
        delta = {"type": kind, member: value}
        self._send("content_block_delta", index=to.index, delta=delta)

    def _close(self, block: _Open) -> None:
        if not block.closed:
            block.closed = True
            self._send("content_block_stop", index=block.index)

    def _say(self, event: told.Members, text: msgspec.Raw | None) -> None:
        if told.is_text(text):
            key = (_output_index(event), "text", told.count(event.get("content_index")))
            self._delta(self._open(key, {"type": "text", "text": ""}), "text_delta", "text", text)

    def _say_rest(self, event: told.Members, text: msgspec.Raw | None) -> None:
        """The whole text, unless it was streamed; and the end of its block."""
        key = (_output_index(event), "text", told.count(event.get("content_index")))
        if key not in self._opened:
            self._say(event, text)
        if key in self._opened:
            self._close(self._opened[key])

    def _think(self, event: told.Members, part: str) -> None:
        thought = told.text(event.get("delta"))
        if not thought:
            return
        key = (_output_index(event), "thinking", 0)
        block = self._open(key, {"type": "thinking", "thinking": "", "signature": ""})
        gap = "\n\n" if block.said and block.part != part else ""
        block.part = part
        self._delta(block, "thinking_delta", "thinking", gap + thought)

    # Events

    def _text_delta(self, event: told.Members) -> None:
        self._say(event, event.get("delta"))

    def _text_done(self, event: told.Members) -> None:
        self._say_rest(event, event.get("text"))

    def _refusal_delta(self, event: told.Members) -> None:
        self._refused = True
        self._say(event, event.get("delta"))

    def _refusal_done(self, event: told.Members) -> None:
        self._refused = True
        self._say_rest(event, event.get("refusal"))

    def _summary_delta(self, event: told.Members) -> None:
        self._think(event, f"summary {told.count(event.get('summary_index'))}")

    def _thought_delta(self, event: told.Members) -> None:
        self._think(event, f"text {told.count(event.get('content_index'))}")

    def _arguments_delta(self, event: told.Members) -> None:
        call = self._opened.get((_output_index(event), "tool_use", 0))
        delta = event.get("delta")
        if call is not None and told.is_text(delta):
            self._delta(call, "input_json_delta", "partial_json", delta)

    def _item_added(self, event: told.Members) -> None:
        item = told.members(event.get("item"))
        if told.text(item.get("type")) == "function_call":
            self._call(_output_index(event), item)

    def _call(self, output_index: int, item: told.Members) -> _Open:
        self._called = True
        return self._open((output_index, "tool_use", 0), tool_use(item))

    def _item_done(self, event: told.Members) -> None:
        self._settle(_output_index(event), told.members(event.get("item")))

    def _settle(self, output_index: int, item: told.Members) -> None:
        """Send what was not streamed of an item, and end its blocks."""
        kind = told.text(item.get("type"))
        if kind == "function_call":
            call = self._call(output_index, item)
            arguments = item.get("arguments")
            if not call.said and told.is_text(arguments):
                self._delta(call, "input_json_delta", "partial_json", arguments)
            self._close(call)
        elif kind == "reasoning":
            self._settle_thinking(output_index, item)
        elif kind == "message":
            place = {"output_index": msgspec.Raw(b"%d" % output_index)}
            for index, raw in enumerate(told.items(item.get("content"))):
                part = told.members(raw)
                self._refused |= told.text(part.get("type")) == "refusal"
                where = {**place, "content_index": msgspec.Raw(b"%d" % index)}
                self._say_rest(where, said_in(part))

    def _settle_thinking(self, output_index: int, item: told.Members) -> None:
        key = (output_index, "thinking", 0)
        block = self._opened.get(key)
        thought = thought_in(item)
        sealed = item.get("encrypted_content")
        if block is None and thought:
            block = self._open(key, {"type": "thinking", "thinking": "", "signature": ""})
            self._delta(block, "thinking_delta", "thinking", thought)
        if block is None:
            for whole in blocks(item):
                self._close(self._open(key, whole))
        elif not block.closed:
            if told.is_text(sealed):
                self._delta(block, "signature_delta", "signature", sealed)
            self._close(block)

    def _finish(self, event: told.Members) -> None:
        response = told.members(event.get("response"))
        if not self._opened:
            for index, item in enumerate(told.items(response.get("output"))):
                self._settle(index, told.members(item))
        for block in self._opened.values():
            self._close(block)
        if "status" not in response and told.text(event.get("type")) == "response.incomplete":
            response["status"] = msgspec.Raw(b'"incomplete"')
        reason = stop_reason(response, called=self._called, refused=self._refused)
        self._send(
            "message_delta",
            delta={"stop_reason": reason, "stop_sequence": None},
            usage={name: n for name, n in usage(response).items() if name != "service_tier"},
        )
        self._send("message_stop")
        self._ended = True

    def _fail(self, event: told.Members) -> None:
        """The upstream's error: in the response, beside it, or flat in the event."""
        response = told.members(event.get("response"))
        error = told.members(response.get("error")) or told.members(event.get("error"))
        kind = told.text(error.get("type")) or UNTYPED_ERROR
        error = error or event
        if told.text(error.get("code")) in _RATE_LIMITED:
            kind = "rate_limit_error"
        self._break_off(kind, told.text(error.get("message")) or _UNEXPLAINED)

    def _break_off(self, kind: str, message: str) -> None:
        self._out.append(sse.written(shown_error(kind, message), "error"))
        self._ended = True


def _output_index(event: told.Members) -> int:
    return told.count(event.get("output_index"))
