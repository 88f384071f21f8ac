"""Each limit at n − 1, n and n + 1 on every way in (reliability.md S6): refused early, in the shape
of the door, in bounded memory.

What is the same for every path is in tests/http (server_guard, server, body, multipart).
"""

import json
import re
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import brotli
import httpx
import pytest
import zstandard

from tests.security.conftest import MIB
from tests.support.entrances import Entrance, entrances, message_of
from tests.support.program import Gateway, chat, client, submit, wait_done
from tests.support.waiting import wait_until
from tests.support.wire import TRANSCRIBING

ENTRANCES: Final = entrances()
JSON: Final = tuple(each for each in ENTRANCES if not each.is_form)
FORMS: Final = tuple(each for each in ENTRANCES if each.is_form)
ONE_OF_EACH: Final = tuple(
    each
    for each in JSON
    if each.name in {"call chat/completions", "job rerank", "anthropic", "generateContent"}
)
"""Whose bodies are read in different ways."""
CALL: Final = ONE_OF_EACH[0]
DEPTH: Final = 64
MEMBERS: Final = 1_000_000
TOO_LARGE: Final = f"request body is larger than {MIB} bytes (client.max_request_body_size_mb)"


def named(entrance: Entrance) -> str:
    return entrance.name.replace(" ", ":")


every_entrance = pytest.mark.parametrize("entrance", ENTRANCES, ids=named)
every_json = pytest.mark.parametrize("entrance", JSON, ids=named)
one_of_each = pytest.mark.parametrize("entrance", ONE_OF_EACH, ids=named)


