"""Requests to Claude and its replies, and what the makers of the SDKs think of them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from anthropic.types import Message
from anthropic.types.message_create_params import MessageCreateParams
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, ConfigDict, TypeAdapter

from hermod.domain.failure import Failure
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Answered, Outgoing, Prepared
from hermod.providers.anthropic import dialect as anthropic

CHAT = KIND_BY_TYPE["chat_completion"]
NOW_S = 1_790_000_000
ASKED = [{"role": "user", "content": "Who rides?"}]
NEWER = "claude-opus-5"
OLDER = "claude-sonnet-4-5"
_SAMPLING = ("temperature", "top_p", "top_k")
"""Of the API's version that we speak; the SDK speaks the next one, which has them no more."""
_requests = TypeAdapter[Any](MessageCreateParams, config=ConfigDict(extra="forbid"))


def outgoing(
    model: str = OLDER,
    *,
    stream: bool = False,
    drop_unsupported: bool = False,
    forward_unknown: bool = True,
    **asked: Any,
) -> Outgoing:
    """A request on its way."""
    body = {"model": f"anthropic/{model}", "messages": ASKED, **asked}
    return Outgoing(
        json.dumps(body).encode(),
        None,
        model,
        forward_unknown,
        "",
        stream=stream,
        drop_unsupported=drop_unsupported,
        now_s=NOW_S,
    )


def prepared(model: str = OLDER, **asked: Any) -> Prepared:
    """What is sent for it."""
    return anthropic.build(CHAT, outgoing(model, **asked))


def sent(model: str = OLDER, **asked: Any) -> dict[str, Any]:
    """Its body, which Anthropic's SDK would accept."""
    body = json.loads(prepared(model, **asked).body)
    accepted_by_sdk(body)
    return body


def turns(*messages: Any, model: str = OLDER) -> list[dict[str, Any]]:
    """The messages that are sent for these."""
    return sent(model, messages=list(messages))["messages"]


def accepted_by_sdk(body: Mapping[str, Any]) -> None:
    """Whether Anthropic's SDK would let it pass: no unknown member, no wrong type, at any depth."""
    known = {name: value for name, value in body.items() if name not in _SAMPLING}
    _walk(_requests.validate_python(known))


def _walk(value: Any) -> None:
    """Arrays are judged as they are read. A block may pass as one of a reply, which is lenient."""
    if isinstance(value, BaseModel):
        assert not value.model_extra
        value = dict(value)
    if isinstance(value, dict):
        for each in value.values():
            _walk(each)
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for each in value:
            _walk(each)


def message(*blocks: Any, stop: str = "end_turn", **more: Any) -> dict[str, Any]:
    """A reply, which Anthropic's SDK can read."""
    usage = {"input_tokens": 12, "output_tokens": 5}
    whole = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": list(blocks),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
        **more,
    }
    Message.model_validate(whole, strict=True)
    return whole


def read(reply: Any, **asked: Any) -> Answered | Failure:
    """What a reply comes to; bytes are taken as they are."""
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    return anthropic.read(CHAT, outgoing(**asked), "application/json", body)


def answer(reply: Any, **asked: Any) -> dict[str, Any]:
    """The completion that a reply is, which OpenAI's SDK can read."""
    found = read(reply, **asked)
    assert isinstance(found, Answered), found
    completion = json.loads(found.body)
    ChatCompletion.model_validate(completion, strict=True)
    return completion


def said(reply: Any) -> dict[str, Any]:
    """The message of the completion."""
    return answer(reply)["choices"][0]["message"]


def events_of(reply: Mapping[str, Any], size: int = 7) -> Iterator[dict[str, Any]]:
    """The reply as the events that Anthropic streams it in (its guide "Streaming Messages")."""
    first = {**reply, "content": [], "stop_reason": None, "usage": {**reply["usage"]}}
    first["usage"]["output_tokens"] = 1
    yield {"type": "message_start", "message": first}
    yield {"type": "ping"}
    for index, block in enumerate(reply["content"]):
        yield from _block_events(index, block, size)
    delta = {name: reply.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    usage = {**reply["usage"]}
    usage.pop("service_tier", None)
    yield {"type": "message_delta", "delta": delta, "usage": usage}
    yield {"type": "message_stop"}


def _block_events(index: int, block: Mapping[str, Any], size: int) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    begun: dict[str, Any] = dict(block)
    deltas: list[dict[str, Any]] = []
    if kind == "text":
        begun |= {"text": "", "citations": None}
        deltas = [{"type": "text_delta", "text": cut} for cut in _cuts(block["text"], size)]
        deltas += [
            {"type": "citations_delta", "citation": each} for each in block.get("citations") or ()
        ]
    elif kind == "thinking":
        begun |= {"thinking": "", "signature": ""}
        deltas = [
            {"type": "thinking_delta", "thinking": cut} for cut in _cuts(block["thinking"], size)
        ]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind in ("tool_use", "server_tool_use"):
        begun["input"] = {}
        written = json.dumps(block["input"], ensure_ascii=False, separators=(",", ":"))
        deltas = [
            {"type": "input_json_delta", "partial_json": cut}
            for cut in ["", *_cuts(written if block["input"] else "", size)]
        ]
    yield {"type": "content_block_start", "index": index, "content_block": begun}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _cuts(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def streamed(events: Iterable[Mapping[str, Any]]) -> bytes:
    """Events for the wire."""
    return b"".join(
        b"event: %b\ndata: %b\n\n"
        % (event["type"].encode(), json.dumps(event, ensure_ascii=False).encode())
        for event in events
    )


def translated(pieces: Iterable[bytes], **asked: Any) -> bytes:
    """What the client gets of a stream in these pieces."""
    stream = anthropic.open_stream(CHAT, outgoing(stream=True, **asked))
    return b"".join([*(stream.feed(piece) for piece in pieces), stream.end()])


def chunks_in(stream: bytes) -> list[ChatCompletionChunk]:
    """The chunks of a whole stream, as OpenAI's SDK reads them."""
    *events, last, rest = stream.split(b"\n\n")
    assert (last, rest) == (b"data: [DONE]", b"")
    return [
        ChatCompletionChunk.model_validate_json(event.removeprefix(b"data: "), strict=True)
        for event in events
    ]
