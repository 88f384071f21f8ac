"""The tool call of the mock's model `tool`: the first function that the request offers."""

from collections.abc import Mapping
from typing import Final

import msgspec

from hermod.providers.mock.request import CHAT, RESPONSES, Asked, content_text, is_list, is_object
from hermod.providers.mock.shapes import ToolCall

_MAX_DEPTH: Final = 8
_PLAIN: Final[Mapping[str, object]] = {"integer": 1, "number": 1.5, "boolean": True, "null": None}


def wanted(request_type: str, asked: Asked) -> ToolCall | None:
    """The call to make, or none: no function is offered, or the last message is what one said.

    Its arguments fit the function's JSON schema; every text among them is the user's.
    """
    tools = asked.fields.get("tools")
    forbidden = asked.fields.get("tool_choice") == "none"
    if forbidden or not is_list(tools) or result(request_type, asked) is not None:
        return None
    for tool in tools:
        if is_object(tool) and tool.get("type") == "function":
            function = tool.get("function") if request_type == CHAT else tool
            if is_object(function) and isinstance(name := function.get("name"), str):
                arguments = _example(function.get("parameters"), asked.texts[0], _MAX_DEPTH)
                text = msgspec.json.encode(arguments if is_object(arguments) else {})
                return ToolCall(name, text.decode())
    return None


def result(request_type: str, asked: Asked) -> str | None:
    """What a tool said, if that is the last message of the conversation."""
    messages = asked.fields.get({CHAT: "messages", RESPONSES: "input"}.get(request_type, ""))
    last = messages[-1] if is_list(messages) and messages else None
    if not is_object(last):
        return None
    if request_type == CHAT:
        return content_text(last.get("content")) if last.get("role") == "tool" else None
    is_result = last.get("type") == "function_call_output"
    return content_text(last.get("output")) if is_result else None


def _example(schema: object, text: str, depth: int) -> object:
    """A value that fits a JSON schema of the plain kind that functions have."""
    if not is_object(schema) or depth == 0:
        return text
    choices = schema.get("enum")
    if is_list(choices) and choices:
        return choices[0]
    kind = schema.get("type")
    if is_list(kind) and kind:
        kind = kind[0]
    if kind == "object" or (kind is None and "properties" in schema):
        return _example_object(schema.get("properties"), text, depth)
    if kind == "array":
        return [_example(schema.get("items"), text, depth - 1)]
    return _PLAIN.get(kind, text) if isinstance(kind, str) else text


def _example_object(properties: object, text: str, depth: int) -> dict[str, object]:
    if not is_object(properties):
        return {}
    return {name: _example(inner, text, depth - 1) for name, inner in properties.items()}
