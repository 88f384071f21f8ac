"""The same things said by each vendor whose words are translated: calls, answers, streams."""

import json
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from hermod.domain.failure import Failure
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers import upstream_errors
from hermod.providers.adapter import Answered, CannotCarry, Dialect, Outgoing, Prepared
from hermod.providers.adapters import Way, way_of
from hermod.providers.prepare import upstream_model
from tests.providers import claude
from tests.providers.eventstreams import event, message
from tests.providers.recorded import NOW_S, settings_of

USER: Final = {"role": "user", "content": "Who rides?"}
_PLACE: Final = {"vertex_key_config": {"project_id": "tales", "region": "europe-west4"}}
_RESOURCE: Final = {"azure_key_config": {"endpoint": "https://tales.openai.azure.com"}}


class Said(NamedTuple):
    """What a model answers."""

    text: str = ""
    calls: tuple[tuple[str, str, str], ...] = ()
    """Id, name and arguments of each."""
    thought: str = ""
    end: str = "stop"
    """`stop`, `tool_calls` or `length`."""
    usage: tuple[int, int, int] = (10, 4, 7)
    """Input beside the cache, from the cache, output."""


class Vendor(NamedTuple):
    """A provider's model, and how it speaks."""

    name: str
    provider: str
    model: str
    family: str
    key: Mapping[str, Any] = MappingProxyType({})

    def way(self, kind: str = "chat_completion") -> Way:
        """How requests of a type reach it."""
        settings = settings_of(self.provider, json.dumps(dict(self.key)))
        way = way_of(settings, kind, text_to_chat=True, chat_to_responses=False)
        assert way is not None
        return way

    @property
    def dialect(self) -> Dialect:
        """Of its chats."""
        return self.way().dialect

    def outgoing(
        self, asked: dict[str, Any], *, drop: bool = False, forward: bool = True
    ) -> Outgoing:
        """A request on its way."""
        settings = settings_of(self.provider, json.dumps(dict(self.key)))
        key = settings.keys[0]
        body = {"model": f"{self.provider}/{self.model}", **asked}
        return Outgoing(
            json.dumps(body).encode(),
            None,
            upstream_model(key, self.model),
            forward,
            "",
            settings,
            key,
            stream=bool(asked.get("stream")),
            drop_unsupported=drop,
            now_s=NOW_S,
        )

    def prepared(self, *, drop: bool = False, forward: bool = True, **asked: Any) -> Prepared:
        """What is sent for a chat."""
        outgoing = self.outgoing({"messages": [USER], **asked}, drop=drop, forward=forward)
        return self.dialect.build(KIND_BY_TYPE["chat_completion"], outgoing)

    def sent(self, **asked: Any) -> dict[str, Any]:
        """Its body."""
        return json.loads(self.prepared(**asked).body)

    def refused(self, **asked: Any) -> str | None:
        """The field that a refusal names; None where nothing was refused."""
        try:
            self.prepared(**asked)
        except CannotCarry as refusal:
            assert refusal.param is not None
            assert refusal.param.partition("[")[0] in refusal.message
            return refusal.param
        return None

    def answer(self, said: Said, kind: str = "chat_completion", **asked: Any) -> dict[str, Any]:
        """What its reply comes to."""
        body = json.dumps(_REPLY[self.family](said)).encode()
        begun = {"input": "Who rides?"} if kind == "responses" else {"messages": [USER]}
        outgoing = self.outgoing({**begun, **asked})
        read = self.way(kind).dialect.read
        found = read(KIND_BY_TYPE[kind], outgoing, "application/json", body)
        assert isinstance(found, Answered), found
        assert found.usage is not None
        return json.loads(found.body)

    def error(self, status: int, words: str) -> Failure:
        """What an error of it says."""
        refusal = self.dialect.refusal or upstream_errors.refusal
        body = json.dumps(_ERROR[self.family](status, words)).encode()
        return refusal(status, "application/json", body)

    def streamed(
        self, pieces: Iterable[bytes], kind: str = "chat_completion", **asked: Any
    ) -> list[dict[str, Any]]:
        """The events that the client gets; the last one of a whole chat is `{}`, for `[DONE]`."""
        begun = {"input": "Who rides?"} if kind == "responses" else {"messages": [USER]}
        outgoing = self.outgoing({**begun, "stream": True, **asked})
        opened = self.way(kind).dialect.open_stream
        assert opened is not None
        stream = opened(KIND_BY_TYPE[kind], outgoing)
        told = b"".join([*(stream.feed(piece) for piece in pieces), stream.end()])
        return list(_events(told))

    def pieces(self, said: Said) -> list[bytes]:
        """Its stream, an event each."""
        return list(_STREAM[self.family](said))

    def garbled(self) -> bytes:
        """An event that nobody can read."""
        if self.family == "bedrock":
            headers = {":event-type": "contentBlockDelta", ":message-type": "event"}
            return message(headers, b'{"delta":')
        return b'event: content_block_delta\ndata: {"delta":\n\n'

    def calls_in(self, sent: dict[str, Any]) -> list[tuple[str, str, Any]]:
        """Id, name and arguments of the calls in a request."""
        return [found for block in _blocks(sent) if (found := _CALL[self.family](block))]

    def results_in(self, sent: dict[str, Any]) -> dict[str, str]:
        """The results in a request, as JSON, by the ids of their calls."""
        return dict(found for block in _blocks(sent) if (found := _RESULT[self.family](block)))


