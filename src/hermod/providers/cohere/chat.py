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
from hermod.providers import replies, upstream_errors
from hermod.providers.adapter import Answered, Dialect, Outgoing, Prepared
from hermod.providers.cargo import Cargo
from hermod.providers.chat_words import (
    choice_of,
    limit_of,
    must_be_known,
    reasoning_of,
    stops_of,
    wants_usage,
)
from hermod.providers.cohere import messages as cohere_messages
from hermod.providers.cohere.stream import CohereStream
from hermod.providers.cohere.words import (
    annotations,
    failed,
    finish_reason,
    log_probabilities,
    usage_in,
)
from hermod.providers.lenient import items, members, text

_AS_THEY_ARE: Final = ("temperature", "seed", "frequency_penalty", "presence_penalty")
_P_MIN: Final = 0.01
_P_MAX: Final = 0.99
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
    if (limit := limit_of(cargo)) is not None:
        sent["max_tokens"] = limit
    if (top_p := cargo.take("top_p")) is not None:
        sent["p"] = min(max(top_p, _P_MIN), _P_MAX)
    if stops := stops_of(cargo):
        sent["stop_sequences"] = stops
    if cargo.take("logprobs"):
        sent["logprobs"] = True
    _offer_tools(cargo, sent)
    _shape_answer(cargo, sent)
    _think(cargo, sent)
    extras = cargo.unknown()
    if "top_k" in extras:
        sent["k"] = extras.pop("top_k")
    sent |= extras
    return Prepared("application/json", msgspec.json.encode(sent), dropped=cargo.finish())


def _offer_tools(cargo: Cargo, sent: dict[str, Any]) -> None:
    """A function by its name is that function alone, required: there is nothing else to call."""
    given, is_strict = cohere_messages.tools(items(cargo.take("tools")))
    choice = choice_of(cargo.take("tool_choice"), given.keys())
    in_parallel = cargo.take("parallel_tool_calls")
    if not given:
        return
    names = choice.names if choice is not None else ()
    sent["tools"] = [tool for name, tool in given.items() if not names or name in names]
    if choice is not None and choice.mode != "auto":
        sent["tool_choice"] = choice.mode.upper()
    if is_strict:
        sent["strict_tools"] = True
    if in_parallel is False:
        cargo.lose("parallel_tool_calls", "Cohere has no word for one call at a time")


def _shape_answer(cargo: Cargo, sent: dict[str, Any]) -> None:
    """`response_format`: Cohere's `json_object` takes a schema."""
    form = members(cargo.take("response_format"))
    kind = form.get("type", "text")
    if kind == "text":
        return
    if kind == "json_object":
        given = form.get("json_schema", form.get("schema"))
        schema = members(given)
    elif kind == "json_schema":
        schema = members(members(form.get("json_schema")).get("schema"))
    else:
        cargo.lose("response_format", "Cohere gives text or JSON")
        return
    sent["response_format"] = {"type": "json_object", **({"json_schema": schema} if schema else {})}


def _think(cargo: Cargo, sent: dict[str, Any]) -> None:
    """`thinking` is on by default for models that can; how much is a budget, not an effort."""
    asked = reasoning_of(cargo)
    must_be_known(asked.effort)
    if asked.effort == "none" or asked.budget == 0:
        sent["thinking"] = {"type": "disabled"}
    elif asked.budget is not None and asked.budget > 0:
        sent["thinking"] = {"type": "enabled", "token_budget": asked.budget}
    elif asked.effort is not None or asked.budget is not None or asked.is_wanted:
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
            "arguments": text(function.get("arguments")) or "{}",
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
    return CohereStream(outgoing.model, outgoing.now_s, with_usage=wants_usage(outgoing))


DIALECT: Final = Dialect("cohere_chat", build, read, refusal, open_stream)
"""Chats with Cohere's own models."""
