"""Cohere's dialect of chat (`POST /v2/chat`), as OpenAI's chat completions.

Format: Cohere's API reference, "Chat (v2)", "Chat with Streaming (v2)", and its guides "Reasoning",
"Structured Outputs", "Citations". Where it differs in more than names:

- `top_p` ends at 0.99 there: a client's 1 becomes that.
- A strict function makes all strict (`strict_tools`); `tool_choice` by name offers that one alone.
- Thinking blocks and the plan of tool calls are `reasoning`, and go back as what they were.
- Citations stand beside the text as they came; those of pages with an address are annotations too.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds.kind import AnyKind
from hermod.providers import cohere_messages, replies, upstream_errors
from hermod.providers.adapter import Answered, CannotCarry, Dialect, Outgoing, Prepared
from hermod.providers.cargo import Cargo
from hermod.providers.cohere_stream import CohereStream
from hermod.providers.cohere_words import (
    annotations,
    failed,
    finish_reason,
    log_probabilities,
    usage_in,
)
from hermod.providers.form_as_json import refuse
from hermod.providers.lenient import items, members, text

_AS_THEY_ARE: Final = ("temperature", "seed", "frequency_penalty", "presence_penalty")
_P_MIN: Final = 0.01
_P_MAX: Final = 0.99
_USUAL: Final[dict[str, object]] = {
    "modalities": ["text"],
    "top_logprobs": 0,
    "truncation": "disabled",
}
_INVALID_TOKEN: Final = 498


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    cargo = Cargo(kind, outgoing)
    sent: dict[str, Any] = {
        "model": outgoing.model,
        "messages": cohere_messages.messages(items(cargo.take("messages"))),
        "stream": outgoing.stream,
    }
    for name in _AS_THEY_ARE:
        if (value := cargo.take(name)) is not None:
            sent[name] = value
    shorter, longer = cargo.take("max_tokens"), cargo.take("max_completion_tokens")
    if (limit := longer if longer is not None else shorter) is not None:
        sent["max_tokens"] = int(limit)
    if (top_p := cargo.take("top_p")) is not None:
        sent["p"] = min(max(top_p, _P_MIN), _P_MAX)
    if stop := cargo.take("stop"):
        sent["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if cargo.take("logprobs"):
        sent["logprobs"] = True
    cargo.pass_over(("prediction",))  # what it says of the answer is only how to be faster
    dropped = _offer_tools(cargo, outgoing, sent)
    _shape_answer(cargo.take("response_format"), sent)
    _think(cargo, sent)
    if cargo.take("n") not in (None, 1):
        raise CannotCarry("n: Cohere gives one answer to a chat", "n")
    extras = cargo.unknown()
    if "top_k" in extras:
        sent["k"] = extras.pop("top_k")
    sent |= extras
    return Prepared(
        "application/json", msgspec.json.encode(sent), dropped=(*cargo.finish(_USUAL), *dropped)
    )


def _offer_tools(cargo: Cargo, outgoing: Outgoing, sent: dict[str, Any]) -> tuple[str, ...]:
    """What of it was dropped: that calls come one at a time cannot be said."""
    given, is_strict = cohere_messages.tools(items(cargo.take("tools")))
    offered, choice = cohere_messages.chosen(cargo.take("tool_choice"), given)
    in_parallel = cargo.take("parallel_tool_calls")
    if not offered:
        return ()
    sent["tools"] = offered
    if choice is not None:
        sent["tool_choice"] = choice
    if is_strict:
        sent["strict_tools"] = True
    return refuse(outgoing, "parallel_tool_calls") if in_parallel is False else ()


def _shape_answer(wanted: object, sent: dict[str, Any]) -> None:
    """`response_format`: Cohere's `json_object` takes a schema."""
    form = members(wanted)
    kind = form.get("type", "text")
    if kind == "text":
        return
    if kind == "json_object":
        given = form.get("json_schema", form.get("schema"))
        schema = members(given)
    elif kind == "json_schema":
        schema = members(members(form.get("json_schema")).get("schema"))
    else:
        raise CannotCarry("response_format: Cohere gives text or JSON", "response_format")
    sent["response_format"] = {"type": "json_object", **({"json_schema": schema} if schema else {})}


