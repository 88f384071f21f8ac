"""The one place that sends requests to others."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from hermod.net.connection import Connection
from hermod.net.dial import Dialer, Resolve
from hermod.net.messages import Limits, NetError, Reason, Reply, Request, Trust
from hermod.net.streaming import StreamedReply
from hermod.net.target import Target, head_of, target_of

_POOL_IDLE_S: Final = 4.0
"""Shorter than the 5 s after which uvicorn (vLLM, SGLang) and Node close an idle connection: who
lets go first never runs into the other's close. An idle pool has no traffic to speed up."""
_FAREWELL_S: Final = 1.0
"""How much sooner than announced (`Keep-Alive: timeout=…`) a connection is given up."""
_DEFAULTS: Final = Limits()


_Origin = tuple[bool, str, int, Trust]
"""What two requests must share to share a connection: TLS, host, port and trust."""
_Idle = tuple[Connection, float]
"""A connection, and until when it may be used."""


class HttpClient:
    """HTTP/1.1 over kept connections: no redirects, no cookies, no proxies, nothing from the
    environment, and no repetitions, which are for those who know what one costs.

    Callers bound the concurrency. Nothing is opened before the first request.
    """

    def __init__(
        self,
        limits: Limits = _DEFAULTS,
        *,
        user_agent: str = "hermod",
        pool_idle_s: float = _POOL_IDLE_S,
        resolve: Resolve | None = None,
    ) -> None:
        """`resolve` looks names up; the system does unless it is given."""
        self._limits = limits
        self._user_agent = user_agent
        self._pool_idle_s = pool_idle_s
        self._dialer = Dialer(resolve)
        self._pool: dict[_Origin, deque[_Idle]] = {}
        self._pruning: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def send(
        self, request: Request, *, timeout_s: float, limits: Limits | None = None
    ) -> Reply:
        """Sends one request and returns its reply, whatever the status.

        `timeout_s` bounds the whole attempt, connecting included. Raises NetError: its `reason`
        tells the deadlines apart, its `sent` whether the upstream may have seen the request.
        Cancelling closes the connection.
        """
        limits = limits or self._limits
        ends_at = asyncio.get_running_loop().time() + timeout_s
        target = target_of(request.url)
        head = head_of(request, target, self._user_agent)
        origin = target.is_tls, target.host, target.port, request.trust
        connection = self._take(origin)
        if connection is None:
            connection = await self._dial(target, request.trust, limits.connect_s, ends_at)
        reply = await connection.exchange(head, request.body, limits, ends_at)
        self._give_back(origin, connection)
        return reply

    @asynccontextmanager
    async def stream(
        self, request: Request, *, timeout_s: float, limits: Limits | None = None
    ) -> AsyncGenerator[StreamedReply]:
        """Sends one request; its reply is there as soon as its head is, whatever the status.

        `timeout_s` bounds it from connecting to the last byte, read or not, and the limits are
        those of `send`. Raises NetError as `send` does until the head is there; after that,
        reading the reply does. Leaving the block before the whole reply has come closes the
        connection. The reply cannot be read outside of it.
        """
        limits = limits or self._limits
        ends_at = asyncio.get_running_loop().time() + timeout_s
        target = target_of(request.url)
        head = head_of(request, target, self._user_agent)
        origin = target.is_tls, target.host, target.port, request.trust
        connection = self._take(origin)
        if connection is None:
            connection = await self._dial(target, request.trust, limits.connect_s, ends_at)
        reader = await connection.begin(head, request.body, limits, ends_at)
        try:
            yield StreamedReply(connection, reader)
        finally:
            connection.end(reader)
            self._give_back(origin, connection)

    async def close(self) -> None:
        """Closes every connection; calls under way end as broken, later ones cannot connect."""
        self._is_closed = True
        if self._pruning is not None:
            self._pruning.cancel()
        self._pool.clear()
        await asyncio.gather(*[connection.close() for connection in list(self._dialer.open)])

    async def _dial(
        self, target: Target, trust: Trust, connect_s: float, ends_at: float
    ) -> Connection:
        connect_until = asyncio.get_running_loop().time() + connect_s
        try:
            async with asyncio.timeout_at(min(connect_until, ends_at)):
                connection = await self._dialer.dial(target, trust)
        except TimeoutError as error:
            reason = Reason.TIMEOUT_CONNECT if connect_until < ends_at else Reason.TIMEOUT_TOTAL
            detail = f"no connection to {target.authority} in time"
            raise NetError(reason, detail, sent=False) from error
        if self._is_closed:
            connection.abort()
            raise NetError(Reason.CONNECT, "the client is closed", sent=False)
        return connection

    def _take(self, origin: _Origin) -> Connection | None:
        """The idle connection that was used last, if one is fit."""
        idle = self._pool.get(origin)
        if idle is None:
            return None
        now = asyncio.get_running_loop().time()
        while idle:
            connection, until = idle.pop()
            if now < until and connection.is_usable():
                return connection
            connection.abort()
        del self._pool[origin]
        return None

    def _give_back(self, origin: _Origin, connection: Connection) -> None:
        """Keeps a connection for the next request, if it can carry one."""
        if self._is_closed or not connection.is_open():
            connection.abort()
            return
        keep_s = self._pool_idle_s
        if connection.keep_alive_s is not None:
            keep_s = min(keep_s, connection.keep_alive_s - _FAREWELL_S)
        idle = self._pool.get(origin)
        if idle is None:
            idle = self._pool[origin] = deque()
        idle.append((connection, connection.free_at + keep_s))
        if self._pruning is None:
            loop = asyncio.get_running_loop()
            self._pruning = loop.call_later(self._pool_idle_s, self._prune)

    def _prune(self) -> None:
        """Closes what has been idle for too long; runs only while anything is idle."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for origin, idle in list(self._pool.items()):
            while idle and (idle[0][1] <= now or not idle[0][0].is_open()):
                idle.popleft()[0].abort()
            if not idle:
                del self._pool[origin]
        is_needed = bool(self._pool)
        self._pruning = loop.call_later(self._pool_idle_s, self._prune) if is_needed else None
