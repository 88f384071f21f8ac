"""Replies that are read while they come."""

import asyncio
import gzip
import zlib
from dataclasses import replace

import pytest

from hermod.net.client import HttpClient
from hermod.net.messages import Limits, NetError, Reason, Request
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
    streamed,
    upstream,
)


async def stream_of(raw: bytes, *, then_close: bool = False, limits: Limits = FEW) -> list[bytes]:
    """The pieces the client makes of these bytes."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        if then_close:
            peer.close()
        else:
            await peer.until_closed()

    async with (
        upstream(behave) as server,
        client(limits) as http,
        http.stream(server.post(), timeout_s=PATIENCE_S) as reply,
    ):
        return [piece async for piece in reply.pieces()]


async def test_the_head_is_there_before_the_body() -> None:
    is_seen = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 429 Slow\r\nContent-Type: Text/Event-Stream; x=y\r\nRetry-After: 7\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        await is_seen.wait()
        await peer.send(chunk(b"late") + LAST_CHUNK)
        await peer.until_closed()

    async with (
        upstream(behave) as server,
        client() as http,
        http.stream(server.post(), timeout_s=PATIENCE_S) as reply,
    ):
        assert (reply.status, reply.content_type, reply.retry_after) == (
            429,
            "text/event-stream",
            "7",
        )
        assert (reply.header("retry-after"), reply.header("x-absent")) == ("7", None)
        assert ("retry-after", "7") in reply.headers
        is_seen.set()
        assert await reply.read() == b"late"


@pytest.mark.parametrize("framing", ["chunks", "length", "connection"])
async def test_a_piece_arrives_before_the_next_is_sent(framing: str) -> None:
    taken = asyncio.Semaphore(0)
    words = [b"one", b"two", b"three"]
    head = {
        "chunks": CHUNKED,
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n",
        "connection": b"HTTP/1.1 200 OK\r\n\r\n",
    }[framing]

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(head)
        for word in words:
            await peer.send(chunk(word) if framing == "chunks" else word)
            await taken.acquire()
        if framing == "chunks":
            await peer.send(LAST_CHUNK)

    async with (
        upstream(behave) as server,
        client() as http,
        http.stream(server.post(), timeout_s=PATIENCE_S) as reply,
    ):
        came: list[bytes] = []
        async for piece in reply.pieces():
            came.append(piece)
            taken.release()
    assert came == words


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "bare deflate"])
async def test_what_the_upstream_flushed_is_decompressed_before_the_end(encoding: str) -> None:
    taken = asyncio.Semaphore(0)
    events = [b"data: one\n\n", b"data: two\n\n"]

    async def behave(peer: Peer) -> None:
        await peer.request()
        name = encoding.rsplit(maxsplit=1)[-1].encode()
        await peer.send(CHUNKED[:-2] + b"Content-Encoding: " + name + b"\r\n\r\n")
        engine = zlib.compressobj(wbits={"gzip": 31, "deflate": 15, "bare deflate": -15}[encoding])
        for event in events:
            packed = engine.compress(event) + engine.flush(zlib.Z_SYNC_FLUSH)
            await peer.send(chunk(packed))
            await taken.acquire()
        await peer.send(chunk(engine.flush()) + LAST_CHUNK)
        await peer.until_closed()

    async with (
        upstream(behave) as server,
        client() as http,
        http.stream(server.post(), timeout_s=PATIENCE_S) as reply,
    ):
        came: list[bytes] = []
        async for piece in reply.pieces():
            came.append(piece)
            taken.release()
    assert came == events


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        pytest.param(reply_bytes(b"all"), b"all", id="length"),
        pytest.param(reply_bytes(b""), b"", id="no body"),
        pytest.param(
            CHUNKED + b"3;x=y\r\nabc\r\n1 \r\nd\r\n" + LAST_CHUNK, b"abcd", id="extension"
        ),
        pytest.param(CHUNKED + b"1\r\na\r\n0\r\nX-Late: 1\r\n\r\n", b"a", id="trailers"),
        pytest.param(CHUNKED + LAST_CHUNK, b"", id="no chunks"),
        pytest.param(
            reply_bytes(gzip.compress(b"abc"), b"Content-Encoding: gzip"), b"abc", id="gzip"
        ),
        pytest.param(reply_bytes(b"", b"Content-Encoding: gzip"), b"", id="empty gzip"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", id="304"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
            + reply_bytes(b"ok"),
            b"ok",
            id="interim",
        ),
    ],
)
async def test_a_whole_reply_ends_well(raw: bytes, body: bytes) -> None:
    assert b"".join(await stream_of(raw)) == body


async def test_a_reply_without_a_length_ends_with_the_connection() -> None:
    assert await stream_of(b"HTTP/1.0 200 OK\r\n\r\nall", then_close=True) == [b"all"]


async def test_interim_replies_are_not_the_head() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await peer.send(reply_bytes(b"ok"))
        await peer.until_closed()

    async with (
        upstream(behave) as server,
        client() as http,
        http.stream(server.post(), timeout_s=PATIENCE_S) as reply,
    ):
        assert (reply.status, reply.header("link")) == (200, None)


async def test_read_gives_what_is_left() -> None:
    is_seen = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"first"))
        await is_seen.wait()
        await peer.send(chunk(b"second") + chunk(b"third") + LAST_CHUNK)
        await peer.until_closed()

    async with (
        upstream(behave) as server,
        client() as http,
        http.stream(server.post(), timeout_s=PATIENCE_S) as reply,
    ):
        assert await next_of(reply.pieces()) == b"first"
        is_seen.set()
        assert await reply.read() == b"secondthird"
        assert await reply.read() == b""


async def test_a_get_goes_out_without_a_body() -> None:
    heads: list[bytes] = []

    async def behave(peer: Peer) -> None:
        heads.append((await peer.request()).head)
        await peer.reply(b"[]")
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        get = Request("GET", f"http://localhost:{server.port}/v1/models")
        async with http.stream(get, timeout_s=PATIENCE_S) as reply:
            assert await reply.read() == b"[]"
    assert heads[0].startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert b"content-" not in heads[0].lower()


async def whole(http: HttpClient, request: Request, timeout_s: float) -> bytes:
    return (await http.send(request, timeout_s=timeout_s)).body


@pytest.mark.parametrize("is_streamed", [False, True], ids=["send", "stream"])
async def test_a_large_request_to_a_slow_upstream_is_bounded_by_the_time_alone(
    is_streamed: bool,
) -> None:
    async def behave(peer: Peer) -> None:
        await asyncio.wait_for(given_up.wait(), PATIENCE_S)
        await peer.until_closed()

    given_up = asyncio.Event()
    limits = replace(FEW, idle_s=0.01)
    async with upstream(behave) as server, client(limits) as http:
        request = server.post(body=bytes(25_000_000))
        call = streamed if is_streamed else whole
        with pytest.raises(NetError) as caught:
            await call(http, request, 0.2)
        given_up.set()
        await closed(server.peers[0])
    assert (caught.value.reason, caught.value.sent) == (Reason.TIMEOUT_TOTAL, True)


async def test_a_reply_streams_while_a_large_request_goes_out() -> None:
    body = bytes(range(256)) * 50_000

    async def behave(peer: Peer) -> None:
        await peer.send(CHUNKED + chunk(b"early"))
        received = await peer.request()
        await peer.send(chunk(b"same" if received.body == body else b"different") + LAST_CHUNK)
        await peer.request()

    async with upstream(behave) as server, client() as http:
        assert await streamed(http, server.post(body=body)) == b"earlysame"
