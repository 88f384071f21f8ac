"""Input that is wrong in every way: refused in the contract's words, and no job is ever lost."""

import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.program import Gateway, client, submit, wait_done
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until
from tests.support.wire import (
    CHAT,
    EMBEDDINGS,
    NO_MODEL,
    RESPONSES,
    ROUTES,
    TEXT,
    Route,
    assert_refused,
    refusal,
)

MIB: Final = 1024 * 1024
CHAT_PATH: Final = "/v1/async/chat/completions"
GOOD: Final = json.dumps(CHAT.body()).encode()
DEEP: Final = 100_000

NO_JSON: Final[dict[str, bytes]] = {
    "nothing": b"",
    "blanks": b" \r\n\t",
    "null": b"null",
    "array": b"[" + GOOD + b"]",
    "string": b'"model"',
    "number": b"1",
    "unfinished": GOOD[:-1],
    "two values": GOOD + GOOD,
    "trailing text": GOOD + b"x",
    "trailing NUL": GOOD + b"\0",
    "leading byte order mark": b"\xef\xbb\xbf" + GOOD,
    "single quotes": GOOD.replace(b'"', b"'"),
    "trailing comma": GOOD[:-1] + b",}",
    "comment": b"/* */" + GOOD,
    "NaN": GOOD[:-1] + b',"x":NaN}',
    "Infinity": GOOD[:-1] + b',"x":-Infinity}',
    "leading zero": GOOD[:-1] + b',"x":01}',
    "bare fraction": GOOD[:-1] + b',"x":.5}',
    "hexadecimal": GOOD[:-1] + b',"x":0x1F}',
    "control character": GOOD[:-1] + b',"x":"a\nb"}',
    "NUL in a string": GOOD[:-1] + b',"x":"a\0b"}',
    "unknown escape": GOOD[:-1] + b',"x":"\\x41"}',
    "short escape": GOOD[:-1] + b',"x":"\\u12"}',
    "lone surrogate": GOOD[:-1] + b',"x":"\\ud800"}',
    "reversed surrogates": GOOD[:-1] + b',"x":"\\ude00\\ud83d"}',
    "latin-1": GOOD[:-1] + b',"x":"\xe9"}',
    "overlong UTF-8": GOOD[:-1] + b',"x":"\xc0\xaf"}',
    "encoded surrogate": GOOD[:-1] + b',"x":"\xed\xa0\x80"}',
    "beyond Unicode": GOOD[:-1] + b',"x":"\xf5\x80\x80\x80"}',
    "cut UTF-8": GOOD[:-1] + b',"x":"\xf0\x9f\x98"}',
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "deep arrays": GOOD[:-1] + b',"x":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": GOOD[:-1] + b',"x":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "deep and open": b'{"messages":' + b"[" * DEEP,
    "deep closing": b"]" * DEEP,
    "one level too deep": GOOD[:-1] + b',"x":' + b"[" * 64 + b"]" * 64 + b"}",
    "a million and one members": b"{" + b'"":0,' * 1_000_001 + GOOD[1:],
    "a million and one arrays": GOOD[:-1] + b',"x":[' + b"[]," * 1_000_001 + b"0]}",
    "binary": bytes(range(256)) * 16,
    "a form": b"model=mock%2Fhello&messages=hi",
    "XML": b"<?xml version='1.0'?><model>mock/hello</model>",
}

