"""An OpenAI-shaped HTTP server for demos, tests and benchmarks (design.md section 2).

Raw protocol instead of a web framework: in a benchmark it shares a core with the load generator,
so a call must cost it next to nothing.

It answers OpenAI's routes for all kinds of request, Cohere's for rerank and Mistral's for OCR, and
streams where a request asks for that. Models of `providers/mock` behave as they do inside the
gateway; any other name gets the canned text, or its own text with `echo`. Every reply carries
`x-mock-finished-ns`, the CLOCK_MONOTONIC instant at which it was written (of a stream its head), so
that a process on the same machine can measure what came after; the `id` in the reply ends with the
same digits, and survives the way through a gateway.
"""

import asyncio
import hashlib
import math
import random
import re
import signal
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from typing import Final, NamedTuple, cast

import httptools
import msgspec
import uvloop

from hermod.domain.clock import Clock
from hermod.domain.fingerprint import fingerprint
from hermod.providers.mock import mock
from hermod.providers.mock import request as mock_request
from hermod.providers.mock.request import Asked, Unreadable
from hermod.providers.mock.shapes import Saying

_KINDS: Final = {
    "/v1/chat/completions": mock_request.CHAT,
    "/v1/completions": mock_request.TEXT,
    "/v1/responses": mock_request.RESPONSES,
    "/v1/embeddings": mock_request.EMBEDDING,
    "/v1/audio/speech": mock_request.SPEECH,
    "/v1/audio/transcriptions": mock_request.TRANSCRIPTION,
    "/v1/images/generations": mock_request.IMAGE_GENERATION,
    "/v1/images/edits": mock_request.IMAGE_EDIT,
    "/v1/images/variations": mock_request.IMAGE_VARIATION,
    "/v1/rerank": mock_request.RERANK,
    "/v2/rerank": mock_request.RERANK,
    "/v1/ocr": mock_request.OCR,
}
_FORMS: Final = frozenset(filter(mock_request.is_form, mock_request.KINDS))
_PREPARED: Final = frozenset({mock_request.CHAT, mock_request.TEXT, mock_request.RESPONSES})
"""Kinds whose canned reply is the same for every request."""
_CANNED: Final = (
    "Hermod rode nine nights through valleys so deep and dark that he saw nothing, until he came "
    "to the river Gjoll and rode over its bridge, which is roofed with shining gold. "
) * 7
"""With the shape around it, a reply of 1.4 KB."""
_STAMP: Final = "mock-finished-at--ns"
"""Where the instant goes in a prepared reply. As long as the instant, so that sizes are known."""
_STAMP_FORMAT: Final = b"%020d"
_NONCE: Final = re.compile(r"nonce:([\w-]+)")
_MAX_BODY: Final = 256 * 1024 * 1024
_MAX_TRACKED: Final = 100_000
"""Request ids whose attempts are counted; the oldest are forgotten."""
_MAX_CANNED: Final = 256
"""Prepared replies, one per route and model."""
_MAX_PIPELINED: Final = 16
_Z99: Final = 2.3263478740408408
"""The 99th percentile of the normal distribution."""

Draw = Callable[[random.Random], float]


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """How the mock behaves. Rates are shares of all calls, from 0 to 1."""

    latency: str = "50"
    """Milliseconds, or `lognormal:<median>,<99th percentile>` in milliseconds."""
    error_rate: float = 0.0
    """Answered 500."""
    rate_limit_rate: float = 0.0
    """Answered 429 with `Retry-After: 1`."""
    reply_bytes: int = 0
    """Size of the canned text, of an audio and of an image; 0 for a reply of 1.4 KB."""
    echo: bool = False
    record: Path | None = None
    """Append one line of JSON per received call, and one when it ends: with the fingerprint of the
    answer, or null if it did not arrive whole."""
    seed: int = 0


def latency(spec: str) -> Draw:
    """What draws a latency in seconds. Raises ValueError if `spec` is none."""
    if not spec.startswith("lognormal:"):
        fixed_s = _milliseconds(spec)
        return lambda _: fixed_s
    p50_s, p99_s = map(_milliseconds, spec.removeprefix("lognormal:").split(","))
    if not 0 < p50_s <= p99_s:
        raise ValueError("the median must be above 0 and not above the 99th percentile")
    mu, sigma = math.log(p50_s), math.log(p99_s / p50_s) / _Z99
    return lambda dice: dice.lognormvariate(mu, sigma)


def _milliseconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 86_400_000:
        raise ValueError("a latency is a number of milliseconds from 0 to a day")
    return value / 1000


class _Head(msgspec.Struct):
    """The fields that decide how a call is answered."""

    model: str = ""
    stream: bool | None = None


