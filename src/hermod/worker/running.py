"""A run: a job in a slot, what it is doing, and how it is told to stop."""

import asyncio
import logging
from dataclasses import dataclass
from enum import Enum

from hermod.domain.job import ClaimedJob, Lease, Retry
from hermod.domain.live import Live
from hermod.worker.admission import FREE, Admitted

log = logging.getLogger(__name__)


class Stop(Enum):
    """Why a run was told to stop."""

    LEASE_LOST = "lease_lost"
    STORE_AWAY = "store_away"
    """The lease will run out before it can be renewed."""
    DRAINED = "drained"
    CALLER_GONE = "caller_gone"
    """Nobody waits for the answer any more."""
    CANCELLED = "cancelled"
    """The job has ended in the store; only the call is still out."""


class Stopped(Exception):
    """The run was told to stop."""


class Phase(Enum):
    """What a run is doing, as far as stopping it goes."""

    WRITING = "writing"
    """Between two of the others: a store verb may be under way."""
    QUEUEING = "queueing"
    """Its large body has yet to be let into memory."""
    CALLING = "calling"
    """The upstream call is out."""
    WAITING = "waiting"
    """A backoff is waited out in the slot."""
    FINISHING = "finishing"
    """The end of the job is known and only has to be written."""


_INTERRUPTIBLE = frozenset({Phase.QUEUEING, Phase.CALLING, Phase.WAITING})


_BETWEEN_STEPS = {
    Phase.WRITING: frozenset({Stop.DRAINED, Stop.CALLER_GONE, Stop.CANCELLED}),
    Phase.FINISHING: frozenset({Stop.DRAINED}),
}
"""What takes effect at the next step when it comes during a write. A result that is there is
recorded, whoever has left."""


@dataclass(slots=True)
class Run:
    """A job in a slot of this process."""

    job: ClaimedJob
    lease: Lease
    renewed_at: float
    """Monotonic, seconds: when the lease was last known to be ours."""
    suspicion: int = 0
    """Above zero while it occupies a suspect slot."""
    task: "asyncio.Task[None] | None" = None
    stopped: Stop | None = None
    phase: Phase = Phase.WRITING
    ended: Retry | None = None
    """How the attempt ended whose backoff is being waited out."""
    due_at: int = 0
    """When that backoff is over, on the wall clock."""
    is_held_back: bool = False
    """Whether it left its slot without a call: nobody whom it may ask can be called now."""
    handle: str | None = None
    """What the upstream calls the work it has taken for this job and not given yet."""
    admitted: Admitted = FREE
    """What the attempt may do, and what is reserved for it."""
    resumes: bool = False
    """Whether it asks for work that an attempt before this run ordered, and reserved for."""
    live: Live | None = None
    """Who waits for the answer on an open connection. Such a job never runs a second time: it ends
    here, however it ends."""

    @property
    def holds(self) -> bool:
        """Whether there is anything to settle when the attempt ends."""
        return self.reserved or self.job.held

    @property
    def reserved(self) -> bool:
        """Whether anything but its place among the pending jobs is held for it."""
        return bool(self.admitted.holds) or self.resumes

    @property
    def settles(self) -> bool:
        """Whether that is over with the attempt: what it ordered, the next one fetches and pays."""
        return self.reserved and self.handle is None

    @property
    def is_elsewhere(self) -> bool:
        """Whether another provider than its lane's is asked."""
        target = self.job.target
        return target is not None and target.provider != self.job.lane

    def stop(self, why: Stop) -> bool:
        """Have the run end soon; False if it goes on, or was told so before.

        A write to the store is never cut short, a call or a wait is.
        """
        if self.stopped is not None or why not in _BETWEEN_STEPS.get(self.phase, Stop):
            return False  # of the lease, a write hears from the store: it may just have given it up
        if why is Stop.CALLER_GONE and self.live is not None and self.live.told_all:
            return False  # clients hang up when they have read the last word
        self.stopped = why
        if why is Stop.LEASE_LOST:
            log.warning("job %s: lease lost, stopping", self.lease.job_id)
        if self.task is not None and self.phase in _INTERRUPTIBLE:
            self.task.cancel()
        return True

    def enter(self, phase: Phase) -> None:
        """Begin something that `stop` may cut short. Raises when it already was called."""
        self.phase = phase
        if self.stopped is not None:
            raise Stopped
