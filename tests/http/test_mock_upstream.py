"""The mock upstream, over real sockets."""

import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hermod.clock import SystemClock
from hermod.mock_upstream import MockUpstream, UpstreamSettings, latency

CHAT = "/v1/chat/completions"


@asynccontextmanager
async def upstream(**settings: Any) -> AsyncGenerator[tuple[MockUpstream, aiohttp.ClientSession]]:
    """A running server without latency, and a client that knows its address."""
    server = MockUpstream(replace(UpstreamSettings(latency="0"), **settings), SystemClock())
    port = await server.start("127.0.0.1", 0)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as client:
        try:
            yield server, client
        finally:
            await server.stop()


def chat(model: str, text: str = "hi") -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


async def said(reply: aiohttp.ClientResponse) -> str:
    whole = await reply.json()
    text: str = whole["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize(
    ("path", "asked", "kind"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "hi"}]}, "chat.completion"),
        ("/v1/completions", {"prompt": "hi"}, "text_completion"),
        ("/v1/responses", {"input": "hi"}, "response"),
        ("/v1/embeddings", {"input": ["hi"]}, "list"),
    ],
)
@pytest.mark.parametrize("echo", [False, True])
async def test_a_route_answers_its_object_under_the_asked_model(
    path: str, asked: dict[str, object], kind: str, echo: bool
) -> None:
    async with upstream(echo=echo) as (_, client):
        reply = await client.post(path, json={"model": "gpt-9", **asked})
        whole = await reply.json()
    assert (whole["object"], whole["model"]) == (kind, "gpt-9")


@pytest.mark.parametrize(
    ("path", "asked", "field"),
    [
        ("/v1/images/generations", {"prompt": "hi"}, "data"),
        ("/v1/rerank", {"query": "hi", "documents": ["hi"]}, "results"),
        ("/v2/rerank", {"query": "hi", "documents": ["hi"]}, "results"),
        ("/v1/ocr", {"document": {"document_url": "https://a.test"}}, "pages"),
    ],
)
@pytest.mark.parametrize("model", ["gpt-9", "hello"])
@pytest.mark.parametrize("echo", [False, True])
async def test_other_kinds_answer_in_their_own_shape(
    path: str, asked: dict[str, object], field: str, model: str, echo: bool
) -> None:
    async with upstream(echo=echo) as (_, client):
        reply = await client.post(path, json={"model": model, **asked})
        assert reply.status == 200
        assert len((await reply.json())[field]) == 1


async def test_media_of_unknown_models_have_the_asked_size_too() -> None:
    async with upstream(reply_bytes=9000) as (_, client):
        reply = await client.post("/v1/audio/speech", json={"model": "tts-1", "input": "hi"})
        assert len(await reply.read()) == 9000


async def test_the_canned_reply_has_about_the_size_that_published_benchmarks_use() -> None:
    async with upstream() as (_, client):
        reply = await client.post(CHAT, json=chat("gpt-9"))
        assert 1300 < len(await reply.read()) < 1600


@pytest.mark.parametrize("size", [10, 50_000])
async def test_the_canned_text_has_the_asked_size(size: int) -> None:
    async with upstream(reply_bytes=size) as (_, client):
        assert len(await said(await client.post(CHAT, json=chat("gpt-9")))) == size


async def test_echo_answers_the_text_of_unknown_models() -> None:
    async with upstream(echo=True) as (_, client):
        assert await said(await client.post(CHAT, json=chat("gpt-9", "tørt \U0001f434"))) == (
            "tørt \U0001f434"
        )


async def test_a_model_of_the_mock_provider_behaves_as_in_the_gateway() -> None:
    async with upstream() as (_, client):
        reply = await client.post(CHAT, json=chat("429?retry_after=7"))
        assert (reply.status, reply.headers["retry-after"]) == (429, "7")


async def test_calls_with_one_request_id_are_the_attempts_of_one_job() -> None:
    async with upstream() as (_, client):
        statuses = [
            (
                await client.post(
                    CHAT, json=chat("429?times=1"), headers={"x-client-request-id": job}
                )
            ).status
            for job in ("a", "a", "b", "b")
        ]
    assert statuses == [429, 200, 429, 200]


async def test_the_rates_of_errors_are_kept() -> None:
    async with upstream(error_rate=0.25, rate_limit_rate=0.25) as (server, client):
        for _ in range(400):
            reply = await client.post(CHAT, json=chat("gpt-9"))
            if reply.status == 429:
                assert reply.headers["retry-after"] == "1"
        calls: Any = server.stats()["calls"]
    assert 60 < calls[CHAT]["500"] < 140
    assert 60 < calls[CHAT]["429"] < 140


async def test_a_reply_carries_the_instant_it_was_written_at() -> None:
    before = time.monotonic_ns()
    async with upstream() as (_, client):
        reply = await client.post(CHAT, json=chat("gpt-9"))
    assert before <= int(reply.headers["x-mock-finished-ns"]) <= time.monotonic_ns()


