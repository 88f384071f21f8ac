"""One request, one reply."""

import pytest
from msgspec.structs import replace

from hermod.net.messages import NetError, Reason, Reply
from tests.net.upstream import FEW, PATIENCE_S, Peer, client, closed, echo, reply_bytes, upstream


async def answer_to(raw: bytes, *, then_close: bool = False) -> Reply:
    """What the client makes of these bytes."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        if then_close:
            peer.close()
        else:
            await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        return await http.send(server.post(), timeout_s=PATIENCE_S)


async def refusal_of(raw: bytes, *, then_close: bool = False) -> NetError:
    with pytest.raises(NetError) as caught:
        await answer_to(raw, then_close=then_close)
    assert caught.value.sent
    return caught.value


async def test_a_reply_comes_back_with_status_headers_and_body() -> None:
    raw = reply_bytes(b"[1]", b"Content-Type: Application/JSON; x=y", b"Retry-After:  7 ")
    reply = await answer_to(raw)
    assert (reply.status, reply.body) == (200, b"[1]")
    assert (reply.content_type, reply.retry_after) == ("application/json", "7")
    assert reply.header("x-absent") is None


async def test_the_request_arrives_as_it_was_given() -> None:
    heads: list[bytes] = []

    async def behave(peer: Peer) -> None:
        received = await peer.request()
        heads.extend(received.lines)
        await peer.reply(received.body)

    async with upstream(behave) as server, client() as http:
        request = server.post("/v1/chat%2Fx?a=%20b", b'{"a": 1}')
        reply = await http.send(request, timeout_s=PATIENCE_S)
        port = server.port
    assert reply.body == b'{"a": 1}'
    assert heads == [
        b"POST /v1/chat%2Fx?a=%20b HTTP/1.1",
        b"Host: localhost:%d" % port,
        b"Content-Type: application/json",
        b"User-Agent: hermod",
        b"Content-Length: 8",
        b"Accept-Encoding: identity",
        b"",
        b"",
    ]


async def test_a_large_body_goes_out_whole() -> None:
    body = bytes(range(256)) * 20_000

    async def behave(peer: Peer) -> None:
        received = await peer.request()
        await peer.reply(b"same" if received.body == body else b"different")

    async with upstream(behave) as server, client() as http:
        reply = await http.send(server.post(body=body), timeout_s=PATIENCE_S)
    assert reply.body == b"same"


@pytest.mark.parametrize("status", [b"301 Moved", b"307 Temporary Redirect"])
async def test_a_redirect_is_a_reply_and_is_not_followed(status: bytes) -> None:
    reply = await answer_to(reply_bytes(b"", b"Location: http://localhost:1/", status=status))
    assert reply.status == int(status[:3])


async def test_a_204_ends_with_its_head() -> None:
    reply = await answer_to(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (reply.status, reply.body) == (204, b"")


async def test_a_compressed_reply_without_a_body_is_empty() -> None:
    assert (await answer_to(reply_bytes(b"", b"Content-Encoding: gzip"))).body == b""


async def test_chunks_are_joined_and_trailers_dropped() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = await answer_to(head + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Late: 1\r\n\r\n")
    assert (reply.body, reply.header("x-late")) == (b"abcde", None)


async def test_a_reply_without_a_length_ends_with_the_connection() -> None:
    reply = await answer_to(b"HTTP/1.0 200 OK\r\n\r\nall of it", then_close=True)
    assert reply.body == b"all of it"


async def test_interim_replies_are_skipped() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    reply = await answer_to(interim + reply_bytes(b"ok"))
    assert (reply.status, reply.body, reply.header("link")) == (200, b"ok", None)


async def test_an_offer_to_upgrade_is_ignored() -> None:
    reply = await answer_to(reply_bytes(b"ok", b"Upgrade: h2,h2c", b"Connection: Upgrade"))
    assert reply.body == b"ok"


async def test_bare_line_feeds_are_understood() -> None:
    reply = await answer_to(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")
    assert reply.body == b"ok"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="TLS"),
        pytest.param(b"<html>hello</html>\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"HTTP/1.1 abc OK\r\n\r\n", id="status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", id="header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello", id="hex length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            id="two lengths",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="length and chunks",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="chunk size"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            id="transfer coding",
        ),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            id="upgrade",
        ),
        pytest.param(b"HTTP/1.1 102 Processing\r\n\r\n" * 30, id="interim without end"),
    ],
)
async def test_what_is_not_http_is_broken(raw: bytes) -> None:
    assert (await refusal_of(raw)).reason is Reason.BROKEN


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 20", id="half a status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="half a header"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="interim only"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", id="short body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", id="last chunk"
        ),
    ],
)
async def test_a_reply_cut_short_is_broken(raw: bytes) -> None:
    assert (await refusal_of(raw, then_close=True)).reason is Reason.BROKEN


async def test_an_upstream_that_stops_sending_but_stays_connected_is_broken() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        peer.half_close()
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=PATIENCE_S)
        await closed(server.peers[0])
    assert (caught.value.reason, caught.value.sent) == (Reason.BROKEN, True)


async def test_a_reset_after_the_request_is_broken() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with upstream(behave) as server, client() as http:
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=PATIENCE_S)
    assert (caught.value.reason, caught.value.sent) == (Reason.BROKEN, True)


async def test_a_reset_half_way_through_the_request_is_broken() -> None:
    async def behave(peer: Peer) -> None:
        peer.reset()

    async with upstream(behave) as server, client() as http:
        with pytest.raises(NetError) as caught:
            await http.send(server.post(body=bytes(8_000_000)), timeout_s=PATIENCE_S)
    assert caught.value.reason in (Reason.BROKEN, Reason.CONNECT)


async def test_a_reply_that_comes_before_the_request_is_out_counts_and_ends_the_connection() -> (
    None
):
    async def behave(peer: Peer) -> None:
        await peer.reply(b"too much", status=b"413 Content Too Large")
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        request = server.post(body=bytes(30_000_000))
        reply = await http.send(request, timeout_s=PATIENCE_S)
        await closed(server.peers[0])
    assert (reply.status, reply.body) == (413, b"too much")


async def test_nothing_of_the_request_or_reply_is_in_an_error() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncanary-1")
        peer.close()

    async with upstream(behave) as server, client() as http:
        request = server.post("/canary-2?key=canary-3", b"canary-4")
        request = replace(request, headers=(("Authorization", "Bearer canary-5"),))
        with pytest.raises(NetError) as caught:
            await http.send(request, timeout_s=PATIENCE_S)
    assert "canary" not in str(caught.value)


async def test_the_limits_of_a_call_replace_those_of_the_client() -> None:
    async with upstream(echo) as server, client() as http:
        small = type(FEW)(reply_bytes=1)
        with pytest.raises(NetError) as caught:
            await http.send(server.post(body=b"ab"), timeout_s=PATIENCE_S, limits=small)
    assert caught.value.reason is Reason.TOO_LARGE
