"""How a job ends, from what its last call came to. Decisions, no I/O."""

from dataclasses import replace

from hermod.domain.failure import Failure
from hermod.domain.job import AttemptState, ClaimedJob, Finish, Metered, State
from hermod.domain.outcome import Answer, Fault, Outcome
from hermod.domain.suspicion import unknown_outcome_failure


def completed(answer: Answer, key_name: str | None) -> Finish:
    """The end of a job that was answered."""
    metered = _metered(answer)
    # In the order of the members: named, they would take twice the time.
    return Finish(
        State.COMPLETED, 200, answer.body, AttemptState.SUCCEEDED, None, 200, key_name, metered
    )


def _metered(answer: Answer) -> Metered | None:
    """What is known of its use; some answers only have a price."""
    usage = answer.usage
    if usage is not None:
        return Metered(usage.input_tokens, usage.output_tokens, answer.cost_usd_nanos)
    return None if answer.cost_usd_nanos is None else Metered(0, 0, answer.cost_usd_nanos)


def failed(job: ClaimedJob, shown: Fault, last: Fault, key_name: str | None) -> Finish:
    """The end of a job with one error to show, perhaps not that of its last attempt."""
    failure = located(job, shown.failure)
    return Finish(
        state=State.EXPIRED if shown.job_deadline else State.FAILED,
        status_code=failure.status_code or 500,
        body=failure.to_json(),
        attempt_state=attempt_state(last),
        error_type=last.failure.error_type or last.failure.type,
        attempt_status_code=last.failure.status_code,
        key_name=key_name,
    )


def attempt_state(fault: Fault) -> AttemptState:
    """What an attempt that failed is called."""
    return AttemptState.UNKNOWN if fault.unknown else AttemptState.FAILED


def unknown(job: ClaimedJob, cause: str | None, key_name: str | None) -> Finish:
    """The end of a job that must not be sent twice, and may have been done."""
    failure = replace(located(job, unknown_outcome_failure()), cause=cause)
    return Finish(
        state=State.FAILED,
        status_code=500,
        body=failure.to_json(),
        attempt_state=AttemptState.UNKNOWN,
        error_type=failure.error_type,
        key_name=key_name,
    )


def named(job: ClaimedJob, outcome: Outcome) -> Outcome:
    """The outcome, saying on which call it came."""
    if isinstance(outcome, Answer):
        return outcome
    return replace(outcome, failure=located(job, outcome.failure))


def located(job: ClaimedJob, failure: Failure) -> Failure:
    """The failure, saying on which call it came: its own provider's unless it says more."""
    if failure.provider is not None:
        return failure
    return failure.of(provider=job.lane, model=job.model, request_type=job.kind)
