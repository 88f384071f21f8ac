"""Kept connections: used again when that is safe, and never otherwise."""

import asyncio
import socket

import pytest

from hermod.net.messages import NetError, Reason, Request
from tests.net.upstream import PATIENCE_S, Peer, client, closed, echo, reply_bytes, upstream


async def test_a_connection_is_used_again() -> None:
    async with upstream(echo) as server, client() as http:
        for body in (b"one", b"two", b"three"):
            assert (await http.send(server.post(body=body), timeout_s=PATIENCE_S)).body == body
        assert len(server.peers) == 1


async def test_requests_at_the_same_time_have_a_connection_each() -> None:
    async with upstream(echo) as server, client() as http:
        bodies = [b"%d" % i for i in range(50)]
        replies = await asyncio.gather(
            *[http.send(server.post(body=body), timeout_s=PATIENCE_S) for body in bodies]
        )
        assert [reply.body for reply in replies] == bodies


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(reply_bytes(b"ok", b"Connection: close"), id="announced"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="HTTP/1.0"),
        pytest.param(reply_bytes(b"ok") + reply_bytes(b"unasked"), id="a second reply"),
        pytest.param(reply_bytes(b"ok") + b"garbage", id="garbage behind it"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\nbody", id="a body where none belongs"),
    ],
)
async def test_a_connection_is_closed_after(raw: bytes) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        await http.send(server.post(), timeout_s=PATIENCE_S)
        await closed(server.peers[0])


async def test_a_reply_sent_to_an_idle_connection_is_never_read_by_the_next_request() -> None:
    """Servers do say 408 to a connection that lies idle."""
    is_idle = asyncio.Event()

    async def behave(peer: Peer) -> None:
        received = await peer.request()
        await peer.reply(received.body)
        if peer.number == 1:
            await is_idle.wait()
            await peer.reply(b"poison", status=b"408 Request Timeout")
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        await http.send(server.post(body=b"first"), timeout_s=PATIENCE_S)
        is_idle.set()
        await closed(server.peers[0])
        reply = await http.send(server.post(body=b"second"), timeout_s=PATIENCE_S)
    assert (reply.status, reply.body) == (200, b"second")


async def test_a_connection_closed_while_idle_is_not_used() -> None:
    async def behave(peer: Peer) -> None:
        received = await peer.request()
        await peer.reply(received.body)

    async with upstream(behave) as server, client() as http:
        for body in (b"one", b"two"):
            reply = await http.send(server.post(body=body), timeout_s=PATIENCE_S)
            assert reply.body == body
            await closed(server.peers[-1])
        assert len(server.peers) == 2


async def test_a_close_that_the_event_loop_has_not_seen_yet_is_noticed() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

        def serve_one() -> socket.socket:
            accepted, _ = listener.accept()
            accepted.recv(65_536)
            accepted.sendall(reply_bytes(b"ok"))
            return accepted

        async with client() as http:
            first = loop.run_in_executor(None, serve_one)
            await http.send(Request("POST", url), timeout_s=PATIENCE_S)
            (await first).close()
            # No await until the next request goes out: the loop has had no chance to look.
            second = asyncio.ensure_future(loop.run_in_executor(None, serve_one))
            reply = await http.send(Request("POST", url), timeout_s=PATIENCE_S)
            (await second).close()
    assert reply.body == b"ok"


async def test_a_kept_connection_that_closes_on_the_next_request_is_stale() -> None:
    async def behave(peer: Peer) -> None:
        await peer.reply((await peer.request()).body)
        await peer.request()

    async with upstream(behave) as server, client() as http:
        await http.send(server.post(), timeout_s=PATIENCE_S)
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=PATIENCE_S)
        assert (caught.value.reason, caught.value.sent) == (Reason.STALE, True)
        await http.send(server.post(), timeout_s=PATIENCE_S)
        assert len(server.peers) == 2


async def test_a_kept_connection_that_breaks_within_a_reply_is_broken() -> None:
    async def behave(peer: Peer) -> None:
        await peer.reply((await peer.request()).body)
        await peer.request()
        await peer.send(b"HTTP/1.1 200")

    async with upstream(behave) as server, client() as http:
        await http.send(server.post(), timeout_s=PATIENCE_S)
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=PATIENCE_S)
    assert caught.value.reason is Reason.BROKEN


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async def behave(peer: Peer) -> None:
        await peer.reply((await peer.request()).body)
        await peer.until_closed()

    async with upstream(behave) as server, client(pool_idle_s=0.05) as http:
        await http.send(server.post(), timeout_s=PATIENCE_S)
        await closed(server.peers[0])


async def test_a_connection_is_given_up_before_the_upstream_said_it_would_close() -> None:
    async def behave(peer: Peer) -> None:
        await peer.reply((await peer.request()).body, b"Keep-Alive: timeout=1, max=9")
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        for _ in range(2):
            await http.send(server.post(), timeout_s=PATIENCE_S)
        assert len(server.peers) == 2


async def test_closing_the_client_ends_calls_and_connections() -> None:
    async def behave(peer: Peer) -> None:
        if (await peer.request()).body == b"idle":
            await peer.reply(b"")
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        busy = asyncio.create_task(http.send(server.post(body=b"busy"), timeout_s=PATIENCE_S))
        await http.send(server.post(body=b"idle"), timeout_s=PATIENCE_S)
        await http.close()
        with pytest.raises(NetError) as caught:
            await busy
        for peer in server.peers:
            await closed(peer)
    assert caught.value.reason is Reason.BROKEN


async def test_a_closed_client_connects_no_more() -> None:
    async with upstream(echo) as server, client() as http:
        await http.close()
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=PATIENCE_S)
    assert (caught.value.reason, caught.value.sent) == (Reason.CONNECT, False)
