"""The PostgreSQL that is measured: a server of our own, durable, with its defaults."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.load import DATABASE
from bench.machine import LOAD_CPU, fsync_ms, pin
from bench.processes import Served, Version
from tests.support.postgres import Cluster

_FOOTPRINT: Final = """
    SELECT (SELECT sum(pg_total_relation_size(oid)) FROM pg_class
            WHERE relnamespace = 'hermod'::regnamespace AND relkind = 'r'),
        (SELECT sum(n) FROM hermod.job_count WHERE state = 'completed')
"""

_CONNECTIONS: Final = 200
"""Two versions, five processes each, of nine: the only setting that is not the default."""


@dataclass(frozen=True)
class Server:
    """It runs where the kernel puts it: there are not processors enough to give it its own."""

    cluster: Cluster

    @property
    def pid(self) -> int:
        """The process that heads all of its processes."""
        return int((self.cluster.data / "postmaster.pid").read_text().split()[0])

    def served(self, **parts: list[tuple[int, int]]) -> Served:
        """A system on it; by part, the process and port of each member. The first part answers."""
        ports = next(iter(parts.values()))
        members = {name: tuple(pid for pid, _ in pairs) for name, pairs in parts.items()}
        return Served(tuple(port for _, port in ports), {**members, DATABASE: (self.pid,)})

    def create(self, name: str) -> str:
        """A new empty database; its address."""
        name = "".join(c if c.isalnum() else "_" for c in name)
        self.cluster.create_database(name)
        return self.cluster.url(name)

    def disk_per_job(self, url: str) -> float:
        """Bytes of all our tables and indexes, for each finished job in them."""
        name = url.rpartition("/")[2]
        self.cluster.execute("VACUUM", database=name)
        ((size, jobs),) = self.cluster.execute(_FOOTPRINT, database=name)
        return float(size / jobs)

    def wal_bytes(self) -> int:
        """What it has written to its log since it exists."""
        ((total,),) = self.cluster.execute("SELECT (pg_current_wal_lsn() - '0/0')::bigint")
        return int(total)

    def description(self) -> dict[str, object]:
        """For the result file."""
        ((version,),) = self.cluster.execute("SHOW server_version")
        shown = self.cluster.execute(
            "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', "
            "'full_page_writes', 'shared_buffers', 'max_wal_size', 'wal_sync_method')"
        )
        return {"version": version, "fsync_ms": fsync_ms(self.cluster.folder), **dict(shown)}


def has_postgres(version: Version) -> bool:
    """Whether a checkout can use one."""
    return (version.root / "src/hermod/store/postgres").is_dir()


@contextmanager
def server(parent: Path | None = None) -> Generator[Server]:
    """Start one; with the end it is gone, data and all."""
    pin(0, None)
    try:
        cluster = Cluster({"max_connections": _CONNECTIONS}, parent)
    finally:
        pin(0, LOAD_CPU)
    with cluster:
        yield Server(cluster)
