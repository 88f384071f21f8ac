"""How many jobs there are, and so whether the store answers."""

import asyncio
from collections.abc import Mapping
from typing import Final

from hermod.domain.errors import StoreUnavailable
from hermod.domain.job import State
from hermod.store.api import Store

Counts = Mapping[tuple[str, str, State], int]

_PATIENCE_S: Final = 1.5
"""A frozen database says nothing at all, and a probe wants its answer within two seconds."""


class CountJobs:
    """The use case behind health and metrics: reads maintained counters, scans nothing."""

    def __init__(self, store: Store, patience_s: float = _PATIENCE_S) -> None:
        self._store = store
        self._patience_s = patience_s
        self._asking: asyncio.Future[Counts] | None = None

    @property
    def storage_full(self) -> bool:
        """Whether the last write found the disk full."""
        return self._store.storage_full

    async def __call__(self) -> Counts:
        """Jobs by tenant, lane and state. Raises StoreError, also when there is no answer soon.

        Those who ask at the same time share one question.
        """
        asking = self._asking
        if asking is None or asking.done():
            asking = self._asking = asyncio.ensure_future(self._store.counts())
            asking.add_done_callback(_is_heard)
        # Neither our time nor our caller may end what others wait for as well, nor may we wait
        # until a question that was cancelled has ended: that, too, may take the database.
        await asyncio.wait({asking}, timeout=self._patience_s)
        if not asking.done():
            asking.cancel()
            if self._asking is asking:
                self._asking = None
            raise StoreUnavailable("the database does not answer")
        if asking.cancelled():
            raise StoreUnavailable("the database does not answer")
        return asking.result()


def _is_heard(asked: "asyncio.Future[Counts]") -> None:
    """An error that nobody waited for any more is no surprise."""
    if not asked.cancelled():
        asked.exception()
