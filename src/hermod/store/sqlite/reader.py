"""Reads: short ones on the loop, long ones beside it.

A thread hop makes a poll several times slower (design.md 3.1); a body of megabytes read on the loop
would hold everybody up.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import apsw

from hermod.store.sqlite.driver import Bindings, Connection, Row
from hermod.store.sqlite.errors import translate

Found = TypeVar("Found")


class Reader:
    """Two connections that only read: the loop's, and that of a thread of its own."""

    def __init__(self, connection: Connection, beside: Connection, sql: Mapping[str, str]) -> None:
        self.connection = connection
        self._beside = beside
        self._sql = sql
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hermod-reader")

    def rows(self, query: str, values: Bindings = ()) -> list[Row]:
        """Every row of a named query, now. Raises StoreError."""
        try:
            # Fetched to the end: a cursor left open would hold its snapshot, and the log with it.
            return self.connection.execute(self._sql[query], values).fetchall()
        except apsw.Error as error:
            raise translate(error) from error

    async def beside(
        self, query: str, values: Bindings, digest: Callable[[list[Row]], Found]
    ) -> Found:
        """`digest` of every row of a named query, off the loop. Raises StoreError."""

        def read() -> Found:
            return digest(self._beside.execute(self._sql[query], values).fetchall())

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, read)
        except apsw.Error as error:
            raise translate(error) from error

    async def close(self) -> None:
        """Finish the reads that were begun, then let go."""
        await asyncio.to_thread(self._thread.shutdown)
        self.connection.close()
        self._beside.close()
