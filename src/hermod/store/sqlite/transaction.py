"""What a verb has in its hands while it runs."""

from collections.abc import Iterable, Mapping

from hermod.domain.job import Lease, State
from hermod.store.payloads import id_bytes
from hermod.store.sqlite.driver import Bindings, Connection, Row


class Transaction:
    """An open write transaction, its clocks, and the counters it owes."""

    __slots__ = ("_counts", "_execute", "_executemany", "_sql", "boot_now", "now", "woken")

    def __init__(
        self, connection: Connection, sql: Mapping[str, str], now: int, boot_now: int
    ) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._sql = sql
        self.now = now
        """Wall clock, microseconds: one instant for the whole transaction."""
        self.boot_now = boot_now
        """Boot clock, microseconds: leases are judged by it."""
        self.woken: set[str] = set()
        """The lanes in which work became claimable."""
        self._counts: dict[tuple[str, str, str], int] = {}

    def rows(self, query: str, values: Bindings = ()) -> list[Row]:
        """Run a named query; every row it gives."""
        return self._execute(self._sql[query], values).fetchall()

    def run(self, query: str, values: Bindings) -> None:
        """Run a named query that gives no rows."""
        self._execute(self._sql[query], values)

    def run_many(self, query: str, values: Iterable[Bindings]) -> None:
        """Run a named query that gives no rows, once per element."""
        self._executemany(self._sql[query], values)

    def moved(self, tenant_id: str, lane: str, old: State | None, new: State | None) -> None:
        """Note that a job changed its state; None stands for not being there."""
        counts = self._counts
        if old is not None:
            key = (tenant_id, lane, old.value)
            counts[key] = counts.get(key, 0) - 1
        if new is not None:
            key = (tenant_id, lane, new.value)
            counts[key] = counts.get(key, 0) + 1

    def flush_counts(self) -> None:
        """Write the counters; the last act before the commit."""
        for (tenant_id, lane, state), delta in self._counts.items():
            if delta:
                self.run(
                    "add_count",
                    {"tenant_id": tenant_id, "lane": lane, "state": state, "delta": delta},
                )


def fence(lease: Lease) -> tuple[bytes, int, str]:
    """The id and the fencing token, as every guarded `WHERE` takes them."""
    return id_bytes(lease.job_id), lease.attempt, lease.worker_id
