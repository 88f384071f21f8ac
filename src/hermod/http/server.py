"""The listening server, run inside our own event loop."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from email.utils import formatdate
from typing import Final

from hermod.domain.clock import Clock
from hermod.http.asgi import App
from hermod.http.connection import Connection, Shared
from hermod.http.guard import Limits
from hermod.http.listen import listen

_SWEEP_S: Final = 0.5
_ABORT_S: Final = 0.5
"""How long an aborted handler or socket may take to go."""


class HttpServer:
    """Serves an ASGI application over HTTP/1.1 from `start` to `stop`.

    No lifespan events, no websockets, no access log; signals are the caller's. `headers` go with
    every response, also with those the application never hears of; a `clock` adds the date.
    """

    def __init__(
        self,
        app: App,
        *,
        host: str,
        port: int,
        limits: Limits | None = None,
        clock: Clock | None = None,
        headers: Sequence[tuple[str, str]] = (),
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """`sockets` listen already, for this process and maybe others; else they are made."""
        self._host = host
        self._port = port
        self._clock = clock
        self._limits = limits or Limits()
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")
        self._shared = Shared(app, self._limits)
        self._shared.common_headers = self._headers
        self._given = tuple(sockets)
        self._listeners: list[asyncio.Server] = []
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._sweep_s = min(
            _SWEEP_S,
            self._limits.header_timeout_s / 4,
            self._limits.body_grace_s / 4,
            self._limits.keep_alive_idle_s / 4,
            self._limits.write_stall_s / 4,
            self._limits.linger_s / 4,
        )

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets; empty before `start` and after `stop`."""
        return tuple(each for listener in self._listeners for each in listener.sockets)

    @property
    def port(self) -> int:
        """The port asked for; once started, the one the system chose if that was 0."""
        return self._port

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._shared.connections)

    async def start(self) -> None:
        """Listen. Raises OSError, naming the address, when that is not possible."""
        loop = asyncio.get_running_loop()
        for each in self._given or listen(self._host, self._port, self._limits.backlog):
            made = await loop.create_server(
                lambda: Connection(self._shared, loop), sock=each, backlog=self._limits.backlog
            )
            self._listeners.append(made)
        self._port = int(self.sockets[0].getsockname()[1])
        self._sweep()

    def stop_listening(self) -> None:
        """Take no new connections; those that are there go on."""
        for listener in self._listeners:
            listener.close()

    async def stop(self, grace_s: float = 2.0) -> None:
        """Stop listening at once, finish the responses in progress, close every connection.

        Returns within `grace_s` and about a second, whatever the clients and handlers do. What
        is not finished by then is aborted, and its handler cancelled. A second call with less
        patience cuts the first one short.
        """
        shared = self._shared
        if not self._listeners:
            return
        self.stop_listening()
        shared.draining = True
        shared.emptied.clear()
        for connection in list(self._shared.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(grace_s):
                if shared.connections:
                    await shared.emptied.wait()
                if shared.tasks:
                    await asyncio.wait(shared.tasks)
        except TimeoutError:
            await self._abort()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ABORT_S):
                for listener in self._listeners:
                    await listener.wait_closed()

    async def _abort(self) -> None:
        for connection in list(self._shared.connections):
            connection.transport.abort()
        for task in self._shared.tasks:
            task.cancel()
        if self._shared.tasks:
            await asyncio.wait(self._shared.tasks, timeout=_ABORT_S)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep_timer = loop.call_later(self._sweep_s, self._sweep)
        if self._clock is not None:
            date = formatdate(self._clock.now() / 1e6, usegmt=True)
            self._shared.common_headers = f"date: {date}\r\n".encode("ascii") + self._headers
        now = loop.time()
        for connection in list(self._shared.connections):
            connection.check(now)
