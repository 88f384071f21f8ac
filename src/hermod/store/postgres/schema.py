"""The schema, and what we ask of a server before we trust it with jobs."""

import asyncio
import logging
from typing import Final

from hermod.domain.errors import StoreMisconfigured
from hermod.domain.failpoint import failpoint
from hermod.store.postgres.connections import STATEMENT_TIMEOUT_S, Connections
from hermod.store.postgres.driver import Connection
from hermod.store.postgres.errors import POOLER, lost_its_statement, translate
from hermod.store.sql import READABLE_FROM, load_migrations, plan_upgrade

log = logging.getLogger(__name__)

PACKAGE: Final = "hermod.store.postgres"
OLDEST_SERVER: Final = 14
_MIGRATION_TIMEOUT_S: Final = 3_600.0
_LOCK: Final = 0x6865726D6F64
"""`hermod`, as a number: held by whoever migrates."""
_SCHEMA_THERE: Final = "SELECT to_regnamespace('hermod') IS NOT NULL"
_META_THERE: Final = "SELECT to_regclass('hermod.meta') IS NOT NULL"
_MAKE_META: Final = "CREATE TABLE hermod.meta (name text PRIMARY KEY, value text NOT NULL)"
_READ_META: Final = "SELECT name, value FROM hermod.meta"
_SET_META: Final = """
INSERT INTO hermod.meta (name, value) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
_VERSION: Final = "schema"
_DURABILITY: Final = """
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')
"""
_WHO: Final = "SELECT pg_backend_pid()"


async def migrate(connections: Connections) -> None:
    """Bring the schema up to date, one process at a time, in one transaction.

    Raises StoreMisconfigured when this release cannot run on it, another StoreError.
    """
    async with connections.session(_MIGRATION_TIMEOUT_S) as connection:
        if not await _is_current(connection):
            await _migrate(connection)


async def _is_current(connection: Connection) -> bool:
    """Whether there is nothing to do, found out without any lock."""
    if not await _is(_META_THERE, connection):
        return False
    meta = await _meta(connection)
    upgrade = plan_upgrade(*meta, load_migrations(PACKAGE))
    return not upgrade.missing and upgrade.readable_from == meta[1]


async def _migrate(connection: Connection) -> None:
    failpoint("migration.before")
    await connection.execute("BEGIN")
    try:
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        # One by one: a role that may not make schemas can use one that was made for it.
        if not await _is(_SCHEMA_THERE, connection):
            await connection.execute("CREATE SCHEMA hermod")
        if not await _is(_META_THERE, connection):
            await connection.execute(_MAKE_META)
        version, said = await _meta(connection)
        upgrade = plan_upgrade(version, said, load_migrations(PACKAGE))
        for migration in upgrade.missing:
            await connection.execute(migration.sql)
            await connection.execute(_SET_META, _VERSION, str(migration.number))
        await connection.execute(_SET_META, READABLE_FROM, str(upgrade.readable_from))
        failpoint("migration.before_commit")
        await connection.execute("COMMIT")
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    failpoint("migration.after")


async def _is(question: str, connection: Connection) -> bool:
    ((answer,),) = await connection.fetch(question)
    return answer


async def _meta(connection: Connection) -> tuple[int, int | None]:
    """The schema's number, and the oldest whose releases can run on it."""
    rows = dict(map(tuple[str, str], await connection.fetch(_READ_META)))
    readable_from = rows.get(READABLE_FROM)
    return int(rows.get(_VERSION, "0")), int(readable_from) if readable_from else None


async def examine(connections: Connections) -> str:
    """The server's version, for people.

    Raises StoreMisconfigured for a server, or a way to it, that cannot keep our promises.
    """
    await _look_for_a_pooler(connections)
    async with connections.session(STATEMENT_TIMEOUT_S) as connection:
        version = connection.get_server_version()
        if version[0] < OLDEST_SERVER:
            raise StoreMisconfigured(
                f"PostgreSQL {version[0]} is too old: {OLDEST_SERVER} or newer is needed"
            )
        for name, setting in await connection.fetch(_DURABILITY):
            if setting == "off":
                log.warning(
                    "the database runs with %s = off: what it accepted may be lost when its "
                    "machine fails",
                    name,
                )
    return f"postgresql {version[0]}.{version[1]}"


async def _look_for_a_pooler(connections: Connections) -> None:
    """Behind a pooler in transaction mode a session may be another one after each transaction.

    That is well as long as the pooler carries prepared statements over. Make it swap sessions, and
    see: while somebody else holds the first, another one answers. Raises StoreMisconfigured when it
    has forgotten our statement.
    """
    ours, other = await connections.connect(), await connections.connect()
    try:
        async with asyncio.timeout(STATEMENT_TIMEOUT_S):
            ((first,),) = await ours.fetch(_WHO)
            await other.execute("BEGIN")
            ((second,),) = await ours.fetch(_WHO)
            await other.execute("ROLLBACK")
            connections.direct = first == second
            if connections.direct:
                await connections.set_up(ours)
                await connections.set_up(other)
    except BaseException as error:
        ours.terminate()
        other.terminate()
        if lost_its_statement(error):
            raise StoreMisconfigured(POOLER) from error
        if isinstance(error, Exception):
            raise translate(error, sent=False) from error
        raise
    connections.adopt(ours)
    connections.adopt(other)
