"""What the server refuses before any application hears of it (reliability.md 3, S6)."""

import asyncio
import logging

import pytest

from hermod.http.asgi import Receive, Scope, Send
from tests.support.raw_http import (
    PATIENCE_S,
    Client,
    Echo,
    answer,
    ask,
    connected,
    serving,
    stalled,
    talking,
    until,
)

GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\n"
HOST = b"Host: example.test\r\n"
END = b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

REFUSED = {
    "no host": GET + END,
    "no host in HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "two hosts": GET + HOST + HOST + END,
    "host with a path": GET + b"Host: a/b\r\n" + END,
    "host with user information": GET + b"Host: a@b\r\n" + END,
    "length and chunked": POST + HOST + b"Content-Length: 3\r\n" + CHUNKED + END + b"0\r\n\r\n",
    "chunked and length": POST + HOST + CHUNKED + b"Content-Length: 3\r\n" + END + b"0\r\n\r\n",
    "two equal lengths": POST + HOST + b"Content-Length: 3\r\n" * 2 + END + b"abc",
    "a list of lengths": POST + HOST + b"Content-Length: 3, 3\r\n" + END + b"abc",
    "a signed length": POST + HOST + b"Content-Length: +3\r\n" + END + b"abc",
    "an empty length": POST + HOST + b"Content-Length:\r\n" + END,
    "identity": POST + HOST + b"Transfer-Encoding: identity\r\n" + END,
    "identity, chunked": POST + HOST + b"Transfer-Encoding: identity, chunked\r\n" + END,
    "gzip, chunked": POST + HOST + b"Transfer-Encoding: gzip, chunked\r\n" + END,
    "chunked twice": POST + HOST + CHUNKED + CHUNKED + END,
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\n" + HOST + CHUNKED + END + b"0\r\n\r\n",
    "bad chunk size": POST + HOST + CHUNKED + END + b"-1\r\n",
    "chunk without CR": POST + HOST + CHUNKED + END + b"3\nabc\n0\n\n",
    **{
        f"two {name}": GET + HOST + f"{name}: a\r\n{name.lower()}: a\r\n\r\n".encode()
        for name in ("Authorization", "X-BF-VK", "X-Api-Key", "X-Goog-Api-Key", "Api-Key")
    },
    **{
        f"path {path!r}": b"GET " + path + b" HTTP/1.1\r\n" + HOST + END
        for path in (
            b"/a%2fb",
            b"/a%2Fb",
            b"/a%5cb",
            b"/a%5Cb",
            b"/a\\b",
            b"/a%00b",
            b"/a%0ab",
            b"/a%7fb",
            b"/a\0b",
            b"/a\tb",
            b"/a\x7fb",
            b"/a\xe9b",
            b"/a%ff",
            b"/a#b",
            b"a",
            b"*",
            b"ftp://example.test/",
            b"http://other.test/",
            b"http://u@example.test/",
        )
    },
    "NUL in a header": GET + HOST + b"A: b\0c\r\n" + END,
    "control byte in a header": GET + HOST + b"A: b\x01c\r\n" + END,
    "header without name": GET + HOST + b": b\r\n" + END,
    "space before the colon": GET + b"Host : example.test\r\n" + END,
    "folded header": GET + HOST + b"A: b\r\n c\r\n" + END,
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: example.test\n\n",
    "bare LF after a header": GET + b"Host: example.test\n" + END,
    "bare LF at the end": GET + HOST + b"\n",
    "bare CR": GET + b"Host: example.test\r" + END,
    "HTTP/2.0": b"GET / HTTP/2.0\r\n" + HOST + END,
    "HTTP/0.9": b"GET / HTTP/0.9\r\n" + HOST + END,
    "HTTP/1.2": b"GET / HTTP/1.2\r\n" + HOST + END,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    "TLS": bytes.fromhex("16030100050100000103"),
    "garbage": b"\xff\xfe garbage\r\n\r\n",
    "method in small letters": b"get / HTTP/1.1\r\n" + HOST + END,
    "CONNECT to a path": b"CONNECT /a HTTP/1.1\r\n" + HOST + END,
    "CONNECT to an address": b"CONNECT http://example.test/ HTTP/1.1\r\n" + HOST + END,
    "CONNECT and an offer": b"CONNECT a:80 HTTP/1.1\r\n"
    + HOST
    + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "CONNECT": b"CONNECT example.test:80 HTTP/1.1\r\n" + HOST + END,
}


