"""F10–F12: upstreams that hang, talk nonsense or never stop."""

import asyncio
import gzip
from collections.abc import Mapping
from typing import Any

import pytest

from tests.faults.places import SqlitePlace, config_for, provider_at
from tests.faults.upstreams import JSON, Asked, Behaviour, answers, behaving, bomb, sends
from tests.faults.workload import clients_of, fault_of
from tests.net.upstream import Peer

QUICK: dict[str, Any] = {"upkeep_s": 0.3}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]'
"""An answer, but for its last brace."""


# F10


async def silent(peer: Peer, _: Asked) -> None:
    await peer.until_closed()


async def stalled(peer: Peer, _: Asked) -> None:
    await peer.send(HEAD + b"Content-Length: 100\r\n\r\n{")
    await peer.until_closed()


def dripping(every_s: float) -> Behaviour:
    async def behave(peer: Peer, _: Asked) -> None:
        await peer.send(CHUNKED)
        while True:
            await peer.send(b"1\r\n \r\n")
            await asyncio.sleep(every_s)

    return behave


@pytest.mark.time_limit(240)
async def test_a_hung_upstream_costs_only_its_own_slots_and_only_for_a_time(
    file: SqlitePlace, all_points: bool
) -> None:
    drip_s, idle_s, attempt_s = (5.0, 8.0, 20) if all_points else (0.2, 0.5, 1)
    behaviours = {"silent": silent, "stalled": stalled, "dripping": dripping(drip_s)}
    async with behaving(behaviours) as upstream:
        config = config_for(QUICK | {"idle_timeout_s": idle_s})
        config["providers"]["openai"] = provider_at(
            upstream.url, default_request_timeout_in_seconds=attempt_s
        ) | {"concurrency_and_buffer_size": {"concurrency": 6}}
        with file.start("gateway", config) as gateway:
            async with clients_of(gateway.url) as clients:
                hung = await clients.submit_many(12, *(f"openai/{name}" for name in behaviours))
                behind = await clients.submit_many(6, "openai/fine")
                beside = await clients.submit_many(6, "mock/echo")
                await clients.settle(20, beside)
                assert {(await clients.end_of(i)).wire_state for i in beside} == {"completed"}
                first = await clients.read(behind[0])
                assert first is not None
                assert first.wire_state == "pending", "the lane was not held up: nothing is proved"
                assert {(await clients.end_of(i, 150)).wire_state for i in hung} == {"failed"}
                await clients.settle(30)
                assert clients.ends() == {"completed": 12, "failed": 12}
                history = clients.judge([upstream], await file.stored())
    states = [attempt.state for attempt in history.final.attempts if attempt.job_id in hung]
    assert states == ["unknown"] * 12


# F11

