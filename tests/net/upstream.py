"""Upstreams on loopback that behave as badly as a test wants."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from hermod.net.client import HttpClient
from hermod.net.messages import Limits, Request

PATIENCE_S = 10.0
"""How long a test waits for what must happen."""
FEW = Limits(connect_s=5.0, idle_s=5.0, reply_bytes=100_000, header_bytes=4_000, header_count=20)
"""Limits that a test can reach."""
WIDE = replace(FEW, reply_bytes=2**31)
"""Those that no reply of a test reaches."""
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@dataclass
class Received:
    """A request as it came."""

    head: bytes
    body: bytes

    @property
    def lines(self) -> list[bytes]:
        return self.head.split(b"\r\n")


class Peer:
    """One accepted connection, seen from the upstream."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        """1 for the first connection."""
        self.ended = asyncio.Event()
        """Set when the client has closed the connection."""
        self._reader = reader
        self._writer = writer

    async def request(self) -> Received:
        """Reads one request, or raises IncompleteReadError when the client has closed."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        lengths = [
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ]
        body = await self._reader.readexactly(lengths[0]) if lengths else b""
        return Received(head, body)

    async def send(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError  # uvloop has another error for this, which is no OSError
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self, body: bytes, *headers: bytes, status: bytes = b"200 OK") -> None:
        await self.send(reply_bytes(body, *headers, status=status))

    async def send_forever(self, data: bytes) -> None:
        """Until the client closes."""
        while not self._writer.is_closing():
            await self.send(data)

    def close(self) -> None:
        self._writer.close()

    def half_close(self) -> None:
        """No more bytes from here, but the ears stay open."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Closes with an RST instead of a FIN."""
        endpoint = self._writer.get_extra_info("socket")
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def until_closed(self) -> None:
        """Waits for the client to close, whatever it still sends."""
        while await self._reader.read(65_536):
            pass
        self.ended.set()


@dataclass
class Upstream:
    """What a test sees of the server."""

    port: int
    peers: list[Peer] = field(default_factory=list[Peer])
    accepted: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Released once for every connection."""
    scheme: str = "http"

    def post(self, path: str = "/", body: bytes = b"{}") -> Request:
        url = f"{self.scheme}://localhost:{self.port}{path}"
        return Request("POST", url, (("Content-Type", "application/json"),), body)


def reply_bytes(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A reply with its right length."""
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body), b"", body]
    return b"\r\n".join(lines)


def chunk(data: bytes) -> bytes:
    """One chunk of a reply that began with `CHUNKED`."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def upstream(
    behave: Callable[[Peer], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Upstream]:
    """A server that treats every connection as `behave` says, and closes it afterwards."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(len(served.peers) + 1, reader, writer)
        served.peers.append(peer)
        served.accepted.release()
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await behave(peer)
        finally:
            peer.ended.set()
            writer.transport.abort()
            running.discard(task)

    server = await asyncio.start_server(serve, "localhost", 0, ssl=tls, family=socket.AF_INET)
    port = server.sockets[0].getsockname()[1]
    served = Upstream(port, scheme="http" if tls is None else "https")
    try:
        yield served
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)  # the aborted transports are told so in the next turn


@asynccontextmanager
async def client(limits: Limits = FEW, pool_idle_s: float = 60.0) -> AsyncGenerator[HttpClient]:
    """A client that is closed at the end, and that must not have raised into the event loop."""
    raised: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: raised.append(context))
    opened = HttpClient(limits, pool_idle_s=pool_idle_s)
    try:
        yield opened
    finally:
        await opened.close()
    assert not raised, raised


async def streamed(http: HttpClient, request: Request, timeout_s: float = PATIENCE_S) -> bytes:
    """The whole body of a reply that was read while it came."""
    async with http.stream(request, timeout_s=timeout_s) as reply:
        return await reply.read()


async def next_of(pieces: AsyncIterator[bytes]) -> bytes:
    """The next piece, which must come."""
    return await asyncio.wait_for(anext(pieces), PATIENCE_S)


async def closed(peer: Peer) -> None:
    """Returns once the upstream has seen the client close."""
    await asyncio.wait_for(peer.ended.wait(), PATIENCE_S)


async def echo(peer: Peer) -> None:
    """Answers every request with its own body."""
    while True:
        received = await peer.request()
        await peer.reply(received.body)
