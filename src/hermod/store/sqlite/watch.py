"""Commits of other processes, noticed soon after.

SQLite notifies nobody. It can be asked, for four microseconds, whether anything has been committed
since the last time; and only then does it pay to look whether that was work. Our own commits look
the same to the connection that asks, as the writer has one of its own: on a busy gateway that is
one look more per tick, and changes nothing, as its callbacks have been called already.
"""

import asyncio
from collections.abc import Callable, Iterable

import apsw

from hermod.domain.errors import StoreError
from hermod.store.sqlite.driver import Connection


class Watch:
    """Calls `found` with the lanes that have work after commits of anybody."""

    def __init__(
        self,
        connection: Connection,
        every_s: float,
        look: Callable[[], Iterable[str]],
        found: Callable[[Iterable[str]], None],
    ) -> None:
        """`connection` is one that the event loop reads with; `look` says which lanes have work."""
        self._connection = connection
        self._every_s = every_s
        self._look = look
        self._found = found
        self._seen: int | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(every_s, self._tick)

    def stop(self) -> None:
        """Call nobody any more."""
        self._timer.cancel()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._every_s, self._tick)
        try:
            version: int = self._connection.pragma("data_version")
            if version == self._seen:
                return
            lanes = self._look()
        except (apsw.Error, StoreError):
            return  # whoever uses the store hears of it; the next tick looks again
        # Only now: a look that failed has seen nothing.
        self._seen = version
        self._found(lanes)
