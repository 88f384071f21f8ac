"""A request and a response, as our handlers see them."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple

from hermod.governance.identity import Identity
from hermod.http.asgi import Receive, Scope

Header = tuple[bytes, bytes]
JSON: Header = (b"content-type", b"application/json")


class Request(NamedTuple):
    """What a handler is given. The body has not been read."""

    method: str
    argument: str
    """What the route's `{…}` stands for."""
    scope: Scope
    receive: Receive
    identity: Identity | None = None
    """Who manages; None on routes that are not for managing."""

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, its name in lower case."""
        for key, value in self.scope["headers"]:
            if key == name:
                return value
        return None


class Response(NamedTuple):
    """What a handler answers."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = (JSON,)


class Streamed(NamedTuple):
    """An answer in pieces."""

    headers: tuple[Header, ...]
    pieces: AsyncGenerator[bytes, None]
    """Ends early, by itself, when the client is gone. It is closed in any case."""


Handler = Callable[[Request], Awaitable[Response | Streamed]]
