"""Failures of the way to an upstream, in the wire's words (wire-contract 4.6)."""

from collections.abc import Iterable

from hermod.domain.deadlines import TIMED_OUT, job_deadline_failure
from hermod.domain.failure import Failure
from hermod.domain.outcome import Fault, Retryable
from hermod.net.messages import NetError, Reason

_UNREACHABLE = (
    "network error occurred while connecting to provider API (DNS lookup, connection refused, etc.)"
)
_NOT_PUBLIC = (
    "the provider's address is not public, and it was configured without "
    "network_config.allow_private_network"
)
_BROKEN = "failed to execute HTTP request to provider API"


def net_fault(error: NetError, *, timeout_s: float, by_job_deadline: bool) -> Fault:
    """What a request without a reply came to.

    A gateway's own timeout is not retried on the same provider (design.md 8, 12): the call may
    still be running there. The detail, with the address, is for the log, not for a client.
    """
    match error.reason:
        case Reason.TIMEOUT_TOTAL if by_job_deadline:
            failure = job_deadline_failure()
            return Fault(failure, sent=error.sent, unknown=error.sent, job_deadline=True)
        case Reason.TIMEOUT_TOTAL:
            return attempt_timed_out(timeout_s, sent=error.sent)
        case Reason.TIMEOUT_IDLE:
            return _timed_out("the reply stopped half-way (hermod.idle_timeout_s)", error.sent)
        case Reason.CONNECT | Reason.TIMEOUT_CONNECT | Reason.TLS:
            failure = Failure(_UNREACHABLE, cause=error.reason.value, error_type="network_error")
            retryable = Retryable.NO if error.reason is Reason.TLS else Retryable.BACKOFF
            return Fault(failure, retryable, sent=error.sent)
        case Reason.NOT_PUBLIC:
            failure = Failure(_NOT_PUBLIC, error_type=error.reason.value)
            return Fault(failure, sent=False)
        case Reason.STALE | Reason.BROKEN:
            failure = Failure(_BROKEN, cause=error.reason.value, error_type="network_error")
            return Fault(failure, Retryable.BACKOFF, sent=error.sent, unknown=error.sent)
        case Reason.INVALID | Reason.TOO_LARGE | Reason.BAD_ENCODING:
            failure = Failure(_BROKEN, cause=error.reason.value, error_type="upstream_invalid")
            return Fault(failure, sent=error.sent)


def attempt_timed_out(timeout_s: float, *, sent: bool) -> Fault:
    """A call that took longer than an attempt may."""
    return _timed_out(
        f"no reply within {timeout_s:g} s; raise "
        "network_config.default_request_timeout_in_seconds of this provider if it needs longer",
        sent,
    )


def _timed_out(why: str, sent: bool) -> Fault:
    failure = Failure(
        f"Request timed out: {why}", status_code=504, error_type=TIMED_OUT, from_gateway=True
    )
    return Fault(failure, sent=sent, unknown=sent)


def not_configured() -> Fault:
    """A provider that is known, and that nobody configured (wire-contract 4.3)."""
    text = "failed to get config for provider: not found"
    return Fault(Failure(text, cause=text), sent=False)


def unsupported(request_type: str, provider: str) -> Fault:
    """A request type that the provider does not offer (wire-contract 4.3)."""
    text = f"{request_type} is not supported by {provider} provider"
    return Fault(Failure(text, code="unsupported_operation"), sent=False)


def cannot_carry(message: str, param: str | None) -> Fault:
    """A request that says something its provider has no words for. Nothing was sent."""
    failure = Failure(
        message,
        status_code=400,
        error_type="invalid_request_error",
        code="unsupported_parameter",
        param=param,
    )
    return Fault(failure, sent=False)


def held_back(provider: str, wait_s: float) -> Fault:
    """A call that was not made, because the upstream is known not to take it now."""
    failure = Failure(
        f"{provider} is not called for another {wait_s:.1f} s: it failed, or told us its limits",
        status_code=429,
        error_type="upstream_held_back",
        from_gateway=True,
    )
    return Fault(failure, Retryable.HELD, wait_s, sent=False)


def credential_fault(message: str) -> Fault:
    """A key whose credential could not be had: as good as refused."""
    failure = Failure(message, status_code=401, error_type="credential_error")
    return Fault(failure, Retryable.OTHER_KEY, sent=False)


def unpriced(model: str) -> Fault:
    """A model without a price, where the operator wants none of those (`hermod.strict_prices`)."""
    text = f"the price of {model} is not known; hermod.prices in the configuration can tell it"
    return Fault(Failure(text, status_code=400, error_type="unknown_price"), sent=False)


def missing_headers(names: Iterable[str]) -> Fault:
    """A request without headers that the operator demands of every one (wire-contract 4.3)."""
    text = f"missing required headers: {', '.join(names)}"
    failure = Failure(text, status_code=400, type="missing_required_headers")
    return Fault(failure, sent=False)
