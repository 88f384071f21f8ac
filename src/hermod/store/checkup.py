"""A look at a database before anything is started on it. Nothing is written, nothing migrated."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from hermod.store.sql import Migration, plan_upgrade


class Seen(NamedTuple):
    """What a database says of itself."""

    engine: str
    """Name and version, for people."""
    version: int
    """Of its schema; 0 where there is none yet."""
    newest: int
    """The schema that this release would bring it to."""
    weaknesses: tuple[str, ...] = ()
    """What a person should change, although it works."""


async def look_at(url: str, path: Path | None) -> Seen:
    """The SQLite file at `path`, else the PostgreSQL at `url`.

    Raises StoreUnavailable, or StoreMisconfigured where this release cannot run on it.
    """
    # Imported where it is used: a driver costs memory (hermod.store.choose).
    if path is None:
        return await import_module("hermod.store.postgres.checkup").look_at(url)
    return import_module("hermod.store.sqlite.checkup").look_at(path)


def seen(
    engine: str,
    version: int,
    readable_from: int | None,
    migrations: Sequence[Migration],
    weaknesses: Sequence[str] = (),
) -> Seen:
    """What a backend found. Raises StoreMisconfigured when its schema is too new."""
    plan_upgrade(version, readable_from, migrations)
    return Seen(engine, version, migrations[-1].number, tuple(weaknesses))
