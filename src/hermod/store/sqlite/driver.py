"""The part of apsw we use, typed.

apsw's own annotations name `collections.abc.Buffer`, which Python 3.11 does not have: to a type
checker every row is unknown then. The tables are STRICT, so what a column holds is known from them.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import apsw

# SQLite would count its memory, which nobody asks for, under one lock that each allocation of each
# thread takes: a tenth of its CPU. It can only be told before anything is open.
apsw.shutdown()
apsw.config(apsw.SQLITE_CONFIG_MEMSTATUS, 0)
apsw.initialize()

Row = tuple[Any, ...]
Bindings = Sequence[Any] | Mapping[str, Any]


class Cursor(Protocol):
    """A statement that was begun. It holds its read transaction until it is fetched to the end."""

    def fetchall(self) -> list[Row]: ...


class Connection(Protocol):
    """See `apsw.Connection`. May be used from any thread, but by one at a time."""

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, statements: str, bindings: Bindings | None = None, /) -> Cursor: ...

    def executemany(self, statements: str, bindings: Iterable[Bindings], /) -> Cursor: ...

    def pragma(self, name: str, value: str | int | None = None, /) -> Any: ...

    def total_changes(self) -> int: ...

    def set_busy_timeout(self, milliseconds: int, /) -> None: ...

    def config(self, op: int, value: int, /) -> int: ...

    def close(self) -> None: ...


def open_file(path: Path) -> Connection:
    """A connection with nothing set yet. Raises apsw.Error."""
    return apsw.Connection(str(path))


def open_to_read(path: Path) -> Connection:
    """A connection that cannot write, to a database that others may use. Raises apsw.Error."""
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
