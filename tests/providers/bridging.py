"""The bridges, as a caller of dialects uses them, and OpenAI's own types, which judge them."""

import json
from functools import cache
from typing import Any

from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from hermod.domain.failure import Failure
from hermod.kinds import sse
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Answered, Dialect, Outgoing, Prepared, StreamTranslator
from hermod.providers.bridge.bridge import chat_over_responses, completions_over, responses_over
from hermod.providers.openai_shaped import DIALECT

RESPONSES = KIND_BY_TYPE["responses"]
CHAT = KIND_BY_TYPE["chat_completion"]
TEXT = KIND_BY_TYPE["text_completion"]
OVER_CHAT = responses_over(DIALECT)
TEXTS_OVER_CHAT = completions_over(DIALECT)
OVER_RESPONSES = chat_over_responses(DIALECT)
KIND_OF = {OVER_CHAT.name: RESPONSES, TEXTS_OVER_CHAT.name: TEXT, OVER_RESPONSES.name: CHAT}
NOW_S = 1_790_000_000

Json = dict[str, Any]


def outgoing(asked: Json, *, stream: bool = False, drop: bool = False) -> Outgoing:
    """A request on its way to the model `upstream-model`."""
    return Outgoing(
        json.dumps({"model": "some/model", **asked}).encode(),
        None,
        "upstream-model",
        forward_unknown=True,
        boundary="",
        stream=stream,
        drop_unsupported=drop,
        now_s=NOW_S,
    )


def prepared(bridge: Dialect, asked: Json, *, stream: bool = False, drop: bool = False) -> Prepared:
    """What goes to the upstream."""
    return bridge.build(KIND_OF[bridge.name], outgoing(asked, stream=stream, drop=drop))


def sent(bridge: Dialect, asked: Json, *, stream: bool = False, drop: bool = False) -> Json:
    """Its body."""
    return json.loads(prepared(bridge, asked, stream=stream, drop=drop).body)


def read(bridge: Dialect, asked: Json, reply: Json | bytes) -> Answered | Failure:
    """What a reply comes to."""
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    return bridge.read(KIND_OF[bridge.name], outgoing(asked), "application/json", body)


def answer(bridge: Dialect, asked: Json, reply: Json) -> Json:
    """The answer that a reply is."""
    found = read(bridge, asked, reply)
    assert isinstance(found, Answered), found
    return json.loads(found.body)


def opened(bridge: Dialect, asked: Json) -> StreamTranslator:
    """A translator of the upstream's stream."""
    assert bridge.open_stream is not None
    return bridge.open_stream(KIND_OF[bridge.name], outgoing(asked, stream=True))


def streamed(bridge: Dialect, asked: Json, stream: bytes, size: int = 1 << 20) -> bytes:
    """The bytes that a stream becomes which comes in pieces of `size`."""
    translator = opened(bridge, asked)
    starts = range(0, len(stream), size)
    pieces = [translator.feed(stream[start : start + size]) for start in starts]
    return b"".join(pieces) + translator.end()


def told(bridge: Dialect, asked: Json, *chunks: Json, done: bool = True) -> list[Json]:
    """The events that these chunks become, but for `[DONE]`."""
    out = streamed(bridge, asked, lines(*chunks, done=done))
    events = sse.Reader().feed(out)
    return [json.loads(event.data) for event in events if event.data != b"[DONE]"]


def lines(*chunks: Json, done: bool = True) -> bytes:
    """A stream as OpenAI writes it."""
    text = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)
    return text + b"data: [DONE]\n\n" if done else text


def chunk(delta: Json, finish_reason: str | None = None, **more: Any) -> Json:
    """A chunk of a chat."""
    return {
        "id": "chatcmpl-77",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "upstream-model",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        **more,
    }


def chat(message: Json, finish_reason: str = "stop", **more: Any) -> Json:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", **message}}
    return {
        "id": "chatcmpl-77",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "upstream-model",
        "choices": [{**choice, "finish_reason": finish_reason}],
        **more,
    }


@cache
def strict(kind: Any) -> TypeAdapter[Any]:
    """OpenAI's own type, which takes nothing that is not as it says."""
    return TypeAdapter(kind)


def judge(kind: Any, value: Any) -> None:
    """Validate all of it: pydantic looks into an Iterable only when somebody takes from it."""
    _exhaust(strict(kind).validate_python(value))


def _exhaust(value: Any) -> None:
    if isinstance(value, dict):
        value = value.values()
    if not isinstance(value, str | bytes) and hasattr(value, "__iter__"):
        for each in value:
            _exhaust(each)


def is_response(members: Json) -> Response:
    """Judged by OpenAI's SDK."""
    return strict(Response).validate_json(json.dumps(members))


def is_event(members: Json) -> Any:
    """The same, of an event of a response."""
    return strict(ResponseStreamEvent).validate_json(json.dumps(members))


def is_chat(members: Json) -> ChatCompletion:
    """The same, of a chat completion."""
    return strict(ChatCompletion).validate_json(json.dumps(members))


def is_chunk(members: Json) -> ChatCompletionChunk:
    """The same, of a piece of one."""
    return strict(ChatCompletionChunk).validate_json(json.dumps(members))


def is_completion(members: Json) -> Completion:
    """The same, of a text completion."""
    return strict(Completion).validate_json(json.dumps(members))
