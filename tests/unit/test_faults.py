"""calls/faults.py: a request without a reply, in the wire's words (wire-contract 4.6)."""

import pytest

from hermod.calls.faults import missing_headers, net_fault, not_configured, unsupported
from hermod.domain.failure import Failure
from hermod.domain.outcome import Fault, Retryable
from hermod.net.messages import NetError, Reason


def of(reason: Reason, *, sent: bool = True, by_job_deadline: bool = False) -> Fault:
    error = NetError(reason, "detail", sent=sent)
    return net_fault(error, timeout_s=7.5, by_job_deadline=by_job_deadline)


@pytest.mark.parametrize(
    ("reason", "retryable"),
    [
        (Reason.CONNECT, Retryable.BACKOFF),
        (Reason.TIMEOUT_CONNECT, Retryable.BACKOFF),
        (Reason.TLS, Retryable.NO),
        (Reason.STALE, Retryable.BACKOFF),
        (Reason.BROKEN, Retryable.BACKOFF),
        (Reason.TIMEOUT_TOTAL, Retryable.NO),
        (Reason.TIMEOUT_IDLE, Retryable.NO),
        (Reason.INVALID, Retryable.NO),
        (Reason.TOO_LARGE, Retryable.NO),
        (Reason.BAD_ENCODING, Retryable.NO),
        (Reason.NOT_PUBLIC, Retryable.NO),
    ],
)
def test_what_broke_on_the_way_decides_whether_to_try_again(
    reason: Reason, retryable: Retryable
) -> None:
    assert of(reason).retryable is retryable


def test_every_reason_has_words() -> None:
    assert all(of(reason).failure.message for reason in Reason)


@pytest.mark.parametrize("reason", [Reason.TIMEOUT_TOTAL, Reason.TIMEOUT_IDLE])
def test_a_timeout_is_a_504_of_the_gateway(reason: Reason) -> None:
    failure = of(reason).failure
    assert (failure.status_code, failure.error_type) == (504, "request_timed_out")
    assert failure.from_gateway


def test_an_attempts_timeout_names_the_setting_that_raises_it() -> None:
    assert "default_request_timeout_in_seconds" in of(Reason.TIMEOUT_TOTAL).failure.message
    assert "7.5 s" in of(Reason.TIMEOUT_TOTAL).failure.message


def test_the_jobs_deadline_is_told_apart_from_the_attempts() -> None:
    fault = of(Reason.TIMEOUT_TOTAL, by_job_deadline=True)
    assert fault.job_deadline
    assert "hermod.job_deadline_s" in fault.failure.message
    assert not of(Reason.TIMEOUT_TOTAL).job_deadline


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize(
    "reason", [Reason.STALE, Reason.BROKEN, Reason.TIMEOUT_TOTAL, Reason.TIMEOUT_IDLE]
)
def test_a_call_that_went_out_and_was_not_answered_has_an_unknown_outcome(
    reason: Reason, sent: bool
) -> None:
    assert of(reason, sent=sent).unknown is sent


def test_a_connection_that_never_was_has_a_known_outcome() -> None:
    assert not of(Reason.CONNECT, sent=False).unknown


def test_an_unconfigured_provider_fails_in_bifrosts_words() -> None:
    failure = not_configured().failure
    assert failure.message == failure.cause == "failed to get config for provider: not found"
    assert failure.status_code is None


def test_an_operation_that_is_not_offered_says_so() -> None:
    failure = unsupported("embedding", "groq").failure
    assert failure.code == "unsupported_operation"
    assert failure.message == "embedding is not supported by groq provider"


def test_a_request_without_a_demanded_header_is_not_sent() -> None:
    fault = missing_headers(("X-Team", "x-b"))
    assert fault.failure == Failure(
        "missing required headers: X-Team, x-b", status_code=400, type="missing_required_headers"
    )
    assert not fault.sent
    assert fault.retryable is Retryable.NO
