"""What each family's streams look like: the same answer in everybody's words."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tests.faults.families import Asked, Behaviour
from tests.net.upstream import LAST_CHUNK, Peer, chunk
from tests.providers.eventstreams import event, exception

PIECES: Final = ("Hermóðr ", "🐎 ", "rides.")
SAID: Final = "".join(PIECES)
_SSE: Final = b"text/event-stream"
_LONG: Final = b"x" * 1_000_000


class Told(NamedTuple):
    """A streamed answer."""

    provider: str
    model: str
    label: bytes
    events: tuple[bytes, ...]
    error: bytes
    """How the upstream tells of a failure in a stream."""
    garbage: bytes
    """No event of it."""
    never_ending: bytes
    """The beginning of an event whose end never comes."""


def _sse(name: str | None, value: Any) -> bytes:
    named = b"" if name is None else b"event: %b\n" % name.encode()
    return b"%bdata: %b\n\n" % (named, json.dumps(value, ensure_ascii=False).encode())


def _claude(kind: str, **members: Any) -> bytes:
    return _sse(kind, {"type": kind, **members})


def _anthropic() -> Told:
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [], "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 1},
    }  # fmt: skip
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    return Told(
        "anthropic",
        "claude-sonnet-4-5",
        _SSE,
        (
            _claude("message_start", message=message),
            _claude("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            *(
                _claude("content_block_delta", index=0, delta={"type": "text_delta", "text": each})
                for each in PIECES
            ),
            _claude("content_block_stop", index=0),
            _claude("message_delta", delta=ended, usage={"output_tokens": 15}),
            _claude("message_stop"),
        ),
        _claude("error", error={"type": "overloaded_error", "message": "Overloaded"}),
        b"event: content_block_delta\ndata: {nonsense\n\n",
        b"event: ping\ndata: ",
    )


def _gemini(provider: str) -> Told:
    def told(said: str, **more: Any) -> bytes:
        content = {"role": "model", "parts": [{"text": said}]}
        usage = {"promptTokenCount": 25, "candidatesTokenCount": 15, "totalTokenCount": 40}
        whole = {"candidates": [{"content": content, "index": 0, **more}], "usageMetadata": usage}
        return _sse(None, {**whole, "responseId": "r1", "modelVersion": "gemini-3.8-flash"})

    *most, last = PIECES
    error = {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}
    return Told(
        provider,
        "gemini-3.8-flash",
        _SSE,
        (*map(told, most), told(last, finishReason="STOP")),
        _sse(None, {"error": error}),
        b"data: {nonsense\n\n",
        b"data: ",
    )


def _bedrock() -> Told:
    usage = {"inputTokens": 25, "outputTokens": 15, "totalTokens": 40}
    return Told(
        "bedrock",
        "us.amazon.nova-lite-v1:0",
        b"application/vnd.amazon.eventstream",
        (
            event("messageStart", {"role": "assistant"}),
            *(
                event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": each}})
                for each in PIECES
            ),
            event("contentBlockStop", {"contentBlockIndex": 0}),
            event("messageStop", {"stopReason": "end_turn"}),
            event("metadata", {"usage": usage, "metrics": {"latencyMs": 3}}),
        ),
        exception("throttlingException", {"message": "Overloaded"}),
        b"this is no frame of an event stream, whatever one may think of it",
        b"",
    )


def _cohere() -> Told:
    def told(kind: str, **delta: Any) -> bytes:
        return _sse(kind, {"type": kind, "index": 0, "delta": delta})

    tokens = {"input_tokens": 25, "output_tokens": 15}
    return Told(
        "cohere",
        "command-a-03-2025",
        _SSE,
        (
            told("message-start", message={"role": "assistant", "content": []}),
            told("content-start", message={"content": {"type": "text", "text": ""}}),
            *(told("content-delta", message={"content": {"text": each}}) for each in PIECES),
            told("content-end"),
            told("message-end", finish_reason="COMPLETE", usage={"tokens": tokens}),
        ),
        told("message-end", finish_reason="ERROR", error="Overloaded"),
        b"data: {nonsense\n\n",
        b"data: ",
    )


def _mistral() -> Told:
    def told(delta: Mapping[str, Any], reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return _sse(None, {**head, "choices": [choice], **more})

    usage = {"prompt_tokens": 25, "completion_tokens": 15, "total_tokens": 40}
    return Told(
        "mistral",
        "m",
        _SSE,
        (
            told({"role": "assistant", "content": ""}),
            *(told({"content": each}) for each in PIECES),
            told({}, "stop", usage=usage),
            b"data: [DONE]\n\n",
        ),
        _sse(None, {"error": {"message": "Overloaded", "type": "server_error"}}),
        b"data: {nonsense\n\n",
        b"data: ",
    )


STREAMS: Final[Mapping[str, Told]] = {
    told.provider: told
    for told in (
        _anthropic(), _gemini("gemini"), _gemini("vertex"), _bedrock(), _cohere(), _mistral(),
    )
}  # fmt: skip


def _told_to(asked: Asked) -> Told:
    return STREAMS[asked.case.family]


async def _begin(peer: Peer, asked: Asked) -> Told:
    told = _told_to(asked)
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n" % told.label)
    await peer.send(b"Transfer-Encoding: chunked\r\n\r\n")
    return told


async def _half(peer: Peer, asked: Asked) -> Told:
    """The events up to the first piece of the text."""
    told = await _begin(peer, asked)
    at = next(n for n, each in enumerate(told.events) if b"Herm" in each)
    await peer.send(chunk(b"".join(told.events[: at + 1])))
    return told


async def whole(peer: Peer, asked: Asked) -> None:
    """A behaviour: everything, in one piece."""
    told = await _begin(peer, asked)
    await peer.send(chunk(b"".join(told.events)) + LAST_CHUNK)


async def lingering(peer: Peer, asked: Asked) -> None:
    """A behaviour: everything, but the connection stays in the midst of the reply."""
    told = await _begin(peer, asked)
    await peer.send(chunk(b"".join(told.events)))
    await peer.until_closed()


async def bit_by_bit(peer: Peer, asked: Asked) -> None:
    """A behaviour: everything, in pieces that cut characters and events in two."""
    told = await _begin(peer, asked)
    data = b"".join(told.events)
    for at in range(0, len(data), 7):
        await peer.send(chunk(data[at : at + 7]))
        await asyncio.sleep(0)
    await peer.send(LAST_CHUNK)


async def torn(peer: Peer, asked: Asked) -> None:
    """A behaviour: the connection ends half-way."""
    await _half(peer, asked)
    peer.reset()


async def short(peer: Peer, asked: Asked) -> None:
    """A behaviour: the stream ends half-way as if that were all."""
    await _half(peer, asked)
    await peer.send(LAST_CHUNK)


async def erring(peer: Peer, asked: Asked) -> None:
    """A behaviour: half-way the upstream tells that it has failed."""
    told = await _half(peer, asked)
    await peer.send(chunk(told.error) + LAST_CHUNK)


async def babbling(peer: Peer, asked: Asked) -> None:
    """A behaviour: half-way comes what is no event, and then nothing."""
    told = await _half(peer, asked)
    await peer.send(chunk(told.garbage) + LAST_CHUNK)


async def swelling(peer: Peer, asked: Asked) -> None:
    """A behaviour: half-way begins an event that never ends."""
    told = await _half(peer, asked)
    await peer.send(chunk(told.never_ending or b"\x7f\xff\xff\xff"))
    await peer.send_forever(chunk(_LONG))


async def staying(peer: Peer, asked: Asked) -> None:
    """A behaviour: half-way nothing comes any more."""
    await _half(peer, asked)
    await peer.until_closed()


BROKEN: Final[Mapping[str, Behaviour]] = {
    "torn": torn,
    "short": short,
    "erring": erring,
    "babbling": babbling,
    "swelling": swelling,
}
"""After half of the text."""
