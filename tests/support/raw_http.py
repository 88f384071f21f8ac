"""Our HTTP server in the test's own loop, and a client that sends exactly the bytes it is told."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from hermod.clock import SystemClock
from hermod.http.asgi import App, Receive, Scope, Send
from hermod.http.guard import Limits
from hermod.http.server import HttpServer

PATIENCE_S = 20.0
"""How long anything may take before a test gives up."""


@asynccontextmanager
async def serving(app: App, **limits: Any) -> AsyncGenerator[HttpServer]:
    """A server on a free port, stopped without grace afterwards."""
    server = HttpServer(app, host="127.0.0.1", port=0, clock=SystemClock(), limits=Limits(**limits))
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace_s=0)


@dataclass
class Echo:
    """An application that answers 200 with what it was asked, and remembers it."""

    scopes: list[Scope] = field(default_factory=list[Scope])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        await answer(send, f"{scope['method']} {scope['path']} {len(body)}".encode())


async def answer(send: Send, body: bytes = b"", status: int = 200) -> None:
    """Send a whole response."""
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    def message(self) -> str:
        """The message of an error in the wire's shape; fails the test for any other body."""
        assert self.headers["content-type"] == "application/json"
        assert self.body.endswith(b"}\n")
        text: str = json.loads(self.body)["error"]["message"]
        assert json.loads(self.body) == {
            "is_bifrost_error": False,
            "status_code": self.status,
            "error": {"message": text},
            "extra_fields": {},
        }
        return text


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, server: HttpServer, *, buffer: int = 1 << 20) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", server.port, limit=buffer))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), PATIENCE_S)

    async def response(self, *, bodiless: bool = False) -> Response:
        """The next response; its body by Content-Length, or up to the end of the connection."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        status = int(status_line.split()[1])
        if bodiless or status == 100:
            return Response(status, headers, b"")
        if "content-length" in headers:
            wanted = self.reader.readexactly(int(headers["content-length"]))
            return Response(status, headers, await asyncio.wait_for(wanted, PATIENCE_S))
        return Response(status, headers, await self.rest())

    async def rest(self) -> bytes:
        """All that comes until the server ends or resets the connection."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENCE_S)
        except ConnectionResetError:
            return b""

    async def closed_in_silence(self) -> bool:
        """Whether the connection ends without another byte."""
        return await self.rest() == b""

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def connected(server: HttpServer) -> AsyncGenerator[Client]:
    """A client, closed afterwards."""
    client = await Client.connect(server)
    try:
        yield client
    finally:
        client.close()


@asynccontextmanager
async def talking(app: App, **limits: Any) -> AsyncGenerator[Client]:
    """A client of a server of its own."""
    async with serving(app, **limits) as server, connected(server) as client:
        yield client


async def ask(server: HttpServer, request: bytes) -> Response:
    """The only response to these bytes; fails when the connection then stays open for more."""
    async with connected(server) as client:
        await client.send(request)
        response = await client.response()
        if response.headers.get("connection") == "close":
            assert await client.closed_in_silence()
        return response


@asynccontextmanager
async def stalled(server: HttpServer, path: str = "/") -> AsyncGenerator[socket.socket]:
    """A client that asks and never reads a byte of the answer."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", server.port))
        request = f"GET {path} HTTP/1.1\r\nHost: example.test\r\n\r\n"
        await loop.sock_sendall(connection, request.encode())
        yield connection


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in this loop and tells nobody."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # nobody signals what it waits for
            await asyncio.sleep(0.01)
