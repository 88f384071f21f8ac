"""Broken requests of every sort over raw connections: none is answered 5xx, none costs memory."""

import json
import random
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

import h11
import pytest

from tests.support.entrances import entrances
from tests.support.program import Gateway, chat, client, submit, wait_done

REQUESTS, REQUESTS_LONG = 1_000, 40_000
WARM_UP: Final = 400
GROWTH_MB: Final = 40.0
"""What caches and pages of thousands of jobs may take. A leak of the smallest bodies is more."""
ENTRANCES: Final = entrances()
TOKENS: Final = (
    *(b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x1b[31m", b"\x7f", b"\xff", b"\xc0\xaf"),
    *("\u2028".encode(), "\ufeff".encode(), "\U0001f434".encode(), b"\xed\xa0\x80"),
    *(bytes([each]) for each in b"\"\\'{}[],:;=?#*%"),
    *(b"null", b"true", b"-1", b"0", b"1.5", b"1e999999", b"9" * 400, b"NaN", b"x" * 5_000),
    *(b'{"a":' * 70, b"[" * 200, b'"\\ud800"', b'"\\u0000"'),
    *(b"%00", b"%2f", b"%2e%2e/", b"..", b"//", b"--", b"--\r\n"),
    *(b"HTTP/1.0", b"HTTP/2.0", b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PRI"),
    *(
        name + b"\r\n"
        for name in (
            b"Transfer-Encoding: chunked",
            b"Content-Length: 0",
            b"Content-Encoding: gzip",
            b"Content-Encoding: zstd",
            b"Content-Type: text/plain",
            b"Content-Type: multipart/form-data",
            b"Expect: 100-continue",
            b"Upgrade: h2c",
            b"X-Bf-Async: 1",
            b"X-Bf-Async-Id: 1",
            b"X-Bf-Async-Webhook: a",
            b"X-Bf-Eh-Host: c",
            b"X-Hermod-On-Unknown: b",
        )
    ),
    *(b'"stream":true,', b'"stream_format":"sse",', b'"background":true,', b"stream\r\n\r\ntrue"),
    *(b'"model":"mock/echo",', b'"model":"mock/tool",'),
)
BY_CONTRACT: Final = re.compile(
    rb"failed to get config for provider: not found|no supported key found"
    rb"|empty response received from provider|mock/(?:error|flaky|timeout)"
)
"""What an integration's door answers with 500, as Bifrost's do (wire-contract 4.2, 4.3)."""


class Answer(NamedTuple):
    status: int
    body: bytes


def mutated(draw: random.Random, request: bytes) -> bytes:
    """The request with one thing wrong with it."""
    at = draw.randrange(len(request) + 1)
    end = min(len(request), at + draw.choice((1, 1, 2, 5, 20, 200)))
    match draw.randrange(7):
        case 0:
            return request[:at] + draw.choice(TOKENS) + request[at:]
        case 1:
            return request[:at] + draw.choice(TOKENS) + request[end:]
        case 2:
            return request[:at] + request[end:]
        case 3:
            return request[:end] + request[at:]
        case 4:
            return request[:at] + bytes([draw.randrange(256)]) + request[at + 1 :]
        case 5:
            other = draw.choice(ENTRANCES).raw()
            return request[:at] + other[draw.randrange(len(other)) :]
        case _:
            return request[:at]


def broken(draw: random.Random) -> tuple[bytes, float]:
    """A request with some things wrong with it, and how many seconds to wait for an answer.

    Mostly the wrong is in the body, which is whole all the same, so that an answer must come. Where
    it can be anywhere the gateway may wait for the rest.
    """
    entrance = draw.choice(ENTRANCES)
    times = draw.choice((1, 1, 1, 2, 4))
    if draw.random() < 0.75:
        body = entrance.body
        for _ in range(times):
            body = mutated(draw, body)
        return entrance.raw(body, b"Connection: close"), 30.0
    request = entrance.raw(None, b"Connection: close")
    for _ in range(times):
        request = mutated(draw, request)
    return request, 0.05


def answers(port: int, request: bytes, patience_s: float) -> list[Answer]:
    """What comes until the gateway closes, read by another's parser; fails for what is no HTTP."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as connection:
        # It may have closed before it has read everything.
        with suppress(ConnectionError):
            connection.sendall(request)
        with suppress(ConnectionError):
            try:
                while piece := connection.recv(65536):
                    received += piece
            except TimeoutError:
                assert patience_s < 1, request
    return list(parsed(received))


def parsed(received: bytes) -> list[Answer]:
    found: list[Answer] = []
    while received:
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 16)
        parser.send(h11.Request(method="POST", target="/", headers=[("host", "a")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(received)
        status, body = 0, b""
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA or isinstance(event, h11.EndOfMessage):
                break
        if status:
            found.append(Answer(status, body))
        received = parser.trailing_data[0]
        if event is h11.NEED_DATA:
            break  # cut off in the middle, or nothing after a 100
    return found


@pytest.mark.time_limit(3600)
def test_no_broken_request_is_answered_5xx_or_costs_memory(
    gateway: Gateway, is_long: bool, figure: Callable[[str], None]
) -> None:
    draw = random.Random(7)
    statuses: dict[int, int] = {}
    before_mb = 0.0
    with client(gateway) as http:
        for number in range(WARM_UP + (REQUESTS_LONG if is_long else REQUESTS)):
            if number == WARM_UP:
                before_mb = gateway.rss_mb()
            request, patience_s = broken(draw)
            for answer in answers(gateway.port, request, patience_s):
                statuses[answer.status] = statuses.get(answer.status, 0) + 1
                if answer.status >= 400 and answer.body:
                    assert json.loads(answer.body)["error"]["message"]
                is_ours = answer.status >= 500 and not BY_CONTRACT.search(answer.body + request)
                assert not is_ours, (number, answer, request)
        after_mb = gateway.rss_mb()
        assert wait_done(http, submit(http, chat()))["status"] == "completed"
    figure(f"{sum(statuses.values())} answers: {sorted(statuses.items())}")
    figure(f"memory: {before_mb:.0f} MB after {WARM_UP} requests, {after_mb:.0f} MB at the end")
    assert {200, 202, 400, 404} <= statuses.keys()
    assert after_mb < before_mb + GROWTH_MB
