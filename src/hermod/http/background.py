"""OpenAI's background mode: a response is a job, its id another spelling of the job's
(design.md 8, 5)."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from hermod.domain.beside import beside
from hermod.domain.errors import Refused, StoreError, bad_request
from hermod.domain.job import JobView, Principal, Spooled, State
from hermod.doors import openai
from hermod.http.live_calls import NATIVE, failed, refused
from hermod.http.message import JSON, Header, Request, Response
from hermod.http.problems import store_failure
from hermod.http.reception import Reception
from hermod.jobs.cancel import CancelJob
from hermod.jobs.read import ReadJob, not_found
from hermod.kinds.responses import RESPONSES

_NO_STORE: Final[Header] = (b"cache-control", b"no-store")
_NO_RETRY: Final[Header] = (b"x-should-retry", b"false")
"""OpenAI's SDKs repeat what failed with 409, 429 or 5xx; a job that failed stays as it is."""
_SECOND: Final = 1_000_000


_Act = Callable[[str, Principal], Awaitable[JobView]]


class _Wish(msgspec.Struct):
    background: bool | None = None


_read_wish: Final = msgspec.json.Decoder(_Wish).decode


def is_wanted(body: bytes | Spooled) -> bool:
    """Whether a request for a response asks for the background."""
    if not isinstance(body, bytes) or b'"background"' not in body:
        return False
    try:
        return _read_wish(body).background or False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # the check of the kind has the words for it


def shown(job: JobView) -> Response:
    """The job as a Response object."""
    done = job.state is State.COMPLETED
    body = openai.background_response(
        job.state,
        job_id=job.id,
        created_at_s=job.created_at // _SECOND,
        completed_at_s=None if job.completed_at is None else job.completed_at // _SECOND,
        model=f"{job.lane}/{job.model}",
        result=job.body if done else None,
        error=None if done else job.body,
    )
    headers = (JSON, _NO_STORE)
    if job.completed_at is not None and not done:
        headers = (*headers, _NO_RETRY)
    return Response(200, body + b"\n", headers)


class BackgroundResponses:
    """`/v1/responses/{id}` and what is below it."""

    def __init__(self, reception: Reception, read: ReadJob, cancel: CancelJob) -> None:
        self._reception = reception
        self._read = read
        self._cancel = cancel

    async def retrieve(self, request: Request) -> Response:
        """`GET /v1/responses/{id}`"""
        return await self._found(request, "retrieve the response", self._look)

    async def cancel(self, request: Request) -> Response:
        """`POST /v1/responses/{id}/cancel`: what has ended stays as it ended."""
        return await self._found(request, "cancel the response", self._end)

    async def _look(self, job_id: str, principal: Principal) -> JobView:
        return await self._read(RESPONSES, job_id, principal)

    async def _end(self, job_id: str, principal: Principal) -> JobView:
        return await self._cancel(RESPONSES, job_id, principal)

    async def _found(self, request: Request, doing: str, act: _Act) -> Response:
        try:
            reader = await self._reception.reader(request)
            self._reception.require_store()
            job_id = openai.job_id_of(request.argument)
            if job_id is None:
                raise not_found()
            if b"stream=true" in request.scope["query_string"].split(b"&"):
                raise bad_request("stream is not supported for background responses")
            job = await act(job_id, reader.principal)
            return await beside(len(job.body or b""), shown, job)
        except Refused as error:
            response = refused(NATIVE, error)
        except StoreError as error:
            # Worth another try: nothing is known about the job.
            return failed(NATIVE, *store_failure(error, doing))
        return response._replace(headers=(*response.headers, _NO_STORE, _NO_RETRY))
