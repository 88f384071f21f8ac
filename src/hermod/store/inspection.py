"""What somebody who only looks sees of a store: for checking it, never for serving from it.

Each backend has an `inspect.py` that fills these records. Instants (`…_at`) are the store's wall
clock in microseconds, leases the microseconds of its lease clock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hermod.domain.meter import Meter

OPENING_BYTES = 400
"""Of a request, what is shown to whoever names it."""

TagOf = Callable[[bytes], str | None]
"""What the opening of a request says of where it comes from."""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A row of the job table."""

    job_id: str
    tag: str | None
    """From the opening of its request."""
    state: str
    attempt: int
    on_unknown: str
    lane: str
    results: int
    """How many result rows it has."""
    worker_id: str | None = None
    completed_at: int | None = None
    cost_usd_nanos: int | None = None
    owner: str = "open"


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """A row of the attempt table."""

    job_id: str
    """Empty when its job is gone."""
    n: int
    state: str
    started_at: int
    ended_at: int | None
    error_type: str | None = None
    worker_id: str | None = None
    lane: str = ""
    """The provider it went to, and the model there."""
    model: str = ""
    cost_usd_nanos: int | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class StoredHold:
    """A row of what jobs hold of meters."""

    job_id: str
    """Empty when its job is gone."""
    meter_id: str
    unit: str
    amount: int


@dataclass(frozen=True)
class Dump:
    """A store at one instant."""

    jobs: Sequence[StoredJob]
    attempts: Sequence[StoredAttempt]
    counters: Mapping[str, int]
    """Jobs per `lane/state`, as the store keeps count."""
    integrity: str
    """`ok`, or what is wrong with the files as far as the engine can tell."""
    others: Mapping[str, int] = field(default_factory=dict[str, int])
    """Jobs per `lane/state` that are counted above and not listed: they were there before."""
    meters: Mapping[str, Meter] = field(default_factory=dict[str, Meter])
    holds: Sequence[StoredHold] = ()


@dataclass(frozen=True, slots=True)
class Leased:
    """A running job."""

    job_id: str
    attempt: int
    lease_until: int


@dataclass(frozen=True, slots=True)
class Overdue:
    """A job that waits past its deadline."""

    job_id: str
    state: str
    deadline_at: int


@dataclass(frozen=True, slots=True)
class Glance:
    """The store's clocks, and the jobs nearest to the end of their time."""

    now_at: int
    lease_now: int
    leased: tuple[Leased, ...]
    """Earliest end of lease first; not all of them."""
    overdue: tuple[Overdue, ...]


GLANCE_ROWS = 200
"""The most jobs of each sort in a glance."""