WRONG_TYPES: Final = (
    (
        CHAT,
        """
        {"model": 1} {"model": true} {"model": []} {"model": {}} {"model": ["mock/hello"]}
        {"fallbacks": "mock/echo"} {"fallbacks": {}} {"fallbacks": [1]} {"fallbacks": [[]]}
        {"stream": "true"} {"stream": 1} {"stream": []}
        {"messages": "hi"} {"messages": {}} {"messages": 1} {"messages": [1]} {"messages": ["hi"]}
        {"messages": [[]]} {"messages": [null]} {"messages": [{}]} {"messages": [{"role": 1}]}
        {"messages": [{"role": null}]} {"messages": [{"role": []}]} {"messages": [{"content": ""}]}
        {"messages": [{"role": "user", "content": 1}]}
        {"messages": [{"role": "user", "content": {}}]}
        {"temperature": "hot"} {"temperature": []} {"temperature": true}
        {"max_tokens": "9"} {"max_tokens": 1.5} {"max_tokens": []} {"max_tokens": true}
        {"stop": 1} {"stop": {}} {"stop": [1]} {"stop": [null]}
        {"tools": "x"} {"tools": {}} {"tools": [1]} {"tool_choice": 1}
        {"metadata": "x"} {"metadata": []} {"user": 1} {"logprobs": 1} {"reasoning": "high"}
        """,
    ),
    (
        TEXT,
        """
        {"model": 1} {"fallbacks": "mock/echo"} {"stream": "true"}
        {"prompt": 1} {"prompt": {}} {"prompt": [1]} {"prompt": true} {"prompt": [[]]}
        {"logprobs": true} {"logprobs": "1"} {"echo": 1} {"suffix": 1}
        """,
    ),
    (
        RESPONSES,
        """
        {"model": 1} {"fallbacks": "mock/echo"} {"stream": "true"}
        {"input": 1} {"input": {}} {"input": ["hi"]} {"input": true} {"input": [null]}
        {"include": "x"} {"include": [1]} {"text": "x"} {"background": "yes"}
        """,
    ),
    (
        EMBEDDINGS,
        """
        {"model": 1} {"fallbacks": "mock/echo"}
        {"input": 1} {"input": {}} {"input": true} {"input": [null]} {"input": [1, "x"]}
        {"input": [[["x"]]]} {"input": [1.5]} {"input": [[1], 2]}
        {"dimensions": "16"} {"dimensions": 1.5} {"encoding_format": 1}
        """,
    ),
)
"""Members that spoil an otherwise good body of that kind, one at a time."""

FRAMING: Final[dict[str, tuple[bytes, int]]] = {
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
    "length and chunks": (
        b"POST /v1/async/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (
        b"POST /v1/async/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Content-Length: 6\r\n\r\nhello",
        400,
    ),
    "length that is no number": (
        b"POST /v1/async/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        400,
    ),
    "chunk that is no number": (
        b"POST /v1/async/embeddings HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        400,
    ),
    "gzip framing": (
        b"POST /v1/async/embeddings HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "encoded slash": (b"GET /v1%2fasync HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "path that is no UTF-8": (b"GET /%ff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "NUL in a header": (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", 400),
    "too many headers": (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100 + b"\r\n",
        431,
    ),
    "too large a header": (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 16384 + b"\r\n\r\n",
        431,
    ),
    "too long a target": (b"GET /" + b"x" * 8192 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "another protocol": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64, 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "not even a method": (b"hello\r\n\r\n", 400),
}

SPOILT: Final = [
    (route, member)
    for route, members in WRONG_TYPES
    for member in re.split(r"(?<=})\s+(?={)", members.strip())
]

every_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.request_type)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose bodies may have a megabyte."""
    config = {"client": {"max_request_body_size_mb": 1}}
    with Gateway(tmp_path_factory.mktemp("small") / "data", config=config) as running:
        yield running
        assert running.process.poll() is None, running.output
        assert "Traceback" not in running.output


def post(
    http: httpx.Client,
    body: bytes,
    route: Route = CHAT,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Submit exactly these bytes."""
    return http.post(f"/v1/async/{route.path}", content=body, headers=headers)


def assert_no_request(response: httpx.Response, status: int = 400) -> str:
    """A plain error in the wire's shape; its message."""
    message: str = response.json()["error"]["message"]
    assert_refused(response, status, message)
    return message


def connect(gateway: Gateway) -> socket.socket:
    """A connection to a gateway."""
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=30)


def received(connection: socket.socket) -> bytes:
    """Everything until the gateway closes."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


def answers(data: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each response in a stream of them."""
    found: list[tuple[int, bytes]] = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        size = int(length[1]) if length else 0
        found.append((int(head[9:12]), data[:size]))
        data = data[size:]
    return found


def job_counts(http: httpx.Client) -> dict[str, int]:
    """How many jobs there are by state, from /metrics."""
    counts: dict[str, int] = {}
    pattern = r'^hermod_jobs\{lane="[^"]*",state="(\w+)"\} (\S+)$'
    for state, number in re.findall(pattern, http.get("/metrics").text, re.MULTILINE):
        counts[state] = counts.get(state, 0) + int(float(number))
    return {state: number for state, number in counts.items() if number}


