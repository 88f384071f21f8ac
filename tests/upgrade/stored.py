"""What a release has left in a database: packed into a few small files, and taken out again.

A start is a folder `RELEASE/STORE`: `record.json` says what became of every job, or what has to
become of it; beside it lies the file of the embedded database as it was on the disk, with its log
and the key to what is encrypted in it, or what pg_dump says of a server's.
"""

import asyncio
import json
import lzma
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg

from tests.faults.places import Place, PostgresPlace, SqlitePlace
from tests.store.backends import PostgresDatabase
from tests.support.postgres import Cluster
from tests.support.postgres_wheel import environ, programs_in, site_folder

Job = dict[str, Any]
Attempt = tuple[int, str, str | None]

STORES: Final = ("sqlite", "postgres")
TOKEN: Final = "what the operator of these databases knows"
"""The admin token: its jobs are nobody else's."""
CALLERS_KEY: Final = "a-callers-own-key-of-a-provider"
TOLD: Final = "x-told"
"""A header for the upstream."""
_FILES: Final = ("hermod.db", "hermod.db-wal", "encryption.key")
_DUMP: Final = "dump.sql"
_META_COMMAND: Final = re.compile(r"^\\.*\n", re.MULTILINE)
"""Of psql, and with a random word in it."""


class Start(NamedTuple):
    """What one release has left in one store."""

    release: str
    store: str

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(__file__).parent / self.release / self.store

    def record(self) -> list[Job]:
        """Every job of it."""
        return json.loads((self.folder / "record.json").read_text("utf-8"))


def secrets_of(place: Place) -> dict[str, str]:
    """That of its gateways. Those of an embedded database make an encryption key themselves."""
    secrets = {"HERMOD_ADMIN_TOKEN": TOKEN}
    if isinstance(place, PostgresPlace):
        secrets["HERMOD_ENCRYPTION_KEY"] = "what the operator of these databases knows, too"
    return secrets


@contextmanager
def new_place(store: str, folder: Path, start_cluster: Callable[[], Cluster]) -> Iterator[Place]:
    """A database that no release has opened yet."""
    if store == "sqlite":
        yield SqlitePlace(folder)
        return
    cluster = start_cluster()
    database = PostgresDatabase(cluster, f"upgrade_{uuid.uuid4().hex}")
    cluster.create_database(database.name)
    try:
        yield PostgresPlace(folder, database)
    finally:
        database.close()
        cluster.drop_database(database.name)


def pack(place: Place, folder: Path) -> None:
    """Keep a database that nobody has open."""
    folder.mkdir(parents=True)
    if isinstance(place, PostgresPlace):
        _write(folder / _DUMP, _dump(place.url))
        return
    assert isinstance(place, SqlitePlace)
    for name in _FILES:
        _write(folder / name, (place.app_dir / name).read_bytes())


def unpack(start: Start, place: Place) -> None:
    """Put what a release has left into an empty database."""
    if isinstance(place, PostgresPlace):
        asyncio.run(_run_script(place.url, _read(start.folder / _DUMP).decode()))
        return
    assert isinstance(place, SqlitePlace)
    place.app_dir.mkdir()
    for name in _FILES:
        if _packed(start.folder / name).exists():
            (place.app_dir / name).write_bytes(_read(start.folder / name))


def _dump(url: str) -> bytes:
    program = programs_in(site_folder()) / "pg_dump"
    flags = ("--inserts", "--no-owner", "--no-privileges")
    command = [program, *flags, f"--dbname={url}"]
    said = subprocess.run(command, env=environ(), capture_output=True, check=True, text=True).stdout
    return _META_COMMAND.sub("", said).encode()


async def _run_script(url: str, script: str) -> None:
    connection: Any = await asyncpg.connect(url)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


def _packed(path: Path) -> Path:
    return path.with_name(f"{path.name}.xz")


def _write(path: Path, content: bytes) -> None:
    _packed(path).write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def _read(path: Path) -> bytes:
    return lzma.decompress(_packed(path).read_bytes())


def states_of(place: Place) -> dict[str, str]:
    """The inside state of every job, by id."""
    found = place.rows("SELECT id, state FROM job")
    return {id_text(job_id): state for job_id, state in found}


def cost_of(place: Place, job_id: str) -> list[int | None]:
    """What a job has used and cost: tokens of input, of output, nano-dollars."""
    sql = "SELECT input_tokens, output_tokens, cost_usd_nanos FROM job WHERE id = ?"
    (found,) = place.rows(sql, place.key(job_id))
    return list(found)


def id_text(stored: object) -> str:
    """A job's id, from what the database keeps."""
    return str(uuid.UUID(bytes=stored) if isinstance(stored, bytes) else stored)


def assert_counters_are_right(place: Place) -> None:
    """While nothing happens."""
    counted = "SELECT lane, state, sum(n) FROM job_count GROUP BY 1, 2 HAVING sum(n) <> 0"
    there = "SELECT lane, state, count(*) FROM job GROUP BY 1, 2"
    assert set(place.rows(counted)) == set(place.rows(there))
    if isinstance(place, SqlitePlace):
        assert place.rows("PRAGMA integrity_check") == [("ok",)]
