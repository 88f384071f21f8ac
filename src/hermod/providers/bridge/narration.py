"""What a chat model says, told as a Response object and, on request, event by event.

A whole message is one large delta, so an answer and its stream cannot differ. The events and their
order are those of OpenAI's API reference ("Streaming events").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from hermod.providers.bridge.items import (
    citation_of,
    logprobs_of,
    message_item,
    part_of,
    reasoning_item,
)
from hermod.providers.bridge.pieces import Json, arguments_of, objects_of
from hermod.providers.bridge.seals import more_in, sealed
from hermod.providers.lenient import members as object_of
from hermod.providers.lenient import text as text_of

Tell = Callable[[str, Json], None]
"""Takes the type of an event and its members."""

_CUT: Final[Mapping[str, str | None]] = {
    "length": "max_output_tokens",
    "model_length": "max_output_tokens",  # Mistral
    "content_filter": "content_filter",
    "insufficient_system_resource": None,  # DeepSeek; OpenAI has no word for it
}
"""Why a response is incomplete, by the reason of the chat."""
_THOUGHTS: Final = frozenset({"reasoning.text", "reasoning.summary"})


@dataclass(slots=True)
class _Thought:
    index: int
    id: str
    key: object
    """What tells it from another one in the upstream's details."""
    pieces: list[str] = field(default_factory=list[str])
    seal: str = ""
    more: Json = field(default_factory=dict[str, object])
    """What the upstream says of it beside; see bridge_seals.py."""


@dataclass(slots=True)
class _Message:
    index: int
    id: str
    parts: list[Json] = field(default_factory=list[Json])
    """Those that are complete."""
    kind: str = ""
    """Of the part that is open: `output_text` or `refusal`."""
    pieces: list[str] = field(default_factory=list[str])
    logprobs: list[Json] = field(default_factory=list[Json])
    annotations: list[Json] = field(default_factory=list[Json])


@dataclass(slots=True)
class _Call:
    index: int
    id: str
    call_id: str
    name: str
    custom: bool
    pieces: list[str] = field(default_factory=list[str])

    @property
    def delta(self) -> str:
        """What the events of its arguments begin with."""
        what = "custom_tool_call_input" if self.custom else "function_call_arguments"
        return f"response.{what}"

    def said(self, status: str, text: str) -> Json:
        return {
            "type": "custom_tool_call" if self.custom else "function_call",
            "id": self.id,
            "call_id": self.call_id,
            "name": self.name,
            "input" if self.custom else "arguments": text,
            "status": status,
        }


