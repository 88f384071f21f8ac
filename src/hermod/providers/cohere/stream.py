"""A streamed chat of Cohere's as OpenAI's chunks (API reference, "Chat with Streaming (v2)").

`message-start`, then for each block of content a start, deltas and an end, `tool-plan-delta`,
`tool-call-*` and `citation-*` likewise, and `message-end` with the reason and the usage.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds import json_guard, sse
from hermod.providers.cohere.messages import TOOL_PLAN
from hermod.providers.cohere.words import (
    annotations,
    failed,
    finish_reason,
    log_probabilities,
    usage_in,
)
from hermod.providers.lenient import count, items, members, text

_DEPTH_MAX: Final = 64
"""Levels of an event."""
_UNREADABLE: Final = Failure(
    "an event of the provider's stream is no JSON", error_type="upstream_invalid"
)
_DONE: Final = sse.written(b"[DONE]")


class CohereStream:
    """See `StreamTranslator`."""

    def __init__(self, model: str, now_s: int, *, with_usage: bool) -> None:
        self._reader = sse.Reader()
        self._with_usage = with_usage
        self._head: dict[str, object] = {
            "id": "",
            "object": "chat.completion.chunk",
            "created": now_s,
            "model": model,
        }
        self._usage: Usage | None = None
        self._calls: dict[int, int] = {}
        """OpenAI's index of a call by Cohere's: its own may have gaps."""
        self._unsaid: set[int] = set()
        """Calls whose arguments have not begun."""
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
        try:
            events = self._reader.feed(piece)
        except sse.TooLong as error:
            return self._fail(Failure(str(error), error_type="upstream_invalid"))
        return b"".join([self._translate(event.data) for event in events])

    def end(self) -> bytes:
        """See `StreamTranslator.end`."""
        rest = self.feed(b"\n\n")  # the blank line after the last event may be missing
        return rest + _DONE if self._is_over and not self._has_failed else rest

    def _translate(self, data: bytes) -> bytes:
        # Some versions of the API end with OpenAI's last event.
        if self._has_failed or self._is_over or data == b"[DONE]":
            return b""
        if json_guard.problem(data, _DEPTH_MAX) is not None:
            return self._fail(_UNREADABLE)
        try:
            event = members(msgspec.json.decode(data))
        except msgspec.DecodeError:
            return self._fail(_UNREADABLE)
        delta = members(event.get("delta"))
        message = members(delta.get("message"))
        match event.get("type"):
            case "message-start":
                self._head["id"] = text(event.get("id"))
                return self._chunk({"role": "assistant", "content": ""})
            case "content-start" | "content-delta":
                return self._content(event, members(message.get("content")))
            case "tool-plan-delta":
                plan = text(message.get("tool_plan"))
                return self._chunk(_thought(plan, TOOL_PLAN)) if plan else b""
            case "tool-call-start" | "tool-call-delta":
                return self._call(event, message.get("tool_calls"))
            case "tool-call-end":
                return self._end_call(count(event.get("index")))
            case "citation-start":
                return self._citation(message.get("citations"))
            case "message-end":
                return self._finish(delta)
            case None if text(event.get("message")):
                return self._fail(Failure(event["message"], error_type="upstream_error"))
            case _:
                return b""

    def _content(self, event: Mapping[str, Any], content: Mapping[str, Any]) -> bytes:
        said, thought = text(content.get("text")), text(content.get("thinking"))
        spoken: dict[str, object] = {}
        if thought:
            spoken |= _thought(thought)
        if said:
            spoken["content"] = said
        if not spoken:
            return b""
        logprobs = event.get("logprobs")
        return self._chunk(spoken, logprobs=log_probabilities([logprobs] if logprobs else []))

    def _call(self, event: Mapping[str, Any], found: object) -> bytes:
        # The first event of a call shows it in an array in some versions of the API.
        call = members(items(found)[0]) if items(found) else members(found)
        index = self._calls.setdefault(count(event.get("index")), len(self._calls))
        function = members(call.get("function"))
        arguments = text(function.get("arguments"))
        if arguments:
            self._unsaid.discard(index)
        if event.get("type") == "tool-call-start":
            if not arguments:
                self._unsaid.add(index)
            started: dict[str, object] = {
                "index": index,
                "id": text(call.get("id")),
                "type": "function",
                "function": {"name": text(function.get("name")), "arguments": arguments},
            }
            return self._chunk({"tool_calls": [started]})
        if not arguments:
            return b""
        return self._chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})

    def _end_call(self, theirs: int) -> bytes:
        index = self._calls.get(theirs)
        if index not in self._unsaid:
            return b""
        # Nothing was said, which is no JSON; an empty object is meant.
        return self._chunk({"tool_calls": [{"index": index, "function": {"arguments": "{}"}}]})

    def _citation(self, found: object) -> bytes:
        citations = items(found) or ([members(found)] if members(found) else [])
        if not citations:
            return b""
        cited: dict[str, object] = {"citations": citations}
        if notes := annotations(citations, ()):
            cited["annotations"] = notes
        return self._chunk(cited)

    def _finish(self, delta: Mapping[str, Any]) -> bytes:
        reason = text(delta.get("finish_reason"))
        told, self._usage = usage_in(delta.get("usage"))
        failure = failed(reason, text(delta.get("error")))
        if failure is not None:
            return self._fail(failure)
        self._is_over = True
        last = self._chunk({}, finish_reason(reason, has_calls=bool(self._calls)))
        if not self._with_usage or told is None:
            return last
        return last + sse.written(msgspec.json.encode({**self._head, "choices": [], "usage": told}))

    def _chunk(
        self,
        delta: dict[str, object],
        reason: str | None = None,
        logprobs: dict[str, object] | None = None,
    ) -> bytes:
        choice: dict[str, object] = {"index": 0, "delta": delta, "finish_reason": reason}
        if logprobs is not None:
            choice["logprobs"] = logprobs
        return sse.written(msgspec.json.encode({**self._head, "choices": [choice]}))

    def _fail(self, failure: Failure) -> bytes:
        self._has_failed = True
        error: dict[str, object] = {"message": failure.message, "type": failure.error_type}
        if failure.code is not None:
            error["code"] = failure.code
        return sse.written(msgspec.json.encode({"error": error}))


def _thought(said: str, mark: str | None = None) -> dict[str, object]:
    detail: dict[str, object] = {"type": "reasoning.text", "index": 0, "text": said}
    if mark is not None:
        detail |= {"index": 1, "id": mark}
    return {"reasoning": said, "reasoning_details": [detail]}
