"""Every error becomes JSON here (wire-contract 4.1, 4.2)."""

from hermod.domain.errors import Refused, StoreError, StoreFull
from hermod.domain.failure import Failure
from hermod.http.message import JSON, Header, Response

STORE_RETRY_AFTER_S = 5


def problem(error: Refused) -> Response:
    """The response to a refused request."""
    headers: list[Header] = [JSON]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.failure.status_code == 401:
        headers.append((b"www-authenticate", (error.challenge or "Bearer").encode("ascii")))
    status = error.failure.status_code or 500
    return Response(status, error.failure.to_json() + b"\n", tuple(headers))


def store_failure(error: StoreError, doing: str) -> tuple[Failure, int]:
    """What a store's failure means to a client, and when to try again, in seconds."""
    status = 507 if isinstance(error, StoreFull) else 503
    return Failure(f"failed to {doing}: {error}", status_code=status), STORE_RETRY_AFTER_S


def store_problem(error: StoreError, doing: str) -> Response:
    """The response when the store failed: clients shall try again (wire-contract 11.1, 8)."""
    return problem(Refused(*store_failure(error, doing)))


def internal_problem() -> Response:
    """The response to a defect of ours. What it was stands in the log only."""
    return problem(Refused(Failure("internal error", status_code=500)))


def route_not_found() -> Response:
    """No such path. The answer names none (design.md 8, 8)."""
    return problem(Refused(Failure("route not found", status_code=404)))


def model_not_found() -> Response:
    """A model that no provider lists."""
    failure = Failure("model not found", status_code=404, code="model_not_found")
    return problem(Refused(failure))


def method_not_allowed(allowed: tuple[str, ...]) -> Response:
    """A path that exists, called with another method (wire-contract 4.5)."""
    failure = Failure("method not allowed", status_code=405)
    response = problem(Refused(failure))
    allow = (b"allow", ", ".join(allowed).encode())
    return response._replace(headers=(*response.headers, allow))
