"""A streamed answer on its way from the upstream to the caller."""

import json
import re
from collections.abc import AsyncIterator, Iterable
from typing import Final, NamedTuple

from hermod.calls.redact import Redactor
from hermod.domain.live import Live, Sink
from hermod.domain.outcome import Answer


class Stream(NamedTuple):
    """A reply that comes in pieces."""

    content_type: str
    pieces: AsyncIterator[bytes]


class Forwarded(NamedTuple):
    """What is known of a stream that was passed on."""

    size: int
    is_whole: bool
    """Whether its last event was there. The end of the bytes alone proves nothing."""


_LAST: Final = re.compile(
    rb'data: ?\[DONE\]|"finish_reason": ?"|"type": ?"(?:'
    rb"response\.(?:completed|incomplete|failed)|error|speech\.audio\.done"
    rb'|transcript\.text\.done|image_(?:generation|edit)\.completed)"'
)
"""What the last event of each kind of stream says; of some servers' chats, the last but one."""
_LONGEST_LAST: Final = 64
"""Bytes that such words may take."""


async def forward(stream: Stream, live: Live, sink: Sink, secrets: Iterable[str]) -> Forwarded:
    """Pass every piece on as it comes, without our secrets.

    Raises what the stream raises; what came before has been passed on.
    """
    redactor = Redactor(secrets)
    live.begun = True
    sink.begin(stream.content_type)
    size = 0
    is_whole = False
    tail = b""
    async for piece in stream.pieces:
        size += len(piece)
        if not is_whole:
            tail += piece
            is_whole = _LAST.search(tail) is not None
            tail = tail[-_LONGEST_LAST:]
        passed = redactor.feed(piece)
        if passed:
            await sink.write(passed)
    rest = redactor.rest()
    if rest:
        await sink.write(rest)
    return Forwarded(size, is_whole)


def streamed_answer(
    request_type: str, provider: str, model: str, *, latency_ms: int, size: int
) -> Answer:
    """What is kept of a streamed answer: that it was given. The caller has had the rest."""
    extra_fields = {
        "request_type": request_type,
        "provider": provider,
        "model_requested": model,
        "original_model_requested": model,
        "resolved_model_used": model,
        "latency": latency_ms,
        "chunk_index": 0,
    }
    whole = {"object": "stream", "bytes": size, "extra_fields": extra_fields}
    return Answer(json.dumps(whole, separators=(",", ":")).encode())