_decode_head: Final = msgspec.json.Decoder(_Head).decode


class _Call(NamedTuple):
    method: bytes
    path: str
    request_id: str
    content_type: bytes
    body: bytes
    keep_alive: bool


class _Planned(NamedTuple):
    delay_s: float
    status: int
    parts: list[bytes]
    """The whole reply, cut where the instant of its writing goes; of a stream its head."""
    says_when: bool = False
    """Whether it tells its caller when to come again."""
    flow: mock.MockReply | None = None
    """A stream, or a reply whose connection ends before it does."""


class MockUpstream:
    """The server. `start`, `stop` and everything between on one event loop."""

    def __init__(self, settings: UpstreamSettings, clock: Clock) -> None:
        """Raises ValueError for a wrong latency and OSError if the record cannot be written."""
        self._settings = settings
        self._clock = clock
        self._dice = random.Random(settings.seed)  # noqa: S311 - dice, not secrets
        self._latency = latency(settings.latency)
        size = settings.reply_bytes or len(_CANNED)
        self._text = _CANNED.ljust(size, ".")[:size]
        self._canned: dict[tuple[str, str], _Planned] = {}
        self._attempts: OrderedDict[str, int] = OrderedDict()
        self._answered: Counter[tuple[str, int]] = Counter()
        self._in_flight = 0
        self._max_in_flight = 0
        self._abandoned = 0
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._record: BufferedWriter | None = (
            settings.record.open("ab") if settings.record else None
        )
        self._flush_planned = False

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port (`port` 0 takes a free one). Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, loop), host, port, backlog=4096
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close every connection and the record."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        if self._record is not None:
            self._record.close()
            self._record = None

    def plan(self, call: _Call) -> _Planned:
        """Decide the reply to a call; record it."""
        kind = _KINDS.get(call.path)
        if kind is None:
            return self._plan_other(call)
        if call.method != b"POST":
            return _planned(mock.error(405, "Use POST."))
        try:
            head = _decode_head(call.body) if kind not in _FORMS else _form_head(call)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as wrong:
            model = ""
            planned = _planned(mock.error(400, f"We could not parse the JSON body: {wrong}"))
        except Unreadable as wrong:
            model = ""
            planned = _planned(mock.error(400, str(wrong)))
        else:
            model = head.model
            planned = self._plan_inference(kind, head, call)
        if self._record is not None:
            self._write(self._record, _record_line(kind, model, call, planned))
        return planned

    def _plan_inference(self, kind: str, head: _Head, call: _Call) -> _Planned:
        delay_s = self._latency(self._dice)
        refused = self._refusal()
        if refused is not None:
            return _planned(refused, delay_s)
        if mock.is_model(head.model):
            return _planned(self._behave(kind, head.model, call), delay_s)
        if self._settings.echo or head.stream or kind not in _PREPARED:
            return _planned(self._answer(kind, head.model, call), delay_s)
        known = self._canned.get((kind, head.model))
        if known is None:
            known = _planned(self._canned_reply(kind, head.model))
            if len(self._canned) < _MAX_CANNED:
                self._canned[kind, head.model] = known
        return known._replace(delay_s=delay_s)

    def _refusal(self) -> mock.MockReply | None:
        error_rate, limit_rate = self._settings.error_rate, self._settings.rate_limit_rate
        if error_rate or limit_rate:
            draw = self._dice.random()
            if draw < error_rate:
                return mock.error(500, "The mock failed, as it was told to.")
            if draw < error_rate + limit_rate:
                message = "Rate limit reached, as the mock was told to."
                return mock.error(429, message, headers=(("retry-after", "1"),))
        return None

    def _behave(self, kind: str, model: str, call: _Call) -> mock.MockReply:
        # The gateway writes `<job>/<attempt>`.
        job_id = call.request_id.partition("/")[0] or hashlib.sha256(call.body).hexdigest()
        attempt = self._attempts.pop(job_id, 0) + 1
        self._attempts[job_id] = attempt
        if len(self._attempts) > _MAX_TRACKED:
            self._attempts.popitem(last=False)
        return mock.reply(
            kind,
            model,
            call.body,
            content_type=call.content_type.decode("latin-1"),
            attempt=attempt,
            job_id=job_id,
            now_at=self._clock.now(),
        )

    def _answer(self, kind: str, model: str, call: _Call) -> mock.MockReply:
        """The text that came, or the canned one for this very request."""
        echo, size = self._settings.echo, self._settings.reply_bytes or None
        try:
            asked = mock_request.read(kind, call.body, call.content_type.decode("latin-1"))
            if echo:
                texts: Sequence[str] = asked.told() or ("",)
            else:
                texts = [self._text] * (len(asked.texts) if kind == mock_request.TEXT else 1)
            now_at = self._clock.now()
            return mock.say(
                Saying(kind, model, asked, texts, _STAMP, now_at, size=size, verbatim=echo)
            )
        except Unreadable as wrong:
            return mock.error(400, str(wrong))

    def _canned_reply(self, kind: str, model: str) -> mock.MockReply:
        asked = Asked((self._text[:200],))
        return mock.say(Saying(kind, model, asked, [self._text], _STAMP, self._clock.now()))

    def _plan_other(self, call: _Call) -> _Planned:
        if call.path == "/health":
            return _planned(mock.success(b'{"status":"ok"}'))
        if call.path == "/stats":
            return _planned(mock.success(msgspec.json.encode(self.stats())))
        if call.path == "/v1/models":
            models = [
                {"id": name, "object": "model", "created": 0, "owned_by": "hermod-mock"}
                for name in mock.models()
            ]
            return _planned(mock.success(msgspec.json.encode({"object": "list", "data": models})))
        return _planned(mock.error(404, f"Unknown path {call.path}"))

    def _write(self, record: BufferedWriter, line: bytes) -> None:
        record.write(line)
        # One system call for all the calls of this turn of the loop, and none is left unwritten
        # when a signal ends us between turns.
        if not self._flush_planned:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_planned = False
        if self._record is not None:
            self._record.flush()

    def stats(self) -> dict[str, object]:
        """Inference calls answered, in flight now and at most, and given up by their callers."""
        calls: dict[str, dict[str, int]] = {}
        for (path, status), count in sorted(self._answered.items()):
            calls.setdefault(path, {})[str(status)] = count
        return {
            "calls": calls,
            "in_flight": self._in_flight,
            "max_in_flight": self._max_in_flight,
            "abandoned": self._abandoned,
        }

    # What connections report

    def opened(self, connection: "_Connection") -> None:
        """A client connected."""
        self._connections.add(connection)

    def closed(self, connection: "_Connection") -> None:
        """A client is gone."""
        self._connections.discard(connection)

    def begun(self, path: str) -> None:
        """A call waits for its reply."""
        if path in _KINDS:
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)

    def ended(self, call: _Call, status: int | None, whole: bytes = b"") -> None:
        """A whole reply was written; or, with status None, its caller went away first."""
        if call.path not in _KINDS:
            return
        self._in_flight -= 1
        if status is None:
            self._abandoned += 1
        else:
            self._answered[call.path, status] += 1
        if self._record is not None:
            self._write(self._record, _end_line(call, whole))


