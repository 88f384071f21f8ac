"""Which backend keeps the jobs. Each is imported only where it is used: its driver costs memory."""

from importlib import import_module
from pathlib import Path

from hermod.domain.clock import Clock
from hermod.store.api import Store


def preload(path: Path | None) -> None:
    """Import the backend now, so that processes forked later share its memory and its version."""
    import_module("hermod.store.postgres" if path is None else "hermod.store.sqlite")


def store_at(
    url: str, path: Path | None, clock: Clock, *, synchronous: str, watch_s: float | None
) -> Store:
    """A store that is not open yet: the SQLite file at `path`, else the server at `url`.

    `synchronous` and `watch_s` are SQLite's: a PostgreSQL decides itself, and tells of work.
    """
    if path is None:
        from hermod.store.postgres import PostgresStore  # noqa: PLC0415 - see above

        return PostgresStore(url, clock)
    from hermod.store.sqlite import SqliteStore  # noqa: PLC0415 - see above

    return SqliteStore(path, clock, synchronous=synchronous, watch_s=watch_s)
