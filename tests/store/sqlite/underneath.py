"""A look under the verbs of an open SQLite store."""

from hermod.store.sqlite import SqliteStore
from hermod.store.sqlite.driver import Connection
from hermod.store.sqlite.writer import Writer


def writer_of(store: SqliteStore) -> Writer:
    """Its writer."""
    assert store._writer
    return store._writer


def connection_of(store: SqliteStore) -> Connection:
    """The connection that writes. To be touched only while the writer is idle."""
    return writer_of(store).connection
