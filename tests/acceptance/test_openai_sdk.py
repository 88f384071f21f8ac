"""The official `openai` SDK drives jobs against the running program."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import openai
import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from pydantic import BaseModel

from tests.support.program import Gateway
from tests.support.waiting import wait_until
from tests.support.wire import CHAT, EMBEDDINGS, RESPONSES, ROUTES, TEXT, Route

SAID = "The bridge is roofed with shining gold. ☂"
PATIENCE_S = 30.0

TYPES: dict[str, type[BaseModel]] = {
    CHAT.request_type: ChatCompletion,
    TEXT.request_type: Completion,
    RESPONSES.request_type: Response,
    EMBEDDINGS.request_type: CreateEmbeddingResponse,
}


def _chat(answer: Any) -> object:
    return answer.choices[0].message.content


def _text(answer: Any) -> object:
    return answer.choices[0].text


def _output(answer: Any) -> object:
    return answer.output_text


def _vector(answer: Any) -> object:
    vector = answer.data[0].embedding
    return SAID if len(vector) == 16 and all(isinstance(x, float) for x in vector) else vector


SAYS: dict[str, Callable[[Any], object]] = {
    CHAT.request_type: _chat,
    TEXT.request_type: _text,
    RESPONSES.request_type: _output,
    EMBEDDINGS.request_type: _vector,
}

ASKED: dict[str, Any] = {
    CHAT.request_type: [{"role": "user", "content": SAID}],
    TEXT.request_type: SAID,
    RESPONSES.request_type: SAID,
    EMBEDDINGS.request_type: SAID,
}

every_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.request_type)

Job = dict[str, Any]


def submit(client: openai.OpenAI, route: Route, body: Job) -> Job:
    """Submit with the SDK."""
    return cast(Job, client.post(f"/async/{route.path}", body=body, cast_to=object))


def wait(client: openai.OpenAI, route: Route, job_id: str) -> Job:
    """Poll with the SDK until the job has ended."""
    seen: list[Job] = []

    def done() -> bool:
        seen[:] = [cast(Job, client.get(f"/async/{route.path}/{job_id}", cast_to=object))]
        return seen[0]["status"] in ("completed", "failed")

    wait_until(done, timeout_s=PATIENCE_S)
    return seen[0]


def sync_client(gateway: Gateway) -> openai.OpenAI:
    """As its users write it, with the key that every SDK insists on."""
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="dummy", max_retries=0)


@every_route
def test_the_sync_client_gets_an_answer_its_own_types_accept(
    gateway: Gateway, route: Route
) -> None:
    with sync_client(gateway) as client:
        job = submit(
            client, route, {"model": "openai/echo", route.field: ASKED[route.request_type]}
        )
        assert job["status"] == "pending"
        job = wait(client, route, job["id"])
    assert (job["status"], job["status_code"]) == ("completed", 200)
    answer = TYPES[route.request_type].model_validate(job["result"])
    assert SAYS[route.request_type](answer) == SAID


@every_route
async def test_the_async_client_does_too(gateway: Gateway, route: Route) -> None:
    base_url = f"{gateway.url}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key="dummy", max_retries=0) as client:
        body = {"model": "openai/echo", route.field: ASKED[route.request_type]}
        job = cast(Job, await client.post(f"/async/{route.path}", body=body, cast_to=object))
        async with asyncio.timeout(PATIENCE_S):
            while job["status"] not in ("completed", "failed"):
                path = f"/async/{route.path}/{job['id']}"
                job = cast(Job, await client.get(path, cast_to=object))
                await asyncio.sleep(0.02)
    assert job["status"] == "completed"
    answer = TYPES[route.request_type].model_validate(job["result"])
    assert SAYS[route.request_type](answer) == SAID


async def test_many_jobs_at_once_each_get_their_own_answer(gateway: Gateway) -> None:
    base_url = f"{gateway.url}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key="dummy", max_retries=0) as client:

        async def ask(text: str) -> str | None:
            messages = [{"role": "user", "content": text}]
            body = {"model": "openai/echo", "messages": messages}
            job = cast(Job, await client.post("/async/chat/completions", body=body, cast_to=object))
            while job["status"] not in ("completed", "failed"):
                await asyncio.sleep(0.05)
                path = f"/async/chat/completions/{job['id']}"
                job = cast(Job, await client.get(path, cast_to=object))
            return ChatCompletion.model_validate(job["result"]).choices[0].message.content

        texts = [f"question {number}" for number in range(50)]
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.gather(*map(ask, texts)) == texts


def test_the_answer_can_be_parsed_into_the_sdks_type_by_a_typed_poll(gateway: Gateway) -> None:
    class ChatJob(openai.BaseModel):
        id: str
        status: str
        result: ChatCompletion | None = None

    with sync_client(gateway) as client:
        body = {"model": "openai/echo", "messages": ASKED[CHAT.request_type]}
        job_id = submit(client, CHAT, body)["id"]
        wait(client, CHAT, job_id)
        job = client.get(f"/async/chat/completions/{job_id}", cast_to=ChatJob)
    assert job.result is not None
    assert job.result.choices[0].message.content == SAID


def test_a_failed_job_is_no_exception(gateway: Gateway) -> None:
    with sync_client(gateway) as client:
        job_id = submit(client, CHAT, CHAT.body("openai/error?code=400"))["id"]
        job = wait(client, CHAT, job_id)
    assert (job["status"], job["status_code"]) == ("failed", 400)
    assert job["error"]["error"]["type"] == "invalid_request_error"


def test_a_refusal_is_the_sdks_bad_request_with_our_message(gateway: Gateway) -> None:
    with sync_client(gateway) as client, pytest.raises(openai.BadRequestError) as caught:
        submit(client, CHAT, CHAT.body("gpt-4"))
    assert "model should be in provider/model format" in caught.value.message


def test_an_unknown_job_is_the_sdks_not_found(gateway: Gateway) -> None:
    with sync_client(gateway) as client, pytest.raises(openai.NotFoundError) as caught:
        wait(client, CHAT, "unknown")
    assert "job not found or expired" in caught.value.message
