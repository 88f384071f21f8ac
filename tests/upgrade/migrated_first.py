"""The release before, on databases that today's release has migrated.

Copied into that release's environment, so it has that release's `hermod`. Whenever the release
opens a database, today's release has opened and migrated it just before, new ones included. A line
per database goes to a log. Nothing else of the release is changed. Where today's release cannot
open a database, the release before has to find the same.
"""

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hermod.store.postgres import store as postgres
from hermod.store.sqlite import SqliteStore


class Todays:
    """Today's migrations, by a process of today's release (todays_migrations.py)."""

    def __init__(self, command: Sequence[str], log: Path, *, keep: bool) -> None:
        """`keep`: have one process for all databases, and not one for each."""
        self._command = command
        self._log = log
        self._keep = keep
        self._kept: subprocess.Popen[str] | None = None
        self._kept_by = 0
        self._lock = threading.Lock()

    def migrate(self, database: str) -> str:
        """Bring a database up to date; what went wrong, or nothing."""
        with self._lock:
            process = self._process()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(database) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not self._keep:
                process.communicate()
        said: str = json.loads(answer) if answer else "no answer"
        if not said:
            with self._log.open("a", encoding="utf-8") as lines:
                lines.write(f"{database}\n")
        return said

    def _process(self) -> subprocess.Popen[str]:
        if self._kept is not None and self._kept_by == os.getpid():
            return self._kept
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._keep:
            self._kept, self._kept_by = process, os.getpid()
        return process


def install(todays: Todays) -> None:
    """Have every opening of a store begin with today's migration."""
    prepare = SqliteStore._prepare
    migrate = postgres.migrate

    def prepare_migrated(self: SqliteStore) -> Any:
        path = str(self._path)
        failed = todays.migrate(path)
        opened = prepare(self)
        if failed:
            raise AssertionError(f"only the release before can open {path}: {failed}")
        return opened

    async def migrate_first(connections: Any) -> None:
        url = connections._url
        failed = await asyncio.to_thread(todays.migrate, url)
        await migrate(connections)
        # A server that was away for that moment is no reason.
        if failed and (failed := await asyncio.to_thread(todays.migrate, url)):
            raise AssertionError(f"only the release before can open its database: {failed}")

    SqliteStore._prepare = prepare_migrated
    postgres.migrate = migrate_first
