"""A database that another process has locked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hermod.store.sqlite import SqliteStore
from hermod.store.sqlite.driver import open_file
from tests.store.sqlite.underneath import connection_of


def impatient(store: SqliteStore) -> None:
    """Have an open, idle store wait for a lock much more briefly than it would."""
    connection_of(store).set_busy_timeout(100)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else can write until the block is left."""
    connection = open_file(database)
    try:
        connection.set_busy_timeout(10_000)
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()
