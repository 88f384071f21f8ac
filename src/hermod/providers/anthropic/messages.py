"""OpenAI's chat messages as Anthropic's system blocks and messages.

Source: Anthropic's API reference, "Create a Message", and the guides to tool use, vision, PDF
support and thinking. Texts of nothing but white space are left out, as Anthropic refuses them.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from hermod.providers.adapter import CannotCarry
from hermod.providers.chat_words import (
    answered_call,
    arguments_of,
    call_of,
    refuse_old_call,
    refuse_sound,
)
from hermod.providers.lenient import items, members, text

Block = dict[str, object]

_OURS: Final = "anthropic"
"""How `format` of reasoning begins that was Claude's; others' seals mean nothing to it."""
_IMAGES: Final = "image/"
_PDF: Final = "application/pdf"
_PDF_BASE64: Final = "JVBERi0"
"""How every PDF begins, in base64."""
_MEDIA_TYPES: Final = {"image/jpg": "image/jpeg"}
_ROLES: Final = {"user": "user", "tool": "user", "assistant": "assistant"}
_SYSTEM: Final = frozenset({"system", "developer"})

_unfit_in_id: Final = re.compile(r"[^a-zA-Z0-9_-]").sub


class Conversation(NamedTuple):
    """The messages of a request."""

    system: list[Block]
    messages: list[Block]


def conversation(messages: list[Any]) -> Conversation:
    """The same conversation. System messages go to the front, wherever they stand: most models
    know no other place for them.

    Raises:
        CannotCarry: a message holds something that Claude does not take; names the place.
    """
    system: list[Block] = []
    turns: list[tuple[str, list[Block]]] = []
    for index, each in enumerate(messages):
        message, where = members(each), f"messages[{index}]"
        role = text(message.get("role"))
        if role in _SYSTEM:
            system += _marked(_contents(message, where, _text_only), message)
            continue
        if role not in _ROLES:
            raise CannotCarry(f"{where}: the role {role[:100]!r} is not supported", where)
        blocks = _MAKERS[role](message, where)
        role = _ROLES[role]
        if not blocks:
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if not turns and system:
        # There must be something to answer.
        system, turns = [], [("user", system)]
    if not turns:
        raise CannotCarry("messages: none of them says anything", "messages")
    return Conversation(
        system, [{"role": role, "content": _results_first(blocks)} for role, blocks in turns]
    )


def tool_id(call_id: str) -> str:
    """The id of a call in the characters that Anthropic allows; other vendors allow more."""
    return _unfit_in_id("_", call_id)


def cache_mark(holder: Any) -> Block:
    """The `cache_control` of a message, a part or a tool, if it has one."""
    mark = members(holder).get("cache_control")
    return {"cache_control": mark} if isinstance(mark, dict) else {}


def _results_first(blocks: list[Block]) -> list[Block]:
    """Anthropic wants the results of tools at the beginning of the user's turn."""
    if not any(block["type"] == "tool_result" for block in blocks):
        return blocks
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _marked(blocks: list[Block], message: Any) -> list[Block]:
    """With the message's own cache mark on its last block that can bear one."""
    mark = cache_mark(message)
    if mark:
        for block in reversed(blocks):
            if block["type"] not in ("thinking", "redacted_thinking"):
                block.update(mark)
                break
    return blocks


def _contents(message: Any, where: str, make: Callable[[Any, str], Block | None]) -> list[Block]:
    content = members(message).get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    blocks: list[Block] = []
    for index, part in enumerate(items(content)):
        block = make(part, f"{where}.content[{index}]")
        if block is not None:
            block.update(cache_mark(part))
            blocks.append(block)
    return blocks


# By role


def _user(message: Any, where: str) -> list[Block]:
    return _marked(_contents(message, where, _part), message)


def _tool(message: Any, where: str) -> list[Block]:
    call_id = answered_call(members(message), where)
    result: Block = {"type": "tool_result", "tool_use_id": tool_id(call_id)}
    content = _contents(message, where, _part)
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        result["content"] = content[0]["text"]
    elif content:
        result["content"] = content
    if members(message).get("is_error") is True:
        result["is_error"] = True
    return [result | cache_mark(message)]


def _assistant(message: Any, where: str) -> list[Block]:
    told = members(message)
    refuse_sound(told, where)
    refuse_old_call(told, where)
    blocks = _thoughts(told)
    blocks += _contents(message, where, _text_only)
    refusal = text(told.get("refusal"))
    if refusal.strip():
        blocks.append({"type": "text", "text": refusal})
    for index, call in enumerate(items(told.get("tool_calls"))):
        blocks.append(_tool_use(call, f"{where}.tool_calls[{index}]"))
    return _marked(blocks, message)


