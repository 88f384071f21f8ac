"""SQL lives in files: `-- name: claim_queued`, a sentence, the query.

A migration may begin with `-- readable from: 0003`: the oldest schema number whose releases can go
on reading and writing the database once it has been applied, because it only adds what they need
not know of. Without that line only the releases that have the migration can. The database keeps the
highest of these numbers (in `meta`, under `READABLE_FROM`), so that a release from before some
migrations can tell whether it may still run: during a rolling upgrade, and after going back.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final, NamedTuple

from hermod.domain.errors import StoreMisconfigured

READABLE_FROM: Final = "readable_from"
"""The name in `meta`."""

_HEADING = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_MIGRATION = re.compile(r"^(\d{4})_\w+\.sql$")
_READABLE_FROM = re.compile(r"-- readable from: (\d{4})\n")


class Migration(NamedTuple):
    """One forward step of a schema."""

    number: int
    name: str
    sql: str
    readable_from: int
    """The oldest schema number whose releases can run on the database after this step."""


class Upgrade(NamedTuple):
    """What an opening release has to do to a database."""

    missing: tuple[Migration, ...]
    """To be applied, in this order."""
    readable_from: int
    """What the database has to say afterwards; it never becomes less."""


def load_queries(package: str, file: str = "queries.sql") -> Mapping[str, str]:
    """The named queries of `<package>/<file>`."""
    text = files(package).joinpath(file).read_text("utf-8")
    _, *parts = _HEADING.split(text)
    return dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))


def load_migrations(package: str) -> tuple[Migration, ...]:
    """The migrations in `<package>/migrations`, by number."""
    found = [
        read_migration(entry.name, entry.read_text("utf-8"))
        for entry in files(package).joinpath("migrations").iterdir()
        if _MIGRATION.match(entry.name)
    ]
    return tuple(sorted(found))


def read_migration(name: str, sql: str) -> Migration:
    """The migration in a file `NNNN_what.sql`.

    Raises ValueError when the file is misnamed, or claims to be readable from a later schema.
    """
    numbered = _MIGRATION.match(name)
    if numbered is None:
        raise ValueError(f"{name}: a migration is named NNNN_what.sql")
    number = int(numbered[1])
    said = _READABLE_FROM.match(sql)
    readable_from = int(said[1]) if said else number
    if not 1 <= readable_from <= number:
        raise ValueError(f"{name}: cannot be readable from {readable_from}")
    return Migration(number, name, sql, readable_from)


def plan_upgrade(
    version: int, readable_from: int | None, migrations: Sequence[Migration]
) -> Upgrade:
    """What a release with these migrations, sorted by number, does to a database.

    `version` is the database's schema number, 0 when it is new; `readable_from` what it keeps under
    that name, None when it keeps nothing. A database that is newer than the release is left as it
    is, if it says that the release can run on it. Raises StoreMisconfigured when it cannot.
    """
    newest = migrations[-1].number
    if version > newest and (readable_from is None or readable_from > newest):
        raise StoreMisconfigured(
            f"the database has schema {version}, this release knows {newest}: "
            "it was written by a newer Hermod. Run that release, or use another database."
        )
    return Upgrade(
        tuple(migration for migration in migrations if migration.number > version),
        max(readable_from or 0, *(migration.readable_from for migration in migrations)),
    )
