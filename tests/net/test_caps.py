"""Upstreams that send too much (reliability.md F12)."""

import gc
import gzip
import zlib
from contextlib import suppress

import pytest

from hermod.net.messages import NetError, Reason
from hermod.net.reading import ReplyReader
from tests.net.upstream import FEW, PATIENCE_S, Peer, client, closed, reply_bytes, upstream

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EMPTY_GZIP = gzip.compress(b"")
CHUNK = b"1000\r\n" + bytes(0x1000) + b"\r\n"


async def refusal_of(start: bytes, forever: bytes = b"") -> NetError:
    """What comes of an upstream that sends `start` and then `forever`, which must be cut off."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        if forever:
            await peer.send_forever(forever)
        else:
            await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=PATIENCE_S)
        await closed(server.peers[0])
    assert caught.value.sent
    return caught.value


async def body_of(raw: bytes) -> bytes:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)

    async with upstream(behave) as server, client() as http:
        return (await http.send(server.post(), timeout_s=PATIENCE_S)).body


@pytest.mark.parametrize(
    ("start", "forever"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n", b"", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", bytes(4096), id="until the end"),
        pytest.param(CHUNKED, CHUNK, id="chunks"),
        pytest.param(CHUNKED, b"1\r\nx\r\n" * 100, id="tiny chunks"),
        pytest.param(CHUNKED, b"0" * 4096, id="a chunk size"),
        pytest.param(CHUNKED + b"1;", b"x" * 4096, id="a chunk extension"),
        pytest.param(
            CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
            + b"%x\r\n%b\r\n" % (len(EMPTY_GZIP), EMPTY_GZIP),
            CHUNK,
            id="garbage behind gzip",
        ),
        pytest.param(CHUNKED + b"0\r\n", b"X-Trailer: 1\r\n" * 100, id="trailers"),
        pytest.param(b"HTTP/1.1 200 ", b"O" * 4096, id="a status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 4096, id="a header value"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"y" * 4096, id="a header name"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-Header: 1\r\n" * 100, id="headers"),
    ],
)
async def test_what_never_ends_is_cut_off(start: bytes, forever: bytes) -> None:
    assert (await refusal_of(start, forever)).reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * FEW.header_bytes, id="half a head"),
        pytest.param(CHUNKED + b"30000\r\n" + bytes(FEW.reply_bytes + 1), id="half a body"),
    ],
)
async def test_what_is_too_large_already_is_not_waited_for(start: bytes) -> None:
    assert (await refusal_of(start)).reason is Reason.TOO_LARGE


async def test_interim_replies_without_end_are_cut_off() -> None:
    assert (await refusal_of(b"", b"HTTP/1.1 102 P\r\n\r\n")).reason is Reason.BROKEN


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"X-Long: " + b"y" * 1_000_000, id="1 MB header"),
        pytest.param(b"\r\n".join(b"X-%d: 1" % i for i in range(10_000)), id="10,000 headers"),
        pytest.param(b"X-Long: " + b"y" * FEW.header_bytes, id="a header too long"),
        pytest.param(b"\r\n".join([b"X: 1"] * FEW.header_count), id="a header too many"),
    ],
)
async def test_a_head_beyond_its_limits_is_refused(headers: bytes) -> None:
    assert (await refusal_of(reply_bytes(b"ok", headers))).reason is Reason.TOO_LARGE


async def test_as_many_headers_as_allowed_are_fine() -> None:
    headers = [b"X-%d: 1" % i for i in range(FEW.header_count - 1)]
    assert await body_of(reply_bytes(b"ok", *headers)) == b"ok"


async def test_a_body_of_exactly_the_cap_is_fine() -> None:
    body = bytes(FEW.reply_bytes)
    assert await body_of(reply_bytes(body)) == body


async def test_a_body_of_one_byte_more_is_refused() -> None:
    error = await refusal_of(reply_bytes(bytes(FEW.reply_bytes + 1)))
    assert error.reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    "encoding", ["gzip", "x-gzip", "GZip", "deflate", "identity", "identity, gzip"]
)
async def test_a_body_compressed_unasked_is_inflated(encoding: str) -> None:
    packed = {"deflate": zlib.compress, "identity": bytes}.get(encoding, gzip.compress)(b"a" * 999)
    assert (
        await body_of(reply_bytes(packed, b"Content-Encoding: " + encoding.encode())) == b"a" * 999
    )


async def test_a_bomb_is_cut_off_at_the_cap_while_it_is_still_coming() -> None:
    engine = zlib.compressobj(wbits=31)
    bomb = engine.compress(bytes(50_000_000)) + engine.flush(zlib.Z_SYNC_FLUSH)
    start = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + bomb
    assert (await refusal_of(start)).reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param(b"br", b"\x0b\x02\x80abc\x03", id="brotli"),
        pytest.param(b"zstd", b"\x28\xb5\x2f\xfd", id="zstd"),
        pytest.param(b"gzip, gzip", gzip.compress(gzip.compress(b"a")), id="twice"),
        pytest.param(b"gzip", b"plain text", id="not gzip"),
        pytest.param(b"gzip", gzip.compress(b"abc")[:-1], id="cut short"),
        pytest.param(b"gzip", gzip.compress(b"abc")[:-8] + bytes(8), id="wrong checksum"),
    ],
)
async def test_a_body_that_cannot_be_inflated_is_a_bad_encoding(
    encoding: bytes, body: bytes
) -> None:
    error = await refusal_of(reply_bytes(body, b"Content-Encoding: " + encoding))
    assert error.reason is Reason.BAD_ENCODING


async def test_two_encoding_headers_count_as_two_encodings() -> None:
    twice = (b"Content-Encoding: gzip", b"Content-Encoding: gzip")
    error = await refusal_of(reply_bytes(gzip.compress(b"a"), *twice))
    assert error.reason is Reason.BAD_ENCODING


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(reply_bytes(b"ok"), id="reply"),
        pytest.param(CHUNKED + b"30000\r\n" + bytes(FEW.reply_bytes + 1), id="too large"),
        pytest.param(CHUNKED + CHUNK, id="timeout"),
        pytest.param(CHUNKED + CHUNK + b"zz\r\n", id="broken"),
        pytest.param(reply_bytes(b"x" * 99, b"Content-Encoding: gzip"), id="bad encoding"),
    ],
)
async def test_what_was_read_is_free_without_the_collector(start: bytes) -> None:
    """Its passes are rare by design, and a body may have 50 MB."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        gc.collect()
        gc.disable()
        try:
            with suppress(NetError):
                await http.send(server.post(), timeout_s=0.1)
            assert not [each for each in gc.get_objects() if isinstance(each, ReplyReader)]
        finally:
            gc.enable()