def assert_taken(response: httpx.Response) -> None:
    """It was accepted, or an upstream was asked and refused it."""
    told = response.text
    assert response.status_code in (200, 202) or '"provider":"' in told, told[:500]
    assert response.status_code < 500, told[:500]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the usual cap of 100 MB."""
    with Gateway(tmp_path_factory.mktemp("large") / "data") as running:
        yield running
        assert running.process.poll() is None, running.output
        assert "Traceback" not in running.output


# Size


def padded(entrance: Entrance, size: int) -> bytes:
    """The same request in so many bytes."""
    missing = size - len(entrance.body)
    if not entrance.is_form:
        return entrance.body + b" " * missing
    # Into the contents of the only file, which a blank line comes before.
    head, name, rest = entrance.body.partition(b"filename=")
    mime, gap, contents = rest.partition(b"\r\n\r\n")
    return head + name + mime + gap + b"x" * missing + contents


@every_entrance
def test_a_body_may_have_the_cap_and_not_a_byte_more(
    entrance: Entrance, http: httpx.Client
) -> None:
    for size in (MIB - 1, MIB):
        assert_taken(entrance.ask(http, padded(entrance, size)))
    refused = entrance.ask(http, padded(entrance, MIB + 1))
    assert (refused.status_code, message_of(refused)) == (413, TOO_LARGE)


def bomb(encoding: str) -> bytes:
    """Two hundred megabytes of blanks, packed."""
    blanks = b" " * MIB
    if encoding == "br":
        packer = brotli.Compressor(quality=1)
        return b"".join(packer.process(blanks) for _ in range(200)) + packer.finish()
    packing: Any = {
        "gzip": lambda: zlib.compressobj(9, wbits=31),
        "deflate": lambda: zlib.compressobj(9),
        "zstd": lambda: zstandard.ZstdCompressor().compressobj(),
    }[encoding]()
    return b"".join(packing.compress(blanks) for _ in range(200)) + packing.flush()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_is_stopped_at_the_cap(encoding: str, gateway: Gateway, http: httpx.Client) -> None:
    packed = bomb(encoding)
    assert len(packed) < MIB
    gateway.forget_peak_rss()
    before_mb = gateway.rss_mb()
    for entrance in ENTRANCES:
        refused = entrance.ask(http, packed, content_encoding=encoding)
        # Blanks are no form, which is said first.
        assert refused.status_code == (400 if entrance.is_form else 413), entrance
        message_of(refused)
    assert gateway.peak_rss_mb() < before_mb + 25


def test_what_a_refused_body_needed_is_given_back_at_once(large: Gateway) -> None:
    # A few hundred bytes that ask for a window of eight megabytes.
    window = zstandard.ZstdCompressionParameters.from_level(1, window_log=23)
    packing = zstandard.ZstdCompressor(compression_params=window).compressobj()
    packed = b"".join(packing.compress(b" " * MIB) for _ in range(20)) + packing.flush()
    broken = packed[:-50]
    with client(large) as http:
        before_mb = large.rss_mb()
        for _ in range(30):
            refused = JSON[0].ask(http, broken, content_encoding="zstd")
            assert refused.status_code == 400
    assert large.rss_mb() < before_mb + 100


# JSON


@every_json
def test_json_may_be_so_deep_and_no_deeper(entrance: Entrance, http: httpx.Client) -> None:
    def nested(levels: int) -> bytes:
        inner = levels - 1  # the request itself is one
        return entrance.with_raw('"x":' + "[" * inner + "]" * inner)

    for levels in (DEPTH - 1, DEPTH):
        assert_taken(entrance.ask(http, nested(levels)))
    refused = entrance.ask(http, nested(DEPTH + 1))
    assert refused.status_code == 400
    assert message_of(refused).startswith("invalid request format: ")


@one_of_each
def test_json_may_have_a_million_members_and_no_more(entrance: Entrance, large: Gateway) -> None:
    def crowded(members: int) -> bytes:
        ours = entrance.body.count(b'":')
        return entrance.with_raw('"x":{' + ",".join(['"":0'] * (members - ours - 1)) + "}")

    with client(large) as http:
        for members in (MEMBERS - 1, MEMBERS):
            assert_taken(entrance.ask(http, crowded(members)))
        refused = entrance.ask(http, crowded(MEMBERS + 1))
    assert refused.status_code == 400
    assert message_of(refused).startswith("invalid request format: ")


NUMBERS: Final = (
    "1e999999",
    "-1e999999",
    "9" * 5000,
    "-" + "9" * 30,
    "0." + "1" * 5000,
    "1e-99999",
)
NUMERIC: Final = {
    "chat/completions": "n seed max_tokens max_completion_tokens temperature top_logprobs",
    "completions": "n best_of logprobs max_tokens seed top_p",
    "responses": "max_output_tokens max_tool_calls top_logprobs temperature",
    "embeddings": "dimensions",
    "audio/speech": "speed",
    "images/generations": "n partial_images output_compression seed num_inference_steps",
    "rerank": "top_n max_tokens_per_doc priority",
    "ocr": "image_limit image_min_size",
    "messages": "max_tokens temperature top_p top_k",
    "embedContent": "outputDimensionality",
}
NESTED: Final = {
    "chat/completions": ('"reasoning":{"max_tokens":N}', '"logit_bias":{"1":N}'),
    "embeddings": ('"input":[N]', '"input":[[N]]'),
    "ocr": ('"pages":[N]',),
    "messages": ('"thinking":{"type":"enabled","budget_tokens":N}',),
    "enerateContent": tuple(
        f'"generationConfig":{member}'
        for member in (
            '{"candidateCount":N}',
            '{"maxOutputTokens":N}',
            '{"seed":N}',
            '{"thinkingConfig":{"thinkingBudget":N}}',
            '{"responseSchema":{"type":"STRING","maxLength":N}}',
        )
    ),
}


@every_json
def test_no_number_is_too_large_to_be_answered(entrance: Entrance, http: httpx.Client) -> None:
    members = [
        f'"{name}":N'
        for end, names in NUMERIC.items()
        if entrance.path.endswith(end)
        for name in names.split()
    ]
    members += [
        each for end, known in NESTED.items() if entrance.path.endswith(end) for each in known
    ]
    for member in [*members, '"unknown":N']:
        for number in NUMBERS:
            response = entrance.ask(http, entrance.with_raw(member.replace("N", number)))
            assert response.status_code < 500, (member, number[:20], response.text[:300])
            if response.status_code >= 400:
                message_of(response)


@one_of_each
def test_an_integer_of_ten_megabytes_is_answered(entrance: Entrance, large: Gateway) -> None:
    digits = "7" * (10 * MIB)
    large.forget_peak_rss()
    before_mb = large.rss_mb()
    with client(large) as http:
        for name in ("unknown", "max_tokens", "top_n", "temperature", "seed"):
            response = entrance.ask(http, entrance.with_raw(f'"{name}":{digits}'))
            assert response.status_code < 500, (name, response.text[:300])
    assert large.peak_rss_mb() < before_mb + 150


# Forms


def form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def field(name: str, value: bytes, *headers: bytes) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'.encode()
    return b"\r\n".join([disposition, *headers, b"", value])


def audio(filename: str = "a.wav", *headers: bytes) -> bytes:
    return field(f'file"; filename="{filename}', b"RIFF", *headers)


MODEL: Final = field("model", b"mock/hello")
FORM_LIMITS: Final[dict[str, tuple[int, Callable[[int], bytes], int]]] = {
    "parts": (64, lambda n: form(MODEL, audio(), *[field("x", b"y")] * (n - 2)), 400),
    "headers of a part": (16, lambda n: form(MODEL, audio("a", *[b"X: y"] * (n - 1))), 400),
    "a header of a part": (8192, lambda n: form(MODEL, audio("a", b"X:" + b"y" * (n - 2))), 400),
    "a file name": (255, lambda n: form(MODEL, audio("n" * n)), 400),
    "a file name in Chinese": (255, lambda n: form(MODEL, audio("名" * n)), 400),
    "a name": (256, lambda n: form(MODEL, audio(), field("n" * n, b"")), 400),
}


@pytest.mark.parametrize("what", FORM_LIMITS)
@pytest.mark.parametrize(
    "path", [f"{root}/{TRANSCRIBING.path}" for root in ("/v1", "/v1/async", "/openai/v1")]
)
def test_the_limits_of_a_form_are_kept_to_the_unit(
    path: str, what: str, http: httpx.Client
) -> None:
    limit, make, status = FORM_LIMITS[what]
    headers = {"content-type": "multipart/form-data; boundary=b"}
    for size in (limit - 1, limit):
        assert_taken(http.post(path, content=make(size), headers=headers))
    refused = http.post(path, content=make(limit + 1), headers=headers)
    assert refused.status_code == status
    assert message_of(refused).startswith("failed to parse multipart form: ")


# Slow clients, and those that leave


def asking(stack: ExitStack, gateway: Gateway, request: bytes) -> socket.socket:
    """A client that has sent this and will take next to nothing of the answer."""
    reader = stack.enter_context(socket.socket())
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", gateway.port))
    reader.sendall(request)
    return reader


def test_readers_that_take_nothing_hold_what_they_asked_for_once_and_no_longer(
    large: Gateway,
) -> None:
    path = "images/generations"
    readers = 4
    with client(large) as http:
        body = {"model": f"mock/image?bytes={20 * MIB}", "prompt": "a fish"}
        job_id = submit(http, body, path)
        whole_mb = len(json.dumps(wait_done(http, job_id, path))) / MIB
        before_mb = large.rss_mb()
        large.forget_peak_rss()
        with ExitStack() as stack:
            for _ in range(readers):
                request = f"GET /v1/async/{path}/{job_id} HTTP/1.1\r\nHost: localhost\r\n\r\n"
                reader = asking(stack, large, request.encode())
                assert reader.recv(12) == b"HTTP/1.1 200"
            # Others are served as ever.
            assert wait_done(http, submit(http, chat()))["status"] == "completed"
            assert large.peak_rss_mb() < before_mb + (readers + 3) * whole_mb
        wait_until(lambda: large.rss_mb() < before_mb + 2 * whole_mb)


def test_a_stream_waits_for_its_reader(large: Gateway) -> None:
    with client(large) as http, ExitStack() as stack:
        before_mb = large.rss_mb()
        large.forget_peak_rss()
        for _ in range(8):
            body = CALL.changed(model="mock/stream?chunks=10000&pause=0", stream=True)
            reader = asking(stack, large, CALL.raw(body))
            assert reader.recv(12) == b"HTTP/1.1 200"
        assert wait_done(http, submit(http, chat()))["status"] == "completed"
        assert large.peak_rss_mb() < before_mb + 60


def test_large_answers_are_forgotten_once_they_are_sent(large: Gateway) -> None:
    speech = next(each for each in JSON if each.name == "call audio/speech")
    body = speech.changed(model=f"mock/speech?bytes={5 * MIB}")
    with client(large) as http:
        assert_taken(speech.ask(http, body))
        before_mb = large.rss_mb()
        for _ in range(20):
            assert_taken(speech.ask(http, body))
    assert large.rss_mb() < before_mb + 60


def test_who_leaves_after_a_large_request_ends_its_call(large: Gateway) -> None:
    def cancelled() -> float:
        found = re.search(r'state="cancelled"} (\S+)', http.get("/metrics").text)
        return float(found[1]) if found else 0

    with client(large) as http:
        before = cancelled()
        body = CALL.changed(model="mock/slow?seconds=60", x="y" * MIB)
        with ExitStack() as stack:
            asking(stack, large, CALL.raw(body))
            wait_until(lambda: 'state="running"} 1' in http.get("/metrics").text)
        wait_until(lambda: cancelled() == before + 1)
