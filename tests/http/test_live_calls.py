"""Calls whose callers wait, on a whole gateway: answers, streams, errors, and callers who leave."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.inprocess import Running, gateway

CHAT = "/v1/chat/completions"
JOBS = "/v1/async/chat/completions"


def chat(model: str = "mock/hello", **more: Any) -> dict[str, Any]:
    """A request."""
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}


async def job_of(running: Running, job_id: str) -> dict[str, Any]:
    """The job behind a call, once it has ended."""
    async with asyncio.timeout(20):
        while True:
            response = await running.http.get(f"{JOBS}/{job_id}")
            if response.status_code == 200:
                return response.json()
            await asyncio.sleep(0.01)


async def the_only_job(running: Running) -> dict[str, Any]:
    """The one job of this gateway, once it has ended, from the counters."""
    async with asyncio.timeout(20):
        while True:
            counts = await running.service.store.counts()
            ended = [str(state) for (_, _, state), n in counts.items() if n]
            if ended and not {"queued", "running", "waiting"} & set(ended):
                return {"states": ended}
            await asyncio.sleep(0.01)


async def test_a_call_is_answered_and_kept_as_a_job(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.http.post(CHAT, json=chat())
        assert answer.status_code == 200
        job = await job_of(running, answer.headers["x-hermod-job"])
        assert job["status"] == "completed"
        assert job["result"] == answer.json()


async def test_a_refusal_by_the_upstream_has_its_status_and_its_words(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.http.post(CHAT, json=chat("mock/error?code=402"))
        assert answer.status_code == 402
        assert answer.json()["extra_fields"]["provider"] == "mock"
        job = await job_of(running, answer.headers["x-hermod-job"])
        assert job["status"] == "failed"
        assert job["error"] == answer.json()


async def test_a_failure_without_a_status_is_400(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.http.post(CHAT, json=chat("openai/gpt-4"))
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "failed to get config for provider: not found"


async def test_short_troubles_are_waited_out(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.http.post(CHAT, json=chat("mock/429?retry_after=0&times=1"))
        assert answer.status_code == 200


async def test_a_long_wait_is_the_callers_to_decide(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.http.post(CHAT, json=chat("mock/429?retry_after=600"))
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "600"
        job = await job_of(running, answer.headers["x-hermod-job"])
        assert job["status_code"] == 429


async def test_a_stream_comes_in_pieces_and_leaves_a_note(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        asked = chat("mock/stream?chunks=5&pause=0.01", stream=True)
        async with running.http.stream("POST", CHAT, json=asked) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = [line async for line in answer.aiter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        assert len(lines) > 5
        job = await job_of(running, answer.headers["x-hermod-job"])
        assert job["result"]["object"] == "stream"
        assert job["result"]["bytes"] > 0


async def test_a_stream_that_breaks_off_says_so_and_is_no_success(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        asked = chat("mock/broken-stream", stream=True)
        async with running.http.stream("POST", CHAT, json=asked) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
        assert "error" in json.loads(lines[-1].removeprefix("data: "))
        job = await job_of(running, answer.headers["x-hermod-job"])
        assert job["status"] == "failed"


async def test_an_error_before_the_stream_is_an_ordinary_answer(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.http.post(CHAT, json=chat("mock/error?code=422", stream=True))
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/json"


async def test_a_caller_who_gives_up_ends_the_call(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        asked = chat("mock/slow?seconds=60")
        with pytest.raises(httpx.ReadTimeout):
            await running.http.post(CHAT, json=asked, timeout=httpx.Timeout(10, read=0.3))
        assert (await the_only_job(running))["states"] == ["cancelled"]


async def test_a_caller_who_leaves_a_stream_ends_the_call(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        asked = chat("mock/stream?chunks=1000&pause=0.05", stream=True)
        async with running.http.stream("POST", CHAT, json=asked) as answer:
            await anext(answer.aiter_bytes())
        assert (await the_only_job(running))["states"] == ["cancelled"]


async def test_callers_wait_for_a_slot_in_turn(tmp_path: Path) -> None:
    config = {"hermod": {"worker_slots": 1}}
    async with gateway(tmp_path, config=config) as running:
        calls = [running.http.post(CHAT, json=chat("mock/slow?seconds=0.1")) for _ in range(4)]
        answers = await asyncio.gather(*calls)
        assert [answer.status_code for answer in answers] == [200] * 4


async def test_callers_and_jobs_take_turns(tmp_path: Path) -> None:
    config = {"hermod": {"worker_slots": 1}}
    async with gateway(tmp_path, config=config) as running:
        jobs = [
            (await running.http.post(JOBS, json=chat("mock/slow?seconds=0.05"))).json()["id"]
            for _ in range(3)
        ]
        call = await running.http.post(CHAT, json=chat())
        assert call.status_code == 200
        for job_id in jobs:
            assert (await job_of(running, job_id))["status"] == "completed"


async def test_a_drain_answers_those_who_wait(tmp_path: Path) -> None:
    config = {"hermod": {"drain_s": 1}}
    async with gateway(tmp_path, config=config) as running:
        call = asyncio.create_task(running.http.post(CHAT, json=chat("mock/slow?seconds=60")))
        async with asyncio.timeout(10):
            while not running.service._working.worker.running:  # it has begun
                await asyncio.sleep(0.01)
        await running.stop()
        answer = await call
        assert answer.status_code == 503
        assert answer.json()["error"]["message"] == "the gateway is shutting down"


async def test_an_unread_stream_holds_its_upstream_back(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        asked = chat("mock/stream?chunks=2000", stream=True)
        async with running.http.stream("POST", CHAT, json=asked) as answer:
            pieces = answer.aiter_bytes()
            await anext(pieces)
            rest = [piece async for piece in pieces]
        assert b"".join(rest).endswith(b"data: [DONE]\n\n")