def _think(cargo: Cargo, sent: dict[str, Any]) -> None:
    """`thinking` is on by default for models that can; how much is a budget, not an effort."""
    reasoning = members(cargo.take("reasoning"))
    effort = cargo.take("reasoning_effort") or reasoning.get("effort")
    budget = cargo.take("reasoning_max_tokens")
    budget = reasoning.get("max_tokens") if budget is None else budget
    if effort == "none" or budget == 0:
        sent["thinking"] = {"type": "disabled"}
    elif budget is not None and budget > 0:
        sent["thinking"] = {"type": "enabled", "token_budget": int(budget)}
    elif effort is not None or budget is not None:
        sent["thinking"] = {"type": "enabled"}


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`. A generation that failed half-way is no answer."""
    reply = replies.object_in(content_type, body)
    if isinstance(reply, Failure):
        return reply
    reason = text(reply.get("finish_reason"))
    failure = failed(reason, text(reply.get("error")))
    if failure is not None:
        return failure
    said = members(reply.get("message"))
    if not any(isinstance(said.get(name), list | str) for name in ("content", "tool_calls")):
        return replies.invalid(replies.UNREADABLE, "`message` has no content and no tool calls")
    tokens, usage = usage_in(reply.get("usage"))
    choice: dict[str, object] = {
        "index": 0,
        "message": _message(said),
        "finish_reason": finish_reason(reason, has_calls=bool(items(said.get("tool_calls")))),
        "logprobs": log_probabilities(items(reply.get("logprobs"))),
    }
    answer: dict[str, object] = {
        "id": text(reply.get("id")),
        "object": "chat.completion",
        "created": outgoing.now_s,
        "model": outgoing.model,
        "choices": [choice],
    }
    if tokens is not None:
        answer["usage"] = tokens
    return Answered(msgspec.json.encode(answer), usage=usage)


def _message(said: Mapping[str, Any]) -> dict[str, object]:
    texts: list[str] = []
    thoughts: list[str] = []
    content = said.get("content")
    for each in [{"text": content}] if isinstance(content, str) else items(content):
        block = members(each)
        if block.get("type") == "thinking":
            thoughts.append(text(block.get("thinking")))
        else:
            texts.append(text(block.get("text")))
    calls = [_call(members(each)) for each in items(said.get("tool_calls"))]
    message: dict[str, object] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
        "refusal": None,
    }
    if calls:
        message["tool_calls"] = calls
    plan = text(said.get("tool_plan"))
    details: list[dict[str, object]] = [
        {"type": "reasoning.text", "index": index, "text": thought}
        for index, thought in enumerate(thoughts)
    ]
    if plan:
        plan_id = cohere_messages.TOOL_PLAN
        index = len(details)
        details.append({"type": "reasoning.text", "index": index, "id": plan_id, "text": plan})
    if details:
        message["reasoning"] = "".join((*thoughts, plan))
        message["reasoning_details"] = details
    if citations := items(said.get("citations")):
        message["citations"] = citations
        if found := annotations(citations, texts):
            message["annotations"] = found
    return message


def _call(call: Mapping[str, Any]) -> dict[str, object]:
    function = members(call.get("function"))
    return {
        "id": text(call.get("id")),
        "type": "function",
        "function": {
            "name": text(function.get("name")),
            "arguments": text(function.get("arguments")),
        },
    }


def refusal(status: int, content_type: str | None, body: bytes) -> Failure:
    """See `Dialect.refusal`: `{"message", "id"}`; 498 is a key that is no good."""
    failure = upstream_errors.refusal(status, content_type, body)
    if status == _INVALID_TOKEN:
        failure = replace(failure, status_code=401, code=failure.code or "invalid_token")
    reply = replies.object_in(content_type, body)
    if not isinstance(reply, Failure) and (reply_id := text(reply.get("id"))):
        failure = replace(failure, event_id=failure.event_id or reply_id[:256])
    return failure


def open_stream(kind: AnyKind, outgoing: Outgoing) -> CohereStream:
    """See `Dialect.open_stream`."""
    options = members(members(msgspec.json.decode(outgoing.body)).get("stream_options"))
    return CohereStream(
        outgoing.model, outgoing.now_s, with_usage=options.get("include_usage") is True
    )


DIALECT: Final = Dialect("cohere_chat", build, read, refusal, open_stream)
"""Chats with Cohere's own models."""
