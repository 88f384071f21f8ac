"""A Responses result, a job in progress and an error in the shape of Anthropic's Messages API.

Left out, as the API has no word for them: the calls of hosted tools, annotations, log
probabilities. Reasoning becomes thinking; what is encrypted of it becomes the signature.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from hermod.doors import told
from hermod.kinds import own_words

Block = dict[str, object]

UNTYPED_ERROR: Final = "api_error"
"""The type of an error that has none (wire-contract 6.3)."""

_NOTHING: Final[Block] = {"type": "text", "text": ""}
"""A client that polls takes an empty content for "not yet" (wire-contract 6.2)."""

_SERVICE_TIERS: Final = {"default": "standard", "priority": "priority", "batch": "batch"}


def from_response(result: bytes, model: str) -> bytes:
    """The `Message` of a result. `model` is shown where the result names none. Never raises.

    Its `extra_fields` stay, and its id is the upstream's (wire-contract 6.2).
    """
    response = told.members(result)
    own = own_words.answer_in(response, own_words.ANTHROPIC)
    if own:
        if not told.items(own.get("content")):
            own["content"] = msgspec.Raw(msgspec.json.encode([_NOTHING]))
        if "extra_fields" in response:
            own["extra_fields"] = response["extra_fields"]
        return msgspec.json.encode(own)
    items = [told.members(item) for item in told.items(response.get("output"))]
    content = [block for item in items for block in blocks(item)]
    message: dict[str, object] = {
        "id": told.text(response.get("id")),
        "type": "message",
        "role": "assistant",
        "model": told.text(response.get("model")) or model,
        "content": content or [_NOTHING],
        "stop_reason": stop_reason(
            response,
            called=any(block["type"] == "tool_use" for block in content),
            refused=any(_refuses(item) for item in items),
        ),
        "stop_sequence": None,
        "usage": usage(response),
    }
    if "extra_fields" in response:
        message["extra_fields"] = response["extra_fields"]
    return msgspec.json.encode(message)


def placeholder(job_id: str, model: str | None) -> bytes:
    """The answer while a job is not done: a message without content (wire-contract 6.2)."""
    return msgspec.json.encode(
        {
            "id": job_id,
            "type": "message",
            "role": "assistant",
            "model": model or "",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
    )


def error(failure: bytes) -> bytes:
    """A BifrostError in Anthropic's shape (wire-contract 6.3)."""
    _, kind, _, message = told.error_of(failure)
    return shown_error(kind or UNTYPED_ERROR, message)


def shown_error(kind: str, message: str) -> bytes:
    """An error in Anthropic's shape; in a stream it is the data of an `error` event."""
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})


def blocks(item: told.Members) -> list[Block]:
    """The content blocks of one output item."""
    kind = told.text(item.get("type"))
    if kind == "function_call":
        return [{**tool_use(item), "input": told.arguments(told.text(item.get("arguments")))}]
    if kind == "reasoning":
        return _thinking(item)
    if kind != "message":
        return []
    said = [said_in(told.members(part)) for part in told.items(item.get("content"))]
    return [{"type": "text", "text": text} for text in said if told.is_text(text)]


def said_in(part: told.Members) -> msgspec.Raw | None:
    """The text of a message's part, or its refusal, as it was written."""
    return part.get("refusal" if told.text(part.get("type")) == "refusal" else "text")


def tool_use(item: told.Members) -> Block:
    """A call as a block, its input yet empty."""
    called = told.text(item.get("call_id")) or told.text(item.get("id"))
    return {"type": "tool_use", "id": called, "name": told.text(item.get("name")), "input": {}}


def thought_in(item: told.Members) -> str:
    """The summaries and the text of a reasoning item."""
    parts = [*told.items(item.get("summary")), *told.items(item.get("content"))]
    texts = [told.text(told.members(part).get("text")) for part in parts]
    return "\n\n".join(text for text in texts if text)


def _thinking(item: told.Members) -> list[Block]:
    thought = thought_in(item)
    sealed = told.text(item.get("encrypted_content"))
    if thought:
        return [{"type": "thinking", "thinking": thought, "signature": sealed}]
    return [{"type": "redacted_thinking", "data": sealed}] if sealed else []


def _refuses(item: told.Members) -> bool:
    parts = told.items(item.get("content")) if told.text(item.get("type")) == "message" else []
    return any(told.text(told.members(part).get("type")) == "refusal" for part in parts)


def stop_reason(response: told.Members, *, called: bool, refused: bool) -> str:
    """Why the model stopped."""
    if told.text(response.get("status")) == "incomplete":
        reason = told.text(told.members(response.get("incomplete_details")).get("reason"))
        return "refusal" if reason == "content_filter" else "max_tokens"
    if refused:
        return "refusal"
    return "tool_use" if called else "end_turn"


def usage(response: told.Members) -> Mapping[str, object]:
    """What was spent. Anthropic counts cached tokens apart, OpenAI within the input."""
    spent = told.members(response.get("usage"))
    details = told.members(spent.get("input_tokens_details"))
    read = told.count(details.get("cached_tokens") or details.get("cached_read_tokens"))
    written = told.count(details.get("cache_write_tokens") or details.get("cached_write_tokens"))
    counted: dict[str, object] = {
        "input_tokens": max(told.count(spent.get("input_tokens")) - read - written, 0),
        "output_tokens": told.count(spent.get("output_tokens")),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
    }
    thought = told.members(spent.get("output_tokens_details")).get("reasoning_tokens")
    if thought is not None:
        counted["output_tokens_details"] = {"thinking_tokens": told.count(thought)}
    tier = _SERVICE_TIERS.get(told.text(response.get("service_tier")))
    if tier is not None:
        counted["service_tier"] = tier
    return counted
