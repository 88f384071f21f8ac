"""A PostgreSQL database, looked at from outside. Nothing here writes to it."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from hermod.domain.meter import Meter
from hermod.store.inspection import (
    GLANCE_ROWS,
    OPENING_BYTES,
    Dump,
    Glance,
    Leased,
    Overdue,
    StoredAttempt,
    StoredHold,
    StoredJob,
    TagOf,
)
from hermod.store.postgres.driver import Connection, Row, connect
from hermod.store.postgres.errors import translate
from hermod.store.sql import load_queries

_PACKAGE: Final = "hermod.store.postgres"
_CONNECT_S: Final = 10.0
_LOOK_S: Final = 60.0


class Present(NamedTuple):
    """How many jobs a database has."""

    unfinished: int
    jobs: int


async def count_present(url: str) -> Present:
    """The jobs of a database, which may have no schema of ours yet. Raises StoreError."""
    async with _looking(url) as look:
        if not await look.value("is_there"):
            return Present(0, 0)
        ((unfinished, jobs),) = await look.rows("unfinished")
        return Present(unfinished, jobs)


async def read_dump(url: str, tag_of: TagOf, since_id: str) -> Dump:
    """Everything at one instant; jobs with ids before `since_id` are only counted.

    Raises StoreError.
    """
    since = uuid.UUID(since_id)
    async with _looking(url) as look:
        jobs = [
            StoredJob(str(job_id), tag_of(opening or b""), *rest)
            for job_id, opening, *rest in await look.rows("jobs", since, OPENING_BYTES)
        ]
        attempts = [
            StoredAttempt(str(job_id or ""), *rest)
            for job_id, *rest in await look.rows("attempts", since)
        ]
        counters = {f"{lane}/{state}": n for lane, state, n in await look.rows("counts")}
        others = {f"{lane}/{state}": n for lane, state, n in await look.rows("others", since)}
        meters = {meter_id: Meter(*rest) for meter_id, *rest in await look.rows("meters")}
        holds = [StoredHold(str(job_id or ""), *rest) for job_id, *rest in await look.rows("holds")]
    return Dump(jobs, attempts, counters, "ok", others, meters, holds)


async def read_glance(url: str, since_id: str) -> Glance:
    """Leases and deadlines, now. Raises StoreError."""
    since = uuid.UUID(since_id)
    async with _looking(url) as look:
        now_at = await look.value("clock")
        leased = await look.rows("leases", since, GLANCE_ROWS)
        overdue = await look.rows("overdue", since, now_at, GLANCE_ROWS)
    return Glance(
        now_at,
        now_at,
        tuple(Leased(str(job_id), n, until) for job_id, n, until in leased),
        tuple(Overdue(str(job_id), state, at) for job_id, state, at in overdue),
    )


class _Look:
    def __init__(self, connection: Connection) -> None:
        self._sql = load_queries(_PACKAGE, "inspect.sql")
        self._connection = connection

    async def rows(self, query: str, *values: object) -> list[Row]:
        return await self._connection.fetch(self._sql[query], *values)

    async def value(self, query: str) -> Any:
        return (await self.rows(query))[0][0]


@asynccontextmanager
async def _looking(url: str) -> AsyncGenerator[_Look]:
    """One snapshot, on a connection of its own."""
    try:
        async with asyncio.timeout(_LOOK_S):
            connection = await connect(url, _CONNECT_S)
            try:
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield _Look(connection)
            finally:
                connection.terminate()
    except Exception as error:
        raise translate(error, sent=False) from error
