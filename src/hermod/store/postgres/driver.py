"""The part of asyncpg we use, typed: it has no annotations of its own."""

from collections.abc import Callable
from typing import Any, Final, Protocol

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

_asyncpg: Any = asyncpg

ServerError: Final[type[Exception]] = _asyncpg.PostgresError
"""The server's own words."""
UnfitValue: Final = ValueError
"""A value that could not even be sent: the driver's own error for it is one of these."""
ClientError: Final[tuple[type[Exception], ...]] = (
    _asyncpg.InterfaceError,
    _asyncpg.InternalClientError,
)
"""The connection is closed, or not in a state to be used."""

Row = tuple[Any, ...]
Heard = Callable[[Any, int, str, Any], object]
"""Called with the connection, the sender's process id, the channel and the payload."""


class Statement(Protocol):
    """See `asyncpg.prepared_stmt.PreparedStatement`."""

    async def fetchval(self) -> Any: ...


class Connection(Protocol):
    """See `asyncpg.Connection`. One statement at a time."""

    async def prepare(self, query: str, *, name: str) -> Statement: ...

    async def fetch(self, query: str, *args: Any) -> list[Row]: ...

    async def execute(self, query: str, *args: Any) -> str: ...

    async def add_listener(self, channel: str, callback: Heard) -> None: ...

    def add_termination_listener(self, callback: Callable[[Any], object]) -> None: ...

    def get_server_pid(self) -> int: ...

    def get_server_version(self) -> tuple[Any, ...]: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...

    async def close(self, *, timeout: float | None = None) -> None: ...


async def connect(url: str, timeout_s: float) -> Connection:
    """A connection with nothing set yet. Raises what `errors.translate` understands."""
    return await _asyncpg.connect(url, timeout=timeout_s)


def sqlstate(error: BaseException) -> str:
    """The code of a server's error; empty for any other error."""
    return getattr(error, "sqlstate", None) or "" if isinstance(error, ServerError) else ""


def ends_session(error: Exception) -> bool:
    """Whether the server has hung up with these words."""
    return getattr(error, "severity_en", None) in ("FATAL", "PANIC")


def words(error: BaseException) -> str:
    """An error in one line: without the server's details and hints."""
    said = str(error.args[0]) if isinstance(error, ServerError) and error.args else str(error)
    return said or type(error).__name__
