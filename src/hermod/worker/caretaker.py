"""The upkeep of a process that runs no jobs.

As long as anybody accepts jobs, they end: without a worker they would wait beyond every deadline,
and results would stay beyond their time.
"""

import asyncio
import logging

from hermod.domain.clock import Clock
from hermod.domain.errors import StoreError
from hermod.store.api import Store
from hermod.worker.outage import Outage
from hermod.worker.upkeep import Upkeep

log = logging.getLogger(__name__)


class Caretaker:
    """Does the upkeep again and again, from `open` to `close`."""

    def __init__(self, store: Store, clock: Clock, upkeep_s: float) -> None:
        self._upkeep = Upkeep(store, clock)
        self._pause_s = upkeep_s
        self._outage = Outage(clock)
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._tidy_up())

    async def close(self) -> None:
        """Stop, in the middle of a round if need be: the next one goes on where it ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _tidy_up(self) -> None:
        while True:
            try:
                await self._upkeep.pass_once()
            except StoreError as error:
                self._outage.failed("upkeep", error)
            except Exception:  # the boundary of a loop
                log.exception("upkeep: unexpected error")
            else:
                self._outage.worked()
            await asyncio.sleep(self._pause_s)