# Bodies that are no request


@every_route
@pytest.mark.parametrize("name", NO_JSON)
def test_what_is_no_json_is_refused(http: httpx.Client, route: Route, name: str) -> None:
    message = assert_no_request(post(http, NO_JSON[name], route))
    assert message.startswith("invalid request format: ")


def spoilt(route: Route, member: str) -> bytes:
    """A good body of that kind but for this member."""
    return json.dumps(route.body() | json.loads(member)).encode()


@pytest.mark.parametrize(
    ("route", "member"), SPOILT, ids=lambda value: getattr(value, "path", value)
)
def test_a_field_of_the_wrong_type_is_refused(
    http: httpx.Client, route: Route, member: str
) -> None:
    message = assert_no_request(post(http, spoilt(route, member), route))
    assert message.startswith("invalid request format: ")


@pytest.mark.parametrize(
    "model",
    ["mock/\0", "mo\0ck/hello", "mock/" + "x" * 2049, "Mock/hello", " mock/hello", "mock\\hello"],
)
def test_a_model_that_cannot_be_is_refused(http: httpx.Client, model: str) -> None:
    assert_refused(post(http, json.dumps(CHAT.body(model)).encode()), 400, NO_MODEL)


def test_the_reasoning_twins_exclude_each_other(http: httpx.Client) -> None:
    for name, value in (("effort", "low"), ("max_tokens", 9)):
        body = CHAT.body() | {f"reasoning_{name}": value, "reasoning": {name: value}}
        assert_refused(
            post(http, json.dumps(body).encode()),
            400,
            f"invalid request format: both reasoning_{name} and reasoning.{name} "
            "cannot be present at the same time",
        )


@pytest.mark.parametrize("encoding", ["gzip, gzip", "x", "compress"])
def test_an_encoding_we_do_not_speak_is_refused_as_such(http: httpx.Client, encoding: str) -> None:
    message = assert_no_request(post(http, GOOD, headers={"content-encoding": encoding}), 415)
    assert message.startswith("content-encoding ")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP"])
def test_a_body_that_is_not_compressed_as_it_says_is_refused(
    http: httpx.Client, encoding: str
) -> None:
    message = assert_no_request(post(http, GOOD, headers={"content-encoding": encoding}), 400)
    assert encoding.lower() in message