VENDORS: Final = (
    Vendor("claude", "anthropic", "claude-sonnet-4-5", "claude"),
    Vendor("newer-claude", "anthropic", "claude-opus-5", "claude"),
    Vendor("azure-claude", "azure", "claude-sonnet-4-5", "claude", _RESOURCE),
    Vendor("vertex-claude", "vertex", "claude-sonnet-4-5@20250929", "claude", _PLACE),
    Vendor("bedrock-claude", "bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock"),
    Vendor("bedrock-nova", "bedrock", "us.amazon.nova-2-lite-v1:0", "bedrock"),
    Vendor("cohere", "cohere", "command-a-03-2025", "cohere"),
    Vendor("gemini", "gemini", "gemini-2.5-flash", "gemini"),
    Vendor("newer-gemini", "gemini", "gemini-3-pro", "gemini"),
    Vendor("vertex-gemini", "vertex", "gemini-2.5-flash", "gemini", _PLACE),
)


def _events(told: bytes) -> Iterator[dict[str, Any]]:
    *events, rest = told.split(b"\n\n")
    assert rest == b""
    for each in events:
        data = each.rpartition(b"data: ")[2]
        yield {} if data == b"[DONE]" else json.loads(data)


def _blocks(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a request."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _blocks(each)


# Requests


def _bedrocks_call(block: dict[str, Any]) -> tuple[str, str, Any] | None:
    use = block.get("toolUse")
    return use and (use["toolUseId"], use["name"], use["input"])


def _claudes_call(block: dict[str, Any]) -> tuple[str, str, Any] | None:
    if block.get("type") != "tool_use":
        return None
    return block["id"], block["name"], block["input"]


def _coheres_call(block: dict[str, Any]) -> tuple[str, str, Any] | None:
    function = block.get("function")
    if "id" not in block or not function:
        return None
    return block["id"], function["name"], json.loads(function["arguments"])


def _geminis_call(block: dict[str, Any]) -> tuple[str, str, Any] | None:
    call = block.get("functionCall")
    return call and (call["id"], call["name"], call["args"])


_CALL: Final = {
    "bedrock": _bedrocks_call,
    "claude": _claudes_call,
    "cohere": _coheres_call,
    "gemini": _geminis_call,
}
_RESULT_AT: Final = {
    "bedrock": ("toolResult", "toolUseId", "content"),
    "gemini": ("functionResponse", "id", "response"),
}
_RESULT_BESIDE: Final = {
    "claude": ("tool_use_id", "content"),
    "cohere": ("tool_call_id", "content"),
}


def _result_in(family: str) -> Any:
    def found(block: dict[str, Any]) -> tuple[str, str] | None:
        if family in _RESULT_AT:
            member, call_id, content = _RESULT_AT[family]
            block = block.get(member, {})
        else:
            call_id, content = _RESULT_BESIDE[family]
        return (block[call_id], json.dumps(block.get(content))) if call_id in block else None

    return found


_RESULT: Final = {family: _result_in(family) for family in _CALL}


# Answers


def _claudes_blocks(said: Said) -> Iterator[dict[str, Any]]:
    if said.thought:
        yield {"type": "thinking", "thinking": said.thought, "signature": "c2VhbA=="}
    if said.text:
        yield {"type": "text", "text": said.text, "citations": None}
    for call_id, name, arguments in said.calls:
        yield {"type": "tool_use", "id": call_id, "name": name, "input": json.loads(arguments)}


def _claudes(said: Said) -> dict[str, Any]:
    words = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
    fresh, cached, written = said.usage
    usage = {
        "input_tokens": fresh,
        "cache_read_input_tokens": cached,
        "output_tokens": written,
    }
    return claude.message(*_claudes_blocks(said), stop=words[said.end], usage=usage)


def _claudes_stream(said: Said) -> Iterator[bytes]:
    return (claude.streamed([each]) for each in claude.events_of(_claudes(said)))


def _bedrocks_usage(said: Said) -> dict[str, int]:
    fresh, cached, written = said.usage
    return {
        "inputTokens": fresh,
        "cacheReadInputTokens": cached,
        "outputTokens": written,
        "totalTokens": sum(said.usage),
    }


_BEDROCKS_ENDS: Final = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}


