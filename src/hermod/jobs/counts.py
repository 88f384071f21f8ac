"""How many jobs there are."""

from collections.abc import Mapping

from hermod.domain.job import State
from hermod.store.api import Store


class CountJobs:
    """The use case behind health and metrics: reads maintained counters, scans nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self) -> Mapping[tuple[str, str, State], int]:
        """Jobs by tenant, lane and state. Raises StoreError."""
        return await self._store.counts()