@pytest.mark.parametrize("echo", [False, True])
async def test_the_id_of_an_answer_ends_with_the_same_instant(echo: bool) -> None:
    async with upstream(echo=echo) as (_, client):
        reply = await client.post(CHAT, json=chat("gpt-9"))
        answer = await reply.json()
    assert answer["id"] == "chatcmpl-" + reply.headers["x-mock-finished-ns"]


async def test_no_reply_leaves_before_its_latency_has_passed() -> None:
    async with upstream(latency="30") as (_, client):
        sent = time.monotonic_ns()
        reply = await client.post(CHAT, json=chat("gpt-9"))
    # The loop's timers have a resolution of a millisecond.
    assert int(reply.headers["x-mock-finished-ns"]) - sent >= 28_000_000


async def test_a_thousand_connections_are_served_at_once() -> None:
    async with upstream(latency="60000") as (server, client):
        calls = [asyncio.ensure_future(client.post(CHAT, json=chat("gpt-9"))) for _ in range(1000)]
        await until(lambda: server.stats()["in_flight"] == 1000)
        for call in calls:
            call.cancel()
        await until(lambda: server.stats()["in_flight"] == 0)
        assert server.stats()["max_in_flight"] == 1000
    async with upstream() as (_, client):
        replies = await asyncio.gather(
            *(client.post(CHAT, json=chat("gpt-9")) for _ in range(1000))
        )
        assert {reply.status for reply in replies} == {200}


