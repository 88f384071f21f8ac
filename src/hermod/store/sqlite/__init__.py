"""The embedded backend: SQLite in WAL mode, one writer thread, group commit at FULL."""

from hermod.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
