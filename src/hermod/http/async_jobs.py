"""`/v1/async/<kind>`: submit a job, poll a job (wire-contract 1)."""

from hermod.domain.beside import beside
from hermod.domain.errors import Refused, StoreError, bad_request
from hermod.domain.failpoint import failpoint
from hermod.domain.job import JobView
from hermod.http.message import JSON, Header, Request, Response
from hermod.http.problems import problem, store_problem
from hermod.http.reception import Reception
from hermod.http.render import job_json
from hermod.jobs.read import ReadJob
from hermod.jobs.submit import SubmitJob
from hermod.kinds.kind import AnyKind

_NO_STORE: Header = (b"cache-control", b"no-store")
_RETRY_AFTER: Header = (b"retry-after", b"1")
_DONE = (JSON, _NO_STORE)
_UNDONE = (JSON, _NO_STORE, _RETRY_AFTER)


class AsyncJobs:
    """The two handlers of every kind."""

    def __init__(
        self, reception: Reception, submit: SubmitJob, read: ReadJob, base_path: str
    ) -> None:
        self._reception = reception
        self._submit = submit
        self._read = read
        self._prefix = f"{base_path}/v1/async/"

    async def submit(self, kind: AnyKind, request: Request) -> Response:
        """`POST /v1/async/<kind>`: 202 once the job is committed."""
        try:
            with await self._reception.take(kind, request) as taken:
                self._reception.require_store()
                job = await self._submit(kind, taken.asked, taken.identity, taken.job_headers)
                failpoint("http.reply_before")
        except StoreError as error:
            return store_problem(error, "create async job")
        return Response(202, job_json(job), (*_UNDONE, (b"location", self._location(kind, job))))

    async def poll(self, kind: AnyKind, request: Request) -> Response:
        """`GET /v1/async/<kind>/{id}`: 202 until the job has ended, then 200."""
        reader = await self._reception.reader(request)
        if not request.argument:
            raise bad_request("job_id is required")
        try:
            self._reception.require_store()
            job = await self._read(kind, request.argument, reader.principal)
        except StoreError as error:
            return store_problem(error, "retrieve async job")
        except Refused as error:
            # A job may come to be, and a cache must not know better.
            response = problem(error)
            return response._replace(headers=(*response.headers, _NO_STORE))
        if job.completed_at is None:
            return Response(202, job_json(job), _UNDONE)
        return Response(200, await beside(len(job.body or b""), job_json, job), _DONE)

    def _location(self, kind: AnyKind, job: JobView) -> bytes:
        return f"{self._prefix}{kind.path}/{job.id}".encode()
