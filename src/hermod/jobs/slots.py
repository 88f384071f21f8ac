"""The seam between accepting a job and running it in the same process.

A process with a free slot stores a new job already leased to itself, which saves the claim's
transaction (design.md 3.1). A job whose caller waits on an open connection always runs where that
connection is (design.md 8, 21). What is behind the seam is wired in service.py.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from hermod.domain.job import Claim, ClaimedJob
from hermod.domain.live import Live


class Slots(Protocol):
    """Free capacity of this process."""

    def reserve(self, lane: str) -> Claim | None:
        """Hold a slot of the lane, if one is free and no older job is waiting for it."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether nothing more is started here."""
        ...

    async def wait_for_slot(self, lane: str, patience_s: float) -> Claim | None:
        """Hold a slot of the lane for a caller who waits; None when there is none in time.

        Cancelling it holds nothing.
        """
        ...

    def carry(
        self, lane: str, commit: Coroutine[Any, Any, ClaimedJob], live: Live | None = None
    ) -> asyncio.Future[None]:
        """Store a job under the reserved claim (`commit`), then run it.

        Once begun it is carried to its end, whatever becomes of the caller: a commit that nobody
        waits for any more would leave a lease behind that nobody keeps. But a call that is `live`
        ends when nobody waited for its commit. The future is done when the job is stored, and
        raises what `commit` raises: then there is no job, and the slot was given back.
        """
        ...

    def give_back(self, lane: str) -> None:
        """Let go of a reserved slot that was not used."""
        ...

    def caller_gone(self, job_id: str) -> None:
        """Stop a job, if it runs here, whose caller no longer waits."""
        ...

    def cancelled(self, job_id: str) -> None:
        """Stop the call of a job, if it runs here, that was cancelled in the store."""
        ...
