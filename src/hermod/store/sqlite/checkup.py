"""A look at the embedded database, which another process may be using."""

from pathlib import Path
from urllib.parse import quote

import apsw

from hermod.domain.errors import StoreUnavailable
from hermod.store.checkup import Seen, seen
from hermod.store.sql import READABLE_FROM, load_migrations, load_queries
from hermod.store.sqlite.driver import Connection, open_to_read
from hermod.store.sqlite.schema import BUSY_TIMEOUT_MS, PACKAGE


def look_at(path: Path) -> Seen:
    """What there is. Raises StoreUnavailable or StoreMisconfigured."""
    engine = f"SQLite {apsw.sqlite_lib_version()}"
    migrations = load_migrations(PACKAGE)
    if not path.exists():
        return seen(engine, 0, None, migrations)
    try:
        connection = _open(path)
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            version: int = connection.pragma("user_version")
            readable_from = None
            if version:
                sql = load_queries(PACKAGE)["get_meta"]
                rows = connection.execute(sql, (READABLE_FROM,)).fetchall()
                readable_from = int(rows[0][0]) if rows else None
        finally:
            connection.close()
    except (apsw.Error, ValueError) as error:
        raise StoreUnavailable(f"cannot read the database {path}: {error}") from error
    return seen(engine, version, readable_from, migrations)


def _open(path: Path) -> Connection:
    """Without a log beside it, the file is whole, and even a reader would make one: so it is told
    that nobody writes."""
    if all(path.with_name(path.name + end).exists() for end in ("-wal", "-shm")):
        return open_to_read(path)
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"file:{quote(str(path.absolute()))}?immutable=1", flags=flags)