class _Connection(asyncio.Protocol):
    """One client: calls are answered in the order they came."""

    def __init__(self, upstream: MockUpstream, loop: asyncio.AbstractEventLoop) -> None:
        self._upstream = upstream
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._current: _Call | None = None
        self._queue: deque[_Call] = deque()
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._upstream.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.closed(self)
        self._transport = None
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if self._current is not None:
                self._upstream.ended(self._current, None)

    def abort(self) -> None:
        """Drop the client."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort()

    # What the parser reports

    def on_message_begin(self) -> None:
        """A request starts."""
        self._url = b""
        self._request_id = ""
        self._content_type = b""
        self._chunks: list[bytes] = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        """Part of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        size = len(name)
        if size == 19:
            if name.lower() == b"x-client-request-id":
                self._request_id = value.decode("latin-1")
        elif size == 12:
            if name.lower() == b"content-type":
                self._content_type = value
        elif size == 6 and name.lower() == b"expect" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        self._size += len(body)
        if self._size > _MAX_BODY:
            self.abort()
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        call = _Call(
            self._parser.get_method(),
            self._url.partition(b"?")[0].decode("latin-1"),
            self._request_id,
            self._content_type,
            b"".join(self._chunks),
            self._parser.should_keep_alive(),
        )
        self._chunks = []
        if self._timer is None:
            self._begin(call)
        elif len(self._queue) < _MAX_PIPELINED:
            self._queue.append(call)
        else:
            self.abort()

    def _begin(self, call: _Call) -> None:
        planned = self._upstream.plan(call)
        self._current = call
        self._upstream.begun(call.path)
        if planned.delay_s > 0:
            self._timer = self._loop.call_later(planned.delay_s, self._end, call, planned)
        else:
            self._end(call, planned)

    def _end(self, call: _Call, planned: _Planned) -> None:
        self._timer = None
        if self._transport is None:
            self._upstream.ended(call, None)
            return
        stamp = _STAMP_FORMAT % time.monotonic_ns()
        whole = stamp.join(planned.parts)
        if planned.flow is not None:
            self._transport.write(whole)
            self._pour(call, planned.flow, stamp, 0)
            return
        self._upstream.ended(call, planned.status, whole)
        self._transport.write(whole)
        self._go_on(call.keep_alive)

    def _pour(self, call: _Call, flow: mock.MockReply, stamp: bytes, done: int) -> None:
        """Write the pieces of a stream from number `done` on, up to its next pause."""
        self._timer = None
        if self._transport is None:
            self._upstream.ended(call, None)
            return
        until = done + 1 if flow.pause_s > 0 else len(flow.pieces)
        for piece in flow.pieces[done:until]:
            piece = piece.replace(_STAMP.encode(), stamp)
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if until < len(flow.pieces):
            self._timer = self._loop.call_later(flow.pause_s, self._pour, call, flow, stamp, until)
            return
        if flow.cut:
            self._queue.clear()
            self._upstream.ended(call, flow.status)
        else:
            self._transport.write(b"0\r\n\r\n")
            body = b"".join(flow.pieces).replace(_STAMP.encode(), stamp)
            self._upstream.ended(call, flow.status, b"\r\n\r\n" + body)
        self._go_on(call.keep_alive and not flow.cut)

    def _go_on(self, keep_alive: bool) -> None:
        if self._transport is None:
            return
        if not keep_alive:
            self._transport.close()
        elif self._queue:
            self._begin(self._queue.popleft())


