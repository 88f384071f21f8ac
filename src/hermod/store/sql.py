"""SQL lives in files: `-- name: claim_queued`, a sentence, the query."""

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

_HEADING = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_MIGRATION = re.compile(r"^(\d{4})_\w+\.sql$")


class Migration(NamedTuple):
    """One forward step of a schema."""

    number: int
    name: str
    sql: str


def load_queries(package: str) -> Mapping[str, str]:
    """The named queries of `<package>/queries.sql`."""
    text = files(package).joinpath("queries.sql").read_text("utf-8")
    _, *parts = _HEADING.split(text)
    return dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))


def load_migrations(package: str) -> tuple[Migration, ...]:
    """The migrations in `<package>/migrations`, by number."""
    found = [
        Migration(int(match[1]), entry.name, entry.read_text("utf-8"))
        for entry in files(package).joinpath("migrations").iterdir()
        if (match := _MIGRATION.match(entry.name))
    ]
    return tuple(sorted(found))