def _bedrocks(said: Said) -> dict[str, Any]:
    thought = {"text": said.thought, "signature": "c2VhbA=="}
    content: list[dict[str, Any]] = []
    content += [{"reasoningContent": {"reasoningText": thought}}] if said.thought else []
    content += [{"text": said.text}] if said.text else []
    for call_id, name, arguments in said.calls:
        use = {"toolUseId": call_id, "name": name, "input": json.loads(arguments)}
        content.append({"toolUse": use})
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _BEDROCKS_ENDS[said.end],
        "usage": _bedrocks_usage(said),
    }


def _bedrocks_stream(said: Said) -> Iterator[bytes]:
    def delta(index: int, piece: dict[str, Any]) -> bytes:
        return event("contentBlockDelta", {"contentBlockIndex": index, "delta": piece})

    yield event("messageStart", {"role": "assistant"})
    if said.thought:
        yield delta(0, {"reasoningContent": {"text": said.thought}})
        yield delta(0, {"reasoningContent": {"signature": "c2VhbA=="}})
    if said.text:
        yield delta(1, {"text": said.text[:2]})
        yield delta(1, {"text": said.text[2:]})
    for index, (call_id, name, arguments) in enumerate(said.calls, 2):
        start = {"toolUse": {"toolUseId": call_id, "name": name}}
        yield event("contentBlockStart", {"contentBlockIndex": index, "start": start})
        if arguments != "{}":
            yield delta(index, {"toolUse": {"input": arguments}})
        yield event("contentBlockStop", {"contentBlockIndex": index})
    yield event("messageStop", {"stopReason": _BEDROCKS_ENDS[said.end]})
    yield event("metadata", {"usage": _bedrocks_usage(said)})


_COHERES_ENDS: Final = {"stop": "COMPLETE", "tool_calls": "TOOL_CALL", "length": "MAX_TOKENS"}


def _coheres_usage(said: Said) -> dict[str, Any]:
    fresh, cached, written = said.usage
    return {
        "tokens": {"input_tokens": fresh + cached, "output_tokens": written},
        "cached_tokens": cached,
    }


