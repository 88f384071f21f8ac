"""A call whose caller waits: from the request to an answer, whole or in pieces."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from typing import Final, NamedTuple, Protocol

from hermod.domain.beside import beside
from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.domain.outcome import Answer, Fault, Outcome
from hermod.governance.identity import Identity
from hermod.http.asgi import Receive
from hermod.http.body import ClientGone
from hermod.http.message import Header, Response, Streamed
from hermod.jobs.call_now import CallNow, LiveCall
from hermod.jobs.intake import Asked, JobHeaders
from hermod.kinds.kind import AnyKind
from hermod.kinds.sse import WholeEvents

_BYTES_WAITING: Final = 256 * 1024
"""Of a stream whose caller reads slowly; then its upstream has to wait."""
_PIECE_OVERHEAD: Final = 64
"""Bytes for which the smallest piece counts: a model sends one per token."""
_NO_CACHE: Final[Header] = (b"cache-control", b"no-cache")
_NO_BUFFERING: Final[Header] = (b"x-accel-buffering", b"no")
"""Proxies would hold a stream back until it has ended."""


class Events(Protocol):
    """Translates a stream on its way to the caller."""

    def feed(self, piece: bytes) -> bytes:
        """What the caller gets for the next piece."""
        ...

    def end(self) -> bytes:
        """What belongs behind the last one."""
        ...


class Shape(Protocol):
    """How one front door says what came of a call."""

    def answer(self, answer: Answer) -> Response:
        """A whole answer."""
        ...

    def error(self, status: int | None, failure: bytes) -> Response:
        """Why there is none: a BifrostError, and the status it names."""
        ...

    def events(self) -> Events:
        """For an answer in pieces."""
        ...

    def broken(self, events: Events, failure: bytes) -> bytes:
        """The end of a stream that broke off."""
        ...

    def stream_type(self) -> bytes:
        """The content type of a stream."""
        ...


class Native:
    """Our own synchronous routes, and what integrations for OpenAI's clients share with them."""

    def __init__(self, usual_status: int | None = None) -> None:
        """`usual_status`: of an error that names none (wire-contract 4.2)."""
        self._usual_status = usual_status

    def answer(self, answer: Answer) -> Response:
        """The result, or the very bytes where the upstream answered with no JSON."""
        if answer.native is not None:
            content_type = answer.native.content_type.encode("latin-1", "replace")
            return Response(200, answer.native.body, ((b"content-type", content_type),))
        return Response(200, answer.body + b"\n")

    def error(self, status: int | None, failure: bytes) -> Response:
        """The BifrostError as it is."""
        usual = self._usual_status or (500 if b'"is_bifrost_error":true' in failure else 400)
        return Response(status or usual, failure + b"\n")

    def events(self) -> Events:
        """As they come, but whole."""
        return WholeEvents()

    def broken(self, events: Events, failure: bytes) -> bytes:
        """The error as an event, as clients of OpenAI's streams expect it."""
        return b"data: " + failure + b"\n\n"

    def stream_type(self) -> bytes:
        """Server-sent events."""
        return b"text/event-stream; charset=utf-8"


def failed(
    shape: Shape,
    failure: Failure,
    retry_after_s: float | None = None,
    challenge: str | None = None,
) -> Response:
    """A failure in the door's shape; `challenge`: of a 401, what it says in `WWW-Authenticate`."""
    response = shape.error(failure.status_code, failure.to_json())
    headers = response.headers
    if retry_after_s is not None:
        headers = (*headers, (b"retry-after", str(max(round(retry_after_s), 1)).encode()))
    if response.status == 401:
        headers = (*headers, (b"www-authenticate", (challenge or "Bearer").encode("ascii")))
    return response._replace(headers=headers)


def refused(shape: Shape, error: Refused) -> Response:
    """A refusal in the door's shape."""
    return failed(shape, error.failure, error.retry_after_s, error.challenge)


class Begun(NamedTuple):
    """A call that is under way; its request need not be held any longer."""

    call: LiveCall
    pipe: "_Pipe"


