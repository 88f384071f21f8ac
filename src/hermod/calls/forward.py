"""A streamed answer on its way from the upstream to the caller."""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, NamedTuple

from hermod.calls.redact import Redactor
from hermod.domain.live import Live, Sink
from hermod.domain.outcome import Answer
from hermod.domain.usage import Usage
from hermod.net.messages import NetError, Reason
from hermod.providers.usage import usage_in


class Stream(NamedTuple):
    """A reply that comes in pieces."""

    content_type: str
    pieces: AsyncIterator[bytes]


class Forwarded(NamedTuple):
    """What is known of a stream that was passed on."""

    size: int
    is_whole: bool
    """Whether its last event was there. The end of the bytes alone proves nothing."""
    failed: bool = False
    """Whether it said that the upstream failed. The caller has read that."""
    usage: Usage | None = None
    """What it said that it used."""


_LAST: Final = re.compile(
    rb'[\r\n]data: ?\[DONE\]|"finish_reason": ?"[^"]|"type": ?"(?:'
    rb"response\.(?:completed|incomplete)|speech\.audio\.done"
    rb'|transcript\.text\.done|image_(?:generation|edit)\.completed)"'
)
"""What the last event of each kind of stream says; of some servers' chats, the last but one. In a
model's own words every quote and every line end is escaped."""
_END: Final = re.compile(
    rb'[\r\n]data: ?\[DONE\]|"type": ?"(?:'
    rb"response\.(?:completed|incomplete)|speech\.audio\.done|transcript\.text\.done)\""
)
"""Those of them after which nothing comes that a caller could want."""
_ERROR: Final = re.compile(
    rb"[\r\n](?:event: ?error[\r\n]"
    rb'|data: ?\{ ?"(?:type": ?"error"|error": ?[{"]))'
    rb'|"type": ?"response\.failed"|"finish_reason": ?"error"'
)
"""How upstreams tell of a failure in a stream."""
_LONGEST: Final = 64
"""Bytes that such words may take."""
_AFTER_ERROR_S: Final = 1.0
"""How long a stream that told of its failure may go on: the rest of that, perhaps a usage."""
_USAGE_BYTES: Final = 4096
"""More than any usage takes."""
_USAGES: Final = 8
"""How many of the last are remembered: schemas of tools, which are repeated in answers, may have a
`usage` too."""
_object_at_the_start: Final = json.JSONDecoder().raw_decode


class _UsageFinder:
    """Keeps what may be the usage of a stream in OpenAI's form; nothing is parsed until its end.

    Some upstreams tell it once, others in every chunk.
    """

    _starts: Final = re.compile(rb'"usage":\s?\{').finditer

    def __init__(self) -> None:
        self._last = bytearray()
        self._before: deque[bytes] = deque(maxlen=_USAGES)

    def feed(self, window: bytes, new: int) -> None:
        """A piece, behind the end of what came before it: its last `new` bytes were not seen."""
        if self._last and new and len(self._last) < _USAGE_BYTES:
            self._last += window[-new:][: _USAGE_BYTES - len(self._last)]
        if b'"usage"' not in window:
            return
        for start in self._starts(window):
            if start.end() > len(window) - new:
                self._before.append(bytes(self._last))
                self._last = bytearray(window[start.end() - 1 :][:_USAGE_BYTES])

    def usage(self) -> Usage | None:
        """The last usage that was told."""
        for raw in (bytes(self._last), *reversed(self._before)):
            try:
                told = _object_at_the_start(raw.decode("utf-8", "replace"))[0]
            except (ValueError, RecursionError):
                continue
            usage = usage_in(told)
            if usage is not None:
                return usage
        return None


async def forward(
    stream: Stream, live: Live, sink: Sink, secrets: Iterable[str], *, timeout_s: float
) -> Forwarded:
    """Pass every piece on as it comes, without our secrets.

    Raises what the stream raises, and NetError (TIMEOUT_TOTAL) when the caller has not taken all
    of it in time; what came before has been passed on.
    """
    redactor = Redactor(secrets)
    live.begun = True
    sink.begin(stream.content_type)
    size = 0
    is_whole = is_over = failed = False
    tail = b"\n"
    finder = _UsageFinder()
    try:
        async with asyncio.timeout(timeout_s) as limit:
            async for piece in stream.pieces:
                size += len(piece)
                tail += piece
                finder.feed(tail, len(piece))
                is_whole = is_whole or _LAST.search(tail) is not None
                is_over = is_over or (is_whole and _END.search(tail) is not None)
                if not failed and _ERROR.search(tail) is not None:
                    failed = True
                    _bring_forward(limit, _AFTER_ERROR_S)
                tail = tail[-_LONGEST:]
                passed = redactor.feed(piece)
                if passed:
                    await sink.write(passed)
                live.told_all = is_over or failed
            rest = redactor.rest()
            if rest:
                await sink.write(rest)
    except NetError:
        if not is_over:
            raise
    except TimeoutError:
        if failed:
            return Forwarded(size, is_whole, failed, finder.usage())
        detail = "the caller did not take the whole stream in time"
        raise NetError(Reason.TIMEOUT_TOTAL, detail, sent=True) from None
    return Forwarded(size, is_whole, failed, finder.usage())


def _bring_forward(limit: asyncio.Timeout, most_s: float) -> None:
    soon = asyncio.get_running_loop().time() + most_s
    ends = limit.when()
    limit.reschedule(soon if ends is None else min(ends, soon))


def streamed_answer(
    request_type: str,
    provider: str,
    model: str,
    *,
    latency_ms: int,
    forwarded: Forwarded,
    price: Callable[[Usage | None], int | None] | None = None,
) -> Answer:
    """What is kept of a streamed answer: that it was given. The caller has had the rest."""
    usage = forwarded.usage
    cost_usd_nanos = None if price is None else price(usage)
    extra_fields: dict[str, object] = {
        "request_type": request_type,
        "provider": provider,
        "model_requested": model,
        "original_model_requested": model,
        "resolved_model_used": model,
        "latency": latency_ms,
        "chunk_index": 0,
    }
    if cost_usd_nanos is not None:
        extra_fields["cost_usd_nanos"] = cost_usd_nanos
    whole = {"object": "stream", "bytes": forwarded.size, "extra_fields": extra_fields}
    body = json.dumps(whole, separators=(",", ":")).encode()
    return Answer(body, usage=usage, cost_usd_nanos=cost_usd_nanos)
