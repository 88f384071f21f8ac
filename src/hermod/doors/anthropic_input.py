"""Anthropic's messages as the input items of a Responses request.

A tool result that says `is_error` begins with "Error: ", as there is no flag for it. Thinking goes
back upstream only with its signature, which is what the upstream knows it by. Refused are the
blocks of Anthropic's own server tools, and files of its Files API.
"""

import base64
import binascii
from typing import Final

import msgspec

from hermod.doors.asked import Fields, Value

Item = dict[str, object]

_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system"}
_ERROR: Final = "Error: "


def joined_text(content: Value) -> str:
    """A text, or the texts of text blocks, one below the other."""
    if content.is_text:
        return content.text()
    return "\n".join(_text_only(block) for block in content.items())


def _text_only(block: Value) -> str:
    fields = block.fields()
    fields.need("type").choice({"text": "text"})
    return fields.need("text").text()


def input_items(messages: Value) -> list[Item]:
    """The items, in the order of the blocks. Raises `Refused`."""
    items: list[Item] = []
    for message in messages.items():
        fields = message.fields()
        role = fields.need("role").choice(_ROLES)
        content = fields.need("content")
        if content.is_text:
            items.append(_message(role, content.text_raw()))
        elif role == "assistant":
            _add_assistant(content, items)
        else:
            _add_user(role, content, items)
    return items


def _message(role: str, content: object) -> Item:
    return {"type": "message", "role": role, "content": content}


def _add_user(role: str, content: Value, items: list[Item]) -> None:
    parts: list[Item] = []
    for block in content.items():
        fields = block.fields()
        if role == "user" and fields.need("type").text() == "tool_result":
            if parts:
                items.append(_message(role, parts))
                parts = []
            items.append(_tool_result(fields))
        else:
            parts += _parts(block)
    if parts:
        items.append(_message(role, parts))


def _add_assistant(content: Value, items: list[Item]) -> None:
    said: list[Item] = []
    for block in content.items():
        fields = block.fields()
        kind = fields.need("type")
        name = kind.text()
        if name == "text":
            said.append({"type": "output_text", "text": fields.need("text").text_raw()})
            continue
        if said:
            items.append(_message("assistant", said))
            said = []
        if name == "tool_use":
            items.append(
                {
                    "type": "function_call",
                    "call_id": fields.need("id").text_raw(),
                    "name": fields.need("name").text_raw(),
                    "arguments": str(fields.need("input").object_raw(), "utf-8"),
                }
            )
        elif name in ("thinking", "redacted_thinking"):
            items += _reasoning(name, fields)
        else:
            raise kind.refused(f"the block type {name[:100]!r} is not supported here")
    if said:
        items.append(_message("assistant", said))


def _reasoning(name: str, fields: Fields) -> list[Item]:
    if name == "redacted_thinking":
        sealed = fields.need("data").text_raw()
        return [{"type": "reasoning", "summary": [], "encrypted_content": sealed}]
    signature = fields.get("signature")
    if signature is None or not signature.text():
        return []
    thought = fields.need("thinking").text_raw()
    return [
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": thought}],
            "encrypted_content": signature.text_raw(),
        }
    ]


def _tool_result(fields: Fields) -> Item:
    output: object = ""
    content = fields.get("content")
    failed = fields.get("is_error")
    prefix = _ERROR if failed is not None and failed.flag() else ""
    if content is None:
        output = prefix.rstrip(": ")
    elif content.is_text:
        output = prefix + content.text() if prefix else content.text_raw()
    else:
        parts = [part for block in content.items() for part in _parts(block)]
        output = _as_text(parts, prefix)
        if output is None:
            note: list[Item] = [{"type": "input_text", "text": prefix}] if prefix else []
            output = note + parts
    return {
        "type": "function_call_output",
        "call_id": fields.need("tool_use_id").text_raw(),
        "output": output,
    }


def _as_text(parts: list[Item], prefix: str) -> str | None:
    """One text where all parts are texts: every upstream takes that, not every one a list."""
    if any(part["type"] != "input_text" for part in parts):
        return None
    return prefix + "\n".join(_decoded(part["text"]) for part in parts)


def _decoded(text: object) -> str:
    return text if isinstance(text, str) else msgspec.json.decode(msgspec.json.encode(text))


def _parts(block: Value) -> list[Item]:
    """The content parts of a text, image, document or search result."""
    fields = block.fields()
    kind = fields.need("type")
    name = kind.text()
    if name == "text":
        return [{"type": "input_text", "text": fields.need("text").text_raw()}]
    if name == "image":
        return [_image(fields.need("source"))]
    if name == "document":
        return _document(fields)
    if name == "search_result":
        heads = (fields.need("title").text(), fields.need("source").text())
        whole = "\n".join((*heads, joined_text(fields.need("content"))))
        return [{"type": "input_text", "text": whole}]
    raise kind.refused(f"the block type {name[:100]!r} is not supported here")


def _image(source: Value) -> Item:
    fields = source.fields()
    kind = fields.need("type").choice({"base64": "base64", "url": "url"})
    url = fields.need("url").text_raw() if kind == "url" else data_url(fields)
    return {"type": "input_image", "detail": "auto", "image_url": url}


def data_url(fields: Fields) -> msgspec.Raw:
    """The data URL of a `media_type` and `data`, as JSON; the data is not decoded on the way."""
    return msgspec.Raw(
        b'"data:%b;base64,%b"'
        % (fields.need("media_type").content_raw(), fields.need("data").content_raw())
    )


def _document(fields: Fields) -> list[Item]:
    source = fields.need("source")
    inner = source.fields()
    kind = inner.need("type").choice({name: name for name in ("base64", "url", "text", "content")})
    title, context = (
        None if found is None else found.text()
        for found in (fields.get("title"), fields.get("context"))
    )
    about: list[Item] = [
        {"type": "input_text", "text": text}
        for text in (title if kind in ("text", "content") else None, context)
        if text
    ]
    if kind == "text":
        return [*about, {"type": "input_text", "text": inner.need("data").text_raw()}]
    if kind == "content":
        content = inner.need("content")
        if content.is_text:
            return [*about, {"type": "input_text", "text": content.text_raw()}]
        return [*about, *(part for block in content.items() for part in _parts(block))]
    if kind == "url":
        return [*about, {"type": "input_file", "file_url": inner.need("url").text_raw()}]
    return [*about, _base64_document(inner, title)]


def _base64_document(source: Fields, title: str | None) -> Item:
    if source.need("media_type").text() == "text/plain":
        data = source.need("data")
        try:
            text = base64.b64decode(data.text(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise data.refused("this is not base64 of UTF-8 text") from None
        return {"type": "input_text", "text": text}
    return {
        "type": "input_file",
        "filename": title or "document.pdf",
        "file_data": data_url(source),
    }
