"""What the operator decides about running jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """See hermod.config.settings.HermodSettings for each."""

    lease_s: float
    renew_s: float
    upkeep_s: float
    job_deadline_s: float
    slots: int
    """Calls in flight per lane, unless the lane has a cap of its own."""
    lane_slots: Mapping[str, int] = field(default_factory=dict[str, int])
    """The caps of lanes that have one."""
    claims: bool = True
    """Whether it takes jobs from the queue. A gateway that does not still makes the calls whose
    callers wait on its own connections."""
    callers_max: int = 1000
    """Callers, per lane, that may wait for a slot on an open connection."""