def test_an_unknown_policy_for_unknown_outcomes_is_refused(http: httpx.Client) -> None:
    response = post(http, GOOD, headers={"x-hermod-on-unknown": "perhaps"})
    assert_refused(response, 400, "x-hermod-on-unknown must be retry or fail")


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_answered_400(http: httpx.Client, body: bytes) -> None:
    assert_no_request(post(http, body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data(), route=st.sampled_from(ROUTES))
def test_any_json_is_accepted_or_answered_400(
    http: httpx.Client, data: st.DataObject, route: Route
) -> None:
    names = st.sampled_from([route.field, "stop", "user", "tools", "stream", "seed", "fallbacks"])
    fields = data.draw(st.dictionaries(names | st.text(max_size=9), JSON, max_size=4))
    body = route.body(**fields) if "model" not in fields else fields
    response = post(http, json.dumps(body).encode("utf-8", "replace"), route)
    if response.status_code == 202:
        wait_done(http, response.json()["id"], route.path)
    else:
        assert_no_request(response)


# Bodies that are strange, and requests all the same


def test_what_lies_just_within_the_bounds_is_accepted(
    http: httpx.Client, upstream: Upstream
) -> None:
    fields: dict[str, str] = {
        "deepest": '"x":' + "[" * 63 + "]" * 63,
        "numbers": '"seed":123456789012345678901234567890,"temperature":1e-400,"x":1e99999',
        "nul": '"user":"a\\u0000b","x\\u0000":"\\u0000"',
        "members": '"x":{' + ",".join(f'"{n}":{n}' for n in range(100_000)) + "}",
        "long-name": f'"{"n" * 100_000}":1',
        "long-blank": " " * 1_000_000 + '"x":1',
        "brackets": '"x":"' + "[{" * 100_000 + '"',
    }
    for name, field in fields.items():
        model = f"within-{name}"
        body = json.dumps(CHAT.body(f"here/{model}"))[:-1] + "," + field + "}"
        response = post(http, body.encode())
        assert response.status_code == 202, (name, response.text)
        job = wait_done(http, response.json()["id"])
        assert job["status"] == "completed", (name, job)
        upstream.the_call(model)


def test_arrays_of_a_hundred_thousand_elements_are_accepted(
    http: httpx.Client, upstream: Upstream
) -> None:
    number = 100_000
    bodies = (
        (CHAT, {"model": "here/many", "messages": [{"role": "user", "content": "x"}] * number}),
        (TEXT, {"model": "here/many", "prompt": ["x"] * number}),
        (RESPONSES, {"model": "here/many", "input": [{"role": "user", "content": "x"}] * number}),
        (EMBEDDINGS, {"model": "here/many", "input": ["x"] * number}),
        (EMBEDDINGS, {"model": "here/many", "input": [list(range(9))] * number}),
        (EMBEDDINGS, {"model": "here/many", "input": list(range(number))}),
    )
    for route, body in bodies:
        job_id = submit(http, body, route.path)
        assert wait_done(http, job_id, route.path)["status"] == "completed"
    sent = [json.loads(call.body) for call in upstream.calls("many")]
    assert [body | {"model": "many"} for _, body in bodies] == sent


# Framing


@pytest.mark.parametrize("name", FRAMING)
def test_a_malformed_message_is_answered_and_the_connection_closed(
    gateway: Gateway, name: str
) -> None:
    request, status = FRAMING[name]
    with closing(connect(gateway)) as connection:
        connection.sendall(request)
        ((answered, body),) = answers(received(connection))
    assert answered == status
    assert body == refusal(status, json.loads(body)["error"]["message"])


def test_a_chunked_body_in_single_bytes_is_accepted(gateway: Gateway, http: httpx.Client) -> None:
    chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in GOOD)
    head = b"Host: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    with closing(connect(gateway)) as connection:
        request = b"POST %b HTTP/1.1\r\n" % CHAT_PATH.encode() + head + chunks
        connection.sendall(request + b"0\r\nx-trailer: y\r\n\r\n")
        ((status, body),) = answers(received(connection))
    assert status == 202
    assert wait_done(http, json.loads(body)["id"])["status"] == "completed"


