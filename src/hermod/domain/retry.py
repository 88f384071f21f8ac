"""What to do after a call that failed: a decision without I/O (product.md M2; design.md 8, 13)."""

from dataclasses import dataclass, replace
from typing import Final

from hermod.domain.outcome import Fault, Retryable

RETRY_AFTER_CAP_S: Final = 300.0
"""However long an upstream asks us to stay away, we look again after this."""

PATIENCE_S: Final = 60.0
"""Where the waits that cost no try stop growing."""

STAY_S: Final = 5.0
"""A wait of up to this keeps its slot; a longer one gives it back."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A provider's retry settings, in seconds."""

    max_retries: int
    backoff_initial_s: float
    backoff_max_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The fault is the job's end."""

    deadline_passed: bool = False
    """Another try was due, but not before the job's deadline."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Another attempt after `delay_s`."""

    delay_s: float
    spent: bool
    """Whether the failed attempt used up one of the tries."""

    @property
    def keeps_slot(self) -> bool:
        """Whether the wait is short enough to hold on to the worker's slot."""
        return self.delay_s <= STAY_S


def backoff_s(policy: RetryPolicy, nth: int, chance: float) -> float:
    """The wait before retry `nth` (0 is the first), `chance` in [0, 1) being its jitter.

    min(initial * 2^n, max), times 0.8 to 1.2, never above max (wire-contract 8.5).
    """
    grown = policy.backoff_initial_s * 2.0 ** min(nth, 60)
    return min(min(grown, policy.backoff_max_s) * (0.8 + 0.4 * chance), policy.backoff_max_s)


def decide(
    fault: Fault,
    policy: RetryPolicy,
    *,
    spent: int,
    waits: int,
    remaining_s: float,
    chance: float,
) -> GiveUp | TryAgain:
    """Whether a failed attempt is followed by another.

    `spent` counts the earlier attempts that used up a try, `waits` those that did not,
    `remaining_s` is the time to the job's deadline. A 429 that says when to come back costs no
    try, and neither does a call that the gateway itself held back: the job waits it out until its
    deadline, which then is what ends it.
    """
    held = fault.retryable is Retryable.HELD
    hopeless = fault.retryable in {Retryable.NO, Retryable.OTHER_KEY}
    if hopeless or (policy.max_retries == 0 and not held):
        return GiveUp()
    asked_s = fault.retry_after_s
    free = held or (fault.retryable is Retryable.RATE_LIMITED and asked_s is not None)
    if not free and spent >= policy.max_retries:
        return GiveUp()
    # A 429 that asks us to come back at once, again and again, must not be obeyed for ever.
    patient = replace(policy, backoff_max_s=max(policy.backoff_max_s, PATIENCE_S))
    delay_s = backoff_s(patient, waits, chance) if free else backoff_s(policy, spent, chance)
    if asked_s is not None:
        delay_s = max(delay_s, min(asked_s, RETRY_AFTER_CAP_S))
    if delay_s >= remaining_s and not held:
        return GiveUp(deadline_passed=True)
    return TryAgain(delay_s, spent=not free)
