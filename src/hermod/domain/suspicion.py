"""What a lost lease says about the job that ran under it.

A worker that dies takes every job it runs with it, and usually none of them is to blame. So the
first loss only sends a job back to the ordinary slots. A job that loses its lease again runs among
few others, then alone; the one that still takes its worker down is poison
(docs/decisions/0005-suspect-slots.md).
"""

from typing import Final

from hermod.domain.failure import Failure
from hermod.domain.job import OnUnknown

POISON_AT: Final = 4
"""Leases lost in a row: one in an ordinary slot, three after that."""

SUSPECT_FROM: Final = 2
"""From this many losses in a row a job runs in a suspect slot."""

ALONE_FROM: Final = 3
"""From this many it runs with no other suspect beside it."""

SHARED_SUSPECT_SLOTS: Final = 32


def failure_after_loss(suspicion: int, on_unknown: OnUnknown) -> Failure | None:
    """What a lost lease ends its job with; None when the job is to run again.

    `suspicion` counts the losses in a row before this one.
    """
    if on_unknown is OnUnknown.FAIL:
        return unknown_outcome_failure()
    return poison_failure() if suspicion + 1 >= POISON_AT else None


def poison_failure() -> Failure:
    """The end of a job that took its worker down again and again."""
    return Failure(
        f"the process that ran this job died {POISON_AT} times in a row while it ran; "
        "it will not be tried again",
        status_code=500,
        type="poison",
        error_type="poison",
        from_gateway=True,
    )


def unknown_outcome_failure() -> Failure:
    """The end of a job that must not be sent twice and may have been sent once."""
    return Failure(
        "the worker stopped while the upstream call was out: whether it took effect is unknown, "
        "and the job asked not to be sent twice",
        status_code=500,
        type="outcome_unknown",
        error_type="outcome_unknown",
        from_gateway=True,
    )
