"""A look at a PostgreSQL, which others may be using."""

import asyncio
from typing import Final

from hermod.domain.errors import StoreMisconfigured
from hermod.store.checkup import Seen, seen
from hermod.store.postgres.driver import Connection, connect
from hermod.store.postgres.errors import translate
from hermod.store.postgres.schema import OLDEST_SERVER, PACKAGE
from hermod.store.sql import READABLE_FROM, load_migrations

_PATIENCE_S: Final = 10.0
_THERE: Final = "SELECT to_regclass('hermod.meta') IS NOT NULL, pg_is_in_recovery()"
_META: Final = "SELECT name, value FROM hermod.meta"
_OFF: Final = """
SELECT name FROM pg_settings
WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off'
"""


async def look_at(url: str) -> Seen:
    """What there is. Raises StoreError."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            connection = await connect(url, _PATIENCE_S)
            try:
                await connection.execute("BEGIN READ ONLY")
                return await _look(connection)
            finally:
                connection.terminate()
    except Exception as error:  # whatever the driver raises becomes one of our errors
        raise translate(error, sent=False) from error


async def _look(connection: Connection) -> Seen:
    version = connection.get_server_version()
    if version[0] < OLDEST_SERVER:
        raise StoreMisconfigured(
            f"PostgreSQL {version[0]} is too old: {OLDEST_SERVER} or newer is needed"
        )
    ((is_there, is_standby),) = await connection.fetch(_THERE)
    meta = dict(map(tuple[str, str], await connection.fetch(_META))) if is_there else {}
    weak = [
        f"the server runs with {name} = off: what was accepted may be lost when it fails"
        for (name,) in await connection.fetch(_OFF)
    ]
    if is_standby:
        weak.append("the server is a standby, which takes no jobs: name the primary")
    said = meta.get(READABLE_FROM)
    return seen(
        f"PostgreSQL {version[0]}.{version[1]}",
        int(meta.get("schema", "0")),
        int(said) if said else None,
        load_migrations(PACKAGE),
        weak,
    )
