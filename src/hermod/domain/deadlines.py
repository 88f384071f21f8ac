"""The failures of time: nobody answered before a deadline (wire-contract 4.6)."""

from typing import Final

from hermod.domain.failure import Failure

TIMED_OUT: Final = "request_timed_out"


def queue_deadline_failure() -> Failure:
    """A job that no worker could start in time."""
    return _timed_out("the job was not started before its queue deadline (hermod.queue_wait_s)")


def job_deadline_failure() -> Failure:
    """A job whose tries did not end in time."""
    return _timed_out("the job was not finished before its deadline (hermod.job_deadline_s)")


def _timed_out(why: str) -> Failure:
    return Failure(
        f"Request timed out by context: {why}",
        status_code=504,
        error_type=TIMED_OUT,
        from_gateway=True,
    )
