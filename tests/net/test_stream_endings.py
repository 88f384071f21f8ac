"""Streamed replies that are left, and what the next request gets (reliability.md F9b)."""

import asyncio
import gc
from collections.abc import Callable

import pytest

from hermod.net.client import HttpClient
from hermod.net.messages import NetError, Reason
from hermod.net.reading import ReplyReader
from tests.net.test_cancellation import cancelled_at
from tests.net.upstream import (
    CHUNKED,
    LAST_CHUNK,
    PATIENCE_S,
    WIDE,
    Peer,
    Upstream,
    chunk,
    client,
    closed,
    echo,
    next_of,
    reply_bytes,
    streamed,
    upstream,
)


async def test_after_a_whole_reply_the_connection_is_used_again() -> None:
    async with upstream(echo) as server, client() as http:
        for body in (b"one", b"two"):
            assert await streamed(http, server.post(body=body)) == body
            assert (await http.send(server.post(body=body), timeout_s=PATIENCE_S)).body == body
        assert len(server.peers) == 1


async def endless(peer: Peer) -> None:
    if (await peer.request()).body == b"next":
        await peer.reply(b"next")
        await peer.until_closed()
    await peer.send(CHUNKED)
    await peer.send_forever(chunk(b"poison" * 10_000))


async def leave_at_once(http: HttpClient, server: Upstream) -> None:
    async with http.stream(server.post(), timeout_s=PATIENCE_S):
        pass


async def leave_by_break(http: HttpClient, server: Upstream) -> None:
    async with http.stream(server.post(), timeout_s=PATIENCE_S) as reply:
        async for _ in reply.pieces():
            break


async def leave_by_error(http: HttpClient, server: Upstream) -> None:
    async def read() -> None:
        async with http.stream(server.post(), timeout_s=PATIENCE_S) as reply:
            async for _ in reply.pieces():
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await read()


async def leave_by_cancellation(http: HttpClient, server: Upstream) -> None:
    is_begun = asyncio.Event()

    async def read() -> None:
        async with http.stream(server.post(), timeout_s=PATIENCE_S) as reply:
            async for _ in reply.pieces():
                is_begun.set()

    task = asyncio.create_task(read())
    await is_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "leave", [leave_at_once, leave_by_break, leave_by_error, leave_by_cancellation]
)
async def test_who_leaves_early_closes_the_connection_and_spoils_nothing(
    leave: Callable[[HttpClient, Upstream], asyncio.Future[None]],
) -> None:
    async with upstream(endless) as server, client(WIDE) as http:
        await leave(http, server)
        await closed(server.peers[0])
        assert await streamed(http, server.post(body=b"next")) == b"next"
        assert len(server.peers) == 2


async def test_a_reply_cannot_be_read_after_its_block() -> None:
    async with upstream(echo) as server, client() as http:
        async with http.stream(server.post(body=b"old"), timeout_s=PATIENCE_S) as old:
            pass
        async with http.stream(server.post(body=b"new"), timeout_s=PATIENCE_S) as new:
            with pytest.raises(NetError, match="given up"):
                await old.read()
            assert await new.read() == b"new"


@pytest.mark.parametrize("late", [False, True], ids=["waiting", "resuming"])
async def test_after_a_cancellation_anywhere_the_next_request_gets_its_own_reply(
    late: bool,
) -> None:
    points = 0
    is_cut = True
    while is_cut:
        points += 1
        async with upstream(echo) as server, client() as http:
            await streamed(http, server.post(body=b"before"))
            given_up = streamed(http, server.post(body=b"given up" * 9))
            try:
                assert await cancelled_at(given_up, points, late=late) == b"given up" * 9
                is_cut = False
            except asyncio.CancelledError:
                pass
            assert await streamed(http, server.post(body=b"next")) == b"next"
            open_ones = [peer for peer in server.peers if not peer.ended.is_set()]
            if is_cut:
                for peer in open_ones[:-1]:
                    await closed(peer)
    assert points > 1


async def test_a_cancelled_wait_for_a_piece_can_be_repeated() -> None:
    is_given_up = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await is_given_up.wait()
        await peer.send(chunk(b"late") + LAST_CHUNK)
        await peer.until_closed()

    async with (
        upstream(behave) as server,
        client() as http,
        http.stream(server.post(), timeout_s=PATIENCE_S) as reply,
    ):
        pieces = reply.pieces()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(pieces), 0.01)
        is_given_up.set()
        assert [piece async for piece in pieces] == [b"late"]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(reply_bytes(b"ok", b"Connection: close"), id="announced"),
        pytest.param(reply_bytes(b"ok") + reply_bytes(b"unasked"), id="a second reply"),
        pytest.param(CHUNKED + chunk(b"ok") + LAST_CHUNK + b"garbage", id="garbage behind it"),
    ],
)
async def test_a_connection_is_closed_after(raw: bytes) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        assert await streamed(http, server.post()) == b"ok"
        await closed(server.peers[0])


async def test_what_comes_behind_a_whole_reply_while_it_is_read_is_for_nobody() -> None:
    is_whole = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.reply(b"ok")
        if peer.number == 1:
            await is_whole.wait()
            await peer.reply(b"poison")
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        async with http.stream(server.post(), timeout_s=PATIENCE_S) as reply:
            assert await next_of(reply.pieces()) == b"ok"
            is_whole.set()
            await closed(server.peers[0])
            assert await reply.read() == b""
        assert await streamed(http, server.post()) == b"ok"
        assert len(server.peers) == 2


async def test_closing_the_client_breaks_a_reply_under_way() -> None:
    async with (
        upstream(endless) as server,
        client(WIDE) as http,
        http.stream(server.post(), timeout_s=PATIENCE_S) as reply,
    ):
        await http.close()
        with pytest.raises(NetError, match="broken"):
            await reply.read()


async def test_a_kept_connection_that_closes_on_a_stream_is_stale() -> None:
    async def behave(peer: Peer) -> None:
        await peer.reply((await peer.request()).body)
        await peer.request()

    async with upstream(behave) as server, client() as http:
        await streamed(http, server.post())
        with pytest.raises(NetError) as caught:
            await streamed(http, server.post())
    assert (caught.value.reason, caught.value.sent) == (Reason.STALE, True)


async def test_an_abandoned_reply_is_free_without_the_collector() -> None:
    async with upstream(endless) as server, client(WIDE) as http:
        gc.collect()
        gc.disable()
        try:
            await leave_by_break(http, server)
            assert not [each for each in gc.get_objects() if isinstance(each, ReplyReader)]
        finally:
            gc.enable()
