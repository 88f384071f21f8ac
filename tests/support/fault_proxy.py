"""A TCP proxy that fails as networks do, told so by plain method calls. Runs in the test's loop.

The words are those of toxiproxy: `upstream` is the way from the client to the server, `downstream`
the way back, and each has faults of its own. A fault concerns every connection, those that are
open included, until `clear`. Two faults know a protocol's exchanges: `cut_after` and
`cut_before_reply` let the server act and keep its answer from the client.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends an RST."""


class _Cut(Exception):
    """The connection is to be reset, on both sides."""


class _Ended(Exception):
    """The connection is to be closed, on both sides."""


@dataclass
class Flow:
    """What happens to the bytes of one direction."""

    _latency_s: float = 0.0
    _jitter_s: float = 0.0
    _bytes_per_s: float | None = None
    _slice: int = _CHUNK
    _limit: int | None = None
    _resets: bool = False
    _swallows: bool = False
    _close_s: float = 0.0
    _dice: random.Random = field(default_factory=lambda: random.Random(0))

    def latency(self, ms: float, jitter: float = 0.0) -> None:
        """Delay whatever comes by so many milliseconds, more or less `jitter`."""
        self._latency_s, self._jitter_s = ms / 1000, jitter / 1000

    def bandwidth(self, kb_s: float) -> None:
        """Let no more than so many kB/s through."""
        self._bytes_per_s = kb_s * 1000

    def slicer(self, size: int) -> None:
        """Send pieces of so many bytes."""
        self._slice = size

    def limit_data(self, n: int) -> None:
        """Close a connection once n bytes of it have gone this way."""
        self._limit = n

    def reset_peer(self) -> None:
        """Reset a connection when something comes, which is not sent on."""
        self._resets = True

    def timeout(self) -> None:
        """Swallow everything, and keep the connections open."""
        self._swallows = True

    def slow_close(self, ms: float) -> None:
        """Pass the end of a connection on so many milliseconds late."""
        self._close_s = ms / 1000

    def clear(self) -> None:
        """As if nothing had ever been wrong."""
        self.__init__()

    # For the proxy

    @property
    def close_s(self) -> float:
        """How late an end is."""
        return self._close_s

    async def carry(self, data: bytes, writer: asyncio.StreamWriter, before: int) -> int:
        """Send bytes on, or not; how many went. `before` have gone this way already."""
        if self._resets:
            raise _Cut
        sent = 0
        for piece in self._pieces(data):
            await self._hold_up(len(piece))
            if self._swallows:
                continue
            if self._limit is not None:
                piece = piece[: max(self._limit - before - sent, 0)]
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
            if self._limit is not None and before + sent >= self._limit:
                raise _Ended
        return sent

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), self._slice):
            yield data[start : start + self._slice]

    async def _hold_up(self, size: int) -> None:
        delay_s = self._latency_s + self._dice.uniform(-1, 1) * self._jitter_s
        if self._bytes_per_s is not None:
            delay_s += size / self._bytes_per_s
        if delay_s > 0:
            await asyncio.sleep(delay_s)


@dataclass
class _Trap:
    """When to cut: after a pattern on the way up, and the answer to it."""

    pattern: bytes
    nth: int
    reply: bytes
    seen: int = 0


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to one server."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refuses = False
        self._trap: _Trap | None = None
        self._replies_left: int | None = None
        self.port = 0
        self.upstream = Flow()
        self.downstream = Flow()
        self.accepted = 0
        """Connections so far."""
        self.cuts = 0
        """Connections that `cut_after` and `cut_before_reply` have cut."""

    def cut_after(self, pattern: bytes, *, nth: int = 1, reply: bytes = b"") -> None:
        """Once: pass the pattern's n-th occurrence on, and cut when it is being answered.

        The cut comes when `reply` is in the answer, of which the client gets nothing; by default
        with its first byte.
        """
        self._trap = _Trap(pattern, nth, reply)

    def cut_before_reply(self, n: int = 1) -> None:
        """Once: cut in the place of the n-th answer from now, counted over all connections."""
        self._replies_left = n

    def clear(self) -> None:
        """No more faults, in either direction."""
        self.upstream.clear()
        self.downstream.clear()
        self._trap = self._replies_left = None

    def reset_all(self) -> None:
        """Reset every connection that is open."""
        for link in list(self._links):
            link.reset()

    async def down(self, *, refuse: bool = True) -> None:
        """Drop every connection; refuse new ones, or accept and close them."""
        self._refuses = True
        if refuse and self._server is not None:
            self._server.close()
            self._server = None
        self.reset_all()

    async def up(self) -> None:
        """Accept connections, at the same port as before."""
        self._refuses = False
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # For the connections

    def sent_up(self, link: "_Link", data: bytes) -> None:
        """Bytes have gone to the server: is this what was waited for?"""
        link.asked = True
        if (trap := self._trap) is not None:
            text = link.tail + data
            trap.seen += text.count(trap.pattern)
            link.tail = text[max(len(text) - len(trap.pattern) + 1, 0) :]
            if trap.seen >= trap.nth:
                self._trap, link.doomed = None, trap.reply

    def coming_down(self, link: "_Link", data: bytes) -> None:
        """Bytes have come from the server. Raises when the client is not to have them."""
        if link.doomed is not None:
            link.withheld += data
            if link.doomed in link.withheld:
                self.cuts += 1
                raise _Cut
        if link.asked and self._replies_left is not None:
            self._replies_left -= 1
            if self._replies_left == 0:
                self._replies_left = None
                self.cuts += 1
                raise _Cut
        link.asked = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self._refuses:
                with suppress(OSError):
                    server = await asyncio.open_connection(*self._target)
                    await self._join(_Link(self, (reader, writer), server))
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _join(self, link: "_Link") -> None:
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


_End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """A client, a server, and what has gone between them."""

    def __init__(self, proxy: FaultProxy, client: _End, server: _End) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self.asked = False
        """Whether the client has sent something since the last answer."""
        self.tail = b""
        """The end of what it sent, where a pattern may have begun."""
        self.doomed: bytes | None = None
        """What the answer that must not arrive has in it."""
        self.withheld = b""

    async def run(self) -> None:
        ways = [asyncio.create_task(self._up()), asyncio.create_task(self._down())]
        try:
            await asyncio.gather(*ways)
        except _Cut:
            self.reset()
        except (_Ended, OSError):
            pass
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for _, writer in (self._client, self._server):
                with suppress(OSError):
                    writer.close()

    def reset(self) -> None:
        """End it with an RST to both."""
        for _, writer in (self._client, self._server):
            endpoint = writer.get_extra_info("socket")
            # None, or an error: it is closed already.
            with suppress(OSError, AttributeError):
                endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _up(self) -> None:
        reader, writer, sent = self._client[0], self._server[1], 0
        while data := await reader.read(_CHUNK):
            sent += await self._proxy.upstream.carry(data, writer, sent)
            self._proxy.sent_up(self, data)
        await self._end(self._proxy.upstream, writer)

    async def _down(self) -> None:
        reader, writer, sent = self._server[0], self._client[1], 0
        while data := await reader.read(_CHUNK):
            self._proxy.coming_down(self, data)
            if self.doomed is None:
                sent += await self._proxy.downstream.carry(data, writer, sent)
        await self._end(self._proxy.downstream, writer)

    async def _end(self, flow: Flow, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(flow.close_s)
        writer.write_eof()
