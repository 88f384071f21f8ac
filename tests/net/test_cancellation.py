"""A call that is given up leaves nothing behind for the next one (reliability.md F9b)."""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

import pytest

from hermod.net.messages import Reply
from tests.net.upstream import PATIENCE_S, Peer, client, closed, echo, upstream

T = TypeVar("T")


@types.coroutine
def cancelled_at(work: Coroutine[Any, Any, T], n: int, *, late: bool) -> Generator[Any, Any, T]:
    """Awaits `work` and cancels it at its n-th suspension: as soon as it waits there, or, `late`,
    when what it waited for has come and it is about to go on."""
    task = asyncio.current_task()
    assert task is not None
    cancelled: asyncio.CancelledError | None = None
    try:
        for suspension in range(1, 1_000):
            awaited = work.send(None) if cancelled is None else work.throw(cancelled)
            cancelled = None
            if suspension == n and not late:
                task.cancel()
            try:
                yield awaited
            except asyncio.CancelledError as error:
                task.uncancel()
                cancelled = error
            if suspension == n and late:
                cancelled = asyncio.CancelledError()
    except StopIteration as end:
        return end.value
    raise AssertionError("it never ends")


@pytest.mark.parametrize("late", [False, True], ids=["waiting", "resuming"])
@pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
async def test_after_a_cancellation_anywhere_the_next_request_gets_its_own_reply(
    kept: bool, late: bool
) -> None:
    points = 0
    is_cut = True
    while is_cut:
        points += 1
        async with upstream(echo) as server, client() as http:
            if kept:
                await http.send(server.post(body=b"before"), timeout_s=PATIENCE_S)
            given_up = http.send(server.post(body=b"given up"), timeout_s=PATIENCE_S)
            try:
                reply = await cancelled_at(given_up, points, late=late)
                assert reply.body == b"given up"
                is_cut = False
            except asyncio.CancelledError:
                pass
            reply = await http.send(server.post(body=b"next"), timeout_s=PATIENCE_S)
            assert reply.body == b"next"
            if is_cut:
                for peer in server.peers[:-1]:
                    await closed(peer)
    assert points > 1


async def test_cancelling_closes_the_connection() -> None:
    began = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        began.set()
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        call = asyncio.create_task(http.send(server.post(), timeout_s=PATIENCE_S))
        await asyncio.wait_for(began.wait(), PATIENCE_S)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await closed(server.peers[0])


async def test_cancelling_while_the_body_goes_out_closes_the_connection() -> None:
    async def behave(peer: Peer) -> None:
        await asyncio.wait_for(given_up.wait(), PATIENCE_S)
        await peer.until_closed()

    given_up = asyncio.Event()
    async with upstream(behave) as server, client() as http:
        request = server.post(body=bytes(30_000_000))
        call = asyncio.create_task(http.send(request, timeout_s=PATIENCE_S))
        await server.accepted.acquire()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        given_up.set()
        await closed(server.peers[0])


async def test_one_cancelled_lookup_does_not_disturb_the_others() -> None:
    async with upstream(echo) as server, client() as http:
        calls = [
            asyncio.create_task(http.send(server.post(body=b"%d" % i), timeout_s=PATIENCE_S))
            for i in range(10)
        ]
        await asyncio.sleep(0)
        calls[0].cancel()
        replies = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(replies[0], asyncio.CancelledError)
    assert [r.body for r in replies[1:] if isinstance(r, Reply)] == [
        b"%d" % i for i in range(1, 10)
    ]
