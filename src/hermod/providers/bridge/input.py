"""The input of OpenAI's Responses API as the messages of a chat (API reference, both).

An assistant's turn, which a response gives as several items, is one message again: its thoughts,
its text and its calls, in this order. Only where a thought or a text follows a text and no call is
open does another message begin, so that thoughts stay before what they led to.
"""

from typing import Final

from hermod.providers.adapter import CannotCarry
from hermod.providers.bridge.pieces import (
    SUMMARY_GAP,
    Crossing,
    Json,
    arguments_of,
    is_list,
    objects_of,
)
from hermod.providers.bridge.seals import opened
from hermod.providers.lenient import items as list_of
from hermod.providers.lenient import members as object_of
from hermod.providers.lenient import text as text_of

_ROLES: Final = {"user": "user", "system": "system", "developer": "system"}
"""Models behind a chat API alone seldom know developers; OpenAI's treat both alike."""
_TEXTS: Final = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_NO_CONVERSATIONS: Final = "no responses are kept here to refer to; send the item itself"


def messages_of(crossing: Crossing, instructions: str, given: object) -> list[Json]:
    """The messages of a conversation. Raises CannotCarry naming the item that has no place."""
    conversation = _Conversation(crossing)
    if instructions:
        conversation.messages.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        conversation.messages.append({"role": "user", "content": given})
    for index, item in enumerate(list_of(given)):
        conversation.add(object_of(item), f"input[{index}]")
    conversation.end_turn()
    return conversation.messages