class Narration:
    """The output of one response, as it grows."""

    def __init__(self, tail: str, tell: Tell | None = None) -> None:
        """`tail` is what the ids of its items end with; without `tell` nobody hears of events."""
        self._tail = tail
        self._tell = tell
        self._items: list[Json] = []
        """By output index; those that are open hold a place."""
        self._thought: _Thought | None = None
        self._message: _Message | None = None
        self._calls: dict[object, _Call] = {}
        self._last_call: object = None

    def take(self, delta: Json, logprobs: object = None, *, whole: bool = False) -> None:
        """A delta of the assistant's message, or all of it."""
        self._take_thoughts(delta, whole=whole)
        content = delta.get("content")
        if isinstance(content, str):
            if content:
                self._say("output_text", content, logprobs_of(logprobs))
        else:
            for part in objects_of(content):
                self._take_part(part)
        refusal = text_of(delta.get("refusal"))
        if refusal:
            self._say("refusal", refusal, [])
        for annotation in objects_of(delta.get("annotations")):
            self._annotate(annotation)
        for position, call in enumerate(objects_of(delta.get("tool_calls"))):
            self._take_call(call, position if whole else None)
        function = object_of(delta.get("function_call"))
        if function:
            self._take_call({"index": 0, "function": function}, 0 if whole else None)

    def finish(self, reason: str) -> Json:
        """Close what is open: status, output and `incomplete_details` of the response."""
        is_cut = reason in _CUT
        status = "incomplete" if is_cut else "completed"
        # Only what was open is cut off: the last thing said.
        last = len(self._items) - 1
        self._close_thought(status)
        self._close_message(status)
        for call in self._calls.values():
            self._close_call(call, status if call.index == last else "completed")
        self._calls.clear()
        return {
            "status": status,
            "incomplete_details": {"reason": _CUT[reason]} if is_cut else None,
            "output": self._items,
        }

    # Telling

    def _hear(self, event: str, **members: object) -> None:
        if self._tell is not None:
            self._tell(event, members)

    def _begin(self, prefix: str) -> tuple[int, str]:
        index = len(self._items)
        self._items.append({})
        return index, f"{prefix}_{self._tail}_{index}"

    def _added(self, index: int, item: Json) -> None:
        self._hear("response.output_item.added", output_index=index, item=item)

    def _done(self, index: int, item: Json) -> None:
        self._items[index] = item
        self._hear("response.output_item.done", output_index=index, item=item)

    # Thoughts

    def _take_thoughts(self, delta: Json, *, whole: bool) -> None:
        details = objects_of(delta.get("reasoning_details"))
        # The text stands in both places; where the details have it, they also have its seal.
        if not any(text_of(detail.get("type")) in _THOUGHTS for detail in details):
            plain = text_of(delta.get("reasoning")) or text_of(delta.get("reasoning_content"))
            if plain:
                self._think(plain, None)
        for position, detail in enumerate(details):
            kind = text_of(detail.get("type"))
            seal = text_of(detail.get("signature"))
            if kind == "reasoning.encrypted":
                self._close_thought("completed")
                self._sealed(text_of(detail.get("data")), detail)
            elif kind in _THOUGHTS:
                key = position if whole else detail.get("index")
                text = text_of(detail.get("text")) or text_of(detail.get("summary"))
                if text:
                    self._think(text, key)
                if self._thought is not None:
                    self._thought.seal += seal
                    self._thought.more |= more_in(detail)
                else:
                    self._sealed(seal, detail)

    def _think(self, text: str, key: object) -> None:
        thought = self._thought
        if thought is not None and (thought.seal or thought.key != key):
            self._close_thought("completed")
        thought = self._thought
        if thought is None:
            self._close_message("completed")
            index, name = self._begin("rs")
            thought = self._thought = _Thought(index, name, key)
            self._added(index, reasoning_item(name, "in_progress", None, ""))
            self._about(thought, "part.added", part={"type": "summary_text", "text": ""})
        thought.pieces.append(text)
        self._about(thought, "text.delta", delta=text)

    def _about(self, thought: _Thought, event: str, **members: object) -> None:
        self._hear(
            f"response.reasoning_summary_{event}",
            item_id=thought.id,
            output_index=thought.index,
            summary_index=0,
            **members,
        )

    def _sealed(self, seal: str, detail: Json) -> None:
        """A thought that nobody but the upstream can read. It may come in the midst of a text."""
        if seal:
            seal = sealed(seal, more_in(detail))
            index, name = self._begin("rs")
            self._added(index, reasoning_item(name, "in_progress", None, ""))
            self._done(index, reasoning_item(name, "completed", None, seal))

    def _close_thought(self, status: str) -> None:
        thought, self._thought = self._thought, None
        if thought is not None:
            text = "".join(thought.pieces)
            self._about(thought, "text.done", text=text)
            self._about(thought, "part.done", part={"type": "summary_text", "text": text})
            seal = sealed(thought.seal, thought.more)
            self._done(thought.index, reasoning_item(thought.id, status, text, seal))

    # Messages

    def _take_part(self, part: Json) -> None:
        """A part of a content that is an array (Mistral's thinking models)."""
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            texts = [text_of(each.get("text")) for each in objects_of(inner)]
            thought = text_of(inner) or "".join(texts)
            if thought:
                self._think(thought, None)
        else:
            text = text_of(part.get("text"))
            if text:
                self._say("output_text", text, [])

    def _say(self, kind: str, text: str, logprobs: list[Json]) -> None:
        self._close_thought("completed")
        message = self._message
        if message is None:
            index, name = self._begin("msg")
            message = self._message = _Message(index, name)
            self._added(index, message_item(name, "in_progress", []))
        if message.kind != kind:
            self._close_part(message)
            message.kind = kind
            self._within(message, "content_part.added", part=part_of(kind, ""))
        message.pieces.append(text)
        if kind == "output_text":
            message.logprobs.extend(logprobs)
            self._within(message, "output_text.delta", delta=text, logprobs=logprobs)
        else:
            self._within(message, "refusal.delta", delta=text)

    def _within(self, message: _Message, event: str, **members: object) -> None:
        self._hear(
            f"response.{event}",
            item_id=message.id,
            output_index=message.index,
            content_index=len(message.parts),
            **members,
        )

    def _annotate(self, annotation: Json) -> None:
        message = self._message
        found = citation_of(annotation)
        if message is None or message.kind != "output_text" or found is None:
            return
        number = len(message.annotations)
        message.annotations.append(found)
        self._within(
            message, "output_text.annotation.added", annotation=found, annotation_index=number
        )

    def _close_part(self, message: _Message) -> None:
        kind, message.kind = message.kind, ""
        if not kind:
            return
        text = "".join(message.pieces)
        part = part_of(kind, text)
        if kind == "output_text":
            part |= {"annotations": message.annotations, "logprobs": message.logprobs}
            self._within(message, "output_text.done", text=text, logprobs=message.logprobs)
        else:
            self._within(message, "refusal.done", refusal=text)
        self._within(message, "content_part.done", part=part)
        message.parts.append(part)
        message.pieces, message.logprobs, message.annotations = [], [], []

    def _close_message(self, status: str) -> None:
        message, self._message = self._message, None
        if message is not None:
            self._close_part(message)
            self._done(message.index, message_item(message.id, status, message.parts))

    # Calls

    def _take_call(self, given: Json, position: int | None) -> None:
        custom = "custom" in given
        inner = object_of(given.get("custom" if custom else "function"))
        name, call_id = text_of(inner.get("name")), text_of(given.get("id"))
        key = self._key_of(given, position)
        call = self._calls.get(key)
        if call is not None and name and call_id not in ("", call.call_id):
            # Some servers number every call 0.
            key = call_id
            call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = self._open_call(call_id, name, custom=custom)
        self._last_call = key
        call.name = call.name or name
        text = arguments_of(inner.get("input" if custom else "arguments"))
        if text:
            call.pieces.append(text)
            self._hear(f"{call.delta}.delta", item_id=call.id, output_index=call.index, delta=text)

    def _key_of(self, given: Json, position: int | None) -> object:
        """What the pieces of one call have in common."""
        if position is not None:
            return position
        index = given.get("index")
        if isinstance(index, int):
            # A call that was numbered like an earlier one goes on under its own name.
            last = self._calls.get(self._last_call)
            if isinstance(self._last_call, str) and last is not None and not given.get("id"):
                return self._last_call
            return index
        return text_of(given.get("id")) or self._last_call

    def _open_call(self, call_id: str, name: str, *, custom: bool) -> _Call:
        self._close_thought("completed")
        self._close_message("completed")
        index, item_id = self._begin("ctc" if custom else "fc")
        call_id = call_id or f"call_{self._tail}_{index}"
        call = _Call(index, item_id, call_id, name, custom)
        self._added(index, call.said("in_progress", ""))
        return call

    def _close_call(self, call: _Call, status: str) -> None:
        text = "".join(call.pieces)
        whole: Json = {"input": text} if call.custom else {"arguments": text, "name": call.name}
        self._hear(f"{call.delta}.done", item_id=call.id, output_index=call.index, **whole)
        self._done(call.index, call.said(status, text))