@pytest.mark.parametrize("request_bytes", REFUSED.values(), ids=REFUSED)
async def test_an_ambiguous_request_is_refused_and_its_connection_closed(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    app = Echo()
    async with talking(app) as client:
        await client.send(request_bytes)
        response = await client.response()
        assert response.status == 400
        assert response.headers["connection"] == "close"
        assert response.message()
        assert await client.closed_in_silence()
    assert not [scope for scope in app.scopes if scope["method"] != "POST"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


ACCEPTED = {
    "chunked in capitals": (
        POST + HOST + b"Transfer-Encoding: Chunked \r\n" + END + b"3;x=y\r\nabc\r\n0\r\n\r\n",
        b"POST / 3",
    ),
    "absolute form": (b"GET http://EXAMPLE.test/a?b HTTP/1.1\r\n" + HOST + END, b"GET /a 0"),
    "absolute form without path": (
        b"GET http://example.test HTTP/1.1\r\n" + HOST + END,
        b"GET / 0",
    ),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n" + HOST + END, b"GET / 0"),
    "empty lines before": (END + END + GET + HOST + END, b"GET / 0"),
    "encoded space": (b"GET /a%20b HTTP/1.1\r\n" + HOST + END, b"GET /a b 0"),
    "percent that encodes nothing": (b"GET /a%zz HTTP/1.1\r\n" + HOST + END, b"GET /a%zz 0"),
    "slash encoded in the query": (b"GET /a?b=%2f%00\\ HTTP/1.1\r\n" + HOST + END, b"GET /a 0"),
    "host with a port": (GET + b"Host: [::1]:8080\r\n" + END, b"GET / 0"),
    "two different credentials": (GET + HOST + b"X-Api-Key: a\r\nApi-Key: b\r\n" + END, b"GET / 0"),
    "a harmless header twice": (GET + HOST + b"Accept: a\r\nAccept: b\r\n" + END, b"GET / 0"),
    "an offer of HTTP/2": (
        POST
        + HOST
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 3\r\n"
        + END
        + b"abc",
        b"POST / 3",
    ),
    "an offer of a websocket": (
        GET + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + END,
        b"GET / 0",
    ),
}


@pytest.mark.parametrize(("request_bytes", "said"), ACCEPTED.values(), ids=ACCEPTED)
async def test_an_unusual_but_clear_request_is_served(request_bytes: bytes, said: bytes) -> None:
    async with serving(Echo()) as server:
        response = await ask(server, request_bytes)
        assert (response.status, response.body) == (200, said)


async def test_every_refusal_survives_being_sent_byte_by_byte() -> None:
    async with talking(Echo()) as client:
        for byte in GET + HOST + HOST:
            await client.send(bytes([byte]))
        await client.send(END)
        assert (await client.response()).message() == "the host header is present more than once"


async def test_a_trailer_does_not_join_the_headers() -> None:
    app = Echo()
    trailer = b"1\r\nx\r\n0\r\nHost: evil.test\r\nAuthorization: Bearer stolen\r\n\r\n"
    async with serving(app) as server:
        response = await ask(server, POST + HOST + CHUNKED + END + trailer)
    assert response.status == 200
    assert [name for name, _ in app.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize(("count", "status"), [(99, 200), (100, 200), (101, 431)])
async def test_the_number_of_headers_is_limited(count: int, status: int) -> None:
    async with serving(Echo(), header_count=100) as server:
        many = b"".join(b"X-%d: y\r\n" % n for n in range(count - 1))
        assert (await ask(server, GET + HOST + many + END)).status == status


@pytest.mark.parametrize("repeated", [b"A: b\r\n", b"Cookie: c\r\n"])
async def test_repeated_headers_count_each_time(repeated: bytes) -> None:
    async with serving(Echo(), header_count=5) as server:
        response = await ask(server, GET + HOST + repeated * 5 + END)
        assert (response.status, response.message()) == (431, "more than 5 request headers")


@pytest.mark.parametrize(("size", "status"), [(999, 200), (1000, 200), (1001, 431)])
@pytest.mark.parametrize("pieces", [1, 3])
async def test_the_size_of_the_headers_is_limited(size: int, status: int, pieces: int) -> None:
    head = GET + HOST + b"A: " + b"a" * (size - len(HOST) - 5) + END + END
    async with talking(Echo(), header_bytes=1000) as client:
        step = -(-len(head) // pieces)
        for start in range(0, len(head), step):
            await client.send(head[start : start + step])
        assert (await client.response()).status == status


@pytest.mark.parametrize(("size", "status"), [(99, 200), (100, 200), (101, 414)])
async def test_the_length_of_the_target_is_limited(size: int, status: int) -> None:
    async with serving(Echo(), url_bytes=100) as server:
        target = b"/" + b"a" * (size - 1)
        response = await ask(server, b"GET " + target + b" HTTP/1.1\r\n" + HOST + END)
        assert response.status == status


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (GET, b"X: y\r\n"),
        (GET + b"X: ", b"y"),
        (GET, b"Y"),
        (POST + HOST + CHUNKED + END + b"0\r\n", b"X: y\r\n"),
        (POST + HOST + CHUNKED + END + b"0\r\nX: ", b"y"),
    ],
    ids=["headers", "value", "name", "trailers", "trailer"],
)
async def test_a_head_without_end_is_refused_while_it_arrives(start: bytes, endless: bytes) -> None:
    async with talking(Echo(), header_bytes=1000, url_bytes=100) as client:
        await client.send(start)
        answered = asyncio.ensure_future(client.response())
        while not answered.done():
            await client.send(endless * 50)
            await asyncio.sleep(0)
        assert answered.result().status == 431


async def test_a_target_without_end_is_refused_while_it_arrives() -> None:
    async with talking(Echo(), url_bytes=100) as client:
        await client.send(b"GET /" + b"a" * 100)
        assert (await client.response()).status == 414


async def test_a_connection_that_says_nothing_is_closed_in_silence() -> None:
    async with talking(Echo(), header_timeout_s=0.3) as client:
        assert await client.closed_in_silence()


@pytest.mark.parametrize("start", [b"G", GET, GET + HOST, GET + HOST + b"\r"])
async def test_half_a_head_is_answered_408(start: bytes) -> None:
    async with talking(Echo(), header_timeout_s=0.3) as client:
        await client.send(start)
        response = await client.response()
        assert response.status == 408
        assert response.message() == "the request headers arrived too slowly"
        assert await client.closed_in_silence()


async def drip(client: Client, data: bytes = b"x") -> None:
    """A byte now and then, for ever."""
    while True:
        client.writer.write(data)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "start", [b"GET /", GET + b"X: ", POST + HOST + b"Content-Length: 9999\r\n\r\n"]
)
async def test_one_byte_at_a_time_does_not_prolong_a_deadline(start: bytes) -> None:
    limits = {"header_timeout_s": 0.3, "body_grace_s": 0.3, "body_min_rate_bytes_s": 10_000}
    async with talking(Echo(), **limits) as client:
        await client.send(start)
        dripping = asyncio.ensure_future(drip(client))
        assert (await client.response()).status == 408
        dripping.cancel()


@pytest.mark.parametrize("framing", [b"Content-Length: 9\r\n", CHUNKED])
async def test_half_a_body_is_answered_408(framing: bytes) -> None:
    async with talking(Echo(), body_grace_s=0.3) as client:
        await client.send(POST + HOST + framing + END + b"3\r\nab")
        response = await client.response()
        assert response.status == 408
        assert response.message() == "the request body arrived too slowly"
        assert await client.closed_in_silence()


async def test_a_body_that_keeps_the_minimum_rate_may_take_longer() -> None:
    limits = {"body_grace_s": 1.0, "body_min_rate_bytes_s": 100}
    async with (
        serving(Echo(), **limits) as server,
        connected(server) as steady,
        connected(server) as slow,
    ):
        await steady.send(POST + HOST + b"Content-Length: 9000\r\n\r\n" + b"a" * 8999)
        await slow.send(POST + HOST + b"Content-Length: 9000\r\n\r\n" + b"a")
        assert (await slow.response()).status == 408
        await steady.send(b"a")
        assert (await steady.response()).body == b"POST / 9000"


async def test_a_body_that_starts_fast_and_stops_is_answered_408() -> None:
    limits = {"body_grace_s": 0.2, "body_min_rate_bytes_s": 1}
    async with talking(Echo(), **limits) as client:
        await client.send(POST + HOST + b"Content-Length: 9000\r\n\r\n" + b"a" * 8999)
        assert (await client.response()).status == 408


async def test_a_half_body_is_cut_off_without_a_word_when_the_answer_has_begun() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with talking(app, body_grace_s=0.3) as client:
        await client.send(POST + HOST + b"Content-Length: 9\r\n\r\nab")
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert body in {b"1\r\na\r\n", b""}


async def test_a_request_being_handled_outlives_every_deadline_of_its_client() -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            arrived.set()
            await release.wait()
        await answer(send)

    timeouts = ("header_timeout_s", "body_grace_s", "keep_alive_idle_s", "write_stall_s")
    async with (
        serving(app, **dict.fromkeys(timeouts, 0.2)) as server,
        connected(server) as patient,
        connected(server) as idle,
    ):
        await patient.send(b"GET /wait HTTP/1.1\r\n" + HOST + END)
        await arrived.wait()
        await idle.send(GET + HOST + END)
        await idle.response()
        assert await idle.closed_in_silence()
        release.set()
        assert (await patient.response()).status == 200


async def test_an_idle_connection_is_closed_in_silence() -> None:
    async with talking(Echo(), keep_alive_idle_s=0.3) as client:
        await client.send(GET + HOST + END)
        assert (await client.response()).status == 200
        assert await client.closed_in_silence()


async def test_a_reader_that_takes_nothing_is_cut_off_and_the_application_told() -> None:
    told = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            message = {"type": "http.response.body", "body": b"a" * 65536, "more_body": True}
            await send(message)
        assert (await receive())["type"] == "http.disconnect"
        told.set()

    async with serving(app, write_stall_s=0.3) as server, stalled(server):
        await asyncio.wait_for(told.wait(), PATIENCE_S)


async def test_a_reader_that_takes_nothing_of_a_finished_response_is_cut_off() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"a" * (32 << 20))

    async with serving(app, write_stall_s=0.3) as server, stalled(server):
        await until(lambda: server.connections == 1)
        await until(lambda: server.connections == 0)
