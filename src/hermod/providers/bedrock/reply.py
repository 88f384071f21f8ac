"""What Converse answers as an OpenAI chat completion.

Source: Amazon Bedrock API reference, "Converse" (response), "TokenUsage", and the list of
`stopReason`.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds.kind import AnyKind
from hermod.providers import replies
from hermod.providers.adapter import Answered, Outgoing
from hermod.providers.lenient import count, items, members

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_MALFORMED: Final = "malformed_"
"""How reasons begin that say that the model failed."""
_AS_THEY_ARE: Final = ("additionalModelResponseFields", "performanceConfig", "trace")
"""What a client asked for in Bedrock's words, and gets in them."""


class _ToolUse(msgspec.Struct, rename="camel", gc=False):
    tool_use_id: str
    name: str
    input: msgspec.Raw = msgspec.Raw(b"{}")
    type: str | None = None
    """`server_tool_use` was called and answered by Bedrock itself."""


class _ReasoningText(msgspec.Struct, rename="camel", gc=False):
    text: str = ""
    signature: str | None = None


class _Reasoning(msgspec.Struct, rename="camel", gc=False):
    reasoning_text: _ReasoningText | None = None
    redacted_content: str | None = None


class _Generated(msgspec.Struct, rename="camel", gc=False):
    text: str | None = None


class _Cited(msgspec.Struct, rename="camel", gc=False):
    content: list[_Generated] = []


class _Source(msgspec.Struct, rename="camel", gc=False):
    bytes: str | None = None


class _Image(msgspec.Struct, rename="camel", gc=False):
    format: str = "png"
    source: _Source | None = None


class _Block(msgspec.Struct, rename="camel", gc=False):
    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning | None = None
    citations_content: _Cited | None = None
    image: _Image | None = None


class _Message(msgspec.Struct, rename="camel", gc=False):
    content: list[_Block]


class _Output(msgspec.Struct, rename="camel", gc=False):
    message: _Message


class _Reply(msgspec.Struct, rename="camel", gc=False):
    output: _Output
    stop_reason: str


_read_reply: Final = msgspec.json.Decoder(_Reply).decode


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`."""
    told = replies.object_in(content_type, body)
    if isinstance(told, Failure):
        return told
    try:
        reply = _read_reply(body)
    except msgspec.DecodeError as error:
        return replies.invalid(replies.UNREADABLE, str(error))
    if reply.stop_reason.startswith(_MALFORMED):
        return malformed(reply.stop_reason)
    message, has_calls = _message(reply.output.message.content)
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": finish_reason(reply.stop_reason, has_calls=has_calls),
    }
    answer: dict[str, object] = {
        "id": f"chatcmpl-{blake2b(body, digest_size=12).hexdigest()}",
        "object": "chat.completion",
        "created": outgoing.now_s,
        "model": outgoing.model,
        "choices": [choice],
    }
    shown, usage = usage_in(told.get("usage"))
    if shown is not None:
        answer["usage"] = shown
    tier = members(told.get("serviceTier")).get("type")
    if isinstance(tier, str):
        answer["service_tier"] = tier
    answer |= {name: told[name] for name in _AS_THEY_ARE if members(told.get(name))}
    return Answered(msgspec.json.encode(answer), usage=usage)


def finish_reason(stop_reason: str, *, has_calls: bool) -> str:
    """OpenAI's word for why it ended. Some models call tools and say no more than that it did."""
    reason = _FINISH.get(stop_reason, "stop")
    return "tool_calls" if has_calls and reason == "stop" else reason


def malformed(stop_reason: str) -> Failure:
    """The failure of a model that wrote what Bedrock could not read."""
    return replies.invalid("the model's output was malformed", f"stopReason {stop_reason[:60]}")


def usage_in(told: object) -> tuple[dict[str, object] | None, Usage | None]:
    """The usage in OpenAI's words, and for the books; None where nothing is told.

    Bedrock counts what came from a cache, and went to one, beside the input; OpenAI within it.
    """
    usage = members(told)
    if "inputTokens" not in usage and "outputTokens" not in usage:
        return None, None
    read_tokens = count(usage.get("cacheReadInputTokens"))
    written = count(usage.get("cacheWriteInputTokens"))
    asked = count(usage.get("inputTokens")) + read_tokens + written
    answered = count(usage.get("outputTokens"))
    shown: dict[str, object] = {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
    }
    if read_tokens or written:
        shown["prompt_tokens_details"] = {
            "cached_tokens": read_tokens,
            "cache_creation_tokens": written,
        }
    longer = sum(
        count(each.get("inputTokens"))
        for each in map(members, items(usage.get("cacheDetails")))
        if each.get("ttl") == "1h"
    )
    return shown, Usage(asked, answered, read_tokens, written, cache_write_1h_tokens=longer)


def text_detail(text: str, signature: str | None = None) -> dict[str, object]:
    """A thought, as it may come back."""
    detail: dict[str, object] = {"type": "reasoning.text", "text": text}
    return detail if signature is None else {**detail, "signature": signature}


def sealed_detail(data: str) -> dict[str, object]:
    """A thought that is not shown, as it may come back."""
    return {"type": "reasoning.encrypted", "data": data}


def _message(blocks: list[_Block]) -> tuple[Mapping[str, object], bool]:
    """The message, and whether it calls tools."""
    texts: list[str] = []
    calls: list[Any] = []
    details: list[Mapping[str, object]] = []
    images: list[object] = []
    for block in blocks:
        if block.text is not None:
            texts.append(block.text)
        elif block.tool_use is not None:
            if block.tool_use.type != "server_tool_use":
                calls.append(_call(block.tool_use))
        elif block.reasoning_content is not None:
            details += _details(block.reasoning_content)
        elif block.citations_content is not None:
            texts += [each.text for each in block.citations_content.content if each.text]
        elif block.image is not None and block.image.source and block.image.source.bytes:
            url = f"data:image/{block.image.format};base64,{block.image.source.bytes}"
            images.append({"type": "image_url", "image_url": {"url": url}})
    said = "".join(texts)
    message: dict[str, object] = {
        "role": "assistant",
        "content": said if said or not calls else None,
        "refusal": None,
    }
    thought = "".join(str(detail.get("text", "")) for detail in details)
    if thought:
        message["reasoning"] = thought
    if details:
        message["reasoning_details"] = details
    if calls:
        message["tool_calls"] = calls
    if images:
        message["images"] = images
    return message, bool(calls)


def _details(reasoning: _Reasoning) -> list[Mapping[str, object]]:
    told = reasoning.reasoning_text
    if told is not None:
        return [text_detail(told.text, told.signature)]
    sealed = reasoning.redacted_content
    return [sealed_detail(sealed)] if sealed else []


def _call(use: _ToolUse) -> dict[str, object]:
    return {
        "id": use.tool_use_id,
        "type": "function",
        "function": {"name": use.name, "arguments": bytes(use.input).decode()},
    }
