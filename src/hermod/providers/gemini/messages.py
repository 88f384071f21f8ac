"""Chat messages as Gemini's contents (Gemini API reference, `Content`, "Function calling",
"Thought signatures").

There is one instruction for the model and no place for others, so what system and developer
messages say comes together there, in their order.
"""

import re
from typing import Any, Final

import msgspec

from hermod.providers.adapter import CannotCarry
from hermod.providers.chat_words import arguments_of, call_of, refuse_sound
from hermod.providers.gemini.parts import Part, content_parts, text_of
from hermod.providers.lenient import items, members, text

_SHOWN: Final = 60
FORMAT: Final = "google-gemini-v1"
"""Marks signatures in `reasoning_details` as Google's: no other vendor's would be accepted."""
_ANY_SIGNATURE: Final = "skip_thought_signature_validator"
"""What Google documents for calls that were not made by its models, or whose signature is lost:
without any, a request that continues from them is refused."""
_WITHOUT_LEVELS: Final = re.compile(r"gemini-(?:[12][.-]|(?:pro|flash)$)")

_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Content = dict[str, Any]


def is_older(model: str) -> bool:
    """Whether it is of the second generation or before: it thinks in budgets and signs nothing."""
    return _WITHOUT_LEVELS.search(model) is not None


def contents_of(messages: list[Any], model: str) -> tuple[Content | None, list[Content]]:
    """`systemInstruction` and `contents`.

    Raises:
        CannotCarry: a role, a block or a tool result that has no counterpart; names the place.
    """
    conversation = _Conversation(needs_signatures="gemini" in model and not is_older(model))
    for index, message in enumerate(messages):
        conversation.add(members(message), f"messages[{index}]")
    instructions = [{"text": said} for said in conversation.instructions]
    if conversation.contents:
        return ({"parts": instructions} if instructions else None), conversation.contents
    if not instructions:
        raise CannotCarry("messages: none of them says anything", "messages")
    # Gemini takes no instruction without something to answer to.
    return None, [{"role": "user", "parts": instructions}]


class _Conversation:
    """Contents in the making."""

    def __init__(self, *, needs_signatures: bool) -> None:
        self.instructions: list[str] = []
        self.contents: list[Content] = []
        self._needs_signatures = needs_signatures
        self._names: dict[str, str] = {}
        """Of functions, by the id of their last call."""
        self._after_tool = False

    def add(self, message: dict[str, Any], where: str) -> None:
        role = message.get("role")
        content = message.get("content")
        match role:
            case "system" | "developer":
                said = text_of(content, f"{where}.content")
                if said:
                    self.instructions.append(said)
                return
            case "user":
                parts = content_parts(content, f"{where}.content")
            case "assistant" | "model":
                parts = self._said(message, where)
            case "tool" | "function":
                self._add_result(self._result(message, where))
                return
            case _:
                shown = text(role)[:_SHOWN]
                raise CannotCarry(f"{where}: the role {shown!r} is not supported", where)
        if parts:
            self.contents.append({"role": "user" if role == "user" else "model", "parts": parts})
            self._after_tool = False

    def _add_result(self, part: Part) -> None:
        """All results of one turn must stand in one content."""
        if self._after_tool:
            self.contents[-1]["parts"].append(part)
        else:
            self.contents.append({"role": "user", "parts": [part]})
        self._after_tool = True

    def _said(self, message: dict[str, Any], where: str) -> list[Part]:
        refuse_sound(message, where)
        signatures = _Signatures(message)
        parts = [*signatures.thoughts, *content_parts(message.get("content"), f"{where}.content")]
        parts += content_parts(message.get("refusal"), f"{where}.refusal")
        parts += content_parts(message.get("images"), f"{where}.images")
        if signatures.of_text:
            if not parts or "text" not in parts[-1]:
                parts.append({"text": ""})
            parts[-1]["thoughtSignature"] = signatures.of_text
        calls = items(message.get("tool_calls"))
        if not calls and message.get("function_call") is not None:
            calls = [{"function": message["function_call"]}]
        for position, call in enumerate(calls):
            part = self._call(members(call), f"{where}.tool_calls[{position}]")
            signature = signatures.of_call(members(call))
            if not signature and position == 0 and self._needs_signatures:
                signature = _ANY_SIGNATURE
            if signature:
                part["thoughtSignature"] = signature
            parts.append(part)
        return parts

    def _call(self, call: dict[str, Any], where: str) -> Part:
        found = call_of(call, where, needs_id=False)
        arguments = arguments_of(found.written, f"{where}.function.arguments")
        made: dict[str, Any] = {"name": found.name, "args": arguments}
        self._names[found.id] = found.name
        if found.id:
            made["id"] = found.id
        return {"functionCall": made}

    def _result(self, message: dict[str, Any], where: str) -> Part:
        call_id = text(message.get("tool_call_id"))
        name = self._names.get(call_id) or text(message.get("name"))
        if not name:
            place = f"{where}.tool_call_id"
            raise CannotCarry(f"{place}: no call with this id comes before", place)
        parts = content_parts(message.get("content"), f"{where}.content")
        said = "".join(part.get("text", "") for part in parts)
        result: dict[str, Any] = {"name": name, "response": _response(said)}
        if call_id:
            result["id"] = call_id
        shown = [part for part in parts if "text" not in part]
        if shown:
            result["parts"] = shown
        return {"functionResponse": result}


class _Signatures:
    """What came back of the signatures that an answer gave out."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.thoughts: list[Part] = []
        """Thoughts that were signed themselves."""
        self.of_text = _of_google(message)
        self._by_call: dict[str, str] = {}
        for detail in map(members, items(message.get("reasoning_details"))):
            if detail.get("format") != FORMAT:
                continue
            signature = text(detail.get("data"))
            if signature and text(detail.get("id")):
                self._by_call[detail["id"]] = signature
            elif signature:
                self.of_text = self.of_text or signature
            elif text(detail.get("signature")):
                thought = {"text": text(detail.get("text")), "thought": True}
                self.thoughts.append({**thought, "thoughtSignature": detail["signature"]})

    def of_call(self, call: dict[str, Any]) -> str:
        """Where Google's own endpoint for OpenAI's clients puts it, or where we put it too."""
        return _of_google(call) or self._by_call.get(text(call.get("id")), "")


def _of_google(holder: dict[str, Any]) -> str:
    google = members(members(holder.get("extra_content")).get("google"))
    return text(google.get("thought_signature"))


def _response(said: str) -> object:
    """A result as an object: `output` is Google's name for what is none."""
    return _object(said) or {"output": said}


def _object(written: str) -> msgspec.Raw | None:
    """The text itself, if it is a JSON object: numbers and their digits stay as they are."""
    encoded = written.encode("utf-8", "replace")
    try:
        _members_of(encoded)
    except (msgspec.DecodeError, RecursionError):
        return None
    return msgspec.Raw(encoded)