async def test_a_caller_who_goes_away_is_counted_and_not_answered() -> None:
    async with upstream(latency="60000") as (server, client):
        call = asyncio.ensure_future(client.post(CHAT, json=chat("gpt-9")))
        await until(lambda: server.stats()["in_flight"] == 1)
        call.cancel()
        await until(lambda: server.stats()["abandoned"] == 1)
        assert server.stats()["calls"] == {}


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_pipelined_calls_are_answered_in_order() -> None:
    models: list[str] = []
    async with upstream() as (server, _), raw(server) as (reader, writer):
        for model in ("slow?seconds=0.05", "hello"):
            writer.write(call_of(chat(model)))
        for _ in range(2):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            size = int(head.split("content-length: ")[1].split("\r\n")[0])
            models.append(json.loads(await reader.readexactly(size))["model"])
    assert models == ["slow?seconds=0.05", "hello"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":5}', b"[" * 200_000])
@pytest.mark.parametrize("path", [CHAT, "/v1/images/edits"])
async def test_a_body_that_cannot_be_read_is_a_400(body: bytes, path: str) -> None:
    async with upstream() as (_, client):
        reply = await client.post(path, data=body)
        assert reply.status == 400
        assert "error" in await reply.json()


async def test_the_head_of_a_stream_carries_the_instant_that_its_ids_end_with() -> None:
    async with upstream() as (_, client):
        reply = await client.post(CHAT, json=chat("gpt-9") | {"stream": True})
        found = await events(reply)
    assert reply.headers["content-type"] == "text/event-stream"
    assert {event["id"] for event in found} == {"chatcmpl-" + reply.headers["x-mock-finished-ns"]}
    assert len(found) > 100


async def events(reply: aiohttp.ClientResponse) -> list[Any]:
    """What a stream of chunks holds."""
    lines = (await reply.text()).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


async def test_echo_streams_the_text_that_came() -> None:
    async with upstream(echo=True) as (_, client):
        reply = await client.post(CHAT, json=chat("gpt-9", "a b c") | {"stream": True})
        deltas = [event["choices"][0]["delta"].get("content") for event in await events(reply)]
    assert deltas == ["", "a ", "b ", "c", None]


async def test_a_stream_takes_its_pauses_and_the_next_call_waits_for_its_end() -> None:
    async with upstream() as (server, _), raw(server) as (reader, writer):
        for model in ("stream?chunks=3&pause=0.02", "hello"):
            writer.write(call_of(chat(model) | {"stream": model != "hello"}))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        begun = int(head.split("x-mock-finished-ns: ")[1].split("\r\n")[0])
        chunks = await reader.readuntil(b"\r\n0\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        ended = int(head.split("x-mock-finished-ns: ")[1].split("\r\n")[0])
    assert chunks.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert "content-length" in head
    # A role, three deltas, an end and the mark have five pauses between them.
    assert ended - begun >= 5 * 18_000_000


@asynccontextmanager
async def raw(
    server: MockUpstream,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection."""
    assert server._server is not None
    reader, writer = await asyncio.open_connection(*server._server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()


def call_of(body: dict[str, object]) -> bytes:
    """A request for a chat as bytes."""
    content = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


@pytest.mark.parametrize("stream", [True, False])
async def test_a_broken_reply_ends_with_the_connection(stream: bool) -> None:
    asked = chat("broken-stream?chunks=8") | {"stream": stream}
    async with upstream() as (server, client):
        reply = await client.post(CHAT, json=asked)
        assert reply.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await reply.read()
        assert server.stats()["in_flight"] == 0
        await until(lambda: not server._connections)


async def test_what_came_before_the_break_arrives() -> None:
    async with upstream() as (server, _), raw(server) as (reader, writer):
        writer.write(call_of(chat("broken-stream?chunks=8") | {"stream": True}))
        received = await reader.read()
    assert b'"content":"1 "' in received
    assert b"[DONE]" not in received
    assert not received.endswith(b"0\r\n\r\n")


async def test_a_caller_who_leaves_a_stream_is_counted() -> None:
    asked = chat("stream?chunks=100&pause=30") | {"stream": True}
    async with upstream() as (server, client):
        async with client.post(CHAT, json=asked) as reply:
            await reply.content.readany()
        await until(lambda: server.stats()["abandoned"] == 1)
        assert server.stats()["in_flight"] == 0


async def test_other_routes_answer_without_a_model() -> None:
    async with upstream() as (_, client):
        assert (await client.get("/health")).status == 200
        models = await (await client.get("/v1/models")).json()
        assert "echo" in [model["id"] for model in models["data"]]
        assert (await client.get("/nowhere")).status == 404
        assert (await client.get(CHAT)).status == 405


async def test_the_stats_count_calls_by_path_and_status() -> None:
    async with upstream() as (_, client):
        await client.post(CHAT, json=chat("gpt-9"))
        await client.post(CHAT, json=chat("error?code=503"))
        stats = await (await client.get("/stats")).json()
    assert stats["calls"] == {CHAT: {"200": 1, "503": 1}}


def test_a_lognormal_latency_has_the_asked_percentiles() -> None:
    draw, dice = latency("lognormal:800,8000"), random.Random(1)
    drawn = sorted(draw(dice) for _ in range(20_000))
    assert drawn[10_000] == pytest.approx(0.8, rel=0.1)
    assert drawn[19_800] == pytest.approx(8, rel=0.2)


@pytest.mark.parametrize("spec", ["", "x", "-1", "nan", "inf", "lognormal:", "lognormal:8,4"])
def test_a_latency_that_is_none_is_refused(spec: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is for the command line
        latency(spec)


def command(*options: str) -> "subprocess.Popen[str]":
    start = "from hermod.cli.mock_upstream import mock_upstream; mock_upstream()"
    return subprocess.Popen(
        [sys.executable, "-c", start, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


async def test_the_record_has_a_line_per_received_call_and_survives_sigterm(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    with command("--port", "0", "--latency-ms", "60000", "--record", str(record)) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("mock upstream on ").strip()
        async with aiohttp.ClientSession(address) as client:
            call = asyncio.ensure_future(
                client.post(
                    CHAT,
                    json=chat("gpt-9", "say nonce:a-7 aloud"),
                    headers={"x-client-request-id": "job-1"},
                )
            )
            await until(lambda: record.stat().st_size)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            with pytest.raises(aiohttp.ClientConnectionError):
                await call
    (line,) = [json.loads(text) for text in record.read_text().splitlines()]
    assert line.pop("ns") < time.monotonic_ns()
    assert line == {
        "path": CHAT,
        "model": "gpt-9",
        "request_id": "job-1",
        "prompt_sha256": hashlib.sha256(b"say nonce:a-7 aloud").hexdigest(),
        "nonce": "a-7",
        "status": 200,
        "says_when": False,
    }


def test_a_wrong_latency_ends_the_command_with_a_sentence() -> None:
    with command("--latency", "lognormal:8,4") as process:
        _, shown = process.communicate(timeout=20)
    assert process.returncode == 1
    assert shown.startswith("Error: ")


@pytest.mark.parametrize("model", ["invalid?how=html", "invalid?how=deep", "speech", "gpt-9"])
@pytest.mark.parametrize("path", [CHAT, "/v1/audio/speech"])
async def test_the_end_of_a_call_is_recorded_whatever_was_answered(
    model: str, path: str, tmp_path: Path
) -> None:
    record = tmp_path / "record.jsonl"
    async with upstream(record=record) as (_, client):
        await client.post(path, json=chat(model) | {"input": "hi"})
    _, end = [json.loads(line) for line in record.read_text().splitlines()]
    assert len(end["answer"]) == 16


@pytest.mark.parametrize(("model", "arrived"), [("stream", True), ("broken-stream", False)])
async def test_the_record_tells_whether_a_stream_arrived_whole(
    model: str, arrived: bool, tmp_path: Path
) -> None:
    record = tmp_path / "record.jsonl"
    async with upstream(record=record) as (_, client):
        reply = await client.post(CHAT, json=chat(model) | {"stream": True})
        with suppress(aiohttp.ClientPayloadError):
            await reply.read()
    _, end = [json.loads(line) for line in record.read_text().splitlines()]
    assert (end["answer"] is not None) is arrived


async def test_the_record_of_a_form_knows_its_prompt_and_its_files(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    async with upstream(record=record) as (_, client):
        form = aiohttp.FormData({"model": "echo", "prompt": "nonce:b-8"})
        form.add_field("file", b"abc", filename="a.wav", content_type="audio/wav")
        reply = await client.post("/v1/audio/transcriptions", data=form)
        text = (await reply.json())["text"]
    line = json.loads(record.read_text().splitlines()[0])
    assert (line["model"], line["nonce"]) == ("echo", "b-8")
    assert line["prompt_sha256"] == hashlib.sha256(text.encode()).hexdigest()
