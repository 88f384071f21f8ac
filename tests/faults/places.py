"""Where the jobs of a scenario are kept, so that a scenario can run on any store."""

import asyncio
import json
import random
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, Self

from hermod.clock import SystemClock
from hermod.store.api import Store
from hermod.store.postgres import PostgresStore
from hermod.store.sqlite import SqliteStore
from tests.faults.checking import Dump, nonce_in, postgres, sqlite
from tests.store.backends import PostgresDatabase
from tests.support.database import raw_id, rows, tamper
from tests.support.postgres import Cluster
from tests.support.program import Gateway, MockUpstream

Row = tuple[Any, ...]
_TABLES: Final = ("job", "attempt", "request", "result", "payload_chunk", "job_count")
_COPIED: Final = (
    "tenant_id, owner, kind, mode, lane, model, state, priority, run_at, attempt, attempts_spent, "
    "suspicion, on_unknown, deadline_at, created_at, ttl_s, ttl_requested"
)
"""What a queued job shares with its copies."""
_RESERVED: Final = """INSERT INTO meter (id, began_at, used, reserved, total)
    VALUES (?, 1, 0, ?, 0)
    ON CONFLICT (id) DO UPDATE SET reserved = meter.reserved + excluded.reserved"""
_OLDEST_ID: Final = str(uuid.UUID(int=0))
_FAR_SEQ: Final = 1_000_000


class Place(Protocol):
    """One database, and the gateways on it."""

    @classmethod
    def new(
        cls, folder: Path, start_cluster: Callable[[], Cluster]
    ) -> AbstractContextManager[Self]:
        """An empty one, gone at the end."""
        ...

    def start(self, name: str, config: Mapping[str, Any], **more: Any) -> Gateway:
        """A gateway of that name, with a configuration of its own."""
        ...

    def home(self, name: str) -> tuple[Path, str]:
        """App dir and database of a gateway of that name, for one in the test's own process."""
        ...

    def start_twin(self, name: str, of: str, config: Mapping[str, Any]) -> Gateway:
        """A gateway on the same database, whose app dir is a copy of another's."""
        ...

    async def stored(self) -> Dump:
        """Everything in the database, for the checker, while nobody writes."""
        ...

    async def dump(self) -> Mapping[str, list[Row]]:
        """Every row of the tables that jobs are in."""
        ...

    def store(self) -> Store:
        """The database itself, not opened, as a process of its own would use it."""
        ...

    def rows(self, sql: str, *values: Any) -> list[Row]:
        """The rows of one query; `?` stands for a value."""
        ...

    def change(self, sql: str, *values: Any) -> None:
        """Change the database behind the gateways' backs."""
        ...

    def key(self, job_id: str) -> Any:
        """A job's id as the database keeps it."""
        ...

    def attempts_of(self, job_id: str) -> list[tuple[int, str, str | None]]:
        """Number, state and error type of every attempt of a job, in order."""
        ...

    def leave(self, job_id: str, meter_id: str, amount: int) -> None:
        """As if a release that knows of no limits had ended the attempt of a job that held that."""
        ...

    def multiply(self, job_id: str, copies: int) -> None:
        """As if a queued job had been submitted so many more times."""
        ...


def state_of(place: Place, job_id: str) -> str:
    """The inside state of a job."""
    ((state,),) = place.rows("SELECT state FROM job WHERE id = ?", place.key(job_id))
    return state


class SqlitePlace:
    """A file; its gateways share one app dir, as they must to share the file."""

    def __init__(self, folder: Path) -> None:
        self.app_dir = folder / "app"
        self._folder = folder
        self._copies = 0

    @classmethod
    @contextmanager
    def new(cls, folder: Path, start_cluster: Callable[[], Cluster]) -> Iterator[Self]:
        del start_cluster
        yield cls(folder)

    def start(self, name: str, config: Mapping[str, Any], **more: Any) -> Gateway:
        flags = ("--config", str(write_config(self._folder, name, config)))
        return Gateway(self.app_dir, *flags, **more)

    def home(self, name: str) -> tuple[Path, str]:
        del name
        return self.app_dir, f"sqlite:///{self.app_dir / 'hermod.db'}"

    def start_twin(self, name: str, of: str, config: Mapping[str, Any]) -> Gateway:
        del of
        shutil.copytree(self.app_dir, self._folder / name)
        database = f"sqlite:///{self.app_dir / 'hermod.db'}"
        written = str(write_config(self._folder, name, config))
        return Gateway(self._folder / name, "--config", written, "--database", database)

    async def stored(self) -> Dump:
        self._copies += 1
        folder = self._folder / f"copy-{self._copies}"
        copy = sqlite.copy_database(self.app_dir / "hermod.db", folder)
        return await asyncio.to_thread(sqlite.read_dump, copy, nonce_in)

    async def dump(self) -> Mapping[str, list[Row]]:
        return {name: sorted(self.rows(f"SELECT * FROM {name}"), key=repr) for name in _TABLES}

    def store(self) -> Store:
        self.app_dir.mkdir(exist_ok=True)
        return SqliteStore(self.app_dir / "hermod.db", SystemClock())

    def rows(self, sql: str, *values: Any) -> list[Row]:
        return rows(self.app_dir, sql, *values)

    def change(self, sql: str, *values: Any) -> None:
        tamper(self.app_dir, sql, *values)

    def key(self, job_id: str) -> Any:
        return raw_id(job_id)

    def attempts_of(self, job_id: str) -> list[tuple[int, str, str | None]]:
        sql = """SELECT n, attempt.state, error_type FROM attempt JOIN job USING (seq)
            WHERE job.id = ? ORDER BY n"""
        return [(n, state, why) for n, state, why in self.rows(sql, raw_id(job_id))]

    def leave(self, job_id: str, meter_id: str, amount: int) -> None:
        job = raw_id(job_id)
        self.change(_RESERVED, meter_id, amount)
        self.change(
            "INSERT INTO hold SELECT seq, ?, 'usd_nanos', ? FROM job WHERE id = ?",
            *(meter_id, amount, job),
        )

    def multiply(self, job_id: str, copies: int) -> None:
        template = f"(SELECT seq FROM job WHERE id = x'{raw_id(job_id).hex()}')"
        self.change(
            f"""BEGIN IMMEDIATE;
            WITH RECURSIVE number (n) AS (
                VALUES (1) UNION ALL SELECT n + 1 FROM number LIMIT {copies}
            )
            INSERT INTO job (seq, id, {_COPIED})
            SELECT {_FAR_SEQ} + n, randomblob(16), {_COPIED} FROM job, number
            WHERE job.seq = {template};
            INSERT INTO request SELECT job.seq, size, body FROM job, request
            WHERE job.seq > {_FAR_SEQ} AND request.seq = {template};
            UPDATE job_count SET n = n + {copies}
            WHERE (tenant_id, lane, state) =
                (SELECT tenant_id, lane, state FROM job WHERE job.seq = {template});
            COMMIT"""
        )


