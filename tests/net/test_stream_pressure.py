"""Replies that are read more slowly than they come."""

import asyncio
from dataclasses import replace

import pytest

from hermod.net.messages import NetError
from tests.net.upstream import (
    PATIENCE_S,
    WIDE,
    Peer,
    client,
    echo,
    next_of,
    streamed,
    upstream,
)

SHORT_S = 0.2
KIB = 1024


class Flood:
    """An upstream that sends `total` bytes as fast as it may, and counts them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.sent = 0
        self.is_done = False

    async def behave(self, peer: Peer) -> None:
        await self.send_to(peer)
        await peer.until_closed()

    async def send_to(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.total)
        while self.sent < self.total:
            size = min(64 * KIB, self.total - self.sent)
            await peer.send(bytes(size))
            self.sent += size
        self.is_done = True

    async def until_it_stalls(self) -> None:
        """Until nothing has been sent for a while."""
        before = -1
        while before != self.sent:
            before = self.sent
            await asyncio.sleep(SHORT_S / 2)


async def test_an_upstream_has_to_wait_for_who_reads_slowly() -> None:
    flood = Flood(64 * KIB * KIB)
    async with (
        upstream(flood.behave) as server,
        client(WIDE) as http,
        http.stream(server.post(), timeout_s=60) as reply,
    ):
        pieces = reply.pieces()
        came = len(await next_of(pieces))
        await flood.until_it_stalls()
        assert not flood.is_done
        async for piece in pieces:
            assert len(piece) <= KIB * KIB
            came += len(piece)
    assert came == flood.total


async def test_who_reads_slowly_is_no_silence_of_the_upstream() -> None:
    flood = Flood(32 * KIB * KIB)
    limits = replace(WIDE, idle_s=2 * SHORT_S)
    async with (
        upstream(flood.behave) as server,
        client(limits) as http,
        http.stream(server.post(), timeout_s=60) as reply,
    ):
        await asyncio.sleep(4 * SHORT_S)  # the time is what this is about
        assert not flood.is_done
        assert len(await reply.read()) == flood.total


async def test_an_upstream_that_falls_silent_after_it_had_to_wait_is_idle() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(KIB * KIB))
        await peer.until_closed()

    limits = replace(WIDE, idle_s=SHORT_S)
    async with (
        upstream(behave) as server,
        client(limits) as http,
        http.stream(server.post(), timeout_s=PATIENCE_S) as reply,
    ):
        with pytest.raises(NetError, match="timeout_idle"):
            await reply.read()


async def test_a_connection_that_had_to_wait_is_used_again() -> None:
    flood = Flood(32 * KIB * KIB)

    async def behave(peer: Peer) -> None:
        await flood.send_to(peer)
        await echo(peer)

    async with upstream(behave) as server, client(WIDE) as http:
        async with http.stream(server.post(), timeout_s=60) as reply:
            await flood.until_it_stalls()
            assert not flood.is_done
            assert len(await reply.read()) == flood.total
        assert await streamed(http, server.post(body=b"next")) == b"next"
        assert len(server.peers) == 1
