"""Whether a call may be made now: what a run asks, and what it hears."""

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from hermod.domain.job import ClaimedJob, Lease, Target
from hermod.domain.meter import Hold, Refusal
from hermod.domain.outcome import Fault


class Admitted(NamedTuple):
    """The call may be made."""

    key_ids: tuple[str, ...] | None = None
    """The only keys that it may use; None for all."""
    holds: tuple[Hold, ...] = ()
    """What is reserved for it."""
    since: int = 0
    """Since when."""


FREE: Final = Admitted()


@dataclass(frozen=True, slots=True)
class Later:
    """It may be made at another time, when a limit has room for it."""

    at: int | None
    """About when; None: not soon enough for this job."""
    fault: Fault
    """What to say where it cannot wait so long."""
    refusals: tuple[Refusal, ...]
    """The limits that have no room."""
    stay: Refusal | None
    """The limit that may have room at any moment, if it is worth waiting for that in the slot."""


class Admission(Protocol):
    """Who judges calls."""

    def waits_until(self, job: ClaimedJob) -> int:
        """How long a job may wait for limits."""
        ...

    async def admit(
        self, job: ClaimedJob, lease: Lease, target: Target, body: bytes
    ) -> Admitted | Fault | Later | None:
        """Whether this attempt may call the target; None when its lease is lost.

        What is admitted has reserved what it may cost: the store settles it, in the transaction
        that ends the attempt. Raises StoreError.
        """
        ...

    def puts_off(self, job: ClaimedJob, later: Later) -> int:
        """When a job that is given up now comes back: it is in line from here on."""
        ...

    async def room(self, refusal: Refusal, timeout_s: float) -> None:
        """Wait until a limit may have room."""
        ...

    def ended(self, admitted: Admitted) -> None:
        """The attempt is over, and what it held is settled: others may have room."""
        ...
