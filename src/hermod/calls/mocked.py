"""The provider inside this process: the same requests and replies as any other, and no network."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from hermod.calls.faults import attempt_timed_out, net_fault
from hermod.calls.forward import Forwarded, Stream, forward
from hermod.domain.beside import BESIDE_BYTES, beside
from hermod.domain.clock import Clock
from hermod.domain.deadlines import job_deadline_failure
from hermod.domain.failure import Failure
from hermod.domain.live import Live
from hermod.domain.outcome import Fault
from hermod.net.messages import NetError, Reason, Reply
from hermod.providers.adapter import Prepared
from hermod.providers.mock import mock

EVENTS: Final = "text/event-stream"
_LARGEST: Final = 64 * 1024 * 1024
"""It reads the whole body in memory."""
_LARGE_MEDIA: Final = "bytes="
"""The mock's option for the size of what it makes."""


class MockCall(NamedTuple):
    """What the mock is told of a call."""

    request_type: str
    model: str
    size: int
    """Bytes of the client's body."""
    attempt: int
    job_id: str
    live: Live | None
    remaining_s: float
    """To the job's deadline."""


def too_large(size: int) -> Fault | None:
    """Why a body of so many bytes is not taken, if it is not."""
    if size <= _LARGEST:
        return None
    text = f"the mock provider takes bodies of up to {_LARGEST} bytes"
    return Fault(Failure(text, status_code=413), sent=False)


async def ask_mock(
    call: MockCall, prepared: Prepared, clock: Clock, attempt_timeout_s: float
) -> Reply | Forwarded | Fault:
    """The reply, that it went to the caller in pieces, or why there is none."""
    reply = await beside(
        BESIDE_BYTES + 1 if _LARGE_MEDIA in call.model else call.size,
        mock.reply,
        call.request_type,
        call.model,
        prepared.body,
        content_type=prepared.content_type,
        attempt=call.attempt,
        job_id=call.job_id,
        now_at=clock.now(),
    )
    limit_s = min(attempt_timeout_s, call.remaining_s)
    await asyncio.sleep(min(reply.delay_s, limit_s))
    if reply.delay_s > limit_s:
        if call.remaining_s <= attempt_timeout_s:
            return Fault(job_deadline_failure(), unknown=True, job_deadline=True)
        return attempt_timed_out(limit_s, sent=True)
    live = call.live
    if reply.pieces and live is not None and live.sink is not None:
        try:
            stream = Stream(EVENTS, _pieces(reply))
            return await forward(stream, live, live.sink, (), timeout_s=limit_s)
        except NetError as error:
            return net_fault(error, timeout_s=limit_s, by_job_deadline=False)
    if reply.cut:
        cut = NetError(Reason.BROKEN, "the mock breaks its reply off", sent=True)
        return net_fault(cut, timeout_s=limit_s, by_job_deadline=False)
    headers = tuple((name.lower(), value) for name, value in dict(reply.headers).items())
    return Reply(reply.status, headers, reply.body)


async def _pieces(reply: mock.MockReply) -> AsyncIterator[bytes]:
    for piece in reply.pieces:
        yield piece
        await asyncio.sleep(reply.pause_s)
    if reply.cut:
        raise NetError(Reason.BROKEN, "the mock breaks its stream", sent=True)