class LiveCalls:
    """Carries calls for callers who wait."""

    def __init__(self, call_now: CallNow) -> None:
        self._call_now = call_now

    async def begin(
        self,
        kind: AnyKind,
        asked: Asked,
        identity: Identity,
        headers: JobHeaders,
        receive: Receive,
    ) -> Begun:
        """Have the request checked, recorded and sent. `answer` must follow at once.

        Raises Refused and StoreError: then nothing was sent; and ClientGone when nobody waits any
        more, as happens to those who wait for a slot.
        """
        pipe = _Pipe()
        leaving = pipe.watch_client(receive)
        beginning = asyncio.ensure_future(
            self._call_now.begin(kind, asked, identity, headers, pipe)
        )
        try:
            await asyncio.wait({beginning, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not beginning.done():
                raise ClientGone
            return Begun(beginning.result(), pipe)
        except BaseException:  # a cancellation, too: what has begun must not go on for nobody
            beginning.cancel()
            beginning.add_done_callback(self._begun_for_nobody)
            pipe.close()
            raise

    def _begun_for_nobody(self, beginning: "asyncio.Future[LiveCall]") -> None:
        if not beginning.cancelled() and beginning.exception() is None:
            self._call_now.abandon(beginning.result())

    async def answer(self, begun: Begun, shape: Shape) -> Response | Streamed:
        """What came of the call, in the door's shape.

        Raises ClientGone when nobody waits any more: then the call has been stopped.
        """
        call, pipe = begun
        pipe.watch_call(call)
        try:
            await pipe.first_news()
        except BaseException:
            self._leave(call, pipe)
            raise
        job: Header = (b"x-hermod-job", call.job_id.encode())
        if pipe.content_type is not None:
            headers = (
                (b"content-type", shape.stream_type()),
                _NO_CACHE,
                _NO_BUFFERING,
                job,
            )
            return Streamed(headers, self._pieces(call, pipe, shape))
        outcome = pipe.outcome
        self._leave(call, pipe)
        if outcome is None:
            raise ClientGone
        if isinstance(outcome, Answer):
            response = await beside(len(outcome.body), shape.answer, outcome)
        else:
            response = failed(shape, outcome.failure, outcome.retry_after_s)
        return response._replace(headers=(*response.headers, job))

    async def _pieces(
        self, call: LiveCall, pipe: "_Pipe", shape: Shape
    ) -> AsyncGenerator[bytes, None]:
        events = shape.events()
        try:
            while not pipe.gone:
                for piece in pipe.take():
                    translated = events.feed(piece)
                    if translated:
                        yield translated
                if pipe.outcome is not None and pipe.is_empty:
                    break
                await pipe.more()
            if pipe.gone:
                return
            if isinstance(pipe.outcome, Fault) and not pipe.outcome.told:
                yield shape.broken(events, pipe.outcome.failure.to_json())
            else:
                rest = events.end()
                if rest:
                    yield rest
        finally:
            self._leave(call, pipe)

    def _leave(self, call: LiveCall, pipe: "_Pipe") -> None:
        pipe.close()
        if pipe.outcome is None:
            self._call_now.abandon(call)


class _Pipe:
    """Where the one who calls and the one who waits meet. It is the call's `Sink`."""

    def __init__(self) -> None:
        self.content_type: str | None = None
        """Of a stream, once it has begun."""
        self.outcome: Outcome | None = None
        self.gone = False
        """Whether the client has closed its connection."""
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        """Bytes of these."""
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._watchers: list[asyncio.Task[None]] = []

    def begin(self, content_type: str) -> None:
        """See `hermod.domain.live.Sink`."""
        self.content_type = content_type
        self._news.set()

    async def write(self, piece: bytes) -> None:
        """See `hermod.domain.live.Sink`."""
        self._pieces.append(piece)
        self._waiting += len(piece) + _PIECE_OVERHEAD
        self._news.set()
        if self._waiting >= _BYTES_WAITING:
            self._room.clear()
            await self._room.wait()

    def watch_client(self, receive: Receive) -> "asyncio.Task[None]":
        """Wait for the client to leave: then the task is done."""
        return self._watch(self._note_leaving(receive))

    def watch_call(self, call: LiveCall) -> None:
        """Wait for the end of the call."""
        self._watch(self._note_outcome(call))

    def _watch(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        watcher = asyncio.get_running_loop().create_task(work)
        self._watchers.append(watcher)
        return watcher

    async def first_news(self) -> None:
        """Until it is known whether the answer is whole or a stream, or that nobody waits."""
        while self.content_type is None and self.outcome is None and not self.gone:
            await self.more()

    async def more(self) -> None:
        """Until anything has happened."""
        await self._news.wait()
        self._news.clear()

    def take(self) -> list[bytes]:
        """The pieces that have come."""
        pieces = list(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        self._room.set()
        return pieces

    @property
    def is_empty(self) -> bool:
        """Whether every piece was taken."""
        return not self._pieces

    def close(self) -> None:
        """Stop watching. Nothing may refer to us any more: in a cycle with the tasks the whole
        answer would wait for the collector."""
        for watcher in self._watchers:
            watcher.cancel()
        self._watchers = []
        self._room.set()

    async def _note_outcome(self, call: LiveCall) -> None:
        self.outcome = await call.live.outcome()
        self._news.set()

    async def _note_leaving(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._news.set()


NATIVE: Final = Native()