def _form_head(call: _Call) -> _Head:
    """Of a form. Raises Unreadable."""
    fields, _ = mock_request.read_multipart(call.body, call.content_type.decode("latin-1"))
    return _Head(fields.get("model", ""))


def _record_line(kind: str, model: str, call: _Call, planned: _Planned) -> bytes:
    try:
        prompt = "\n".join(
            mock_request.read(kind, call.body, call.content_type.decode("latin-1")).told()
        )
    except Unreadable:
        prompt = call.body.decode("utf-8", "replace")
    nonce = _NONCE.search(prompt)
    line = {
        "ns": time.monotonic_ns(),
        "path": call.path,
        "model": model,
        "request_id": call.request_id or None,
        "prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest(),
        "nonce": nonce[1] if nonce else None,
        "status": planned.status,
        "says_when": planned.says_when,
    }
    return msgspec.json.encode(line) + b"\n"


def _end_line(call: _Call, whole: bytes) -> bytes:
    body = whole.partition(b"\r\n\r\n")[2]
    line = {
        "ns": time.monotonic_ns(),
        "request_id": call.request_id or None,
        "answer": _fingerprint(body) if whole else None,
    }
    return msgspec.json.encode(line) + b"\n"


def _fingerprint(body: bytes) -> str:
    """Of the JSON value; of what is none, or no proper one, the digest of its bytes."""
    try:
        return fingerprint(msgspec.json.decode(body))
    except (ValueError, RecursionError):
        return hashlib.sha256(body).hexdigest()[:16]


def _planned(reply: mock.MockReply, delay_s: float = 0.0) -> _Planned:
    """The bytes of a reply that leaves after the longer of the two delays."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    framing = f"content-length: {len(reply.body)}"
    flow = None
    if reply.pieces or reply.cut:
        flow = reply
        # Twice the half that is left of a reply that will be cut.
        framing = f"content-length: {2 * len(reply.body)}"
        if reply.pieces:
            framing = "transfer-encoding: chunked"
    head = (
        f"HTTP/1.1 {reply.status} {_reason(reply.status)}\r\n{headers}"
        f"x-mock-finished-ns: {_STAMP}\r\n{framing}\r\n\r\n"
    )
    parts = (head.encode("latin-1") + reply.body).split(_STAMP.encode())
    says_when = any(name == "retry-after" for name, _ in reply.headers)
    return _Planned(max(delay_s, reply.delay_s), reply.status, parts, says_when, flow)


def _reason(status: int) -> str:
    return "OK" if status == 200 else "Mock"


def run(
    settings: UpstreamSettings, host: str, port: int, clock: Clock, ready: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT. `ready` gets the address once the port is open.

    Raises ValueError for a wrong setting and OSError if the port or the record cannot be opened.
    """
    uvloop.run(_serve(MockUpstream(settings, clock), host, port, ready))


async def _serve(
    upstream: MockUpstream, host: str, port: int, ready: Callable[[str], None]
) -> None:
    loop = asyncio.get_running_loop()
    told_to_stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, told_to_stop.set)
    try:
        bound = await upstream.start(host, port)
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{bound}")
        await told_to_stop.wait()
    finally:
        await upstream.stop()
