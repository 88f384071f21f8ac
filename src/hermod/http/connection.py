"""One client connection: what has arrived, what we owe, and how long that has lasted.

llhttp parses (through httptools); here request heads are judged (guard.py), requests answered in
their order, and a client that is slow in any of the ways of reliability.md 3 is answered 408 or
cut off by `check`, which the server calls for every connection a few times per second. So a
request costs a few readings of the loop's clock and no timer.
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Any, Final, Literal, cast

import httptools

from hermod.domain.errors import Refused, bad_request
from hermod.domain.failure import Failure
from hermod.http.asgi import App
from hermod.http.exchange import Exchange
from hermod.http.flow import Flow
from hermod.http.guard import Limits, check_headers, read_target, refusal

logger = logging.getLogger(__name__)

Phase = Literal["new", "head", "body", "handling", "idle", "closing"]
"""What the client is to do: ask something, send the rest of a head, send the rest of a body, wait
for us, ask again or not, go away."""

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_HIGH_WATER: Final = 65536
"""Bytes of a body waiting for its handler at which no more is read."""
_TOLD_TO_RETRY: Final = 64
"""Connections above the limit that are answered 503; further ones are dropped unanswered."""


class Shared:
    """What the connections of a server share."""

    def __init__(self, app: App, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.common_headers = b""
        """Header lines of every response."""
        self.draining = False
        self.emptied = asyncio.Event()
        """Set when the last connection is lost."""


class Connection(asyncio.Protocol):
    """An HTTP/1.1 connection."""

    transport: asyncio.Transport
    flow: Flow

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.shared = shared
        self.limits = shared.limits
        self.parser = _parser(self)
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.phase: Phase = "new"
        self.since = loop.time()
        """When the phase began."""
        self.current: Exchange | None = None
        """The one being answered."""
        self.incoming: Exchange | None = None
        """The one whose body is arriving."""
        self.waiting: deque[Exchange | Refused] = deque()
        """What is to be answered after `current` (pipelining)."""
        self.piece = 0
        """Size of the piece of input being parsed."""
        self.is_split = False
        """The present request did not come in one piece."""
        self.pending = 0
        """Bytes of pieces that were nothing but a part of its head, or of its trailers."""
        self.received = 0
        """Bytes of the present body, or of what is discarded before closing."""
        self.mark = 0
        """What `received` was at `since`."""
        self.sent = 0
        self.taken = 0
        self.taken_at = self.since
        """How much of `sent` the client had taken at the last check, and since when."""

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connections = self.shared.connections
        connections.add(self)
        self.transport = cast("asyncio.Transport", transport)
        self.flow = Flow(self.transport)
        self.client = _address(transport.get_extra_info("peername"))
        self.server = _address(transport.get_extra_info("sockname"))
        excess = len(connections) - self.limits.max_connections
        if self.shared.draining or excess > _TOLD_TO_RETRY:
            self.transport.abort()
        elif excess > 0:
            failure = Failure("too many connections; try again", status_code=503)
            self._refuse(Refused(failure, retry_after_s=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self.shared.connections.discard(self)
        self.flow.resume_writing()
        for exchange in (self.current, self.incoming):
            if exchange is not None:
                exchange.disconnect()
        self.waiting.clear()
        if not self.shared.connections:
            self.shared.emptied.set()

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self.phase == "closing":
            self.received += len(data)
            return
        headers, received = self.headers, self.received
        self.piece = len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._refuse(_reason(error))
            return
        if self.phase not in {"head", "body"}:
            return
        self.is_split = True
        if self.headers is not headers or self.received != received:
            self.pending = 0
            return
        self.pending += len(data)
        if self.pending > self.limits.url_bytes + self.limits.header_bytes:
            self._refuse(Refused(Failure("request headers are too large", status_code=431)))

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                # The parser stops behind the head of a request that offers another protocol (h2c,
                # websocket). A server may decline by not noticing (RFC 9110 7.8): once more
                # without the offer, and on with what follows.
                version = self.parser.get_http_version().encode("ascii")
                lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
                lines += [b"%b: %b" % line for line in self.headers if line[0] != b"upgrade"]
                data = b"\r\n".join([*lines, b"", data[upgrade.args[0] :]])
                self.parser = _parser(self)

    # What the parser says

    def on_message_begin(self) -> None:
        self.phase = "head"
        self.since = self.loop.time()
        self.url = b""
        self.headers = []
        self.is_split = False
        self.pending = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.url_bytes:
            message = f"the request target is longer than {self.limits.url_bytes} bytes"
            raise Refused(Failure(message, status_code=414))

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer arrives after the request was judged and must not join its headers.
        if self.phase == "head":
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, headers = self.parser, self.headers
        method, version = parser.get_method(), parser.get_http_version()
        if method == b"CONNECT":
            raise bad_request("this server is not a proxy")
        measure = self.is_split or self.piece > self.limits.header_bytes
        fields = check_headers(headers, version, self.limits, measure=measure)
        path, raw_path, query = read_target(self.url, fields[b"host"])
        if b"upgrade" in fields and parser.should_upgrade():
            return
        exchange = Exchange(
            self,
            {
                "type": "http",
                "asgi": _ASGI,
                "http_version": version,
                "method": method.decode("ascii"),
                "scheme": "http",
                "path": path,
                "raw_path": raw_path,
                "query_string": query,
                "root_path": "",
                "headers": headers,
                "client": self.client,
                "server": self.server,
            },
            awaits_continue=fields.get(b"expect", b"").lower() == b"100-continue"
            and version == "1.1",
            keep_alive=parser.should_keep_alive() and version == "1.1",
        )
        if self.current is None:
            self._start(exchange)
        elif len(self.waiting) < self.limits.pipelined_requests:
            self.flow.pause_reading()
            self.waiting.append(exchange)
        else:
            raise bad_request("too many requests at once on one connection")
        self.incoming = exchange
        self.phase = "body"
        self.received = self.mark = 0

    def on_body(self, body: bytes) -> None:
        self.received += len(body)
        exchange = self.incoming
        if exchange is not None and not exchange.disconnected:
            exchange.chunks.append(body)
            exchange.buffered += len(body)
            if exchange.buffered > _HIGH_WATER:
                self.flow.pause_reading()
            exchange.tell()

    def on_message_complete(self) -> None:
        exchange = self.incoming
        if exchange is not None:
            self.incoming = None
            self.phase = "handling"
            exchange.request_complete = True
            exchange.tell()

    # What the exchanges say

    def _start(self, exchange: Exchange) -> None:
        self.current = exchange
        task = self.loop.create_task(exchange.run(self.shared.app))
        self.shared.tasks.add(task)
        task.add_done_callback(self.shared.tasks.discard)

    def write(self, data: bytes) -> None:
        """Send these bytes, after those still waiting."""
        self.sent += len(data)
        self.transport.write(data)

    def answered(self, exchange: Exchange) -> None:
        """The response is written: go on with the next request, or close."""
        self.current = None
        if self.transport.is_closing():
            return
        if not exchange.keep_alive:
            if exchange.request_complete:
                self.transport.close()
            else:
                self._linger()
        elif not self.waiting:
            self.since = self.loop.time()
            if self.phase == "handling":
                self.phase = "idle"
            self.flow.resume_reading()
        else:
            following = self.waiting.popleft()
            if isinstance(following, Refused):
                self._say_last(following)
            else:
                self.since = self.loop.time()
                self._start(following)

    def fail(self, exchange: Exchange) -> None:
        """The application ended without a whole response."""
        exchange.disconnect()
        if exchange.head_sent:
            self.transport.abort()
        else:
            self.current = None
            self._say_last(Refused(Failure("internal error", status_code=500)))

    # Refusing and closing

    def _refuse(self, refused: Refused) -> None:
        """Answer with this what is arriving, in its turn, and read nothing more."""
        self.phase = "closing"
        broken, self.incoming = self.incoming, None
        if self.current is None:
            self._say_last(refused)
        elif self.current is not broken:
            if self.waiting and self.waiting[-1] is broken:
                self.waiting.pop()
            self.waiting.append(refused)
            self.flow.pause_reading()
        else:
            self.current.disconnect()
            if self.current.head_sent:
                self.transport.abort()
            else:
                self.current = None
                self._say_last(refused)

    def _say_last(self, refused: Refused) -> None:
        if not self.transport.is_closing():
            self.write(refusal(refused, self.shared.common_headers))
            self._linger()

    def _linger(self) -> None:
        """End our side and discard what still comes, until the client ends its own.

        Closing with input unread makes the kernel send a reset, which can destroy an answer that
        the client has not read yet.
        """
        self.phase = "closing"
        self.incoming = None
        self.received = self.mark = 0
        self.since = self.loop.time()
        self.flow.resume_reading()
        with suppress(OSError):  # the client may be gone already
            self.transport.write_eof()

    def shutdown(self) -> None:
        """Finish the response in progress, if there is one, and close."""
        if self.current is None:
            self.transport.close()
        else:
            self.current.keep_alive = False
            self.waiting.clear()

    def check(self, now: float) -> None:
        """Cut off a client that has been too slow. `now` is the loop's time."""
        unsent = self.transport.get_write_buffer_size()
        if self.sent - unsent != self.taken or not unsent:
            self.taken = self.sent - unsent
            self.taken_at = now
        elif now - self.taken_at > self.limits.write_stall_s:
            self.transport.abort()
        if self.transport.is_closing():
            return
        if self.phase == "body":
            if self.incoming is self.current:  # else its turn has not come
                self._check_body(now)
        elif self.current is None:
            if self.phase == "closing":
                self._check_discarding(now, unsent)
            else:
                self._check_head(now - self.since)

    def _check_head(self, lasted: float) -> None:
        if self.phase == "head":
            if lasted > self.limits.header_timeout_s:
                self._refuse(_timeout("the request headers arrived too slowly"))
        elif lasted > (
            self.limits.header_timeout_s if self.phase == "new" else self.limits.keep_alive_idle_s
        ):
            self.transport.close()  # nothing is asked, so there is nothing to answer

    def _check_body(self, now: float) -> None:
        if self.flow.read_paused:  # we are the slow ones
            self.since, self.mark = now, self.received
        elif self._is_too_slow(now, self.limits.body_grace_s):
            self._refuse(_timeout("the request body arrived too slowly"))

    def _check_discarding(self, now: float, unsent: int) -> None:
        if unsent:  # the client has the last answer still to read
            self.since, self.mark = now, self.received
        elif self.received > self.limits.linger_bytes or self._is_too_slow(
            now, self.limits.linger_s
        ):
            self.transport.abort()

    def _is_too_slow(self, now: float, window_s: float) -> bool:
        """Whether a whole `window_s` brought less than the minimum rate; begins the next one."""
        if now - self.since < window_s:
            return False
        brought = self.received - self.mark
        self.since, self.mark = now, self.received
        return brought < window_s * self.limits.body_min_rate_bytes_s


def _address(name: Any) -> tuple[str, int] | None:
    """Host and port; None for a client that is gone before we could ask."""
    return (str(name[0]), int(name[1])) if name else None


def _parser(connection: Connection) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(connection)
    # What follows a request with `Connection: close` is ignored instead of spoiling its answer.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _timeout(message: str) -> Refused:
    return Refused(Failure(message, status_code=408))


def _reason(error: httptools.HttpParserError) -> Refused:
    cause = error.__context__
    if isinstance(cause, Refused):
        return cause
    if isinstance(error, httptools.HttpParserCallbackError):
        logger.error("reading a request failed", exc_info=cause)
        return Refused(Failure("internal error", status_code=500))
    return bad_request(f"malformed HTTP request: {error}")
