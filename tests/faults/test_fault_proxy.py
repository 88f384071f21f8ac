"""The proxy before it is used to judge others."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import pytest

from tests.support.fault_proxy import FaultProxy

PATIENCE_S = 10.0


class Talk(NamedTuple):
    """A client of a proxied server, and what that server has seen."""

    proxy: FaultProxy
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lines: list[bytes]

    async def ask(self, line: bytes) -> bytes:
        """The server's answer to a line; empty when the connection ends instead."""
        self.writer.write(line + b"\n")
        return await self.hear()

    async def hear(self) -> bytes:
        """The next line."""
        return await asyncio.wait_for(self.reader.readline(), PATIENCE_S)

    async def is_silent(self) -> bool:
        """Whether nothing comes for a moment."""
        try:
            await asyncio.wait_for(self.reader.read(1), 0.2)
        except TimeoutError:
            return True
        return False

    async def is_reset(self) -> bool:
        """Whether the connection ends with an RST, and nothing before it."""
        with pytest.raises(ConnectionResetError):
            assert await asyncio.wait_for(self.reader.read(), PATIENCE_S) == b""
        return True

    async def heard_by_server(self, line: bytes) -> None:
        """Until the server has received a line."""
        async with asyncio.timeout(PATIENCE_S):
            while line + b"\n" not in self.lines:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def talking() -> AsyncGenerator[Talk]:
    """A connection through the proxy to a server that answers each line with `re: ` and it."""
    lines: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                lines.append(line)
                writer.write(b"re: " + line)
        except ConnectionResetError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            yield Talk(proxy, reader, writer, lines)
        finally:
            writer.close()


async def test_without_faults_everything_passes_both_ways() -> None:
    async with talking() as talk:
        for n in range(100):
            line = b"%d" % n * 1000
            assert await talk.ask(line) == b"re: " + line + b"\n"
        talk.writer.write_eof()
        assert await talk.hear() == b""


async def test_latency_delays_each_way_on_its_own() -> None:
    async with talking() as talk:
        talk.proxy.upstream.latency(100, jitter=10)
        talk.proxy.downstream.latency(100)
        began_s = time.monotonic()
        assert await talk.ask(b"hi") == b"re: hi\n"
        assert time.monotonic() - began_s >= 0.19


async def test_bandwidth_bounds_the_rate() -> None:
    async with talking() as talk:
        talk.proxy.upstream.bandwidth(100)
        began_s = time.monotonic()
        await talk.ask(b"x" * 20_000)
        assert time.monotonic() - began_s >= 0.2


async def test_a_slicer_changes_no_byte() -> None:
    async with talking() as talk:
        talk.proxy.downstream.slicer(3)
        assert await talk.ask(b"0123456789") == b"re: 0123456789\n"


async def test_limit_data_closes_after_exactly_that_many_bytes() -> None:
    async with talking() as talk:
        talk.proxy.downstream.limit_data(6)
        assert await talk.ask(b"0123456789") == b"re: 01"
        await talk.heard_by_server(b"0123456789")


async def test_reset_peer_keeps_the_bytes_from_the_other_side() -> None:
    async with talking() as talk:
        await talk.ask(b"before")
        talk.proxy.upstream.reset_peer()
        talk.writer.write(b"hi\n")
        assert await talk.is_reset()
        assert talk.lines == [b"before\n"]


async def test_timeout_swallows_and_keeps_the_connection() -> None:
    async with talking() as talk:
        talk.proxy.downstream.timeout()
        talk.writer.write(b"lost\n")
        assert await talk.is_silent()
        assert talk.lines == [b"lost\n"]
        talk.proxy.clear()
        assert await talk.ask(b"back") == b"re: back\n"


async def test_slow_close_passes_the_end_on_late() -> None:
    async with talking() as talk:
        talk.proxy.upstream.slow_close(200)
        began_s = time.monotonic()
        talk.writer.write_eof()
        assert await talk.hear() == b""
        assert time.monotonic() - began_s >= 0.19


async def test_down_drops_and_refuses_until_it_is_up_at_the_same_port() -> None:
    async with talking() as talk:
        await talk.ask(b"hi")
        port = talk.proxy.port
        await talk.proxy.down()
        assert await talk.is_reset()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await talk.proxy.up()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        again = talk._replace(reader=reader, writer=writer)
        assert await again.ask(b"back") == b"re: back\n"
        writer.close()


async def test_down_can_accept_and_close() -> None:
    async with talking() as talk:
        await talk.proxy.down(refuse=False)
        reader, writer = await asyncio.open_connection("127.0.0.1", talk.proxy.port)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        writer.close()


async def test_cut_after_lets_the_server_act_and_keeps_the_answer() -> None:
    async with talking() as talk:
        talk.proxy.cut_after(b"COMMIT", nth=2)
        assert await talk.ask(b"COMMIT 1") == b"re: COMMIT 1\n"
        talk.writer.write(b"COMMIT 2\n")
        assert await talk.is_reset()
        assert talk.lines == [b"COMMIT 1\n", b"COMMIT 2\n"]
        assert talk.proxy.cuts == 1


async def test_cut_after_sees_a_pattern_that_comes_in_pieces() -> None:
    async with talking() as talk:
        talk.proxy.cut_after(b"COMMIT")
        talk.writer.write(b"one COM")
        await talk.writer.drain()
        assert await talk.is_silent()
        talk.writer.write(b"MIT two\n")
        assert await talk.is_reset()


async def test_cut_after_can_wait_for_what_the_answer_must_hold() -> None:
    async with talking() as talk:
        talk.proxy.cut_after(b"COMMIT", reply=b"ready")
        talk.writer.write(b"COMMIT\n")
        assert await talk.is_silent()
        talk.writer.write(b"ready?\n")
        assert await talk.is_reset()


async def test_cut_before_reply_counts_answers() -> None:
    async with talking() as talk:
        talk.proxy.cut_before_reply(3)
        assert await talk.ask(b"1") == b"re: 1\n"
        assert await talk.ask(b"2") == b"re: 2\n"
        talk.writer.write(b"3\n")
        assert await talk.is_reset()
        assert talk.lines[-1] == b"3\n"
        assert talk.proxy.cuts == 1


async def test_reset_all_cuts_every_connection_and_takes_new_ones() -> None:
    async with talking() as talk:
        await talk.ask(b"hi")
        talk.proxy.reset_all()
        assert await talk.is_reset()
        reader, writer = await asyncio.open_connection("127.0.0.1", talk.proxy.port)
        again = talk._replace(reader=reader, writer=writer)
        assert await again.ask(b"back") == b"re: back\n"
        writer.close()