class PostgresPlace:
    """A database on a server; its gateways have app dirs of their own, as on several machines."""

    def __init__(self, folder: Path, database: PostgresDatabase, url: str | None = None) -> None:
        """`url`: another way to the database, through a proxy."""
        self.url = url or database.url
        self._folder = folder
        self._database = database

    @classmethod
    @contextmanager
    def new(cls, folder: Path, start_cluster: Callable[[], Cluster]) -> Iterator[Self]:
        with PostgresDatabase.new(folder, start_cluster) as database:
            yield cls(folder, database)

    def start(self, name: str, config: Mapping[str, Any], **more: Any) -> Gateway:
        flags = ("--config", str(write_config(self._folder, name, config)))
        return Gateway(self._folder / name, *flags, "--database", self.url, **more)

    def home(self, name: str) -> tuple[Path, str]:
        return self._folder / name, self.url

    def reconnect(self) -> None:
        """The server was gone; so is the connection of ours."""
        self._database.close()

    def start_twin(self, name: str, of: str, config: Mapping[str, Any]) -> Gateway:
        shutil.copytree(self._folder / of, self._folder / name)
        return self.start(name, config)

    async def stored(self) -> Dump:
        return await postgres.read_dump(self._database.url, nonce_in, _OLDEST_ID)

    async def dump(self) -> Mapping[str, list[Row]]:
        found = self._database.dump()
        return {name: found[name] for name in _TABLES}

    def store(self, connections: int = 8) -> Store:
        return PostgresStore(self.url, SystemClock(), connections=connections)

    def rows(self, sql: str, *values: Any) -> list[Row]:
        for number in range(1, len(values) + 1):
            sql = sql.replace("?", f"${number}", 1)
        self._database.rows("SET search_path TO hermod")
        return self._database.rows(sql, *values)

    def change(self, sql: str, *values: Any) -> None:
        self.rows(sql, *values)

    def key(self, job_id: str) -> Any:
        return uuid.UUID(job_id)

    def attempts_of(self, job_id: str) -> list[tuple[int, str, str | None]]:
        sql = "SELECT n, state, error_type FROM attempt WHERE job_id = ? ORDER BY n"
        return [(n, state, why) for n, state, why in self.rows(sql, uuid.UUID(job_id))]

    def leave(self, job_id: str, meter_id: str, amount: int) -> None:
        self.change(_RESERVED, meter_id, amount)
        self.change(
            """INSERT INTO hold (job_id, meter_id, attempt, unit, amount)
            VALUES (?, ?, 1, 'usd_nanos', ?)""",
            *(uuid.UUID(job_id), meter_id, amount),
        )

    def multiply(self, job_id: str, copies: int) -> None:
        self.change(
            f"""WITH template AS (SELECT * FROM job WHERE id = ?), made AS (
                INSERT INTO job (id, {_COPIED}) SELECT gen_random_uuid(), {_COPIED}
                FROM template, generate_series(1, {copies}) RETURNING id
            ), bodies AS (
                INSERT INTO request (job_id, size, body) SELECT made.id, size, body
                FROM made, request WHERE request.job_id = (SELECT id FROM template)
            )
            INSERT INTO job_count (tenant_id, lane, state, shard, n)
            SELECT tenant_id, lane, state, -1, {copies} FROM template""",
            uuid.UUID(job_id),
        )


PLACES: Final[tuple[type[Place], ...]] = (SqlitePlace, PostgresPlace)


def write_config(folder: Path, name: str, config: Mapping[str, Any]) -> Path:
    """The configuration file of one gateway."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config), "utf-8")
    return path


def config_for(ours: Mapping[str, Any], **providers: MockUpstream | str) -> dict[str, Any]:
    """A config.json with our section, and providers at mock upstreams or addresses."""
    entries = {
        name: upstream.provider() if isinstance(upstream, MockUpstream) else provider_at(upstream)
        for name, upstream in providers.items()
    }
    return {"providers": entries, "hermod": dict(ours)}


def provider_at(url: str, **network: Any) -> dict[str, Any]:
    """A provider at an address, quick to try again."""
    quick = {"retry_backoff_initial": 1, "retry_backoff_max": 10, "max_retries": 2}
    return {
        "keys": [{"name": "main", "value": "sk-upstream-secret", "weight": 1}],
        "network_config": {"base_url": url, **quick, **network},
    }


def free_port() -> int:
    """A port for a gateway that has to come back to it.

    Below those that the system gives to clients: one that connects to a port of theirs while
    nobody listens there can meet itself.
    """
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(20_000, 30_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
