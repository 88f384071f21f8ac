"""What every request goes through before it is anybody's job: who asks, and what came."""

from pathlib import Path
from types import TracebackType
from typing import Self

from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.domain.provider import Secret
from hermod.governance.access import Access
from hermod.governance.identity import Identity
from hermod.http.body import ByteBudget, Hold, read_body
from hermod.http.lifecycle import Lifecycle
from hermod.http.message import Request
from hermod.http.multipart import Received, read_form
from hermod.http.request_headers import NO_HEADERS, HeaderRules, RequestHeaders, read_headers
from hermod.jobs.intake import NO_HEADERS as NO_JOB_HEADERS
from hermod.jobs.intake import Asked, JobHeaders
from hermod.kinds.kind import AnyKind, FormKind


class Taken:
    """A request that was received; its body is held within a `with` block."""

    __slots__ = ("_direct_key", "_hold", "_received", "asked", "headers", "identity")

    def __init__(
        self,
        asked: Asked,
        identity: Identity,
        headers: RequestHeaders,
        hold: Hold,
        received: Received | None,
        direct_key: Secret | None,
    ) -> None:
        self.asked = asked
        self.identity = identity
        self.headers = headers
        self._hold = hold
        self._received = received
        self._direct_key = direct_key

    @property
    def job_headers(self) -> JobHeaders:
        """What of the headers concerns the job."""
        headers = self.headers
        if headers is NO_HEADERS and self._received is None and self._direct_key is None:
            return NO_JOB_HEADERS
        options = headers.options
        if self._received is not None:
            options = options._replace(content_type=self._received.content_type)
        return JobHeaders(
            headers.result_ttl,
            headers.request_id,
            headers.on_unknown,
            options,
            self._direct_key,
        )

    def __enter__(self) -> Self:
        try:
            self._hold.__enter__()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hold.__exit__(kind, error, traceback)
        self._close()

    def _close(self) -> None:
        if self._received is not None:
            self._received.close()


class Reception:
    """Receives requests for jobs and calls."""

    def __init__(
        self,
        access: Access,
        lifecycle: Lifecycle,
        rules: HeaderRules,
        body_cap: int,
        budget: ByteBudget,
        spool_dir: Path,
    ) -> None:
        self._access = access
        self._lifecycle = lifecycle
        self._rules = rules
        self._body_cap = body_cap
        self._budget = budget
        self._spool_dir = spool_dir

    async def reader(self, request: Request) -> Identity:
        """Who wants to read. Raises Refused, and StoreUnavailable before virtual keys are known."""
        self._lifecycle.require_store()
        return await self._access.resolve_reader(request.scope["headers"])

    async def caller(self, request: Request) -> Identity:
        """Who wants what is for callers only. Raises Refused, and StoreUnavailable likewise."""
        self._lifecycle.require_store()
        return await self._access.resolve(request.scope["headers"])

    def require_store(self) -> None:
        """Raises StoreUnavailable, with the reason, while the start waits for the store."""
        self._lifecycle.require_store()

    def headers(self, request: Request) -> RequestHeaders:
        """What the headers ask for. Raises Refused."""
        return read_headers(request.scope["headers"], self._rules, is_async=False)

    async def take(self, kind: AnyKind, request: Request, *, is_async: bool = True) -> Taken:
        """The request with its body, to be used in a `with` block.

        Raises Refused: 503 while leaving, 401 and 403, 400, 413, 415; StoreUnavailable before
        virtual keys are known; and ClientGone.
        """
        if not self._lifecycle.accepting:
            failure = Failure("the gateway is shutting down", status_code=503)
            raise Refused(failure, retry_after_s=1)
        self._lifecycle.require_store()
        scope = request.scope
        identity = await self._access.resolve(scope["headers"])
        headers = read_headers(scope["headers"], self._rules, is_async=is_async)
        access = self._access
        direct_key = access.direct_key(scope["headers"]) if access.takes_direct_keys else None
        if isinstance(kind, FormKind):
            received = await read_form(
                scope, request.receive, self._body_cap, self._budget, self._spool_dir
            )
            asked = Asked(received.body, received.form)
            hold = self._budget.hold(received.memory_bytes)
            return Taken(asked, identity, headers, hold, received, direct_key)
        body = await read_body(scope, request.receive, self._body_cap, self._budget)
        hold = self._budget.hold(len(body))
        return Taken(Asked(body), identity, headers, hold, None, direct_key)
