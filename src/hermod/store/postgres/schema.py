"""The schema, and what we ask of a server before we trust it with jobs."""

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Final

from hermod.domain.errors import StoreMisconfigured, StoreUnavailable
from hermod.domain.failpoint import failpoint
from hermod.store.postgres.connections import STATEMENT_TIMEOUT_S, WHO, Connections
from hermod.store.postgres.driver import Connection
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
_RIGHTS: Final = """
SELECT name, has_table_privilege('hermod.' || name, 'SELECT')
    AND has_table_privilege('hermod.' || name, 'INSERT')
    AND has_table_privilege('hermod.' || name, 'UPDATE')
    AND has_table_privilege('hermod.' || name, 'DELETE')
FROM unnest(ARRAY['job', 'request', 'result', 'attempt', 'payload_chunk', 'job_count', 'meta',
    'document', 'audit', 'meter', 'hold']) AS name
"""
_READ_ONLY: Final = "SELECT current_setting('transaction_read_only') = 'on'"
_ENCODINGS: Final = ("UTF8", "SQL_ASCII")
_DURABILITY: Final = """
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')
"""


async def migrate(connections: Connections) -> None:
    """Bring the schema up to date, one process at a time, in one transaction.

    Raises StoreMisconfigured when this release cannot run on it, another StoreError.
    """
    async with connections.session(STATEMENT_TIMEOUT_S) as connection:
        if await _is_current(connection):
            return
    async with connections.session(_MIGRATION_TIMEOUT_S) as connection:
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
    except Exception:
        with suppress(Exception):  # the first error is the one to tell
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
    try:
        return int(rows.get(_VERSION, "0")), int(readable_from) if readable_from else None
    except ValueError:
        raise StoreMisconfigured(
            "hermod.meta is not what Hermod wrote there: use another database, or restore a backup"
        ) from None


async def see_that_we_may_write(connections: Connections) -> None:
    """Raises StoreUnavailable on a standby, StoreMisconfigured without the rights or the tables."""
    async with connections.session(STATEMENT_TIMEOUT_S) as connection:
        for table, granted in await connection.fetch(_RIGHTS):
            if not granted:
                raise StoreMisconfigured(
                    f"this role may not read and write hermod.{table}: "
                    "GRANT ALL ON ALL TABLES IN SCHEMA hermod TO it, or make it their owner"
                )
        if await _is(_READ_ONLY, connection):
            raise StoreUnavailable(
                "the database is read-only, as a standby is: name the primary, or several hosts "
                "with ?target_session_attrs=read-write"
            )


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
        ((encoding,),) = await connection.fetch("SHOW server_encoding")
        if encoding not in _ENCODINGS:
            raise StoreMisconfigured(
                f"the database is encoded in {encoding}, which cannot hold every text: "
                "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
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

    That is well as long as the pooler carries prepared statements over. Raises StoreMisconfigured
    when it does not.
    """
    async with connections.aside() as ours, connections.aside() as other:
        connections.direct = await _has_sessions_of_its_own(ours, other, connections.patience_s)
        if connections.direct:
            await connections.set_up(ours)
            await connections.set_up(other)


async def _has_sessions_of_its_own(ours: Connection, other: Connection, patience_s: float) -> bool:
    """Have a pooler share a session between two, or swap the sessions of one, and see.

    Either shows whether it forgets a statement or mixes up two of one name: the driver gives all
    processes the same names. Nobody waits here for a second session while holding one, as there may
    be only one.
    """
    name = f"hermod_{secrets.token_hex(8)}"
    who = await ours.prepare(WHO, name=name)
    seen = {await who.fetchval(), await who.fetchval()}
    try:
        async with asyncio.timeout(patience_s):
            await other.execute("BEGIN")
            ((theirs,),) = await other.fetch(WHO)
            if theirs in seen:
                await other.prepare(WHO, name=name)
            await other.execute("ROLLBACK")
    except TimeoutError as error:
        raise StoreUnavailable(
            "the database has no second session for us: is it busy, or is the pool of a "
            "connection pooler in front of it too small?"
        ) from error
    seen.add(await who.fetchval())
    return theirs not in seen and len(seen) == 1