def request_of(body: bytes, *more: bytes) -> bytes:
    """A POST with this body."""
    lines = [
        b"POST %b HTTP/1.1" % CHAT_PATH.encode(),
        b"Host: localhost",
        b"Content-Length: %d" % len(body),
        *more,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_pipelined_requests_are_answered_in_their_order(
    gateway: Gateway, http: httpx.Client
) -> None:
    bodies = [GOOD, b"{", GOOD, b"", GOOD]
    with closing(connect(gateway)) as connection:
        last = request_of(GOOD, b"Connection: close")
        connection.sendall(b"".join(map(request_of, bodies)) + last)
        found = answers(received(connection))
    assert [status for status, _ in found] == [202, 400, 202, 400, 202, 202]
    for status, body in found:
        if status == 202:
            assert wait_done(http, json.loads(body)["id"])["status"] == "completed"


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_job(small: Gateway) -> None:
    with client(small) as http:
        before = job_counts(http)
        for rest in (1, 10, len(GOOD)):
            with closing(connect(small)) as connection:
                connection.sendall(request_of(GOOD)[:-rest])
        assert wait_done(http, submit(http, CHAT.body()))["status"] == "completed"
        after = job_counts(http)
    assert after == {**before, "completed": before.get("completed", 0) + 1}


# Bodies that are too large


def zeros(megabytes: int) -> Iterator[bytes]:
    """That many megabytes, in pieces."""
    yield from [bytes(MIB)] * megabytes


TOO_LARGE: Final = (
    f"request body is larger than {100 * MIB} bytes (client.max_request_body_size_mb)"
)
TOO_LARGE_SMALL: Final = TOO_LARGE.replace(str(100 * MIB), str(MIB))


def test_200_mb_that_are_announced_are_refused_and_never_held(
    gateway: Gateway, http: httpx.Client
) -> None:
    gateway.forget_peak_rss()
    before_mb = gateway.rss_mb()
    headers = {"content-length": str(200 * MIB)}
    response = http.post(CHAT_PATH, content=zeros(200), headers=headers)
    assert_refused(response, 413, TOO_LARGE)
    assert gateway.peak_rss_mb() < before_mb + 20


def test_200_mb_that_are_not_announced_are_held_up_to_the_cap_at_most(
    gateway: Gateway, http: httpx.Client
) -> None:
    gateway.forget_peak_rss()
    before_mb = gateway.rss_mb()
    for _ in range(3):
        assert_refused(http.post(CHAT_PATH, content=zeros(200)), 413, TOO_LARGE)
    assert gateway.peak_rss_mb() < before_mb + 130


def test_a_small_cap_bounds_the_memory_for_any_body(small: Gateway) -> None:
    with client(small) as http:
        assert_refused(http.post(CHAT_PATH, content=zeros(2)), 413, TOO_LARGE_SMALL)
        small.forget_peak_rss()
        before_mb = small.rss_mb()
        assert_refused(http.post(CHAT_PATH, content=zeros(200)), 413, TOO_LARGE_SMALL)
    assert small.peak_rss_mb() < before_mb + 20


def test_a_body_of_exactly_the_cap_is_accepted_and_one_byte_more_is_not(small: Gateway) -> None:
    with client(small) as http:
        exact = GOOD.ljust(MIB)
        assert wait_done(http, post(http, exact).json()["id"])["status"] == "completed"
        assert_refused(post(http, exact + b" "), 413, TOO_LARGE_SMALL)

        def pieces() -> Iterator[bytes]:
            yield from (exact, b" ")

        assert_refused(http.post(CHAT_PATH, content=pieces()), 413, TOO_LARGE_SMALL)


def test_who_waits_for_100_continue_is_refused_before_the_body(gateway: Gateway) -> None:
    head = request_of(b"", b"Expect: 100-continue").replace(b": 0", b": %d" % (200 * MIB))
    with closing(connect(gateway)) as connection:
        connection.sendall(head)
        connection.shutdown(socket.SHUT_WR)
        assert answers(received(connection)) == [(413, refusal(413, TOO_LARGE))]


def test_who_waits_for_100_continue_is_told_to_go_on_with_a_good_request(
    gateway: Gateway, http: httpx.Client
) -> None:
    whole = request_of(GOOD, b"Expect: 100-continue", b"Connection: close")
    with closing(connect(gateway)) as connection:
        connection.sendall(whole.removesuffix(GOOD))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(GOOD)
        ((status, body),) = answers(received(connection))
    assert status == 202
    assert wait_done(http, json.loads(body)["id"])["status"] == "completed"


def test_who_sends_200_mb_without_asking_still_reads_the_413(gateway: Gateway) -> None:
    gateway.forget_peak_rss()
    before_mb = gateway.rss_mb()
    head = request_of(b"").replace(b": 0", b": %d" % (200 * MIB))
    with closing(connect(gateway)) as connection:
        connection.sendall(head)
        for piece in zeros(200):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        assert answers(received(connection)) == [(413, refusal(413, TOO_LARGE))]
    assert gateway.peak_rss_mb() < before_mb + 20


# All of it, and the jobs around it


def test_no_bad_input_loses_or_makes_a_job(tmp_path: Path) -> None:
    with Gateway(tmp_path / "data") as gateway, client(gateway) as http:
        slow = CHAT.body("mock/slow?seconds=1")
        accepted = [submit(http, slow) for _ in range(10)]
        for name, body in NO_JSON.items():
            assert post(http, body).status_code == 400, name
        for route, member in SPOILT:
            assert post(http, spoilt(route, member), route).status_code == 400, member
        for name, (request, status) in FRAMING.items():
            with closing(connect(gateway)) as connection:
                connection.sendall(request)
                assert [each for each, _ in answers(received(connection))] == [status], name
        assert http.post(CHAT_PATH, content=zeros(101)).status_code == 413
        accepted += [submit(http, CHAT.body()) for _ in range(10)]
        for job_id in accepted:
            assert wait_done(http, job_id)["status"] == "completed"
        wait_until(lambda: job_counts(http) == {"completed": len(accepted)})
        assert gateway.process.poll() is None
        assert "Traceback" not in gateway.output
        assert " ERROR " not in gateway.output
