"""OpenAI's Response object as a chat completion (API reference, both).

What hosted tools did is left out: a chat has no words for it.
"""

from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.providers.adapter import Outgoing
from hermod.providers.bridge.pieces import (
    SUMMARY_GAP,
    Json,
    arguments_of,
    first_count,
    objects_of,
    tail_of,
    written,
)
from hermod.providers.lenient import count as count_of
from hermod.providers.lenient import items as list_of
from hermod.providers.lenient import members as object_of
from hermod.providers.lenient import text as text_of
from hermod.providers.replies import UNREADABLE, invalid
from hermod.providers.upstream_errors import Told, told_by

_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
UNEXPLAINED: Final = "the response failed"


def chat_of(outgoing: Outgoing, body: bytes) -> bytes | Failure:
    """The chat completion of a Response object. Never raises."""
    try:
        response = object_of(msgspec.json.decode(body))
    except (msgspec.DecodeError, RecursionError) as error:
        return invalid(UNREADABLE, str(error))
    if response.get("status") in ("failed", "cancelled"):
        return invalid(told_in(response).message or UNEXPLAINED)
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    logprobs: list[object] = []
    for item in objects_of(response.get("output")):
        add_item(message, logprobs, item)
    choice: Json = {
        "index": 0,
        "message": message,
        "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
        "finish_reason": reason_of(response, called="tool_calls" in message),
    }
    chat = head_of(outgoing, response, "chat.completion", body) | {"choices": [choice]}
    if response.get("usage"):
        chat["usage"] = usage_of(object_of(response["usage"]))
    return written(chat)


def head_of(outgoing: Outgoing, response: Json, what: str, otherwise: bytes) -> Json:
    """The members that a chat completion and its chunks have in common; `what` is the object."""
    head: Json = {
        "id": f"chatcmpl-{tail_of(response.get('id'), otherwise)}",
        "object": what,
        "created": count_of(response.get("created_at")) or outgoing.now_s,
        "model": text_of(response.get("model")) or outgoing.model,
    }
    tier = text_of(response.get("service_tier"))
    if tier in _TIERS:
        head["service_tier"] = tier
    return head


def reason_of(response: Json, *, called: bool) -> str:
    """Why the choice ends."""
    if response.get("status") == "incomplete":
        why = object_of(response.get("incomplete_details")).get("reason")
        return "content_filter" if why == "content_filter" else "length"
    return "tool_calls" if called else "stop"


def add_item(message: Json, logprobs: list[object], item: Json) -> None:
    """Add what an item of the output says to the message."""
    kind = item.get("type")
    if kind == "message":
        for part in objects_of(item.get("content")):
            name = "refusal" if part.get("type") == "refusal" else "content"
            text = text_of(part.get("refusal" if name == "refusal" else "text"))
            message[name] = text_of(message[name]) + text
            logprobs.extend(objects_of(part.get("logprobs")))
            citations = [_citation(each) for each in objects_of(part.get("annotations"))]
            if any(citations):
                found = [each for each in citations if each]
                message["annotations"] = [*list_of(message.get("annotations")), *found]
    elif kind == "reasoning":
        thought, details = thought_in(item)
        before = text_of(message.get("reasoning"))
        if thought:
            message["reasoning"] = before + (SUMMARY_GAP if before else "") + thought
        if details:
            message["reasoning_details"] = [*list_of(message.get("reasoning_details")), *details]
    elif kind in ("function_call", "custom_tool_call"):
        message["tool_calls"] = [*list_of(message.get("tool_calls")), call_of(item)]


def thought_in(item: Json) -> tuple[str, list[Json]]:
    """What can be read of a thought, and all of it."""
    name = text_of(item.get("id"))
    parts = objects_of(item.get("summary")) or objects_of(item.get("content"))
    texts = [text for part in parts if (text := text_of(part.get("text")))]
    details: list[Json] = [
        {"type": "reasoning.summary", "summary": text, "id": name} for text in texts
    ]
    sealed = text_of(item.get("encrypted_content"))
    if sealed:
        details.append({"type": "reasoning.encrypted", "data": sealed, "id": name})
    return SUMMARY_GAP.join(texts), details


def call_of(item: Json) -> Json:
    """The call of a function or of a custom tool."""
    name = text_of(item.get("name"))
    call_id = text_of(item.get("call_id")) or text_of(item.get("id"))
    if item.get("type") == "custom_tool_call":
        custom = {"name": name, "input": text_of(item.get("input"))}
        return {"id": call_id, "type": "custom", "custom": custom}
    function = {"name": name, "arguments": arguments_of(item.get("arguments"))}
    return {"id": call_id, "type": "function", "function": function}


def _citation(annotation: Json) -> Json | None:
    if annotation.get("type") != "url_citation":
        return None
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": count_of(annotation.get("start_index")),
            "end_index": count_of(annotation.get("end_index")),
            "title": text_of(annotation.get("title")),
            "url": text_of(annotation.get("url")),
        },
    }


def usage_of(response: Json) -> Json:
    """A response's usage in the words of a chat."""
    into = object_of(response.get("input_tokens_details"))
    out = object_of(response.get("output_tokens_details"))
    asked = count_of(response.get("input_tokens"))
    answered = count_of(response.get("output_tokens"))
    usage: Json = {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": count_of(response.get("total_tokens")) or asked + answered,
        "prompt_tokens_details": {
            "cached_tokens": first_count(into, "cached_tokens", "cached_read_tokens"),
            "cache_creation_tokens": first_count(into, "cache_write_tokens", "cached_write_tokens"),
        },
        "completion_tokens_details": {"reasoning_tokens": count_of(out.get("reasoning_tokens"))},
    }
    if response.get("cost") is not None:
        usage["cost"] = response["cost"]
    return usage


def told_in(event: Json) -> Told:
    """What an event of failure says: in its response, beside it, or flat."""
    response = object_of(event.get("response")) or event
    return told_by(written(response)) or told_by(written(event)) or Told(UNEXPLAINED)
