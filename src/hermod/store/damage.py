"""What a job comes to when a part of it is gone from the database, which only damage can do."""

from hermod.domain.failure import Failure
from hermod.domain.job import AttemptState, Finish, State


def request_lost_finish() -> Finish:
    """The end of a job whose request cannot be read back."""
    failure = Failure(
        "the stored request of this job is damaged: it cannot be run; submit it again",
        status_code=500,
        type="request_lost",
        error_type="request_lost",
        from_gateway=True,
    )
    return Finish(
        state=State.FAILED,
        status_code=500,
        body=failure.to_json(),
        attempt_state=AttemptState.UNSENT,
        error_type=failure.error_type,
    )


def result_lost_failure() -> Failure:
    """How a job reads whose result cannot be read back."""
    return Failure(
        "the stored result of this job is damaged: it cannot be shown; submit the job again",
        status_code=500,
        type="result_lost",
        error_type="result_lost",
        from_gateway=True,
    )
