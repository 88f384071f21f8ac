"""The end of a job whose owner no longer wants it (wire-contract 4.6)."""

from typing import Final

from hermod.domain.failure import Failure

CANCELLED: Final = "request_cancelled"


def cancelled_failure() -> Failure:
    """A job that was cancelled before it had ended."""
    return Failure(
        "Request cancelled by context: the client cancelled the job",
        status_code=499,
        error_type=CANCELLED,
        from_gateway=True,
    )
