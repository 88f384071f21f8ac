"""OpenAI's messages as a conversation for Bedrock's Converse.

Source: Amazon Bedrock API reference, "Converse", "Message", "ToolUseBlock", "ToolResultBlock", and
the user guide, "Carry out a conversation with the Converse API operations".
"""

import re
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from hermod.providers.adapter import CannotCarry
from hermod.providers.bedrock.parts import Block, PartReader, cache_point, texts, thoughts
from hermod.providers.chat_words import (
    answered_call,
    arguments_of,
    call_of,
    refuse_old_call,
    refuse_sound,
)
from hermod.providers.lenient import items, members, text

_is_tool_id: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch


class Conversation(NamedTuple):
    """A conversation in Converse's words."""

    system: list[Block]
    messages: list[Block]
    has_tools: bool
    """Whether tools were called in it: then some must be offered."""


def conversation(messages: object) -> Conversation:
    """The same conversation. System messages go to the front, wherever they stand.

    Messages of one role that follow each other become one, as roles must take turns; results of
    tools are the user's.

    Raises:
        CannotCarry: a message holds something that Bedrock has no place for; names it.
    """
    system: list[Block] = []
    turns: list[Block] = []
    parts = PartReader()
    has_tools = False
    for index, each in enumerate(items(messages)):
        message, where = members(each), f"messages[{index}]"
        content = message.get("content")
        match text(message.get("role")):
            case "system" | "developer":
                system += texts(content, f"{where}.content")
                system += cache_point(message) if system else []
                continue
            case "user":
                role, blocks = "user", parts.blocks(content, f"{where}.content")
            case "assistant":
                role, blocks = "assistant", _assistant(message, where)
            case "tool":
                role, blocks = "user", _result(message, parts, where)
            case other:
                raise CannotCarry(f"{where}: the role {other[:60]!r} is not supported", where)
        if not blocks:
            continue
        has_tools = has_tools or any(
            "toolUse" in block or "toolResult" in block for block in blocks
        )
        blocks += cache_point(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if not turns and system:
        # There must be something to answer.
        system, turns = [], [{"role": "user", "content": system}]
    if not turns:
        raise CannotCarry("messages: none of them says anything", "messages")
    return Conversation(system, turns, has_tools)


def _assistant(message: Block, where: str) -> list[Block]:
    refuse_sound(message, where)
    refuse_old_call(message, where)
    blocks = thoughts(message.get("reasoning_details"))
    blocks += texts(message.get("content"), f"{where}.content")
    refusal = text(message.get("refusal"))
    if refusal.strip():
        blocks.append({"text": refusal})
    calls = items(message.get("tool_calls"))
    blocks += [_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]
    return blocks


def _call(call: Any, where: str) -> Block:
    found = call_of(call, where)
    return {
        "toolUse": {
            "toolUseId": _tool_id(found.id),
            "name": found.name,
            "input": arguments_of(found.written, f"{where}.function.arguments"),
        }
    }


def _result(message: Block, parts: PartReader, where: str) -> list[Block]:
    """What a tool said. As text, also where it is JSON: models read the same, to the digit.

    `is_error`, which Anthropic's clients know, is the only way to say that it failed.
    """
    content = parts.blocks(message.get("content"), f"{where}.content")
    if any("audio" in block for block in content):
        raise CannotCarry(f"{where}: a tool's result cannot hold audio", where)
    points = [block for block in content if "cachePoint" in block]
    result: Block = {
        "toolUseId": _tool_id(answered_call(message, where)),
        "content": [block for block in content if "cachePoint" not in block],
    }
    if message.get("is_error") is True:
        result["status"] = "error"
    # A result cannot hold cache points itself.
    return [{"toolResult": result}, *points[-1:]]


def _tool_id(call_id: str) -> str:
    """The id, or one of its own for one that Bedrock would not take."""
    if _is_tool_id(call_id):
        return call_id
    return f"call_{blake2b(call_id.encode(), digest_size=16).hexdigest()}"
