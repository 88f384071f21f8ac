"""What a job is: its states, who may see it, and the pieces the store hands out.

Instants (`…_at`) are int64 microseconds since the epoch, UTC (design.md 8, 11).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol


class State(StrEnum):
    """The inside states of a job. The same list stands in the `CHECK` of every store's schema."""

    QUEUED = "queued"
    """Accepted and never started. A worker's claim moves it on, or the queue deadline."""
    RUNNING = "running"
    """Leased to a worker. Its finish moves it on, or its release, or the loss of its lease."""
    WAITING = "waiting"
    """Started before and to be started again at `run_at`. A claim moves it on, or the deadline."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Never finished before its queue or job deadline."""


TERMINAL: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.EXPIRED})

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED, State.EXPIRED}),
    State.RUNNING: frozenset(
        {State.WAITING, State.COMPLETED, State.FAILED, State.CANCELLED, State.EXPIRED}
    ),
    State.WAITING: frozenset({State.RUNNING, State.FAILED, State.CANCELLED, State.EXPIRED}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.EXPIRED: frozenset(),
}
"""Every move a job can make. Nothing leads back to `queued`, nothing leaves a terminal state."""

WIRE_STATUS: Final[dict[State, str]] = {
    State.QUEUED: "pending",
    State.RUNNING: "processing",
    State.WAITING: "processing",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
    State.EXPIRED: "failed",
}
"""How each state reads on Bifrost's wire (design.md 3.2). Its rank never decreases."""


class Mode(StrEnum):
    """Whether somebody holds a connection open for the job."""

    ASYNC = "async"
    SYNC = "sync"


class OnUnknown(StrEnum):
    """What to do with a job whose upstream call may have taken effect unseen."""

    RETRY = "retry"
    FAIL = "fail"


class AttemptState(StrEnum):
    """The outcome of one upstream call."""

    SENDING = "sending"
    """Committed before the first byte; the call may be out."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The upstream, or the way to it, answered with an error."""
    UNKNOWN = "unknown"
    """We died, or lost the lease, or were stopped while the call was out."""
    UNSENT = "unsent"
    """Given back before any byte left."""


class Principal(NamedTuple):
    """Who asks: resolved once, at the edge."""

    tenant_id: str
    owner: str
    """`open`, `vk:<id>` or `admin:<sub>`."""
    is_admin: bool = False
    """May read every job of its tenant."""
    sees_open: bool = False
    """May also read jobs of nobody: where access is open, everybody may (wire-contract 5)."""


class Lease(NamedTuple):
    """The right to write to a running job. `attempt` is the fencing token."""

    job_id: str
    attempt: int
    worker_id: str


class Spooled(Protocol):
    """A body that lies in a file of ours until its job is committed."""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        ...

    def pieces(self, size: int) -> Iterator[bytes]:
        """The body in order, `size` bytes at a time, fewer in the last piece.

        Each call begins anew. Raises OSError when the file cannot be read.
        """
        ...


def size_of(body: bytes | Spooled) -> int:
    """Bytes of a body, wherever it lies."""
    return len(body) if isinstance(body, bytes) else body.size


class Target(NamedTuple):
    """Where an upstream call goes."""

    provider: str
    model: str
    """As that provider knows it."""


class Metered(NamedTuple):
    """What an upstream call used, as far as the upstream said.

    Each is at least 0 and below 2**53: stores keep, and add up, integers of 64 bits.
    """

    input_tokens: int
    output_tokens: int
    cost_usd_nanos: int | None
    """Billionths of a dollar; None when the price is unknown."""


class NewJob(NamedTuple):
    """A request that passed every check, as it will be stored."""

    id: str
    tenant_id: str
    owner: str
    kind: str
    """The request type: `chat_completion`, `embedding`, …"""
    mode: Mode
    lane: str
    """The provider whose capacity the job uses."""
    model: str
    """What follows the first slash of the `model` field."""
    created_at: int
    queue_deadline_at: int
    """A job not started by then becomes `expired`."""
    ttl_s: int
    ttl_requested: bool
    """Whether the client named the TTL (wire-contract 3.4)."""
    body: bytes | Spooled
    """The request as it came, byte for byte."""
    options: str | None = None
    """What else of the request matters when it runs, as JSON text."""
    request_id: str | None = None
    on_unknown: OnUnknown = OnUnknown.RETRY
    priority: int = 0
    """Higher runs first."""


