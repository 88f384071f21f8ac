"""The server: responses, pipelining, bodies, the limit of connections, start and stop."""

import asyncio
import logging
import resource
import socket

import pytest

from hermod.clock import SystemClock
from hermod.domain.errors import Refused
from hermod.http.asgi import App, Message, Receive, Scope, Send
from hermod.http.body import ByteBudget, ClientGone, read_body
from hermod.http.guard import Limits
from hermod.http.server import HttpServer
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

HOST = b"Host: example.test\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
END = b"\r\n"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n".encode() + HOST + END


def saying(*messages: Message) -> App:
    """An application that sends these messages whatever it is asked."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def started(status: int = 200, **headers: str) -> Message:
    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


# Responses


async def test_a_whole_body_gets_its_length_and_the_connection_stays_open() -> None:
    async with talking(saying(started(201), piece(b"abc"))) as client:
        for _ in range(2):
            await client.send(GET + END)
            response = await client.response()
            assert (response.status, response.body) == (201, b"abc")
            assert response.headers["content-length"] == "3"
            assert "connection" not in response.headers
            assert "server" not in response.headers


async def test_a_body_in_pieces_is_chunked() -> None:
    async with talking(saying(started(), piece(b"ab", more=True), piece(b"c"))) as client:
        await client.send(GET + b"Connection: close\r\n" + END)
        response = await client.response()
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.body == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


async def test_a_body_in_pieces_for_http_1_0_ends_with_the_connection() -> None:
    async with serving(saying(started(), piece(b"ab", more=True), piece(b"c"))) as server:
        response = await ask(server, b"GET / HTTP/1.0\r\n" + HOST + END)
        assert (response.headers["connection"], response.body) == ("close", b"abc")


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)]
)
async def test_a_response_that_has_no_body_sends_none(method: str, status: int) -> None:
    async with talking(saying(started(status), piece(b"abc"))) as client:
        for _ in range(2):
            await client.send(f"{method} / HTTP/1.1\r\n".encode() + HOST + END)
            assert (await client.response(bodiless=True)).status == status


async def test_every_response_has_the_common_headers_and_a_date() -> None:
    server = HttpServer(
        Echo(), host="127.0.0.1", port=0, clock=SystemClock(), headers=[("X-Frame-Options", "DENY")]
    )
    await server.start()
    for request in (GET + END, b"GET / HTTP/1.1\r\n" + END):
        response = await ask(server, request)
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["date"].endswith("GMT")
    await server.stop()


async def test_an_application_can_end_the_connection() -> None:
    async with serving(saying(started(connection="close"), piece(b"abc"))) as server:
        assert (await ask(server, GET + END)).headers["connection"] == "close"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [started()],
        [piece(b"abc")],
        [started(x="a\r\nb: c"), piece(b"abc")],
        [started(x="a\nb"), piece(b"abc")],
        [started(x="a\0b"), piece(b"abc")],
        [started(content_length="2"), piece(b"abc")],
        [started(content_length="4"), piece(b"abc")],
    ],
)
async def test_an_application_that_answers_wrongly_becomes_a_500(
    messages: list[Message], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(saying(*messages)) as server:
        response = await ask(server, GET + END)
        assert (response.status, response.message()) == (500, "internal error")


async def test_an_application_that_fails_becomes_a_500_and_one_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    async with serving(app) as server:
        assert (await ask(server, GET + END)).status == 500
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_an_application_that_fails_in_the_middle_cuts_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(started(content_length="6"))
        await send(piece(b"abc", more=True))
        raise ZeroDivisionError

    async with talking(app) as client:
        await client.send(GET + END)
        assert (await client.rest())[-6:] in {b"\r\n\r\nabc"[-6:], b""}


async def test_a_client_that_leaves_is_noticed_and_its_handler_finishes() -> None:
    arrived, finished = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        arrived.set()
        assert (await receive())["type"] == "http.disconnect"
        await answer(send)
        finished.set()

    async with talking(app) as client:
        await client.send(GET + END)
        await arrived.wait()
        client.close()
        await asyncio.wait_for(finished.wait(), PATIENCE_S)


# Pipelining


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    release = asyncio.Event()
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        if scope["path"] == "/slow":
            await release.wait()
        await answer(send, scope["path"].encode())

    async with talking(app) as client:
        await client.send(get("/slow") + get("/b") + get("/c") + b"GET /d HTT")
        await until(lambda: bool(seen))
        assert seen == ["/slow"]
        release.set()
        await client.send(b"P/1.1\r\n" + HOST + END)
        bodies = [(await client.response()).body for _ in range(4)]
        assert bodies == [b"/slow", b"/b", b"/c", b"/d"]


async def test_bodies_of_pipelined_requests_reach_their_own_handlers() -> None:
    async with talking(Echo()) as client:
        post = b"POST /%d HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n"
        await client.send(b"".join(post % (n, n) + b"a" * n for n in range(5)))
        bodies = [(await client.response()).body for _ in range(5)]
        assert bodies == [b"POST /%d %d" % (n, n) for n in range(5)]


async def test_a_bad_request_is_refused_after_the_good_ones_before_it_are_answered() -> None:
    async with talking(Echo()) as client:
        await client.send(get("/a") + get("/b") + b"GET /c HTTP/1.1\r\n" + END + get("/d"))
        assert [(await client.response()).status for _ in range(3)] == [200, 200, 400]
        assert await client.closed_in_silence()


@pytest.mark.parametrize(("waiting", "last"), [(1, 200), (2, 200), (3, 400)])
async def test_the_number_of_pipelined_requests_is_limited(waiting: int, last: int) -> None:
    async with talking(Echo(), pipelined_requests=2) as client:
        await client.send(get("/a") * (1 + waiting))
        statuses = [(await client.response()).status for _ in range(1 + waiting)]
        assert statuses == [200] * min(waiting + 1, 3) + [400] * (last == 400)


# Bodies


async def reading(cap: int, scope: Scope, receive: Receive, send: Send) -> None:
    """What a route does: the body within a cap, or its refusal."""
    try:
        body = await read_body(scope, receive, cap, ByteBudget(1 << 30))
    except Refused as refused:
        await answer(send, refused.failure.to_json(), refused.failure.status_code or 500)
    except ClientGone:
        pass
    else:
        await answer(send, b"%d" % len(body))


def capped(cap: int) -> App:
    return lambda scope, receive, send: reading(cap, scope, receive, send)


@pytest.mark.parametrize(("size", "status"), [(9, 200), (10, 200), (11, 413)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_is_limited_however_it_is_framed(
    size: int, status: int, chunked: bool
) -> None:
    body = b"".join(b"1\r\na\r\n" for _ in range(size)) + b"0\r\n\r\n" if chunked else b"a" * size
    framing = b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: %d\r\n\r\n"
    async with serving(capped(10)) as server:
        head = POST + (framing if chunked else framing % size)
        assert (await ask(server, head + body)).status == status


async def test_a_client_that_expects_100_gets_it_before_it_sends_its_body() -> None:
    async with talking(capped(10)) as client:
        await client.send(POST + b"Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n")
        assert (await client.response()).status == 100
        await client.send(b"abc")
        assert (await client.response()).body == b"3"


async def test_a_client_that_expects_100_with_too_large_a_body_gets_413_at_once() -> None:
    async with talking(capped(10)) as client:
        await client.send(POST + b"Expect: 100-continue\r\nContent-Length: 11\r\n\r\n")
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (413, "close")
        assert await client.closed_in_silence()


async def test_a_client_that_sends_everything_before_it_reads_sees_the_413() -> None:
    size = 200 << 20
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with talking(capped(1 << 20)) as client:
        await client.send(POST + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 20):
            await client.send(b"a" * (1 << 20))
        assert (await client.response()).status == 413
        assert await client.closed_in_silence()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 30_000


async def test_a_body_nobody_reads_is_discarded_and_the_connection_closed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"no", 404)

    async with talking(app) as client:
        await client.send(POST + b"Content-Length: %d\r\n\r\n" % (4 << 20))
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (404, "close")
        await client.send(b"a" * (4 << 20))
        assert await client.closed_in_silence()


@pytest.mark.parametrize("limits", [{"linger_s": 0.2}, {"linger_s": 2.0, "linger_bytes": 1000}])
async def test_what_is_discarded_before_closing_is_bounded(limits: dict[str, float]) -> None:
    async with serving(Echo(), **limits) as server, connected(server) as client:
        await client.send(GET + HOST + END)
        assert (await client.response()).status == 400
        await client.send(b"a" * 1001)
        await until(lambda: server.connections == 0)


# Connections


async def test_connections_beyond_the_limit_are_told_to_try_again() -> None:
    async with serving(Echo(), max_connections=2) as server:
        async with connected(server) as first, connected(server) as second:
            for client in (first, second):
                await client.send(GET + END)
                assert (await client.response()).status == 200
            async with connected(server) as third:
                response = await third.response()
                assert (response.status, response.headers["retry-after"]) == (503, "1")
                assert response.message()
                assert await third.closed_in_silence()
            await until(lambda: server.connections == 2)
        await until(lambda: server.connections == 0)
        assert (await ask(server, GET + b"Connection: close\r\n" + END)).status == 200


async def test_connections_that_vanish_are_forgotten_and_nothing_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hard = (1).to_bytes(4, "little") + bytes(4)  # struct linger: close with a reset
    async with serving(Echo()) as server:
        for sent in (b"", b"GET", POST + b"Content-Length: 5\r\n\r\na", b"\xff\r\n\r\n", GET + END):
            for reset in (False, True):
                with socket.create_connection(("127.0.0.1", server.port)) as client:
                    client.sendall(sent)
                    if reset:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
        await until(lambda: server.connections == 0)
        assert (await ask(server, GET + END)).status == 200
    assert not caplog.records


# Start and stop


async def test_a_port_that_is_taken_is_named() -> None:
    async with serving(Echo()) as server:
        second = HttpServer(Echo(), host="127.0.0.1", port=server.port, clock=SystemClock())
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{server.port}: "):
            await second.start()
        await second.stop()


async def test_stop_closes_idle_connections_and_the_port() -> None:
    async with serving(Echo()) as server, connected(server) as client:
        await client.send(GET + END)
        await client.response()
        await asyncio.wait_for(server.stop(), PATIENCE_S)
        assert await client.closed_in_silence()
        with pytest.raises(ConnectionRefusedError):
            await Client.connect(server)
        assert server.sockets == ()


async def test_stop_lets_a_response_in_progress_finish_and_closes_then() -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        arrived.set()
        await release.wait()
        await answer(send, b"done")

    async with serving(app) as server, connected(server) as client:
        await client.send(get("/a") + get("/b"))
        await arrived.wait()
        stopping = asyncio.ensure_future(server.stop(grace_s=PATIENCE_S))
        await until(lambda: server.sockets == ())
        release.set()
        response = await client.response()
        assert (response.body, response.headers["connection"]) == (b"done", "close")
        assert await client.closed_in_silence()
        await asyncio.wait_for(stopping, PATIENCE_S)


async def test_stop_returns_with_every_kind_of_slow_client_connected() -> None:
    cancelled = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/big":
            await answer(send, b"a" * (32 << 20))
            return
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(app) as server, stalled(server, "/big"):
        silent, half_head, drip, half_body = [await Client.connect(server) for _ in range(4)]
        await half_head.send(GET)
        await half_body.send(POST + b"Content-Length: 9\r\n\r\na")
        dripping = asyncio.ensure_future(_drip(drip))
        await until(lambda: server.connections == 5)
        await asyncio.wait_for(server.stop(grace_s=0.2), PATIENCE_S)
        assert server.connections == 0
        assert cancelled.is_set()
        for client in (silent, half_head, drip, half_body):
            assert await client.closed_in_silence()
            client.close()
        dripping.cancel()


async def _drip(client: Client) -> None:
    for byte in GET + b"X: " + b"y" * 10_000:
        client.writer.write(bytes([byte]))
        await asyncio.sleep(0.02)


async def test_a_second_stop_without_patience_cuts_the_first_one_short() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async with serving(app) as server, connected(server) as client:
        await client.send(GET + END)
        await until(lambda: server.connections == 1)
        patient = asyncio.ensure_future(server.stop(grace_s=1000))
        await until(lambda: server.sockets == ())
        await server.stop(grace_s=0)
        await asyncio.wait_for(patient, PATIENCE_S)


async def test_a_server_that_never_started_can_be_stopped() -> None:
    server = HttpServer(Echo(), host="127.0.0.1", port=0, clock=SystemClock(), limits=Limits())
    await server.stop()
    assert server.sockets == ()
