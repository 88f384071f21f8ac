"""What one upstream call came to."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage


class Retryable(StrEnum):
    """Whether trying the same provider again can help."""

    NO = "no"
    BACKOFF = "backoff"
    """5xx, 408, 529, or the way to the upstream broke."""
    RATE_LIMITED = "rate_limited"
    """429."""
    OTHER_KEY = "other_key"
    """401, 402, 403: this key is no good, another one may be."""
    HELD = "held"
    """Nothing was sent: the gateway itself stays away from the upstream for a while."""


@dataclass(frozen=True, slots=True)
class Native:
    """An answer that is no JSON, as the upstream sent it."""

    content_type: str
    body: bytes


class Answer(NamedTuple):
    """The upstream answered and the answer was accepted."""

    body: bytes
    """The result as JSON, `extra_fields` included."""
    native: Native | None = None
    """What a synchronous caller gets instead; a job's result is always JSON."""
    usage: Usage | None = None
    cost_usd_nanos: int | None = None
    """None when the price is unknown."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Anything else."""

    failure: Failure
    retryable: Retryable = Retryable.NO
    retry_after_s: float | None = None
    """What the upstream asked for, not yet capped."""
    sent: bool = True
    """Whether any byte of the request may have left."""
    unknown: bool = False
    """Whether the call may have taken effect all the same: it went out and no answer came."""
    job_deadline: bool = False
    """Whether it was the job's own deadline that ended the call."""
    told: bool = False
    """Whether the caller has read of it already, in the upstream's words in a stream."""


Outcome = Answer | Fault
