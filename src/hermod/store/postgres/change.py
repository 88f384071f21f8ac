"""A transaction of several statements, for the verbs that one cannot carry."""

from collections.abc import Mapping
from typing import Any

from hermod.domain.job import State
from hermod.store.postgres.driver import Connection, Row


class Change:
    """An open transaction, its clock, and the counters it owes.

    Whatever a transaction locks, it locks in this order, so that no two wait for each other: jobs,
    meters, counters; each kind by id, in one statement.
    """

    def __init__(self, connection: Connection, sql: Mapping[str, str], now: int | None) -> None:
        self._connection = connection
        self._sql = sql
        self._now = now
        self._moves: dict[tuple[str, str, str], int] = {}

    async def fetch(self, name: str, *values: Any) -> list[Row]:
        """Run a named query; its rows."""
        return await self._connection.fetch(self._sql[name], *values)

    @property
    def given_now(self) -> int | None:
        """The instant of the test, if it is one."""
        return self._now

    async def now(self) -> int:
        """The instant of the change, microseconds."""
        if self._now is None:
            ((self._now,),) = await self.fetch("now")
        assert self._now is not None
        return self._now

    def moved(self, tenant_id: str, lane: str, old: State, new: State) -> None:
        """Note that a job changed its state."""
        for state, delta in ((old, -1), (new, 1)):
            key = (tenant_id, lane, state.value)
            self._moves[key] = self._moves.get(key, 0) + delta

    async def flush_counts(self) -> None:
        """Write the counters; the last act before the commit."""
        owed = [(*key, delta) for key, delta in self._moves.items() if delta]
        if owed:
            await self.fetch("add_counts", *(list(column) for column in zip(*owed, strict=True)))