def _coheres(said: Said) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    content += [{"type": "thinking", "thinking": said.thought}] if said.thought else []
    content += [{"type": "text", "text": said.text}] if said.text else []
    calls = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in said.calls
    ]
    told = {"role": "assistant"} | ({"content": content} if content else {})
    return {
        "id": "c1",
        "finish_reason": _COHERES_ENDS[said.end],
        "message": told | ({"tool_calls": calls} if calls else {}),
        "usage": _coheres_usage(said),
    }


def _coheres_stream(said: Said) -> Iterator[bytes]:
    def told(kind: str, index: int = 0, **about: Any) -> bytes:
        whole = {"type": kind, "index": index, "delta": {"message": about}}
        return f"event: {kind}\ndata: {json.dumps(whole)}\n\n".encode()

    yield b'data: {"type": "message-start", "id": "c1"}\n\n'
    if said.thought:
        yield told("content-delta", content={"thinking": said.thought})
    if said.text:
        yield told("content-delta", 1, content={"text": said.text[:2]})
        yield told("content-delta", 1, content={"text": said.text[2:]})
    for index, (call_id, name, arguments) in enumerate(said.calls):
        function = {"name": name, "arguments": ""}
        start = {"id": call_id, "type": "function", "function": function}
        yield told("tool-call-start", index, tool_calls=start)
        if arguments != "{}":
            function = {"arguments": arguments}
            yield told("tool-call-delta", index, tool_calls={"function": function})
        yield told("tool-call-end", index)
    delta = {"finish_reason": _COHERES_ENDS[said.end], "usage": _coheres_usage(said)}
    yield f"data: {json.dumps({'type': 'message-end', 'delta': delta})}\n\n".encode()
    yield b"data: [DONE]\n\n"


def _geminis_parts(said: Said) -> Iterator[dict[str, Any]]:
    if said.thought:
        yield {"text": said.thought, "thought": True}
    if said.text:
        yield {"text": said.text}
    for position, (call_id, name, arguments) in enumerate(said.calls):
        part: dict[str, Any] = {
            "functionCall": {"id": call_id, "name": name, "args": json.loads(arguments)}
        }
        yield part | ({"thoughtSignature": "c2VhbA=="} if said.thought and not position else {})


def _gemini(said: Said, parts: list[dict[str, Any]], *, last: bool = True) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if last:
        candidate["finishReason"] = "MAX_TOKENS" if said.end == "length" else "STOP"
    fresh, cached, written = said.usage
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": fresh + cached,
            "cachedContentTokenCount": cached,
            "candidatesTokenCount": written,
            "totalTokenCount": sum(said.usage),
        },
    }


def _geminis(said: Said) -> dict[str, Any]:
    return _gemini(said, list(_geminis_parts(said)))


def _geminis_stream(said: Said) -> Iterator[bytes]:
    parts = list(_geminis_parts(said))
    for index, part in enumerate(parts):
        told = _gemini(said, [part], last=index + 1 == len(parts))
        yield f"data: {json.dumps(told)}\r\n\r\n".encode()


def _claudes_error(status: int, words: str) -> dict[str, Any]:
    kind = "rate_limit_error" if status == 429 else "invalid_request_error"
    return {"type": "error", "error": {"type": kind, "message": words}, "request_id": "r1"}


def _geminis_error(status: int, words: str) -> dict[str, Any]:
    kind = "RESOURCE_EXHAUSTED" if status == 429 else "INVALID_ARGUMENT"
    return {"error": {"code": status, "message": words, "status": kind}}


_ERROR: Final = {
    "bedrock": lambda _, words: {"message": words},
    "claude": _claudes_error,
    "cohere": lambda _, words: {"id": "r1", "message": words},
    "gemini": _geminis_error,
}
_REPLY: Final = {
    "bedrock": _bedrocks,
    "claude": _claudes,
    "cohere": _coheres,
    "gemini": _geminis,
}
_STREAM: Final = {
    "bedrock": _bedrocks_stream,
    "claude": _claudes_stream,
    "cohere": _coheres_stream,
    "gemini": _geminis_stream,
}
