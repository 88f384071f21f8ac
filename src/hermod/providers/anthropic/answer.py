"""Anthropic's message as OpenAI's chat completion.

Source: Anthropic's API reference, "Create a Message", and the guides to stop reasons,
thinking and citations. Blocks of tools that ran at Anthropic are left out: what they found is in
the text, and nobody is to answer them.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.providers import replies
from hermod.providers.adapter import Answered, Outgoing
from hermod.providers.lenient import count, items, members, text

BETWEEN_THOUGHTS: Final = "\n\n"
"""Between two blocks of thinking in `reasoning`."""
_FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
_SERVICE_TIERS: Final = {"standard": "default", "priority": "priority"}
_UNEXPLAINED: Final = "The model declined to answer."


def answered(outgoing: Outgoing, content_type: str | None, body: bytes) -> Answered | Failure:
    """The chat completion that a reply with a status of success holds. Never raises."""
    message = replies.object_in(content_type, body)
    if isinstance(message, Failure):
        return message
    content = message.get("content")
    blocks = [members(block) for block in items(content)]
    if not isinstance(content, list) or not all(text(block.get("type")) for block in blocks):
        return replies.invalid(replies.UNREADABLE, "`content` is not an array of blocks")
    reason = text(message.get("stop_reason"))
    if not blocks and not reason:
        return replies.invalid(replies.UNREADABLE, "neither content nor a stop_reason")
    said = _said(blocks)
    if reason == "refusal":
        said["refusal"] = refusal_text(message.get("stop_details"))
    finish = finish_reason(reason, called="tool_calls" in said)
    completion: dict[str, object] = {
        "id": text(message.get("id")) or f"msg-{outgoing.now_s}",
        "object": "chat.completion",
        "created": outgoing.now_s,
        "model": text(message.get("model")) or outgoing.model,
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
    }
    told = members(message.get("usage"))
    if not told:
        return Answered(msgspec.json.encode(completion))
    usage = usage_of(told)
    completion["usage"] = shown_usage(usage)
    tier = _SERVICE_TIERS.get(text(told.get("service_tier")))
    if tier is not None:
        completion["service_tier"] = tier
    return Answered(msgspec.json.encode(completion), usage=usage)


def _said(blocks: list[dict[str, Any]]) -> dict[str, object]:
    """The assistant's message."""
    said: list[str] = []
    length = 0
    thoughts: list[str] = []
    details: list[object] = []
    calls: list[object] = []
    notes: list[object] = []
    for block in blocks:
        kind = block["type"]
        if kind == "text":
            piece = text(block.get("text"))
            notes += annotations(items(block.get("citations")), length, length + len(piece))
            said.append(piece)
            length += len(piece)
        elif kind == "thinking":
            thoughts.append(text(block.get("thinking")))
            details.append(thought(len(details), block))
        elif kind == "redacted_thinking":
            details.append(sealed(len(details), block))
        elif kind == "tool_use":
            arguments = block.get("input")
            written = msgspec.json.encode(arguments if isinstance(arguments, dict) else {})
            calls.append(tool_call(block, written.decode()))
    whole = "".join(said)
    # Nothing said beside a call is no text at all, as in OpenAI's own answers.
    message: dict[str, object] = {"role": "assistant", "content": whole, "refusal": None}
    if not whole and calls:
        message["content"] = None
    reasoning = BETWEEN_THOUGHTS.join(each for each in thoughts if each)
    if reasoning:
        message["reasoning"] = reasoning
    more = {"reasoning_details": details, "tool_calls": calls, "annotations": notes}
    message.update((name, found) for name, found in more.items() if found)
    return message


def tool_call(block: Mapping[str, Any], arguments: str) -> dict[str, object]:
    """The call of a `tool_use` block."""
    function = {"name": text(block.get("name")), "arguments": arguments}
    return {"id": text(block.get("id")), "type": "function", "function": function}


def thought(index: int, block: Mapping[str, Any]) -> dict[str, object]:
    """A `thinking` block as a detail of the reasoning."""
    detail: dict[str, object] = {
        "type": "reasoning.text",
        "index": index,
        "text": text(block.get("thinking")),
    }
    if text(block.get("signature")):
        detail["signature"] = block["signature"]
    return detail


def sealed(index: int, block: Mapping[str, Any]) -> dict[str, object]:
    """A `redacted_thinking` block as a detail of the reasoning."""
    return {"type": "reasoning.encrypted", "index": index, "data": text(block.get("data"))}


def annotations(citations: list[Any], start: int, end: int) -> list[dict[str, object]]:
    """The citations of pages on the web, for the characters of the answer that rest on them.

    Places in documents of the request have no counterpart at OpenAI.
    """
    found: list[dict[str, object]] = []
    for each in citations:
        citation = members(each)
        url = text(citation.get("url")) or text(citation.get("source"))
        if url.startswith(("https://", "http://")):
            title = text(citation.get("title"))
            cited = {"url": url, "title": title, "start_index": start, "end_index": end}
            found.append({"type": "url_citation", "url_citation": cited})
    return found


def finish_reason(stop_reason: str, *, called: bool) -> str:
    """OpenAI's word for why the model stopped; what is new at Anthropic is an end like others."""
    return _FINISH_REASONS.get(stop_reason) or ("tool_calls" if called else "stop")


def refusal_text(stop_details: object) -> str:
    """Why the model refused, as far as it is told."""
    return text(members(stop_details).get("explanation")) or _UNEXPLAINED


def usage_of(told: Mapping[str, Any]) -> Usage:
    """The tokens. Anthropic counts what a cache gave or took apart from the input."""
    read = count(told.get("cache_read_input_tokens"))
    written = count(told.get("cache_creation_input_tokens"))
    return Usage(
        input_tokens=count(told.get("input_tokens")) + read + written,
        output_tokens=count(told.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=count(members(told.get("output_tokens_details")).get("thinking_tokens")),
        cache_write_1h_tokens=count(
            members(told.get("cache_creation")).get("ephemeral_1h_input_tokens")
        ),
    )


def shown_usage(usage: Usage) -> dict[str, object]:
    """The usage in OpenAI's shape."""
    shown: dict[str, object] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_creation_tokens": usage.cache_write_tokens,
        },
    }
    if usage.reasoning_tokens:
        shown["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return shown
