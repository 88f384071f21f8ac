"""One request and its response, as the application sees them (ASGI 3).

A small request is complete before its application starts, so `receive` and `send` mostly return
without ever suspending, and a response of one piece leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from hermod.http.asgi import App, Message, Scope

if TYPE_CHECKING:
    from hermod.http.connection import Connection

logger = logging.getLogger(__name__)

_STATUS_LINES: Final = {status: b"HTTP/1.1 %d \r\n" % status for status in range(100, 600)} | {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_DISCONNECT: Final[Message] = {"type": "http.disconnect"}
_OURS: Final = frozenset({b"connection", b"transfer-encoding"})
"""Response headers about the connection; the application can only ask for its end."""
_BODILESS: Final = frozenset({204, 304})
"""Their length is not said: a 204 must not, and a 304 would have to say that of the 200 (RFC 9110
8.6)."""
_JOIN_BELOW: Final = 65536
"""Bytes up to which copying a body behind its head is cheaper than a second system call."""


class Exchange:
    """A request being received and answered on a connection."""

    __slots__ = (
        "awaits_continue",
        "body_taken",
        "buffered",
        "chunked",
        "chunks",
        "complete",
        "connection",
        "disconnected",
        "head_sent",
        "keep_alive",
        "news",
        "owed",
        "request_complete",
        "scope",
        "silent",
        "start",
    )

    def __init__(
        self, connection: Connection, scope: Scope, *, awaits_continue: bool, keep_alive: bool
    ) -> None:
        self.connection = connection
        self.scope = scope
        self.awaits_continue = awaits_continue
        """The client holds its body back until we ask for it (RFC 9110 10.1.1)."""
        self.keep_alive = keep_alive
        self.disconnected = False
        """The client is gone, or was answered over the application's head."""

        self.chunks: list[bytes] = []
        self.buffered = 0
        self.request_complete = False
        self.body_taken = False
        self.news: asyncio.Event | None = None
        """Made by the first who has to wait."""

        self.start: Message | None = None
        self.head_sent = False
        self.complete = False
        self.silent = False
        """The response has no body whatever the application says (HEAD, 204, 304)."""
        self.chunked = False
        self.owed: int | None = None
        """What is still missing to the Content-Length."""

    async def run(self, app: App) -> None:
        """Have the application answer; afterwards the connection is free, or closing."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.connection.transport.abort()
            raise
        except Exception:  # the last boundary: the connection must not hang on a programming error
            logger.exception("the application failed on %s", self.scope["raw_path"])
        if not self.complete and not self.disconnected:
            self.connection.fail(self)

    async def receive(self) -> Message:
        """What has arrived of the body, or that the client is gone. Waits for one of them."""
        if self.body_taken or not (self.chunks or self.request_complete):
            await self._wait_for_news()
        if self.disconnected or self.complete:
            return _DISCONNECT
        chunks = self.chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.chunks = []
        self.buffered = 0
        self.body_taken = self.request_complete
        return {"type": "http.request", "body": body, "more_body": not self.body_taken}

    async def _wait_for_news(self) -> None:
        if not self.body_taken:
            if self.awaits_continue and not self.disconnected and not self.head_sent:
                self.connection.write(_CONTINUE)
            self.awaits_continue = False
        if not (self.body_taken and self.connection.waiting):
            # A large body stops the reading, and who does not read does not hear a client leave.
            self.connection.flow.resume_reading()
        while not (self.disconnected or self.complete):
            if not self.body_taken and (self.chunks or self.request_complete):
                return
            if self.news is None:
                self.news = asyncio.Event()
            self.news.clear()
            await self.news.wait()

    def tell(self) -> None:
        """Wake whoever waits in `receive`."""
        if self.news is not None:
            self.news.set()

    def disconnect(self) -> None:
        """Nothing more comes from the client and nothing more goes to it."""
        self.disconnected = True
        self.chunks = []
        self.tell()

    async def send(self, message: Message) -> None:
        """Pass a part of the response on. Does nothing when the client is gone.

        Raises RuntimeError for messages out of order, or with headers that cannot be sent.
        """
        connection = self.connection
        if connection.flow.write_paused and not self.disconnected:
            await connection.flow.drain()
        if self.disconnected:
            return
        if self.start is None:
            if message["type"] != "http.response.start":
                raise RuntimeError(f"{message['type']} before http.response.start")
            self.start = message  # its head leaves with the first piece of the body
            return
        if message["type"] != "http.response.body" or self.complete:
            raise RuntimeError(f"{message['type']} after the response has started or ended")
        body: bytes = message.get("body", b"")
        last = not message.get("more_body", False)
        head = b"" if self.head_sent else self._head(self.start, len(body) if last else None)
        data = self._framed(body, last=last)
        self.head_sent = True
        if head and data and len(data) >= _JOIN_BELOW:
            connection.write(head)
            connection.write(data)
        elif head or data:
            connection.write(head + data)
        if last:
            self.complete = True
            self.tell()
            connection.answered(self)

    def _head(self, start: Message, whole: int | None) -> bytes:
        """The status line and headers; decides how the body is framed.

        `whole` is the size of a body that is already at hand.
        """
        status: int = start["status"]
        lines = [_STATUS_LINES[status]]
        length: int | None = None
        for name, value in start.get("headers", ()):
            if name == b"content-length":
                length = int(value)
                if status in _BODILESS:
                    continue
            elif name in _OURS:
                if name == b"connection" and b"close" in value.lower():
                    self.keep_alive = False
                continue
            lines.append(_line(name, value))
        lines.append(self._framing(status, length, whole))
        return b"".join(lines)

    def _framing(self, status: int, length: int | None, whole: int | None) -> bytes:
        """The header lines that are ours, up to the empty one."""
        lines = self.connection.shared.common_headers
        self.silent = self.scope["method"] == "HEAD" or status in _BODILESS
        if self.silent:
            self.owed = None
        elif length is not None:
            self.owed = length
        elif whole is not None:
            self.owed = whole
            lines += b"content-length: %d\r\n" % whole
        elif self.scope["http_version"] == "1.1":
            self.chunked = True
            lines += b"transfer-encoding: chunked\r\n"
        else:
            self.keep_alive = False  # HTTP/1.0: the end of the connection ends the body
        if not self.request_complete:
            self.keep_alive = False  # else the rest of the body would look like a request
        return lines + (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")

    def _framed(self, body: bytes, *, last: bool) -> bytes:
        if self.silent:
            return b""
        if self.chunked:
            piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return piece + b"0\r\n\r\n" if last else piece
        if self.owed is not None:
            self.owed -= len(body)
            if self.owed < 0 or (last and self.owed):
                raise RuntimeError("the response is not as long as its Content-Length says")
        return body


@lru_cache(maxsize=256)  # most are the same in every response
def _line(name: bytes, value: bytes) -> bytes:
    """A header as it is sent. Raises RuntimeError when it would be more than one."""
    line = b"%b: %b\r\n" % (name, value)
    if not line.count(b"\n") == line.count(b"\r") == 1 or b"\0" in line:
        raise RuntimeError("a response header contains a line break or NUL")
    return line