IN_HAND_BYTES: Final = 64 * 1024
"""A body up to this size is handed around with its job; a larger one is fetched when it is its
turn to be in memory."""


class Claim(NamedTuple):
    """By whom, and for how long, a job is leased."""

    worker_id: str
    lease_s: float
    job_deadline_s: float
    """Counted from the first start."""


class ClaimedJob(NamedTuple):
    """A job as the worker that leased it sees it."""

    lease: Lease
    tenant_id: str
    owner: str
    kind: str
    lane: str
    model: str
    created_at: int
    deadline_at: int
    """When the whole job must have ended."""
    attempts_spent: int
    """Attempts before this one that used up the retry budget."""
    suspicion: int
    """How many leases in a row were lost while this job ran (see domain/suspicion.py)."""
    on_unknown: OnUnknown
    ttl_s: int
    options: str | None
    size: int
    """Bytes of the body."""
    body: bytes | None
    """None when the body is large and must be fetched with `read_request`."""
    target: Target | None = None
    """Where this attempt goes; None for the job's own provider and model."""
    progress: str | None = None
    """What the attempt before has left for the rules of trying again (`Retry.progress`)."""
    held: bool = False
    """Whether it still has its place among the pending jobs of its key."""


class Finish(NamedTuple):
    """The end of a job: written in one transaction with the end of its last attempt."""

    state: State
    status_code: int
    body: bytes
    """The result, or the error, as JSON."""
    attempt_state: AttemptState
    error_type: str | None = None
    attempt_status_code: int | None = None
    key_name: str | None = None
    """The provider key that the attempt used."""
    metered: Metered | None = None
    held: bool = False
    """Whether something was reserved for the attempt; where not, nobody looks for it."""


class Retry(NamedTuple):
    """The end of an attempt that is not the end of its job."""

    attempt_state: AttemptState
    spent: bool
    """Whether it used up one of the job's tries."""
    error_type: str | None = None
    attempt_status_code: int | None = None
    key_name: str | None = None
    ended_at: int | None = None
    """When the call ended, where that was before now: a wait in the slot lies between. By the
    worker's clock, so the store takes it for no later than now and no earlier than its start."""
    metered: Metered | None = None
    held: bool = False
    """Whether something was reserved for the attempt; where not, nobody looks for it. Nor where the
    next attempt asks for the work of this one: it is paid for when it comes."""
    target: Target | None = None
    """Where the job's next attempt goes; None for its own provider and model."""
    progress: str | None = None
    """What the rules of trying again have to remember, as JSON text; in place of what was there."""


class JobView(NamedTuple):
    """A job as its owner may read it."""

    id: str
    kind: str
    state: State
    created_at: int
    completed_at: int | None
    expires_at: int | None
    """Set at completion only."""
    ttl_s: int
    ttl_requested: bool
    status_code: int | None
    request_id: str | None
    lane: str
    """The provider."""
    model: str
    """As the provider knows it."""
    body: bytes | None
    """The result, or the error, as JSON; None until the job is terminal."""
    input_tokens: int | None = None
    """Of all its attempts, as the next two; None when none was metered."""
    output_tokens: int | None = None
    cost_usd_nanos: int | None = None
    """None also when no metered attempt has a known price."""
    estimated: bool = False
    """Whether a part of it is an estimate: an attempt's outcome, or its use, is unknown."""


class SealedJob(NamedTuple):
    """A job that has not ended, and may have a sealed secret among its options."""

    id: str
    options: str
    """As it is stored (`Options`)."""


class SealedJobs(NamedTuple):
    """Some of them."""

    jobs: tuple[SealedJob, ...]
    last: str | None
    """Where to go on; None where there are no more."""


class Resealed(NamedTuple):
    """What becomes of one."""

    id: str
    was: str
    """Its options, as they were read."""
    becomes: str


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One upstream call of a job, for its timeline."""

    n: int
    state: AttemptState
    lane: str
    """The provider that was called, which need not be the job's own."""
    model: str
    key_name: str | None
    worker_id: str
    started_at: int
    ended_at: int | None
    status_code: int | None
    error_type: str | None
    handle: str | None
    """What the upstream calls this work, when it can be asked for it again."""
    input_tokens: int | None = None
    """None when the attempt was not metered."""
    output_tokens: int | None = None
    cost_usd_nanos: int | None = None
    """None also when the price is unknown."""
    estimated: bool = False
    """Whether that is an estimate."""