class _Conversation:
    """The messages so far, and the assistant's turn that may still go on."""

    def __init__(self, crossing: Crossing) -> None:
        self.messages: list[Json] = []
        self._crossing = crossing
        self._turn: Json | None = None

    def add(self, item: Json, place: str) -> None:
        """One item. Raises CannotCarry."""
        kind = text_of(item.get("type")) or ("message" if "role" in item else "item_reference")
        match kind:
            case "message":
                self._message(item, place)
            case "reasoning":
                self._reasoning(item, place)
            case "function_call":
                self._call(item, place)
            case "custom_tool_call":
                self._custom_call(item, place)
            case "function_call_output" | "custom_tool_call_output":
                self._output(item, place)
            case "item_reference":
                raise CannotCarry(f"{place}: {_NO_CONVERSATIONS}", place)
            case _:
                whom = self._crossing.whom
                why = f"{whom} has chat completions only, which know no {kind[:100]!r}"
                self._crossing.lose(place, why, place)

    def end_turn(self) -> None:
        """What is not the assistant's follows."""
        turn, self._turn = self._turn, None
        last = self.messages[-1] if self.messages else {}
        if turn is not None and turn.keys() == {"role", "reasoning_details"}:
            # A seal that came after what it belongs to; other thoughts without a word are dropped.
            if last.get("role") == "assistant":
                details = list_of(last.get("reasoning_details"))
                last["reasoning_details"] = details + list_of(turn["reasoning_details"])
        elif turn is not None and ("content" in turn or "tool_calls" in turn or "refusal" in turn):
            # A message without calls must have a content, one with calls may have null.
            turn.setdefault("content", None if "tool_calls" in turn else "")
            self.messages.append(turn)

    def _said(self) -> bool:
        turn = self._turn
        return (
            turn is not None
            and "tool_calls" not in turn
            and ("content" in turn or "refusal" in turn)
        )

    def _open(self) -> Json:
        if self._turn is None:
            self._turn = {"role": "assistant"}
        return self._turn

    def _message(self, item: Json, place: str) -> None:
        role = text_of(item.get("role"))
        if role == "assistant":
            self._assistant(item, place)
            return
        if role not in _ROLES:
            raise CannotCarry(f"{place}.role: unknown role {role[:100]!r}", f"{place}.role")
        self.end_turn()
        message: Json = {"role": _ROLES[role]}
        message["content"] = self._content(item.get("content"), f"{place}.content")
        if "cache_control" in item:
            message["cache_control"] = item["cache_control"]
        self.messages.append(message)

    def _assistant(self, item: Json, place: str) -> None:
        if self._said():
            self.end_turn()
        turn = self._open()
        content = item.get("content")
        texts: list[str] = [content] if isinstance(content, str) else []
        for index, part in enumerate(objects_of(content)):
            kind = text_of(part.get("type"))
            if kind == "refusal":
                turn["refusal"] = text_of(turn.get("refusal")) + text_of(part.get("refusal"))
            elif kind in _TEXTS:
                texts.append(text_of(part.get("text")))
            else:
                where = f"{place}.content[{index}]"
                self._crossing.lose(where, "an assistant's message holds texts only", where)
        if texts:
            before = text_of(turn.get("content"))
            turn["content"] = before + (SUMMARY_GAP if before else "") + "".join(texts)

    def _reasoning(self, item: Json, _place: str) -> None:
        if self._said():
            self.end_turn()
        turn = self._open()
        parts = objects_of(item.get("summary")) or objects_of(item.get("content"))
        thought = SUMMARY_GAP.join(text for part in parts if (text := text_of(part.get("text"))))
        seal, more = opened(text_of(item.get("encrypted_content")))
        detail: Json = {}
        if thought:
            detail = {"type": "reasoning.text", "text": thought, **more}
            if seal:
                detail["signature"] = seal
            before = text_of(turn.get("reasoning"))
            turn["reasoning"] = before + (SUMMARY_GAP if before else "") + thought
        elif seal:
            detail = {"type": "reasoning.encrypted", "data": seal, **more}
        if detail:
            details = list_of(turn.get("reasoning_details"))
            turn["reasoning_details"] = [*details, detail]

    def _call(self, item: Json, place: str) -> None:
        function: Json = {
            "name": _need(item, "name", place),
            "arguments": arguments_of(item.get("arguments")),
        }
        self._add_call(item, place, "function", function)

    def _custom_call(self, item: Json, place: str) -> None:
        custom: Json = {"name": _need(item, "name", place), "input": text_of(item.get("input"))}
        self._add_call(item, place, "custom", custom)

    def _add_call(self, item: Json, place: str, kind: str, called: Json) -> None:
        call = {"id": _need(item, "call_id", place), "type": kind, kind: called}
        turn = self._open()
        turn["tool_calls"] = [*list_of(turn.get("tool_calls")), call]

    def _output(self, item: Json, place: str) -> None:
        self.end_turn()
        output = item.get("output")
        message: Json = {
            "role": "tool",
            "tool_call_id": _need(item, "call_id", place),
            "content": "" if output is None else self._content(output, f"{place}.output"),
        }
        if "cache_control" in item:
            message["cache_control"] = item["cache_control"]
        self.messages.append(message)

    # Contents

    def _content(self, content: object, place: str) -> str | list[Json]:
        """A text, or parts where there is more than one text."""
        if isinstance(content, str):
            return content
        if not is_list(content):
            raise CannotCarry(f"{place}: expected a string or an array", place)
        parts = [
            converted
            for index, part in enumerate(content)
            if (converted := self._part(object_of(part), f"{place}[{index}]")) is not None
        ]
        if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
            return text_of(parts[0]["text"])
        return parts or ""

    def _part(self, part: Json, place: str) -> Json | None:
        kind = text_of(part.get("type"))
        if kind in _TEXTS:
            found: Json = {"type": "text", "text": text_of(part.get("text"))}
        elif kind == "refusal":
            found = {"type": "text", "text": text_of(part.get("refusal"))}
        elif kind == "input_image":
            found = _image(part, place)
        elif kind == "input_file":
            names = ("file_data", "file_id", "file_url", "filename")
            file = {name: part[name] for name in names if part.get(name) is not None}
            found = {"type": "file", "file": file}
        elif kind == "input_audio":
            found = {"type": "input_audio", "input_audio": object_of(part.get("input_audio"))}
        else:
            self._crossing.lose(place, f"a chat has no part of type {kind[:100]!r}", place)
            return None
        if "cache_control" in part:
            found["cache_control"] = part["cache_control"]
        return found


def _image(part: Json, place: str) -> Json:
    url = part.get("image_url")
    if not isinstance(url, str):
        why = "a chat takes an image by its URL or its data, not by the id of a file"
        raise CannotCarry(f"{place}: {why}", place)
    image: Json = {"url": url}
    if part.get("detail") not in (None, "auto"):
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}


def _need(item: Json, name: str, place: str) -> str:
    found = item.get(name)
    if not isinstance(found, str):
        raise CannotCarry(f"{place}.{name}: expected a string", f"{place}.{name}")
    return found
