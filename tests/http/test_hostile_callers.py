"""What hostile and clumsy callers of the synchronous routes get, and what they cost."""

import asyncio
from pathlib import Path

import httpx
import pytest

from hermod.http.live_calls import _Pipe
from tests.support.inprocess import gateway

DEEP = b'{"background":true,"model":"mock/hello","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
DEEP_OBJECTS = b'{"model":"mock/hello","messages":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
NO_UTF8 = b'{"background":true,"model":"mock/\xff\xfe"}'

ROUTES = [
    "/v1/chat/completions",
    "/v1/responses",
    "/openai/v1/responses",
    "/anthropic/v1/messages",
    "/genai/v1beta/models/mock/hello:generateContent",
    "/genai/v1beta/models/mock/hello:embedContent",
]


@pytest.mark.parametrize("body", [DEEP, DEEP_OBJECTS, NO_UTF8], ids=["lists", "objects", "utf-8"])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_body_that_cannot_be_read_is_the_callers_mistake(
    tmp_path: Path, route: str, body: bytes
) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.http.post(route, content=body)
        assert answer.status_code == 400, answer.text
        assert "invalid request format" in answer.json()["error"]["message"]


async def test_a_caller_who_leaves_before_there_is_a_slot_leaves_no_call(tmp_path: Path) -> None:
    config = {"hermod": {"worker_slots": 1}}
    chat = {"model": "mock/hello", "messages": [{"role": "user", "content": "hi"}]}
    async with gateway(tmp_path, config=config) as running:
        worker = running.service._working.worker
        assert await worker.wait_for_slot("mock", 5)
        with pytest.raises(httpx.ReadTimeout):
            await running.http.post(
                "/v1/chat/completions", json=chat, timeout=httpx.Timeout(10, read=0.2)
            )
        async with asyncio.timeout(10):
            while worker._lanes["mock"].callers:
                await asyncio.sleep(0.01)
        worker.give_back("mock")
        answer = await running.http.post("/v1/chat/completions", json=chat)
        assert answer.status_code == 200
        counts = await running.service.store.counts()
        assert sum(counts.values()) == 1


async def test_a_stream_that_is_not_read_waits_in_bytes_not_in_pieces() -> None:
    pipe = _Pipe()
    written = 0

    async def upstream() -> None:
        nonlocal written
        while True:
            written += 256 * 1024
            await pipe.write(bytes(256 * 1024))

    writing = asyncio.create_task(upstream())
    for _ in range(2):  # what one take hands out, the caller may be busy with for long
        for _ in range(200):
            await asyncio.sleep(0)
        pipe.take()
    writing.cancel()
    assert written <= 2 * 1024 * 1024


async def test_an_upload_that_finds_no_place_on_disk_is_told_to_the_operator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(tmp_path) as running:
        (tmp_path / "uploads").rmdir()
        answer = await running.http.post(
            "/v1/async/audio/transcriptions",
            data={"model": "mock/hello"},
            files={"file": ("a.wav", bytes(2 * 1024 * 1024), "audio/wav")},
        )
        assert answer.status_code == 503
        assert str(tmp_path) not in answer.text
        assert str(tmp_path / "uploads") in caplog.text
