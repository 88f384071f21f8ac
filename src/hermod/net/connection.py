"""One connection to an upstream, carrying one request at a time."""

import asyncio
import select
import socket
from typing import Final, cast

from hermod.domain.failpoint import failpoint
from hermod.net.messages import Limits, NetError, Reason, Reply
from hermod.net.reading import ReplyReader

_JOIN_BYTES: Final = 64 * 1024
"""A body up to this size leaves in one piece with the head: one packet less, and cheap to copy."""
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
        self._open_connections = open_connections
        self._gone: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._inbox = select.poll()
        self._reader: ReplyReader | None = None
        """Set while a request is out."""
        self._outcome: asyncio.Future[Reply | None] | None = None
        """None stands for `_error`. An error that its own frames can reach would be a cycle, and
        would keep what it has read until the collector comes by."""
        self._error: NetError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ends_at = 0.0
        self._idle_s = 0.0
        self._heard_at: float | None = None
        self._served = 0
        """Replies so far."""
        self.keep_alive_s: float | None = None
        """How long the upstream said it keeps the connection when idle."""

    async def exchange(self, head: bytes, body: bytes, limits: Limits, ends_at: float) -> Reply:
        """Sends one request and reads its reply, until the loop's time `ends_at`.

        Raises NetError, with `sent` true in all but one case: the connection was already gone.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise NetError(Reason.CONNECT, "the connection closed before the request", sent=False)
        self._reader = reader = ReplyReader(limits)
        self._outcome = outcome = self._loop.create_future()
        self._ends_at, self._idle_s, self._heard_at = ends_at, limits.idle_s, None
        self._timer = self._loop.call_at(ends_at, self._check_time)
        try:
            if len(body) <= _JOIN_BYTES:
                transport.write(head + body)
            else:
                transport.write(head)
                transport.write(body)
            failpoint("net.request_sent")
            failpoint("net.waiting")
            reply = await outcome
            if reply is None:
                raise self._take_error()
            failpoint("net.reply_read")
        except BaseException:
            transport.abort()
            raise
        finally:
            self._timer.cancel()
            self._reader = self._outcome = None
            reader.close()
        self._served += 1
        self.keep_alive_s = reader.keep_alive_s
        # An answer that came before the request was out leaves the rest of it in the way.
        if not reader.is_clean or transport.get_write_buffer_size() > 0:
            transport.abort()
        return reply

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
        # Nagle's delay is already off, in asyncio and uvloop alike. Long silent calls die in
        # middleboxes that forget idle connections.
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER_S)
        self._inbox.register(endpoint.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None or self._is_settled():
            self.abort()  # nobody asked: it must not wait here for the next request
            return
        try:
            reply = reader.feed(data)
        except NetError as error:
            self._fail(error)
            return
        if reply is not None:
            self._settle(reply)
        else:
            failpoint("net.reply_half_read")
            self._note_progress()

    def eof_received(self) -> None:
        if self._reader is None or self._is_settled():
            return
        try:
            self._settle(self._reader.feed_eof())
        except NetError as error:
            self._fail(self._cut(error.detail))

    def pause_writing(self) -> None:
        failpoint("net.request_half_sent")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(self._cut("the connection was lost" if exc is None else type(exc).__name__))
        self._open_connections.discard(self)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    # What they need.

    def _is_settled(self) -> bool:
        """Whether the call has its end already, though its task may not have resumed yet."""
        return self._outcome is None or self._outcome.done()

    def _settle(self, reply: Reply) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(reply)

    def _fail(self, error: NetError) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._error = error
            self._outcome.set_result(None)

    def _take_error(self) -> NetError:
        error, self._error = self._error, None
        assert error is not None
        return error

    def _cut(self, detail: str) -> NetError:
        has_begun = self._reader is not None and self._reader.has_begun
        reason = Reason.STALE if self._served > 0 and not has_begun else Reason.BROKEN
        return NetError(reason, detail, sent=True)

    def _note_progress(self) -> None:
        is_first = self._heard_at is None
        self._heard_at = self._loop.time()
        if is_first:
            self._set_timer()

    def _check_time(self) -> None:
        now = self._loop.time()
        if now >= self._ends_at:
            self._fail(NetError(Reason.TIMEOUT_TOTAL, "no whole reply in time", sent=True))
        elif self._heard_at is not None and now >= self._heard_at + self._idle_s:
            self._fail(NetError(Reason.TIMEOUT_IDLE, "the reply stopped half-way", sent=True))
        else:
            self._set_timer()

    def _set_timer(self) -> None:
        """For the next instant that could be a deadline: bytes that come only move the idle one."""
        assert self._timer is not None
        self._timer.cancel()
        wake_at = self._ends_at
        if self._heard_at is not None:
            wake_at = min(wake_at, self._heard_at + self._idle_s)
        self._timer = self._loop.call_at(wake_at, self._check_time)
