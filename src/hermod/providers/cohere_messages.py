"""Messages and tools of a chat in Cohere's form (API reference, "Chat (v2)": messages, tools)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from hermod.kinds import json_guard
from hermod.providers.adapter import CannotCarry
from hermod.providers.lenient import items, members, text

TOOL_PLAN: Final = "tool_plan"
"""The `id` of a piece of reasoning that Cohere gave as the plan of its tool calls."""
_NO_PARAMETERS: Final[dict[str, object]] = {"type": "object", "properties": {}}


def messages(given: list[Any]) -> list[dict[str, object]]:
    """The messages, each as it is there. Raises CannotCarry for what Cohere has no words for."""
    return [_message(members(each), f"messages[{index}]") for index, each in enumerate(given)]


def _message(message: Mapping[str, Any], place: str) -> dict[str, object]:
    make = _ROLES.get(text(message.get("role")))
    if make is None:
        raise CannotCarry(f"{place}.role: not a role that Cohere knows", "messages")
    return make(message, place)


def _system(message: Mapping[str, Any], place: str) -> dict[str, object]:
    return {"role": "system", "content": _content(message, place, _text_block)}


def _user(message: Mapping[str, Any], place: str) -> dict[str, object]:
    return {"role": "user", "content": _content(message, place, _user_block)}


def _assistant(message: Mapping[str, Any], place: str) -> dict[str, object]:
    made: dict[str, object] = {"role": "assistant"}
    calls = [_call(members(each), place) for each in items(message.get("tool_calls"))]
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


def _call(call: Mapping[str, Any], place: str) -> dict[str, object]:
    if call.get("type", "function") != "function":
        raise CannotCarry(f"{place}.tool_calls: Cohere calls functions only", "messages")
    function = members(call.get("function"))
    return {
        "id": text(call.get("id")),
        "type": "function",
        "function": {
            "name": text(function.get("name")),
            "arguments": text(function.get("arguments")) or "{}",
        },
    }


def _tool(message: Mapping[str, Any], place: str) -> dict[str, object]:
    """Cohere cites results that come as documents; those that are no objects stay texts."""
    content = _content(message, place, _text_block)
    made: dict[str, object] = {"role": "tool", "tool_call_id": text(message.get("tool_call_id"))}
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
    return [block(members(each), f"{place}.content") for each in items(content)]


def _text_block(part: Mapping[str, Any], place: str) -> dict[str, object]:
    if part.get("type") != "text":
        raise CannotCarry(f"{place}: Cohere takes text only in this role", "messages")
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
        raise CannotCarry(f"{place}: Cohere takes texts and images only", "messages")
    image = part.get("image_url")
    url = image if isinstance(image, str) else text(members(image).get("url"))
    sent: dict[str, object] = {"url": url}
    if members(image).get("detail") in ("low", "high", "auto"):
        sent["detail"] = members(image)["detail"]
    return {"type": "image_url", "image_url": sent}


_ROLES: Final[Mapping[str, Callable[[Mapping[str, Any], str], dict[str, object]]]] = {
    "system": _system,
    "developer": _system,
    "user": _user,
    "assistant": _assistant,
    "tool": _tool,
}


def tools(given: list[Any]) -> tuple[list[dict[str, object]], bool]:
    """The functions, and whether one of them asks to be followed strictly.

    Cohere is strict with all tools or none. Raises CannotCarry for a tool that is no function.
    """
    made: list[dict[str, object]] = []
    is_strict = False
    for each in given:
        tool = members(each)
        if tool.get("type", "function") != "function":
            raise CannotCarry("tools: Cohere takes functions only", "tools")
        function = members(tool.get("function"))
        is_strict = is_strict or function.get("strict") is True
        sent: dict[str, object] = {"name": text(function.get("name"))}
        if isinstance(function.get("description"), str):
            sent["description"] = function["description"]
        parameters = function.get("parameters")
        sent["parameters"] = parameters if isinstance(parameters, dict) else _NO_PARAMETERS
        made.append({"type": "function", "function": sent})
    return made, is_strict


def chosen(
    choice: object, given: list[dict[str, object]]
) -> tuple[list[dict[str, object]], str | None]:
    """The tools to offer, and whether one must be called.

    Cohere knows `REQUIRED` and `NONE`. A function by its name is that function alone, required:
    there is nothing else to call. Raises CannotCarry for a choice that no tool fits.
    """
    wanted = members(choice)
    mode = choice if isinstance(choice, str) else text(wanted.get("type"))
    names: set[str] | None = None
    if mode == "function":
        names = {text(members(wanted.get("function")).get("name"))}
        mode = "required"
    elif mode == "allowed_tools":
        allowed = members(wanted.get("allowed_tools")) or wanted
        names = {
            text(members(members(each).get("function")).get("name"))
            for each in items(allowed.get("tools"))
        }
        mode = text(allowed.get("mode"))
    if names is not None:
        given = [each for each in given if members(each["function"]).get("name") in names]
        if len(given) < len(names):
            raise CannotCarry("tool_choice: names a function that is not in tools", "tool_choice")
    if mode in ("required", "any"):
        return given, "REQUIRED"
    if mode == "none":
        return given, "NONE"
    if mode in ("", "auto"):
        return given, None
    raise CannotCarry("tool_choice: Cohere has no such choice", "tool_choice")
