"""A stream of a response's events as a chat's stream of chunks (OpenAI's API reference)."""

from collections.abc import Callable
from typing import Final

from hermod.domain.usage import Usage
from hermod.kinds import sse
from hermod.providers.adapter import Outgoing, StreamTranslator
from hermod.providers.bridge.chat import (
    UNEXPLAINED,
    add_item,
    call_of,
    head_of,
    reason_of,
    thought_in,
    told_in,
    usage_of,
)
from hermod.providers.bridge.chunks import Chunks
from hermod.providers.bridge.pieces import Json, arguments_of, objects_of, written
from hermod.providers.chat_words import wants_usage
from hermod.providers.lenient import count as count_of
from hermod.providers.lenient import members as object_of
from hermod.providers.lenient import text as text_of
from hermod.providers.upstream_errors import Told

_DONE: Final = b"[DONE]"


class ChatChunks:
    """Takes a stream of a response's events in pieces cut anywhere, gives a chat's chunks.

    What is announced but never streamed piece by piece is said when its item is done.
    """

    def __init__(self, outgoing: Outgoing, inner: StreamTranslator | None) -> None:
        """`outgoing` is the request for a chat; `inner` makes the events, where it must."""
        self._outgoing = outgoing
        self._chunks = Chunks(inner)
        self._wants_usage = wants_usage(outgoing)
        self._out: list[bytes] = []
        self._head: Json = {}
        self._said: set[tuple[str, int]] = set()
        """What was told of the items: kind and output index."""
        self._calls: dict[int, int] = {}
        """A call's number by its output index."""
        self._ended = False
        self._takers: Final[dict[str, Callable[[Json, int], None]]] = {
            "response.output_text.delta": self._text,
            "response.refusal.delta": self._refusal,
            "response.reasoning_summary_text.delta": self._think,
            "response.reasoning_text.delta": self._think,
            "response.function_call_arguments.delta": self._arguments,
            "response.custom_tool_call_input.delta": self._arguments,
            "response.output_item.added": self._added,
            "response.output_item.done": self._done,
            "response.completed": self._finish,
            "response.incomplete": self._finish,
            "response.failed": self._fail,
        }

    @property
    def usage(self) -> Usage | None:
        """What the events told of it so far."""
        return self._chunks.usage

    def feed(self, piece: bytes) -> bytes:
        """The chunks that `piece` allows for. Never raises."""
        return self._take(self._chunks.feed(piece))

    def end(self) -> bytes:
        """The rest."""
        return self._take(self._chunks.end())

    def _take(self, found: list[Json | Told | None]) -> bytes:
        for event in found:
            if self._ended:
                break
            if isinstance(event, Told):
                self._break_off(event)
            elif event is not None:
                self._take_event(event)
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _take_event(self, event: Json) -> None:
        kind = text_of(event.get("type"))
        if not kind.startswith("response."):
            return
        if not self._head:
            asked = b"%d %b" % (self._outgoing.now_s, self._outgoing.body)
            response = object_of(event.get("response"))
            self._head = head_of(self._outgoing, response, "chat.completion.chunk", asked)
            self._say({"role": "assistant", "content": ""})
        taker = self._takers.get(kind)
        if taker is not None:
            taker(event, count_of(event.get("output_index")))

    def _say(self, delta: Json, logprobs: list[Json] | None = None) -> None:
        told = {"content": logprobs, "refusal": None} if logprobs else None
        choice = {"index": 0, "delta": delta, "logprobs": told, "finish_reason": None}
        self._send({"choices": [choice]})

    def _send(self, members: Json) -> None:
        self._out.append(sse.written(written(self._head | members)))

    def _text(self, event: Json, index: int) -> None:
        self._said.add(("message", index))
        delta = text_of(event.get("delta"))
        if delta:
            self._say({"content": delta}, objects_of(event.get("logprobs")))

    def _refusal(self, event: Json, index: int) -> None:
        self._said.add(("message", index))
        delta = text_of(event.get("delta"))
        if delta:
            self._say({"refusal": delta})

    def _think(self, event: Json, index: int) -> None:
        self._said.add(("reasoning", index))
        delta = text_of(event.get("delta"))
        if delta:
            self._say({"reasoning": delta})

    def _added(self, event: Json, index: int) -> None:
        item = object_of(event.get("item"))
        if item.get("type") in ("function_call", "custom_tool_call") and index not in self._calls:
            number = self._calls[index] = len(self._calls)
            bare: Json = {**item, "arguments": "", "input": ""}
            self._say({"tool_calls": [{"index": number, **call_of(bare)}]})

    def _arguments(self, event: Json, index: int) -> None:
        number = self._calls.get(index)
        delta = text_of(event.get("delta"))
        if number is None or not delta:
            return
        self._said.add(("call", index))
        is_custom = event.get("type") == "response.custom_tool_call_input.delta"
        what = {"custom": {"input": delta}} if is_custom else {"function": {"arguments": delta}}
        self._say({"tool_calls": [{"index": number, **what}]})

    def _done(self, event: Json, index: int) -> None:
        item = object_of(event.get("item"))
        kind = item.get("type")
        if kind == "reasoning":
            self._done_thought(item, index)
        elif kind == "message":
            self._done_message(item, index)
        elif kind in ("function_call", "custom_tool_call"):
            self._added(event, index)
            custom = kind == "custom_tool_call"
            whole = arguments_of(item.get("input" if custom else "arguments"))
            if ("call", index) not in self._said:
                name = "custom_tool_call_input" if custom else "function_call_arguments"
                self._arguments({"type": f"response.{name}.delta", "delta": whole}, index)

    def _done_thought(self, item: Json, index: int) -> None:
        thought, details = thought_in(item)
        delta: Json = {"reasoning_details": details} if details else {}
        if thought and ("reasoning", index) not in self._said:
            delta["reasoning"] = thought
        if delta:
            self._say(delta)

    def _done_message(self, item: Json, index: int) -> None:
        message: Json = {"content": None, "refusal": None}
        logprobs: list[object] = []
        add_item(message, logprobs, item)
        names = ("annotations",)
        if ("message", index) not in self._said:
            names = ("content", "refusal", "annotations")
        delta = {name: message[name] for name in names if message.get(name)}
        if delta:
            self._say(delta, objects_of(logprobs) if "content" in delta else None)

    def _finish(self, event: Json, _index: int) -> None:
        response = object_of(event.get("response"))
        if not self._said and not self._calls:
            for index, item in enumerate(objects_of(response.get("output"))):
                self._done({"item": item}, index)
        cut: Json = {"status": "incomplete"} if event["type"] == "response.incomplete" else {}
        choice: Json = {
            "index": 0,
            "delta": {},
            "logprobs": None,
            "finish_reason": reason_of(response | cut, called=bool(self._calls)),
        }
        self._send({"choices": [choice]})
        if self._wants_usage and response.get("usage"):
            self._send({"choices": [], "usage": usage_of(object_of(response["usage"]))})
        self._out.append(sse.written(_DONE))
        self._ended = True

    def _fail(self, event: Json, _index: int) -> None:
        self._break_off(told_in(event))

    def _break_off(self, told: Told) -> None:
        error = {
            "message": told.message or UNEXPLAINED,
            "type": told.type,
            "code": told.code,
            "param": told.param,
        }
        self._out.append(sse.written(written({"error": error})))
        self._ended = True