_MAKERS: Final = {"user": _user, "tool": _tool, "assistant": _assistant}


def _thoughts(message: Any) -> list[Block]:
    """Thinking with its signatures. What was never signed cannot be given back.

    A client may have put the pieces of a stream one after another: they are joined up to the
    signature that ends them.
    """
    blocks: list[Block] = []
    pieces: list[str] = []
    for each in items(message.get("reasoning_details")):
        detail = members(each)
        origin = text(detail.get("format"))
        if origin and not origin.startswith(_OURS):
            continue
        if detail.get("type") == "reasoning.encrypted":
            if text(detail.get("data")):
                blocks.append({"type": "redacted_thinking", "data": detail["data"]})
        elif detail.get("type") == "reasoning.text":
            pieces.append(text(detail.get("text")))
            signature = text(detail.get("signature"))
            if signature:
                thought = "".join(pieces)
                blocks.append({"type": "thinking", "thinking": thought, "signature": signature})
                pieces = []
    return blocks


def _tool_use(call: Any, where: str) -> Block:
    found = call_of(call, where)
    arguments = arguments_of(found.written, f"{where}.function.arguments")
    block: Block = {
        "type": "tool_use",
        "id": tool_id(found.id),
        "name": found.name,
        "input": arguments,
    }
    return block | cache_mark(call)


# Parts


def _text_only(part: Any, where: str) -> Block | None:
    told = members(part)
    kind = text(told.get("type"))
    if kind not in ("text", "refusal"):
        raise CannotCarry(f"{where}: only texts are supported here, no {kind[:100]!r}", where)
    said = text(told.get(kind))
    return {"type": "text", "text": said} if said.strip() else None


def _part(part: Any, where: str) -> Block | None:
    told = members(part)
    kind = text(told.get("type"))
    if kind == "text":
        return _text_only(part, where)
    if kind == "image_url":
        image = told.get("image_url")
        url = image if isinstance(image, str) else text(members(image).get("url"))
        return _image(url, f"{where}.image_url")
    if kind == "file":
        return _file(members(told.get("file")), f"{where}.file")
    if kind == "input_audio":
        raise CannotCarry(f"{where}: Claude does not take audio", where)
    raise CannotCarry(f"{where}: the part type {kind[:100]!r} is not supported", where)


def _image(url: str, where: str) -> Block:
    if not url.startswith("data:"):
        return {"type": "image", "source": _linked(url, where)}
    media_type, data = _data_url(url, where)
    if not media_type.startswith(_IMAGES):
        raise CannotCarry(f"{where}: {media_type[:100]!r} is no image", where)
    return {"type": "image", "source": _encoded(media_type, data)}


def _linked(url: str, where: str) -> Block:
    if not url.startswith(("https://", "http://")):
        raise CannotCarry(f"{where}: expected an http or data URL", where)
    return {"type": "url", "url": url}


def _encoded(media_type: str, data: str) -> Block:
    return {"type": "base64", "media_type": media_type, "data": data}


def _data_url(url: str, where: str) -> tuple[str, str]:
    """Media type and base64 of a data URL (RFC 2397)."""
    head, comma, data = url.partition(",")
    media_type, *parameters = head.removeprefix("data:").lower().split(";")
    if not comma or not data or "base64" not in parameters:
        raise CannotCarry(f"{where}: expected a data URL with base64", where)
    return _MEDIA_TYPES.get(media_type, media_type), data


def _file(file: Any, where: str) -> Block:
    """A document: PDF or text in a data URL, or one that Anthropic has already; or an image."""
    name = text(file.get("filename"))
    title: Block = {"title": name} if name else {}
    file_id, url, data = (text(file.get(each)) for each in ("file_id", "file_url", "file_data"))
    if file_id:
        return {"type": "document", "source": {"type": "file", "file_id": file_id}} | title
    if url:
        return {"type": "document", "source": _linked(url, f"{where}.file_url")} | title
    where = f"{where}.file_data"
    media_type = _PDF if data.startswith(_PDF_BASE64) or name.lower().endswith(".pdf") else ""
    if data.startswith("data:"):
        media_type, data = _data_url(data, where)
    if media_type.startswith(_IMAGES):
        return {"type": "image", "source": _encoded(media_type, data)}
    if media_type == _PDF and data:
        return {"type": "document", "source": _encoded(_PDF, data)} | title
    if not media_type.startswith("text/"):
        raise CannotCarry(f"{where}: expected a data URL of a PDF, a text or an image", where)
    try:
        written = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        raise CannotCarry(f"{where}: this is not base64 of a text in UTF-8", where) from None
    return {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": written},
    } | title
