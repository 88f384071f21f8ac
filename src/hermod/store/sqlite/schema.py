"""Connections and the schema."""

import errno
import os
import platform
import time
from pathlib import Path
from typing import Final

import apsw

from hermod.domain.failpoint import failpoint
from hermod.store.sql import READABLE_FROM, load_migrations, load_queries, plan_upgrade
from hermod.store.sqlite.driver import Connection, open_file

PACKAGE: Final = "hermod.store.sqlite"
BUSY_TIMEOUT_MS: Final = 3_000
"""How long a transaction waits for another process. Ours take milliseconds; a longer lock is
answered with 503, and a drain has to fit several of these."""
_CHECKPOINT_PAGES: Final = 4_000
_WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
_CACHE_KIB: Final = 4 * 1024
_WAL_TRIES: Final = 20
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def connect(path: Path, *, synchronous: str = "FULL", query_only: bool = False) -> Connection:
    """Open the database, readable by its owner only. Raises apsw.Error or OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_file(path)
    connection = open_file(path)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        _use_wal(connection)
        connection.pragma("synchronous", synchronous)
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.pragma("temp_store", "memory")
        # Plans must not depend on bound values: without this, a statement that could use a partial
        # index is compiled anew at every run (an eighth of the CPU of a poll).
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        if query_only:
            # Only the writer checkpoints: two connections doing so is how WAL files were corrupted.
            connection.pragma("wal_autocheckpoint", 0)
            connection.pragma("query_only", 1)
        else:
            connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
            connection.pragma("journal_size_limit", _WAL_LIMIT_BYTES)
    except BaseException:
        connection.close()
        raise
    return connection


def _require_file(path: Path) -> None:
    """Create it unless it is there. Raises OSError when we may not write to it.

    A file that is there is not opened: to close it would drop every lock that this process has on
    it (fcntl(2)). Whoever looked into the database then took themselves for the last one to leave,
    and deleted the log that we went on writing to.
    """
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    elif not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _use_wal(connection: Connection) -> None:
    """Switch. The busy timeout does not apply to it, so wait for another's by other means."""
    for _ in range(_WAL_TRIES):
        try:
            connection.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    connection.pragma("journal_mode", "wal")


def migrate(connection: Connection) -> None:
    """Bring the schema up to date, in one transaction.

    Raises StoreMisconfigured when a newer release has changed it so that this one cannot run on it.
    """
    migrations = load_migrations(PACKAGE)
    failpoint("migration.before")
    connection.execute("BEGIN IMMEDIATE")
    try:
        version: int = connection.pragma("user_version")
        said = _readable_from(connection, version)
        upgrade = plan_upgrade(version, said, migrations)
        for migration in upgrade.missing:
            connection.execute(migration.sql)
            connection.pragma("user_version", migration.number)
        if upgrade.readable_from != said:
            sql = load_queries(PACKAGE)["set_meta"]
            connection.execute(sql, (READABLE_FROM, str(upgrade.readable_from)))
        failpoint("migration.before_commit")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    failpoint("migration.after")


def _readable_from(connection: Connection, version: int) -> int | None:
    """What the database says of who can run on it. Release 0.1.0 said nothing."""
    if version == 0:  # there is no table yet
        return None
    rows = connection.execute(load_queries(PACKAGE)["get_meta"], (READABLE_FROM,)).fetchall()
    return int(rows[0][0]) if rows else None


def boot_id() -> str:
    """What changes at every start of the machine, and only then."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except FileNotFoundError:  # not Linux: the boot instant, to the minute, on this host
        booted_s = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)  # noqa: TID251
        return f"{platform.node()}:{round(booted_s / 60)}"