GARBAGE: Mapping[str, Behaviour] = {
    "html": answers(b"<!doctype html><h1>It works!</h1>", b"Content-Type: text/html"),
    "truncated": answers(GOOD),
    "wrong type": answers(b'[{"choices":[{}]}]'),
    "nan": answers(GOOD + b',"x":NaN}'),
    "invalid utf-8": answers(GOOD + b',"x":"\xc3("}'),
    "lone surrogate": answers(GOOD + b',"x":"\\ud800"}'),
    "10 MB on one line": answers(b"x" * 10_000_000),
    "deep nesting": answers(GOOD + b',"x":' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
    "open nesting": answers(b"[" * 2_000_000),
    "empty choices": answers(b'{"choices":[]}'),
    "choices twice": answers(b'{"choices":[{}],"choices":[]}'),
    "empty": answers(b""),
    "no http": sends(b"220 mail.example ESMTP\r\n"),
    "another protocol": sends(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
    "status 99": sends(b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n"),
    "status 700": sends(b"HTTP/1.1 700 Odd\r\nContent-Length: 0\r\n\r\n"),
    "two lengths": sends(HEAD + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}"),
    "negative chunk": sends(CHUNKED + b"-5\r\nhello\r\n"),
    "error with 200": answers(b'{"error":{"message":"no","type":"server_error"}}'),
}
ODD_BUT_ACCEPTED: Mapping[str, Behaviour] = {
    "wrong label": answers(GOOD + b"}", b"Content-Type: text/html"),
    "model twice": answers(GOOD + b',"model":"a","model":"b"}'),
}


async def test_garbage_fails_its_job_and_nothing_else(file: SqlitePlace) -> None:
    async with behaving(GARBAGE) as upstream:
        config = config_for(QUICK)
        config["providers"]["openai"] = provider_at(upstream.url, max_retries=0)
        with file.start("gateway", config) as gateway:
            async with clients_of(gateway.url) as clients:
                found = {name: await fault_of(clients, file, f"openai/{name}") for name in GARBAGE}
                fine = await clients.submit_many(5, "openai/fine")
                await clients.settle()
                assert {(await clients.end_of(i)).wire_state for i in fine} == {"completed"}
                clients.judge([upstream], await file.stored())
            assert gateway.process.poll() is None
            assert "Traceback" not in gateway.output, gateway.output
    assert {state for state, _ in found.values()} == {"failed"}
    unread = {name for name, (_, why) in found.items() if why == "network_error"}
    # What is no HTTP at all is a broken connection, which may be tried again.
    assert unread <= {"no http", "another protocol", "status 99", "two lengths", "negative chunk"}
    assert {why for _, why in found.values()} <= {"upstream_invalid", "network_error"}


async def test_an_odd_answer_is_an_answer(file: SqlitePlace) -> None:
    async with behaving(ODD_BUT_ACCEPTED) as upstream:
        with file.start("gateway", config_for(QUICK, openai=upstream.url)) as gateway:
            async with clients_of(gateway.url) as clients:
                for name in ODD_BUT_ACCEPTED:
                    assert await fault_of(clients, file, f"openai/{name}") == ("completed", "")


# F12


async def endless(peer: Peer, _: Asked) -> None:
    await peer.send(HEAD + b"Content-Length: 5000000000\r\n\r\n")
    await peer.send_forever(b" " * 65_536)


async def endless_chunks(peer: Peer, _: Asked) -> None:
    await peer.send(CHUNKED)
    await peer.send_forever(b"10000\r\n" + b" " * 65_536 + b"\r\n")


def huge() -> dict[str, Behaviour]:
    """Whatever is too much. Made by whoever needs it: the bombs take seconds."""
    return {
        "5 GB": endless,
        "endless chunks": endless_chunks,
        "gzip bomb": answers(bomb(1_000_000_000), JSON, b"Content-Encoding: gzip"),
        "bomb in a bomb": answers(
            gzip.compress(bomb(100_000_000)), JSON, b"Content-Encoding: gzip, gzip"
        ),
        "1 MB header": answers(b"{}", b"X-Long: " + b"y" * 1_000_000),
        "10,000 headers": answers(b"{}", *(b"X-%d: 1" % n for n in range(10_000))),
        "tiny chunks": sends(CHUNKED + b"1\r\n \r\n" * 100_000 + b"0\r\n\r\n"),
    }


MAY_GROW_MB = 100.0


async def test_a_huge_reply_is_cut_off_in_bounded_memory(file: SqlitePlace) -> None:
    behaviours = huge()
    async with behaving(behaviours) as upstream:
        with file.start("gateway", config_for(QUICK, openai=upstream.url)) as gateway:
            async with clients_of(gateway.url) as clients:
                await clients.submit_many(5, "openai/fine")
                await clients.settle()
                before_mb = gateway.rss_mb()
                for name in behaviours:
                    gateway.forget_peak_rss()
                    state, why = await fault_of(clients, file, f"openai/{name}")
                    assert (state, why) == ("failed", "upstream_invalid"), name
                    assert gateway.peak_rss_mb() - before_mb <= MAY_GROW_MB, name
                await clients.submit_many(5, "openai/fine")
                await clients.settle()
                assert clients.ends() == {"completed": 10, "failed": len(behaviours)}
                clients.judge([upstream], await file.stored())
