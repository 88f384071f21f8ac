"""Connections to one database: made when needed, kept while they work, never trusted after an
error."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

from hermod.domain.errors import StoreError, StoreUnavailable
from hermod.store.postgres.driver import Connection, Row, connect, words
from hermod.store.postgres.errors import breaks_connection, is_worth_another_try, translate
from hermod.store.postgres.outage import NoMore, Outage, jittered, now_s

CONNECT_TIMEOUT_S: Final = 5.0
STATEMENT_TIMEOUT_S: Final = 10.0
"""A database that has not answered by then is taken to be away. Ours take milliseconds."""
PATIENCE_S: Final = 5.0
"""For a connection. With the statement it must be well below a lease: a worker that cannot renew
has to know in time."""
STALE_S: Final = 60.0
"""A connection that was idle for longer may be open at our end only: a firewall forgets it and says
nothing."""
WHO: Final = "SELECT pg_backend_pid()"
_TRIES: Final = 5
_ALWAYS_SLOWER: Final = "the database is too busy: others were always faster"
_FEWER_S: Final = 60.0
"""How long a connection that the server could not give us is done without."""
_GOODBYE_S: Final = 0.5
SESSION_SETTINGS: Final = (
    "SET jit = off",
    # Statistics of a queue are always out of date: every step of ours goes through an index. So one
    # plan does for all values and times (queries.sql), and planning, which would be half of what a
    # small statement costs the database, is done once.
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET default_transaction_isolation = 'read committed'",
)

Written = TypeVar("Written")


class Connections:
    """Up to `limit` connections, handed out one statement or transaction at a time."""

    def __init__(
        self, url: str, limit: int, *, patience_s: float = PATIENCE_S, stale_s: float = STALE_S
    ) -> None:
        """A caller waits up to `patience_s` while all are in use."""
        self._url = url
        self._limit = limit
        self.patience_s = patience_s
        self._stale_s = stale_s
        self._room = asyncio.Semaphore(limit)
        self._idle: list[tuple[float, Connection]] = []
        """Since when each is, the one that was used last at the end."""
        self._out: set[Connection] = set()
        self._closed = False
        self._outage = Outage()
        self.direct = False
        """Whether a session is ours alone. What is set on one that a pooler shares would be set for
        whoever has it next."""

    async def connect(self) -> Connection:
        """A connection of the caller's own. Raises StoreError.

        After a failure there is none for a moment: many who come back at once, again and again,
        keep a server from starting.
        """
        self._outage.check()
        try:
            connection = await connect(self._url, CONNECT_TIMEOUT_S)
            await self.set_up(connection)
        except Exception as error:
            raise self._outage.no_connection(error) from error
        return connection

    async def set_up(self, connection: Connection) -> None:
        """Have the session plan as a queue needs it. Raises what the driver raises."""
        if not self.direct:
            return
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection.execute("; ".join(SESSION_SETTINGS))
        except BaseException:  # a cancellation, too: nobody else knows of it
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
            with suppress(Again):
                async with self.session(timeout_s) as connection:
                    return await connection.fetch(query, *values)
            await asyncio.sleep(jittered(0.01))
        raise StoreUnavailable(_ALWAYS_SLOWER)

    async def transact(self, work: Callable[[Connection], Awaitable[Written]]) -> Written:
        """What `work` does, all of it or nothing; it may be called again after nothing of it was
        done, and may raise Again itself to be. Raises like `run`, and what `work` raises."""
        for _ in range(_TRIES):
            with suppress(Again):
                async with self.transaction() as connection:
                    return await work(connection)
            await asyncio.sleep(jittered(0.01))
        raise StoreUnavailable(_ALWAYS_SLOWER)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """A connection inside a transaction, committed at the end. Raises like `run`."""
        async with self.session(STATEMENT_TIMEOUT_S) as connection:
            await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            try:
                yield connection
            except Exception:  # whoever is cancelled does not wait, and leaves no connection
                with suppress(Exception):  # the first error is the one to tell
                    await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    @asynccontextmanager
    async def session(self, timeout_s: float) -> AsyncGenerator[Connection]:
        """A connection for a while, given back if it still works. Raises like `run`."""
        await self._enter()
        try:
            connection = await self._take()
            self._out.add(connection)
            # A database that is frozen answers no cancellation either: break the connection.
            alarm = asyncio.get_running_loop().call_later(timeout_s, self._give_up, connection)
            try:
                async with self._judging(connection):
                    yield connection
            finally:
                alarm.cancel()
                self._out.discard(connection)
                self.adopt(connection)
        finally:
            self._room.release()

    @asynccontextmanager
    async def aside(self) -> AsyncGenerator[Connection]:
        """A connection beside those of the limit, to be one of them at last. Raises like `run`,
        but for ReplyLost."""
        connection = await self.connect()
        alarm = asyncio.get_running_loop().call_later(STATEMENT_TIMEOUT_S, connection.terminate)
        try:
            async with self._judging(connection, sent=False):
                yield connection
        except BaseException:  # likewise
            connection.terminate()
            raise
        finally:
            alarm.cancel()
        self.adopt(connection)

    @asynccontextmanager
    async def _judging(self, connection: Connection, *, sent: bool = True) -> AsyncGenerator[None]:
        """Raises a driver's errors in our terms, and ends a connection that has become useless."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if breaks_connection(error):
                connection.terminate()
            if is_worth_another_try(error):
                raise Again("the database cannot be used now", words(error)) from error
            judged = self._outage.judged(error) if sent else translate(error, sent=False)
            if judged is error:
                raise
            raise judged from error
        except BaseException:  # cancelled: the answer to its statement is still to come
            connection.terminate()
            raise
        self._outage.over()

    async def _enter(self) -> None:
        try:
            async with asyncio.timeout(self.patience_s):
                await self._room.acquire()
        except TimeoutError:
            raise StoreUnavailable("every connection to the database is in use") from None

    async def _take(self) -> Connection:
        while not self._closed:
            try:
                connection = self._kept() or await self.connect()
            except NoMore:
                if not self._out:
                    raise
                # Others have what the server can give: share what we have, and ask again later.
                later = asyncio.get_running_loop().call_later(_FEWER_S, self._room.release)
                try:
                    await self._enter()
                except BaseException:
                    later.cancel()
                    raise
                continue
            if not self._closed:
                return connection
            connection.terminate()
        raise StoreUnavailable("the store is closed")

    def _kept(self) -> Connection | None:
        """An idle connection, if there is one that can be trusted."""
        while self._idle:
            since_s, connection = self._idle.pop()
            if connection.is_closed():
                continue
            if now_s() - since_s < self._stale_s:
                return connection
            connection.terminate()
        return None

    def _give_up(self, connection: Connection) -> None:
        """No answer: neither from this connection, nor is there reason to try the idle ones."""
        connection.terminate()
        while self._idle:
            self._idle.pop()[1].terminate()

    def adopt(self, connection: Connection) -> None:
        """Keep a connection that nobody uses, if it still works and there is room for it."""
        if connection.is_closed():
            return
        if self._closed or len(self._idle) + len(self._out) >= self._limit:
            connection.terminate()
        else:
            self._idle.append((now_s(), connection))

    async def close(self) -> None:
        """Say goodbye on every idle connection, and end those in use."""
        self._closed = True
        for connection in self._out:
            connection.terminate()
        idle, self._idle = self._idle, []
        goodbyes = (connection.close(timeout=_GOODBYE_S) for _, connection in idle)
        await asyncio.gather(*goodbyes, return_exceptions=True)  # the server notices by itself


class Again(StoreUnavailable):
    """Nothing was done, in favour of somebody else's statement: the next try may go well."""
