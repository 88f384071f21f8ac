"""Upstreams that send too little (reliability.md F10)."""

import asyncio
from dataclasses import replace

import pytest

from hermod.net.messages import Limits, NetError, Reason
from tests.net.upstream import FEW, PATIENCE_S, Peer, client, closed, reply_bytes, upstream

SHORT_S = 0.2
QUICK_IDLE = replace(FEW, idle_s=SHORT_S)


async def refusal_of(start: bytes, *, limits: Limits, timeout_s: float) -> NetError:
    """What comes of an upstream that sends `start` and then nothing, which must be cut off."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        await peer.until_closed()

    async with upstream(behave) as server, client(limits) as http:
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=timeout_s)
        await closed(server.peers[0])
    assert caught.value.sent
    return caught.value


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"", id="silence"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="interim"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", id="half a head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", id="half a body"),
    ],
)
async def test_the_attempt_is_bounded(start: bytes) -> None:
    error = await refusal_of(start, limits=FEW, timeout_s=SHORT_S)
    assert error.reason is Reason.TIMEOUT_TOTAL


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"H", id="one byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", id="half a head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", id="head only"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", id="half a body"),
    ],
)
async def test_silence_after_the_first_byte_is_idle(start: bytes) -> None:
    error = await refusal_of(start, limits=QUICK_IDLE, timeout_s=PATIENCE_S)
    assert error.reason is Reason.TIMEOUT_IDLE


async def test_silence_before_the_first_byte_is_not_idle() -> None:
    error = await refusal_of(b"", limits=replace(FEW, idle_s=0.01), timeout_s=SHORT_S)
    assert error.reason is Reason.TIMEOUT_TOTAL


async def test_a_trickle_is_not_idle_but_ends_with_the_attempt() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(b".")
            await asyncio.sleep(SHORT_S / 10)

    async with upstream(behave) as server, client(QUICK_IDLE) as http:
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=3 * SHORT_S)
        await closed(server.peers[0])
    assert caught.value.reason is Reason.TIMEOUT_TOTAL


async def test_connecting_has_its_own_limit() -> None:
    async def behave(peer: Peer) -> None:
        await peer.until_closed()

    async with upstream(behave) as server, client(replace(FEW, connect_s=SHORT_S)) as http:
        server.scheme = "https"  # the handshake is never answered
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=PATIENCE_S)
        await closed(server.peers[0])
    assert (caught.value.reason, caught.value.sent) == (Reason.TIMEOUT_CONNECT, False)


async def test_connecting_is_bounded_by_the_attempt_too() -> None:
    async def behave(peer: Peer) -> None:
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        server.scheme = "https"
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=SHORT_S)
    assert (caught.value.reason, caught.value.sent) == (Reason.TIMEOUT_TOTAL, False)


async def test_a_slow_call_does_not_hold_up_another() -> None:
    async def behave(peer: Peer) -> None:
        if (await peer.request()).body == b"slow":
            await peer.until_closed()
        await peer.send(reply_bytes(b"quick"))

    async with upstream(behave) as server, client() as http:
        slow = asyncio.create_task(http.send(server.post(body=b"slow"), timeout_s=SHORT_S))
        reply = await http.send(server.post(body=b"quick"), timeout_s=PATIENCE_S)
        with pytest.raises(NetError):
            await slow
    assert reply.body == b"quick"
