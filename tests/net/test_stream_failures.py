"""Replies that fail while they are read."""

import asyncio
import gzip
import zlib
from dataclasses import replace

import pytest

from hermod.net.client import HttpClient
from hermod.net.messages import Limits, NetError, Reason, Request
from hermod.net.reading import ReplyReader
from hermod.net.streaming import StreamedReply
from tests.net.upstream import (
    CHUNKED,
    FEW,
    LAST_CHUNK,
    PATIENCE_S,
    Peer,
    chunk,
    client,
    closed,
    next_of,
    reply_bytes,
    upstream,
)

SHORT_S = 0.2


async def failure_of(
    start: bytes,
    *,
    then_close: bool = False,
    limits: Limits = FEW,
    timeout_s: float = PATIENCE_S,
) -> tuple[bytes, NetError]:
    """What came of the body before it failed, and how. The connection must be closed then."""
    body = b""

    async def read(http: HttpClient, request: Request) -> None:
        nonlocal body
        async with http.stream(request, timeout_s=timeout_s) as reply:
            async for piece in reply.pieces():
                body += piece

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        if then_close:
            peer.close()
        else:
            await peer.until_closed()

    async with upstream(behave) as server, client(limits) as http:
        with pytest.raises(NetError) as caught:
            await read(http, server.post())
        await closed(server.peers[0])
    assert caught.value.sent
    return body, caught.value


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(CHUNKED + chunk(b"half"), id="last chunk missing"),
        pytest.param(CHUNKED + chunk(b"half") + b"5\r\n", id="chunk missing"),
        pytest.param(CHUNKED + chunk(b"half") + b"0\r\n", id="last line missing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", id="short of its length"),
    ],
)
async def test_a_reply_that_is_cut_gives_what_came_and_is_broken(start: bytes) -> None:
    body, error = await failure_of(start, then_close=True)
    assert (body, error.reason) == (b"half", Reason.BROKEN)


async def test_a_reset_within_a_reply_is_broken() -> None:
    is_begun = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"half"))
        await is_begun.wait()
        peer.reset()

    async with (
        upstream(behave) as server,
        client() as http,
        http.stream(server.post(), timeout_s=PATIENCE_S) as reply,
    ):
        pieces = reply.pieces()
        assert await next_of(pieces) == b"half"
        is_begun.set()
        with pytest.raises(NetError) as caught:
            await next_of(pieces)
    assert (caught.value.reason, caught.value.sent) == (Reason.BROKEN, True)


@pytest.mark.parametrize(
    ("start", "limits", "timeout_s", "reason"),
    [
        pytest.param(
            CHUNKED + chunk(b"half"),
            replace(FEW, idle_s=SHORT_S),
            PATIENCE_S,
            Reason.TIMEOUT_IDLE,
            id="idle",
        ),
        pytest.param(CHUNKED + chunk(b"half"), FEW, SHORT_S, Reason.TIMEOUT_TOTAL, id="total"),
        pytest.param(CHUNKED + chunk(b"half") + b"zz\r\n", FEW, 5.0, Reason.BROKEN, id="framing"),
    ],
)
async def test_a_reply_that_goes_wrong_gives_what_came_before(
    start: bytes, limits: Limits, timeout_s: float, reason: Reason
) -> None:
    body, error = await failure_of(start, limits=limits, timeout_s=timeout_s)
    assert (body, error.reason) == (b"half", reason)


async def test_silence_after_the_head_is_idle() -> None:
    _, error = await failure_of(CHUNKED, limits=replace(FEW, idle_s=SHORT_S))
    assert error.reason is Reason.TIMEOUT_IDLE


async def test_without_a_head_entering_fails() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        with pytest.raises(NetError) as caught:
            async with http.stream(server.post(), timeout_s=SHORT_S):
                raise AssertionError("it has begun")
        await closed(server.peers[0])
    assert (caught.value.reason, caught.value.sent) == (Reason.TIMEOUT_TOTAL, True)


async def test_a_length_beyond_the_limit_is_refused_with_the_head() -> None:
    _, error = await failure_of(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n")
    assert error.reason is Reason.TOO_LARGE


async def test_a_head_beyond_the_limit_is_refused() -> None:
    _, error = await failure_of(b"HTTP/1.1 200 OK\r\nX: " + b"y" * FEW.header_bytes)
    assert error.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("reads", ["pieces", "read"])
async def test_a_body_beyond_the_limit_is_cut_off_however_it_is_read(reads: str) -> None:
    came = 0

    async def count(reply: StreamedReply) -> None:
        nonlocal came
        async for piece in reply.pieces():
            came += len(piece)

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await peer.send_forever(chunk(bytes(4_000)))

    async with upstream(behave) as server, client() as http:
        async with http.stream(server.post(), timeout_s=PATIENCE_S) as reply:
            with pytest.raises(NetError) as caught:
                await (reply.read() if reads == "read" else count(reply))
        await closed(server.peers[0])
    assert caught.value.reason is Reason.TOO_LARGE
    assert came <= FEW.reply_bytes


async def test_chunks_of_one_byte_are_cut_off_far_below_the_limit() -> None:
    body, error = await failure_of(CHUNKED + b"1\r\nx\r\n" * 10_000)
    assert error.reason is Reason.TOO_LARGE
    assert len(body) <= 10_000


@pytest.mark.parametrize("size", [5, 10, 200])
def test_a_chunk_for_every_token_is_put_up_with(size: int) -> None:
    limits = Limits(reply_bytes=100_000, header_bytes=100)
    reader = ReplyReader(limits, streamed=True)
    reader.feed(CHUNKED)
    taken = 0
    for _ in range(0, limits.reply_bytes, size * 100):
        reader.feed(chunk(bytes(size)) * 100)
        taken += len(reader.take())
    assert reader.feed(LAST_CHUNK) is not None
    assert taken == limits.reply_bytes


async def test_a_bomb_that_is_read_while_it_comes_is_cut_off() -> None:
    engine = zlib.compressobj(wbits=31)
    bomb = engine.compress(bytes(20_000_000)) + engine.flush(zlib.Z_SYNC_FLUSH)
    start = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    body, error = await failure_of(start + bomb)
    assert error.reason is Reason.TOO_LARGE
    assert len(body) <= FEW.reply_bytes + 1


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param(b"br", b"\x0b\x02\x80abc\x03", id="brotli"),
        pytest.param(b"gzip", b"plain text", id="not gzip"),
        pytest.param(b"gzip", gzip.compress(b"abc")[:-1], id="cut short"),
    ],
)
async def test_a_body_that_cannot_be_inflated_is_a_bad_encoding(
    encoding: bytes, body: bytes
) -> None:
    _, error = await failure_of(reply_bytes(body, b"Content-Encoding: " + encoding))
    assert error.reason is Reason.BAD_ENCODING


async def test_a_failure_stays_one_however_often_it_is_asked_for() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"half"))

    async with (
        upstream(behave) as server,
        client() as http,
        http.stream(server.post(), timeout_s=PATIENCE_S) as reply,
    ):
        for _ in range(3):
            with pytest.raises(NetError, match="broken"):
                await reply.read()


async def test_the_deadline_cuts_off_the_upstream_though_nobody_reads() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"half"))
        await peer.until_closed()

    async with (
        upstream(behave) as server,
        client() as http,
        http.stream(server.post(), timeout_s=SHORT_S) as reply,
    ):
        await closed(server.peers[0])
        with pytest.raises(NetError, match="timeout_total"):
            await reply.read()
