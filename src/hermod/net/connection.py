"""One connection to an upstream, carrying one request at a time."""

import asyncio
import math
import select
import socket
from typing import Final, cast

from hermod.domain.failpoint import failpoint
from hermod.net.messages import Limits, NetError, Reason, Reply
from hermod.net.reading import ReplyReader

_JOIN_BYTES: Final = 64 * 1024
"""A body up to this size leaves in one piece with the head: one packet less, and cheap to copy."""
_SLICE_BYTES: Final = 256 * 1024
"""Of a larger body."""
_MOST_WAITING: Final = 256 * 1024
"""Bytes of a streamed reply that wait for their reader before the upstream has to."""
_PROBE_AFTER_S: Final = 60
"""Idle seconds after which the kernel starts to ask whether the peer is still there."""


class Connection(asyncio.Protocol):
    """Sends a request, hands back its reply, and knows whether it may be used again.

    It may not after anything but a whole, undisturbed exchange. So whatever ends a call early
    (cancellation, a deadline, a cap, an error) closes the connection, and no reply is ever read by
    a request that it does not belong to (reliability.md F9b).
    """

    def __init__(self, open_connections: "set[Connection]") -> None:
        """It leaves `open_connections` when it is lost; whoever hands it out puts it there."""
        self.peer = ""
        """The address at the other end, as the socket says."""
        self._open_connections = open_connections
        self._gone: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._inbox = select.poll()
        self._reader: ReplyReader | None = None
        """Set while a request is out."""
        self._is_over = False
        """Whether that request has its end, the whole reply or `_failure`, though its task may not
        have resumed yet."""
        self._failure: tuple[Reason, str] | None = None
        """Not an error yet: one that its own frames can reach would be a cycle, and would keep
        what it has read until the collector comes by."""
        self._waiter: asyncio.Future[None] | None = None
        self._unsent: memoryview | None = None
        """What the transport has yet to take of a large request."""
        self._is_full = False
        """Whether the transport wants no more of it for now."""
        self._is_held_back = False
        """Whether the upstream must wait until what it sent is taken."""
        self._timer: asyncio.TimerHandle | None = None
        self._ends_at = 0.0
        self._heard_at: float | None = None
        """None before the first byte, and while the upstream is held back."""
        self._served = 0
        """Replies so far."""
        self.free_at = 0.0
        """The loop's time at which the last reply was whole."""
        self.keep_alive_s: float | None = None
        """How long the upstream said it keeps the connection when idle."""

    async def exchange(self, head: bytes, body: bytes, limits: Limits, ends_at: float) -> Reply:
        """Sends one request and reads its reply, until the loop's time `ends_at`.

        Raises NetError, with `sent` true in all but one case: the connection was already gone.
        """
        reader = ReplyReader(limits)
        self._waiter = whole = self._loop.create_future()
        try:
            self._send(head, body, reader, ends_at)
            await whole
            reply = reader.reply
            if reply is None:
                raise self._error()
            failpoint("net.reply_read")
        except BaseException:
            reader.is_clean = False
            raise
        finally:
            self.end(reader)
        return reply

    async def begin(self, head: bytes, body: bytes, limits: Limits, ends_at: float) -> ReplyReader:
        """Sends one request and returns when its reply has begun: the head is there.

        The body is for `next_piece`, and whatever happens to it, `end` is due. `ends_at` is for the
        whole reply. Raises NetError as `exchange` does.
        """
        reader = ReplyReader(limits, streamed=True)
        try:
            self._send(head, body, reader, ends_at)
            while not (reader.has_head or self._is_over):
                await self._next_news()
            if not reader.has_head:
                raise self._error()
        except BaseException:
            reader.is_clean = False
            self.end(reader)
            raise
        return reader

    async def next_piece(self, reader: ReplyReader) -> bytes:
        """What has come of the body since the last time, waited for if need be; b"" at its end.

        Raises NetError when it stops before its end, after all that came. A cancellation takes
        nothing away: the next call goes on where this one was.
        """
        while self._reader is reader:
            if piece := reader.take():
                self._read_on()
                return piece
            if self._failure is not None:
                raise self._error()
            if self._is_over:
                failpoint("net.reply_read")
                return b""
            await self._next_news()
        # What comes now belongs to another request.
        raise NetError(Reason.BROKEN, "the reply was given up before", sent=True)

    def end(self, reader: ReplyReader) -> None:
        """Ends a call, and the connection too unless the whole reply has come undisturbed."""
        if self._timer is not None:
            self._timer.cancel()
        transport = self._transport
        # An answer that came before the request was out leaves the rest of it in the way.
        is_out = not (self._unsent or (transport and transport.get_write_buffer_size()))
        if not (reader.is_clean and is_out):
            self.abort()
        self._served += 1
        self.keep_alive_s = reader.keep_alive_s
        self._reader = self._unsent = None
        if reader.is_streamed:
            if self._is_held_back:
                self.abort()  # it would not hear what comes next
            self._wake()
        reader.close()

    def is_open(self) -> bool:
        """Whether another request could be sent, as far as the event loop knows."""
        return self._transport is not None and not self._transport.is_closing()

    def is_usable(self) -> bool:
        """Whether another request may be sent: open, and nothing has come while it lay idle.

        The kernel is asked, because a close that has arrived may not have reached the event loop
        yet, and a POST that runs into it could not be repeated without a doubt.
        """
        return self.is_open() and not self._inbox.poll(0)

    def abort(self) -> None:
        """Closes at once; a call under way ends as broken."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Closes at once and returns when that is done."""
        if self._transport is not None:
            self._gone = self._loop.create_future()
            self._transport.abort()
            await self._gone

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        endpoint: socket.socket = transport.get_extra_info("socket")
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        # Nagle's delay is already off, in asyncio and uvloop alike. Long silent calls die in
        # middleboxes that forget idle connections.
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER_S)
        self._inbox.register(endpoint.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None or self._is_over:
            self.abort()  # nobody asked: it must not wait here for the next request
            return
        try:
            reply = reader.feed(data)
        except NetError as error:
            self._finish((error.reason, error.detail))
            return
        if reply is not None:
            self._finish()
        else:
            failpoint("net.reply_half_read")
            self._note_progress()
            if reader.is_streamed:
                self._hand_on(reader)

    def eof_received(self) -> None:
        if self._reader is None or self._is_over:
            return
        try:
            self._reader.feed_eof()
        except NetError as error:
            self._finish(self._cut(error.detail))
        else:
            self._finish()

    def pause_writing(self) -> None:
        failpoint("net.request_half_sent")
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._send_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = self._unsent = None
        self._finish(self._cut("the connection was lost" if exc is None else type(exc).__name__))
        self._open_connections.discard(self)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    # What they need to send.

    def _send(self, head: bytes, body: bytes, reader: ReplyReader, ends_at: float) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise NetError(Reason.CONNECT, "the connection closed before the request", sent=False)
        self._reader = reader
        self._is_over, self._failure = False, None
        self._ends_at, self._heard_at = ends_at, None
        self._timer = self._loop.call_at(ends_at, self._check_time)
        if len(body) <= _JOIN_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            self._unsent = memoryview(body)
            self._send_on()
        failpoint("net.request_sent")
        failpoint("net.waiting")

    def _send_on(self) -> None:
        """Hands over as much as the transport wants. More would only lie there, and with TLS
        encrypted: a second copy, made in one go while nothing else runs."""
        transport = self._transport
        while self._unsent and not self._is_full and transport and not transport.is_closing():
            piece, self._unsent = self._unsent[:_SLICE_BYTES], self._unsent[_SLICE_BYTES:]
            transport.write(piece)

    # What they need to read.

    def _next_news(self) -> asyncio.Future[None]:
        """Done when the request that is out has its end, or its streamed reply goes on."""
        assert self._waiter is None or self._waiter.done(), "two read one reply"
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _hand_on(self, reader: ReplyReader) -> None:
        """Wakes who waits for the body, and has the upstream wait when nobody does."""
        if reader.waiting > _MOST_WAITING and self._transport is not None:
            self._is_held_back = True
            self._heard_at = None
            self._transport.pause_reading()
        self._wake()

    def _read_on(self) -> None:
        """Lets the upstream go on. Its silence counts from now."""
        if self._is_held_back and self._transport is not None and self.is_open():
            self._is_held_back = False
            self._transport.resume_reading()
            if not self._is_over:
                self._note_progress()

    def _finish(self, failure: tuple[Reason, str] | None = None) -> None:
        """The request that is out has its end."""
        if self._reader is None or self._is_over:
            return
        self._is_over, self._failure = True, failure
        self.free_at = self._loop.time()
        if failure is not None:
            self.abort()  # who waits may be busy elsewhere for long
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _error(self) -> NetError:
        assert self._failure is not None
        reason, detail = self._failure
        return NetError(reason, detail, sent=True)

    def _cut(self, detail: str) -> tuple[Reason, str]:
        has_begun = self._reader is not None and self._reader.has_begun
        reason = Reason.STALE if self._served > 0 and not has_begun else Reason.BROKEN
        return reason, detail

    # Deadlines.

    def _note_progress(self) -> None:
        is_first = self._heard_at is None
        self._heard_at = self._loop.time()
        if is_first:
            self._set_timer()

    def _check_time(self) -> None:
        now = self._loop.time()
        if self._is_over:
            return
        if now >= self._ends_at:
            self._finish((Reason.TIMEOUT_TOTAL, "no whole reply in time"))
        elif now >= self._idle_at():
            self._finish((Reason.TIMEOUT_IDLE, "the reply stopped half-way"))
        else:
            self._set_timer()

    def _set_timer(self) -> None:
        """For the next instant that could be a deadline: bytes that come only move the idle one."""
        assert self._timer is not None
        self._timer.cancel()
        self._timer = self._loop.call_at(min(self._ends_at, self._idle_at()), self._check_time)

    def _idle_at(self) -> float:
        """When the upstream has been silent for too long."""
        if self._heard_at is None or self._reader is None:
            return math.inf
        return self._heard_at + self._reader.limits.idle_s
