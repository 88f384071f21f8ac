"""Connections to one database: made when needed, kept while they work, never trusted after an
error."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from hermod.domain.errors import StoreError, StoreUnavailable
from hermod.store.postgres.driver import Connection, Row, connect
from hermod.store.postgres.errors import breaks_connection, is_worth_another_try, translate

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 5.0
STATEMENT_TIMEOUT_S: Final = 10.0
"""A database that has not answered by then is taken to be away. Ours take milliseconds."""
_TRIES: Final = 5
SESSION_SETTINGS: Final = (
    "SET jit = off",
    # Statistics of a queue are always out of date: every step of ours goes through an index, and no
    # plan that was made while a table was empty is kept for when it is full.
    "SET plan_cache_mode = force_custom_plan",
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET default_transaction_isolation = 'read committed'",
)


class Connections:
    """Up to `limit` connections, handed out one statement or transaction at a time."""

    def __init__(self, url: str, limit: int) -> None:
        self._url = url
        self._room = asyncio.Semaphore(limit)
        self._idle: list[Connection] = []
        self._closed = False
        self._away = False
        self.direct = False
        """Whether a session is ours alone. What is set on one that a pooler shares would be set for
        whoever has it next."""

    async def connect(self) -> Connection:
        """A connection of the caller's own. Raises StoreError."""
        try:
            connection = await connect(self._url, CONNECT_TIMEOUT_S)
            await self.set_up(connection)
        except Exception as error:
            raise self._judged(error, sent=False) from error
        if self._away:
            self._away = False
            log.warning("the database is back")
        return connection

    async def set_up(self, connection: Connection) -> None:
        """Have the session plan as a queue needs it. Raises what the driver raises."""
        if not self.direct:
            return
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection.execute("; ".join(SESSION_SETTINGS))
        except BaseException:
            connection.terminate()
            raise

    async def run(
        self, query: str, *values: Any, timeout_s: float = STATEMENT_TIMEOUT_S
    ) -> list[Row]:
        """The rows of one statement, which is one transaction.

        Raises ReplyLost when it may have been committed, another StoreError when it was not, and
        what the database says of the statement itself.
        """
        for _ in range(_TRIES):
            try:
                async with self.session(timeout_s) as connection:
                    return await connection.fetch(query, *values)
            except _Again:
                await asyncio.sleep(jittered(0.01))
        raise StoreUnavailable("the database is too busy: others were always faster")

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """A connection inside a transaction, committed at the end. Raises like `run`."""
        async with self.session(STATEMENT_TIMEOUT_S) as connection:
            await connection.execute("BEGIN")
            try:
                yield connection
            except BaseException:
                with suppress(Exception):  # the first error is the one to tell
                    await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    @asynccontextmanager
    async def session(self, timeout_s: float) -> AsyncGenerator[Connection]:
        """A connection for a while, given back if it still works. Raises like `run`."""
        async with self._room:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            connection = await self._take()
            # A database that is frozen answers no cancellation either: break the connection.
            alarm = asyncio.get_running_loop().call_later(timeout_s, connection.terminate)
            try:
                yield connection
            except StoreError:
                self.adopt(connection)
                raise
            except Exception as error:
                if breaks_connection(error):
                    connection.terminate()
                self.adopt(connection)
                raise self._judged(error, sent=True) from error
            except BaseException:  # cancelled: the answer to its statement is still to come
                connection.terminate()
                raise
            else:
                self.adopt(connection)
            finally:
                alarm.cancel()

    def _judged(self, error: Exception, *, sent: bool) -> Exception:
        """An error in our terms. That the database has gone is said once."""
        if is_worth_another_try(error):
            return _Again(f"the database cannot be used now: {error}")
        judged = translate(error, sent=sent)
        if breaks_connection(error) and not self._away:
            self._away = True
            log.warning("%s", judged)
        return judged

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self.connect()

    def adopt(self, connection: Connection) -> None:
        """Keep a connection that nobody uses, if it still works."""
        if connection.is_closed():
            return
        if self._closed:
            connection.terminate()
        else:
            self._idle.append(connection)

    async def close(self) -> None:
        """Say goodbye on every idle connection; those in use are ended when they come back."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            with suppress(Exception):  # the server notices by itself
                await connection.close(timeout=1.0)


class _Again(StoreUnavailable):
    """The database has rolled the statement back in favour of somebody else's."""


def jittered(delay_s: float) -> float:
    """A pause of about that long, so that many who lost the database do not return as one."""
    return delay_s * random.uniform(0.5, 1.5)  # noqa: S311 - dice, not secrets
