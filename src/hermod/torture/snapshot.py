"""The store of a run, looked at while it is under fire."""

import asyncio
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from hermod.domain.clock import Clock
from hermod.domain.errors import StoreUnavailable
from hermod.store.inspection import Dump, Glance
from hermod.store.postgres import inspect as postgres
from hermod.store.sqlite import inspect as sqlite
from hermod.torture.clients import nonce_in
from hermod.torture.programs import CouldNotRun, Program

_TRIES: Final = 20
_PAUSE_S: Final = 0.25


class Evidence(Protocol):
    """How a kind of store is looked at."""

    async def dump(self, name: str) -> Dump:
        """Everything that is in it now. Raises StoreError."""
        ...

    async def glance(self) -> Glance:
        """Its leases and deadlines now. Raises StoreError."""
        ...


class SqliteEvidence:
    """A dump is of a copy of the files, made while every process is stopped for a moment."""

    def __init__(
        self,
        database: Path,
        copies: Path,
        clock: Clock,
        peace: asyncio.Lock,
        programs: Sequence[Program],
        *,
        keep: bool,
    ) -> None:
        """Whoever holds `peace` alone starts, freezes or continues a process."""
        self._database = database
        self._copies = copies
        self._clock = clock
        self._peace = peace
        self._programs = programs
        self._keep = keep

    async def dump(self, name: str) -> Dump:
        folder = self._copies / name
        # A reader would see to the log that a crash has left before the next process does.
        async with self._peace:
            await asyncio.to_thread(self._copy_in_peace, folder)
        dump = await asyncio.to_thread(sqlite.read_dump, folder / self._database.name, nonce_in)
        if not self._keep:
            await asyncio.to_thread(shutil.rmtree, folder)
        return dump

    def _copy_in_peace(self, to: Path) -> None:
        stopped = [program for program in self._programs if program.is_up]
        try:
            for program in stopped:
                program.pause()
            sqlite.copy_database(self._database, to)
        finally:
            for program in stopped:
                program.resume()

    async def glance(self) -> Glance:
        async with self._peace:
            return await asyncio.to_thread(sqlite.read_glance, self._database, self._clock)


class PostgresEvidence:
    """A dump is one transaction that sees the database at one instant, while others go on."""

    def __init__(self, url: str, since_id: str) -> None:
        """Jobs whose ids are before `since_id` are not the run's."""
        self._url = url
        self._since_id = since_id

    async def dump(self, name: str) -> Dump:
        look = partial(postgres.read_dump, self._url, nonce_in, self._since_id)
        for _ in range(_TRIES):
            try:
                return await look()
            except StoreUnavailable:  # every connection may be in use, or it has just come back
                await asyncio.sleep(_PAUSE_S)
        return await look()

    async def glance(self) -> Glance:
        return await postgres.read_glance(self._url, self._since_id)


async def see_that_it_is_free(url: str, *, may_hold_jobs: bool) -> None:
    """Raises CouldNotRun where a run could touch what is somebody's, and StoreError."""
    present = await postgres.count_present(url)
    if present.unfinished:
        raise CouldNotRun(
            f"this database holds {present.unfinished} jobs that have not ended: the run would "
            "have them answered by its mock upstream. Use another database"
        )
    if present.jobs and not may_hold_jobs:
        raise CouldNotRun(
            f"this database holds {present.jobs} jobs. Use another one, or say "
            "--yes-use-this-database: they are left alone, and those of the run stay beside them"
        )
