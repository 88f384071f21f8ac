"""The seam between accepting a job and running it in the same process.

A process with a free slot stores a new job already leased to itself, which saves the claim's
transaction (design.md 3.1). What is behind the seam is wired in service.py; a process that runs
no worker has `NoSlots`.
"""

from typing import Protocol

from hermod.domain.job import Claim, ClaimedJob


class Slots(Protocol):
    """Free capacity of this process."""

    def reserve(self, lane: str) -> Claim | None:
        """Hold a slot of the lane, if one is free and no older job is waiting for it."""
        ...

    def start(self, job: ClaimedJob) -> None:
        """Run a job that was stored under the reserved claim."""
        ...

    def give_back(self, lane: str) -> None:
        """Let go of a reserved slot that was not used."""
        ...


class NoSlots:
    """A process that only accepts jobs."""

    def reserve(self, lane: str) -> Claim | None:
        return None

    def start(self, job: ClaimedJob) -> None:
        raise AssertionError("nothing was reserved")

    def give_back(self, lane: str) -> None:
        raise AssertionError("nothing was reserved")
