"""Messages and tools of a chat in Cohere's form (API reference, "Chat (v2)": messages, tools)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from hermod.kinds import json_guard
from hermod.providers.adapter import CannotCarry
from hermod.providers.chat_words import (
    answered_call,
    arguments_of,
    call_of,
    function_of,
    refuse_old_call,
    refuse_sound,
)
from hermod.providers.lenient import items, members, text

TOOL_PLAN: Final = "tool_plan"
"""The `id` of a piece of reasoning that Cohere gave as the plan of its tool calls."""
_SHOWN: Final = 60
_NO_PARAMETERS: Final[dict[str, object]] = {"type": "object", "properties": {}}


def messages(given: list[Any]) -> list[dict[str, object]]:
    """The messages, each as it is there. Raises CannotCarry for what Cohere has no words for."""
    made = [_message(members(each), f"messages[{index}]") for index, each in enumerate(given)]
    if not any(message.get("content") or "tool_calls" in message for message in made):
        raise CannotCarry("messages: none of them says anything", "messages")
    if all(message["role"] == "system" for message in made):
        # There must be something to answer.
        return [{**message, "role": "user"} for message in made]
    return made


def _message(message: dict[str, Any], place: str) -> dict[str, object]:
    role = text(message.get("role"))
    make = _ROLES.get(role)
    if make is None:
        raise CannotCarry(f"{place}: the role {role[:_SHOWN]!r} is not supported", place)
    return make(message, place)


def _system(message: Mapping[str, Any], place: str) -> dict[str, object]:
    return {"role": "system", "content": _content(message, place, _text_block)}


def _user(message: Mapping[str, Any], place: str) -> dict[str, object]:
    return {"role": "user", "content": _content(message, place, _user_block)}


def _assistant(message: dict[str, Any], place: str) -> dict[str, object]:
    refuse_sound(message, place)
    refuse_old_call(message, place)
    made: dict[str, object] = {"role": "assistant"}
    calls = [
        _call(each, f"{place}.tool_calls[{index}]")
        for index, each in enumerate(items(message.get("tool_calls")))
    ]
    plan, thoughts = _thinking(message, has_calls=bool(calls))
    content = _content(message, place, _assistant_block)
    if content == "" and message.get("refusal"):
        content = text(message.get("refusal"))
    if thoughts:
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if content == "":
            blocks = []
        made["content"] = [*({"type": "thinking", "thinking": each} for each in thoughts), *blocks]
    elif content != "" or not calls:
        made["content"] = content
    if calls:
        made["tool_calls"] = calls
    if plan:
        made["tool_plan"] = plan
    return made


def _thinking(message: Mapping[str, Any], *, has_calls: bool) -> tuple[str, list[str]]:
    """The plan of the tool calls, and what else was thought.

    Text without a mark is the plan where tools are called: every model takes that, while thinking
    blocks are for those that reason.
    """
    plan = ""
    thoughts: list[str] = []
    for detail in items(message.get("reasoning_details")):
        piece = members(detail)
        said = text(piece.get("text")) or text(piece.get("summary"))
        if has_calls and piece.get("id") == TOOL_PLAN:
            plan += said
        elif said:
            thoughts.append(said)
    if not plan and not thoughts:
        said = text(message.get("reasoning"))
        return (said, []) if has_calls else ("", [said] if said else [])
    return plan, thoughts


def _call(call: Any, place: str) -> dict[str, object]:
    found = call_of(call, place)
    arguments = arguments_of(found.written, f"{place}.function.arguments")
    written = msgspec.json.encode(arguments).decode()
    return {
        "id": found.id,
        "type": "function",
        "function": {"name": found.name, "arguments": written},
    }


def _tool(message: dict[str, Any], place: str) -> dict[str, object]:
    """Cohere cites results that come as documents; those that are no objects stay texts."""
    content = _content(message, place, _text_block)
    made: dict[str, object] = {"role": "tool", "tool_call_id": answered_call(message, place)}
    if isinstance(content, str):
        documents = _documents(content)
        made["content"] = content if documents is None else documents
    else:
        made["content"] = content
    return made


def _documents(result: str) -> list[dict[str, object]] | None:
    """The result as documents: it is an object, or an array of some. None if it is neither."""
    encoded = result.encode()
    if encoded[:1] not in (b"{", b"[") or json_guard.problem(encoded, json_guard.DEPTH_MAX):
        return None
    try:
        decoded = msgspec.json.decode(encoded)
    except msgspec.DecodeError:
        return None
    found = [members(each) for each in items(decoded) or [decoded]]
    if not all(found):
        return None
    return [{"type": "document", "document": {"data": each}} for each in found]


Block = Callable[[Mapping[str, Any], str], dict[str, object]]


def _content(message: Mapping[str, Any], place: str, block: Block) -> str | list[dict[str, object]]:
    content = message.get("content")
    if isinstance(content, str | None):
        return content or ""
    return [
        block(members(each), f"{place}.content[{index}]")
        for index, each in enumerate(items(content))
    ]


def _text_block(part: Mapping[str, Any], place: str) -> dict[str, object]:
    if part.get("type") != "text":
        raise CannotCarry(f"{place}: Cohere takes text only in this role", place)
    return {"type": "text", "text": text(part.get("text"))}


def _assistant_block(part: Mapping[str, Any], place: str) -> dict[str, object]:
    if part.get("type") == "refusal":
        return {"type": "text", "text": text(part.get("refusal"))}
    return _text_block(part, place)


def _user_block(part: Mapping[str, Any], place: str) -> dict[str, object]:
    kind = part.get("type")
    if kind == "text":
        return _text_block(part, place)
    if kind != "image_url":
        raise CannotCarry(f"{place}: Cohere takes texts and images only", place)
    image = part.get("image_url")
    url = image if isinstance(image, str) else text(members(image).get("url"))
    if not url.startswith(("https://", "http://", "data:")):
        place = f"{place}.image_url"
        raise CannotCarry(f"{place}: expected an http or data URL", place)
    sent: dict[str, object] = {"url": url}
    if members(image).get("detail") in ("low", "high", "auto"):
        sent["detail"] = members(image)["detail"]
    return {"type": "image_url", "image_url": sent}


_ROLES: Final[Mapping[str, Callable[[dict[str, Any], str], dict[str, object]]]] = {
    "system": _system,
    "developer": _system,
    "user": _user,
    "assistant": _assistant,
    "tool": _tool,
}


def tools(given: list[Any]) -> tuple[dict[str, object], bool]:
    """The functions by their names, and whether one of them asks to be followed strictly.

    Cohere is strict with all tools or none. Raises CannotCarry for a tool that is no function.
    """
    made: dict[str, object] = {}
    is_strict = False
    for index, tool in enumerate(given):
        function = function_of(tool, f"tools[{index}]")
        is_strict = is_strict or function.get("strict") is True
        sent: dict[str, object] = {"name": function["name"]}
        if isinstance(function.get("description"), str):
            sent["description"] = function["description"]
        parameters = function.get("parameters")
        sent["parameters"] = parameters if isinstance(parameters, dict) else _NO_PARAMETERS
        made[function["name"]] = {"type": "function", "function": sent}
    return made, is_strict
