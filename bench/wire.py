"""One HTTP/1.1 connection of the load generator, as cheap as Python allows.

It understands exactly what the servers of this benchmark answer: a status line, a `content-length`,
a body. A client library would cost more than the server it measures.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final, cast

_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")

Done = Callable[[int, bytes], None]
"""Gets the status and the body; status 0 when the connection broke."""


class Wire(asyncio.Protocol):
    """A keep-alive connection with at most one call at a time. It reconnects when it must."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self._loop = loop
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._done: Done | None = None
        self._connecting: asyncio.Task[None] | None = None

    def send(self, request: bytes, done: Done) -> None:
        """Send the bytes of a request; `done` is called once."""
        self._done = done
        if self._transport is not None:
            self._transport.write(request)
        else:
            self._connecting = self._loop.create_task(self._connect(request))

    async def _connect(self, request: bytes) -> None:
        try:
            await self._loop.create_connection(lambda: self, "127.0.0.1", self._port)
        except OSError:
            self._finish(0, b"")
        else:
            cast(asyncio.Transport, self._transport).write(request)

    def close(self) -> None:
        """Drop the connection without a word to the caller that waits."""
        self._done = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._buffer = b""
        self._finish(0, b"")

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            found = _LENGTH.search(data, 0, end)
            if found is None:
                raise ValueError(f"a reply without content-length: {data[:200]!r}")
            whole = end + 4 + int(found[1])
            if len(data) >= whole:
                self._buffer = b""
                self._finish(int(data[9:12]), data[end + 4 : whole])
                return
        self._buffer = data

    def _finish(self, status: int, body: bytes) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(status, body)


def get(path: str) -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, body: bytes, header: str = "") -> bytes:
    """The bytes of a POST of JSON; `header` is one more, as in `name: value`."""
    more = f"{header}\r\n" if header else ""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"{more}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
