"""What callers of the synchronous routes are told, and that it agrees with their jobs."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from hermod.domain.job import IN_HAND_BYTES, AttemptState, Principal
from hermod.http.live_calls import LiveCalls
from hermod.jobs.call_now import CallNow
from hermod.worker.running import Phase
from tests.support.inprocess import Running, gateway

CHAT = "/v1/chat/completions"
JOBS = "/v1/async/chat/completions"
ME = Principal("default", "open")


def chat(model: str = "mock/hello", **more: Any) -> dict[str, Any]:
    """A request."""
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}


async def until(holds: Any) -> None:
    """Returns as soon as it holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


def waiting_in(running: Running) -> int:
    """Callers who wait for a slot of the mock."""
    return len(running.service._working.worker._lanes["mock"].callers)


def open_files_in(folder: Path) -> list[str]:
    """Files without a name included."""
    links = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return [name for name in map(os.readlink, links) if name.startswith(str(folder))]


async def test_an_error_says_the_same_to_the_caller_and_in_the_job(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.http.post(CHAT, json=chat("openai/gpt-4"))
        job = (await running.http.get(f"{JOBS}/{answer.headers['x-hermod-job']}")).json()
        assert job["error"] == answer.json()


async def test_a_call_that_lost_its_lease_does_not_speak_of_a_shutdown(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        call = asyncio.create_task(running.http.post(CHAT, json=chat("mock/slow?seconds=1000")))
        worker = running.service._working.worker
        await until(lambda: worker.running)
        (run,) = worker._runs.values()
        lease = run.lease
        run.lease = lease._replace(worker_id="somebody else")
        await worker._renew()
        answer = await call
        assert answer.status_code == 503
        assert "shutting down" not in answer.text
        run.lease = lease
        await running.service.store.cancel_job(lease.job_id, ME, None)


async def test_a_drain_answers_those_who_wait_for_a_slot(tmp_path: Path) -> None:
    config = {"hermod": {"worker_slots": 1, "drain_s": 20}}
    async with gateway(tmp_path, config=config) as running:
        await running.http.post(JOBS, json=chat("mock/slow?seconds=1000"))
        calls = [asyncio.create_task(running.http.post(CHAT, json=chat())) for _ in range(3)]
        await until(lambda: waiting_in(running) == 3)
        stopping = running.stop()
        answers = await asyncio.gather(*calls)
        assert [answer.status_code for answer in answers] == [503] * 3
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        running.service.hurry()
        await stopping


@asynccontextmanager
async def upstream(reply: bytes) -> AsyncGenerator[dict[str, Any]]:
    """Gives this reply, head and all, to everybody. Yields the configuration that leads there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    network = {"base_url": address, "max_retries": 0}
    keys = [{"name": "k", "value": "sk-not-a-secret"}]
    async with server:
        yield {"providers": {"openai": {"keys": keys, "network_config": network}}}


async def test_raw_numbers_that_json_does_not_know_stay_text(tmp_path: Path) -> None:
    body = b'{"error":{"message":"no"},"x":1e999}'
    reply = b"HTTP/1.1 422 No\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    async with upstream(reply) as config, gateway(tmp_path, config=config) as running:
        headers = {"x-bf-send-back-raw-response": "true"}
        answer = await running.http.post(CHAT, json=chat("openai/m"), headers=headers)

        def refuse(name: str) -> None:
            raise AssertionError(name)

        assert answer.status_code == 422
        whole = json.loads(answer.content, parse_constant=refuse)
        assert "1e999" in str(whole["extra_fields"]["raw_response"])


async def test_a_stream_that_brings_an_error_is_no_success_and_says_so_once(
    tmp_path: Path,
) -> None:
    stream = b'data: {"error":{"message":"no more"}}\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    async with upstream(head + stream) as config, gateway(tmp_path, config=config) as running:
        answer = await running.http.post(CHAT, json=chat("openai/m", stream=True))
        assert answer.content == stream
        job_id = answer.headers["x-hermod-job"]
        job = await running.http.get(f"{JOBS}/{job_id}")
        assert job.json()["status"] == "failed"
        (attempt,) = await running.service.store.read_attempts(job_id, ME)
        assert attempt.state is AttemptState.FAILED


@pytest.mark.parametrize("rest", [b"", b'data: {"choices":[{"delta":{"con'])
async def test_a_stream_that_ends_before_its_last_event_is_no_success(
    tmp_path: Path, rest: bytes
) -> None:
    event = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    async with (
        upstream(head + event + rest) as config,
        gateway(tmp_path, config=config) as running,
    ):
        answer = await running.http.post(CHAT, json=chat("openai/m", stream=True))
        assert answer.content.startswith(event)
        (line,) = answer.content.removeprefix(event).splitlines()[:1]
        assert json.loads(line.removeprefix(b"data: "))["error"]["message"]
        job = await running.http.get(f"{JOBS}/{answer.headers['x-hermod-job']}")
        assert job.json()["status"] == "failed"


async def test_no_secret_of_ours_is_in_a_stream(tmp_path: Path) -> None:
    event = b'data: {"choices":[{"delta":{"content":"sk-not-a-secret"}}]}\n\n'
    last = b"data: [DONE]\n\nsk-not"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    async with (
        upstream(head + event + last) as config,
        gateway(tmp_path, config=config) as running,
    ):
        answer = await running.http.post(CHAT, json=chat("openai/m", stream=True))
        assert answer.content == event.replace(b"sk-not-a-secret", b"***") + last


async def test_a_cancelled_response_closes_its_call_at_once(tmp_path: Path) -> None:
    asked = {"model": "mock/slow?seconds=1000", "input": "hi", "background": True}
    rarely = {"hermod": {"lease_s": 900, "renew_s": 300, "upkeep_s": 300}}
    async with gateway(tmp_path, config=rarely) as running:
        response = (await running.http.post("/v1/responses", json=asked)).json()
        worker = running.service._working.worker
        await until(lambda: Phase.CALLING in {run.phase for run in worker._runs.values()})
        ended = await running.http.post(f"/v1/responses/{response['id']}/cancel")
        assert ended.json()["status"] == "cancelled"
        await until(lambda: not worker.running)


async def test_an_error_that_is_labelled_as_a_stream_is_an_ordinary_answer(
    tmp_path: Path,
) -> None:
    body = b'data: {"error":{"message":"no"}}\n\n'
    head = b"HTTP/1.1 422 No\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    async with upstream(head + body) as config, gateway(tmp_path, config=config) as running:
        answer = await running.http.post(CHAT, json=chat("openai/m", stream=True))
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/json"


async def test_of_an_upload_no_file_stays_open(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for _ in range(2):
            answer = await running.http.post(
                "/v1/audio/transcriptions",
                data={"model": "mock/hello"},
                files={"file": ("a.wav", bytes(IN_HAND_BYTES + 1), "audio/wav")},
            )
            assert answer.status_code == 200, answer.text
        assert not open_files_in(tmp_path / "uploads")


async def test_a_call_that_begins_as_its_request_is_cancelled_is_ended() -> None:
    begun = asyncio.get_running_loop().create_future()
    abandoned: list[object] = []

    class Beginning:
        async def begin(self, *_: object) -> object:
            return await begun

        def abandon(self, call: object) -> None:
            abandoned.append(call)

    async def silence() -> dict[str, str]:
        return await asyncio.get_running_loop().create_future()

    calls = LiveCalls(cast("CallNow", Beginning()))
    any_one = cast("Any", None)
    request = asyncio.create_task(calls.begin(any_one, any_one, any_one, any_one, silence))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    begun.set_result("the call")
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await asyncio.sleep(0)
    assert abandoned == ["the call"]
