"""Today's migrations, for a program that runs the code of another release.

    python tests/upgrade/todays_migrations.py

A line of input is a JSON text, the path or the URL of a database. The answer, when it is up to
date, is the line `""`, or what went wrong as a JSON text. Ends with its input.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from hermod.store.postgres import schema as postgres
from hermod.store.postgres.connections import Connections
from hermod.store.sqlite import schema as sqlite


def migrate(database: str) -> None:
    """What this release does to a database when it opens it, and no more."""
    if database.startswith("postgres"):
        asyncio.run(_migrate_server(database))
        return
    connection = sqlite.connect(Path(database))
    try:
        sqlite.migrate(connection)
    finally:
        connection.close()


async def _migrate_server(url: str) -> None:
    connections = Connections(url, 1)
    try:
        await postgres.migrate(connections)
    finally:
        await connections.close()


def serve(action: Callable[[str], None]) -> None:
    """Do it for one database after the other."""
    for line in sys.stdin:
        said = ""
        try:
            action(json.loads(line))
        except Exception as error:  # noqa: BLE001 - whoever asked has to judge it
            said = repr(error)
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(migrate)
