"""`/v1/async/<kind>`: submit a job, poll a job (wire-contract 1)."""

from hermod.domain.errors import Refused, StoreError, bad_request
from hermod.domain.failpoint import failpoint
from hermod.domain.failure import Failure
from hermod.domain.job import JobView
from hermod.governance.access import Access
from hermod.http.body import ByteBudget, read_body
from hermod.http.lifecycle import Lifecycle
from hermod.http.message import JSON, Header, Request, Response
from hermod.http.problems import problem, store_problem
from hermod.http.render import job_json
from hermod.jobs.read import ReadJob
from hermod.jobs.submit import NO_HEADERS, SubmitHeaders, SubmitJob
from hermod.kinds.kind import Kind

_NO_STORE: Header = (b"cache-control", b"no-store")
_RETRY_AFTER: Header = (b"retry-after", b"1")
_DONE = (JSON, _NO_STORE)
_UNDONE = (JSON, _NO_STORE, _RETRY_AFTER)
_MAX_REQUEST_ID = 256

_SUBMIT_HEADERS = {
    b"x-bf-async-job-result-ttl": "result_ttl",
    b"x-request-id": "request_id",
    b"x-bf-passthrough-extra-params": "passthrough",
    b"x-hermod-on-unknown": "on_unknown",
}


class AsyncJobs:
    """The two handlers of every kind."""

    def __init__(
        self,
        submit: SubmitJob,
        read: ReadJob,
        access: Access,
        lifecycle: Lifecycle,
        body_cap: int,
        budget: ByteBudget,
        base_path: str,
    ) -> None:
        self._submit = submit
        self._read = read
        self._access = access
        self._lifecycle = lifecycle
        self._body_cap = body_cap
        self._budget = budget
        self._prefix = f"{base_path}/v1/async/"

    async def submit(self, kind: Kind, request: Request) -> Response:
        """`POST /v1/async/<kind>`: 202 once the job is committed."""
        if not self._lifecycle.accepting:
            failure = Failure("the gateway is shutting down", status_code=503)
            return problem(Refused(failure, retry_after_s=1))
        principal = self._access.resolve(request.header(b"authorization"))
        body = await read_body(request.scope, request.receive, self._body_cap, self._budget)
        with self._budget.hold(len(body)):
            try:
                self._lifecycle.require_store()
                job = await self._submit(kind, body, principal, _submit_headers(request))
                failpoint("http.reply_before")
            except StoreError as error:
                return store_problem(error, "create async job")
        return Response(202, job_json(job), (*_UNDONE, (b"location", self._location(kind, job))))

    async def poll(self, kind: Kind, request: Request) -> Response:
        """`GET /v1/async/<kind>/{id}`: 202 until the job has ended, then 200."""
        principal = self._access.resolve(request.header(b"authorization"))
        if not request.argument:
            raise bad_request("job_id is required")
        try:
            self._lifecycle.require_store()
            job = await self._read(kind, request.argument, principal)
        except StoreError as error:
            return store_problem(error, "retrieve async job")
        if job.completed_at is None:
            return Response(202, job_json(job), _UNDONE)
        return Response(200, job_json(job), _DONE)

    def _location(self, kind: Kind, job: JobView) -> bytes:
        return f"{self._prefix}{kind.path}/{job.id}".encode()


def _submit_headers(request: Request) -> SubmitHeaders:
    found: dict[str, str] = {}
    for name, value in request.scope["headers"]:
        field = _SUBMIT_HEADERS.get(name)
        if field is not None:
            found[field] = value.decode("latin-1")
    if not found:
        return NO_HEADERS
    request_id = found.get("request_id")
    if request_id is not None and not (0 < len(request_id) <= _MAX_REQUEST_ID):
        del found["request_id"]
    return SubmitHeaders(**found)
