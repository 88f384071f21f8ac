"""Routes whose callers wait: our own `/v1/<kind>`, and doors in the shape of other APIs.

Behind all of them are the same calls and jobs. An integration (wire-contract 6) can also create a
job and poll it, by headers; and a response of OpenAI's background mode is a job, too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from hermod.domain.beside import beside
from hermod.domain.errors import Refused, StoreError, bad_request
from hermod.domain.job import JobView, State, size_of
from hermod.domain.outcome import Answer
from hermod.http import background
from hermod.http.live_calls import NATIVE, LiveCalls, Shape, failed, refused
from hermod.http.message import Header, Request, Response, Streamed
from hermod.http.problems import store_failure
from hermod.http.reception import Reception, Taken
from hermod.jobs.intake import Asked
from hermod.jobs.read import ReadJob
from hermod.jobs.submit import SubmitJob
from hermod.kinds.kind import AnyKind

_NO_STREAM: Final = "streaming is not supported for async requests"
_NO_BACKGROUND_STREAM: Final = "stream is not supported for background responses"
_NO_JOBS: Final = "async operation is not supported on this route"
_EMPTY_ID: Final = "x-bf-async-id header value is empty"
_NO_RETRY: Final[Header] = (b"x-should-retry", b"false")
"""SDKs repeat requests that were answered with an error; a job that failed stays as it is."""
_NO_STORE: Final[Header] = (b"cache-control", b"no-store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One route."""

    kind: AnyKind
    integration: str | None = None
    """Which one; None for our own routes."""
    shape: Callable[[str], Shape] = lambda _: NATIVE
    """Of the model that was asked for."""
    translate: Callable[[Asked, Request], Asked] = lambda asked, _: asked
    """The request as one of ours; of what came with it only the headers. Raises Refused."""
    placeholder: Callable[[JobView], bytes] | None = None
    """What the caller of a job gets while it is not done; None where the route takes no jobs."""
    background: bool = False
    """Whether a request may ask for OpenAI's background mode."""


class FrontDoors:
    """The handler of every such route."""

    def __init__(
        self, reception: Reception, calls: LiveCalls, submit: SubmitJob, read: ReadJob
    ) -> None:
        self._reception = reception
        self._calls = calls
        self._submit = submit
        self._read = read

    async def call(self, door: Door, request: Request) -> Response | Streamed:
        """A synchronous call, or with `x-bf-async` a new job, or with `x-bf-async-id` a poll."""
        is_async = False
        model = ""  # only the answers of integrations repeat it
        try:
            if door.integration is not None:
                await self.admit(request)
                headers = self._reception.headers(request)
                if headers.job_id is not None:
                    return await self._poll(door, request, headers.job_id)
                is_async = headers.wants_job
                if is_async and door.placeholder is None:
                    raise bad_request(_NO_JOBS)
            with await self._reception.take(door.kind, request, is_async=is_async) as taken:
                size = size_of(taken.asked.body)
                if door.integration is not None:
                    model = await beside(size, _model_of, taken.asked)
                asked = await beside(size, door.translate, taken.asked, request)
                self._reception.require_store()
                if is_async:
                    return await self._create(door, taken, asked)
                if door.background and await beside(size, background.is_wanted, asked.body):
                    return await self._begin_in_background(door, taken, asked)
                begun = await self._calls.begin(
                    door.kind, asked, taken.identity, taken.job_headers, request.receive
                )
        except Refused as error:
            return refused(door.shape(""), error)
        except StoreError as error:
            return failed(door.shape(""), *store_failure(error, "record the call"))
        return await self._calls.answer(begun, door.shape(model))

    async def admit(self, request: Request) -> None:
        """Nobody learns anything before it is known who asks. Raises Refused."""
        await self._reception.reader(request)

    async def _create(self, door: Door, taken: Taken, asked: Asked) -> Response:
        """Always 200: what these clients go by is the body."""
        headers = taken.job_headers
        headers = headers._replace(options=headers.options._replace(door=door.integration))
        try:
            job = await self._submit(
                door.kind, asked, taken.identity, headers, no_stream=_NO_STREAM
            )
        except StoreError as error:
            return failed(door.shape(""), *store_failure(error, "create async job"))
        return self._undone(door, job)

    async def _begin_in_background(self, door: Door, taken: Taken, asked: Asked) -> Response:
        headers = taken.job_headers
        options = headers.options._replace(door=door.integration, background=True)
        try:
            job = await self._submit(
                door.kind,
                asked,
                taken.identity,
                headers._replace(options=options),
                no_stream=_NO_BACKGROUND_STREAM,
            )
        except StoreError as error:
            return failed(door.shape(""), *store_failure(error, "create background response"))
        return background.shown(job)

    async def _poll(self, door: Door, request: Request, job_id: str) -> Response:
        if door.placeholder is None:
            raise bad_request(_NO_JOBS)
        if not job_id:
            raise bad_request(_EMPTY_ID)
        reader = await self._reception.reader(request)
        try:
            self._reception.require_store()
            job = await self._read(door.kind, job_id, reader.principal)
        except StoreError as error:
            return failed(door.shape(""), *store_failure(error, "retrieve async job"))
        except Refused as error:
            return _final(refused(door.shape(""), error), job_id)
        if job.completed_at is None:
            return self._undone(door, job)
        shape = door.shape("")
        if job.state is State.COMPLETED:
            result = job.body or b"{}"
            return _marked(await beside(len(result), shape.answer, Answer(result)), job_id)
        return _final(shape.error(job.status_code, job.body or b"{}"), job_id)

    def _undone(self, door: Door, job: JobView) -> Response:
        assert door.placeholder is not None
        return _marked(Response(200, door.placeholder(job) + b"\n"), job.id)


class _Head(msgspec.Struct):
    model: str = ""


_read_head: Final = msgspec.json.Decoder(_Head).decode


def _model_of(asked: Asked) -> str:
    """What the caller calls the model; whether that is one, others say."""
    if asked.form is not None:
        return asked.form.text("model") or ""
    assert isinstance(asked.body, bytes)
    try:
        return _read_head(asked.body).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""  # nothing has been checked yet


def _marked(response: Response, job_id: str) -> Response:
    own = ((b"x-bf-async-id", job_id.encode("ascii", "replace")), _NO_STORE)
    return response._replace(headers=(*response.headers, *own))


def _final(response: Response, job_id: str) -> Response:
    response = _marked(response, job_id)
    return response._replace(headers=(*response.headers, _NO_RETRY))
