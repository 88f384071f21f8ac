"""The official `openai` SDK with responses: at once, in a stream, in the background, as jobs."""

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from hermod.providers.mock.mock import GREETING
from tests.sdks.clients import both, got, items, openai_client, opened, tries, until
from tests.support.program import Gateway
from tests.support.wire import NO_SUCH_JOB

SAID = "Heimdall needs less sleep than a bird."
UNKNOWN = "resp_" + 32 * "0"
FUNCTION = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
BASES = ("/v1", "/openai/v1", "/openai", "/litellm", "/langchain/openai/v1", "/pydanticai/openai")
ASYNC = {"x-bf-async": "true"}

every_base = pytest.mark.parametrize("base", BASES)


def is_over(response: Response) -> bool:
    """Whether a background response will not change any more."""
    return response.status not in ("queued", "in_progress")


@both
@pytest.mark.parametrize("base", ["/v1", "/openai/v1"])
@pytest.mark.parametrize("model", ["mock/echo", "openai/echo"])
async def test_a_response_is_the_same_with_and_without_a_stream(
    gateway: Gateway, flavour: str, base: str, model: str
) -> None:
    async with openai_client(flavour, gateway.url + base) as client:
        whole = await got(client.responses.create(model=model, input=SAID))
        events = await items(client.responses.create(model=model, input=SAID, stream=True))
    assert whole.status == "completed"
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == events[-1].response.output_text == whole.output_text == SAID


@both
async def test_the_sdks_accumulator_finds_the_call_of_a_tool(
    gateway: Gateway, flavour: str
) -> None:
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        asking = {"model": "tool", "input": SAID, "tools": [FUNCTION]}
        whole = await got(client.responses.create(**asking))
        async with opened(client.responses.stream(**asking)) as stream:
            await items(stream)
            found = await got(stream.get_final_response())
        call = whole.output[0]
        told = await got(
            client.responses.create(
                model="tool",
                input=[
                    {"role": "user", "content": SAID},
                    call.model_dump(exclude_none=True),
                    {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
                ],
                tools=[FUNCTION],
            )
        )
    assert json.loads(call.arguments) == {"city": SAID}
    assert [(item.type, item.name) for item in found.output] == [("function_call", "weather")]
    assert found.output[0].arguments == call.arguments
    assert told.output_text == "sunny"


@pytest.mark.parametrize("model", ["openai/broken-stream?chunks=8", "cut/m"])
async def test_a_stream_that_breaks_off_is_an_error_after_what_came(
    gateway: Gateway, model: str
) -> None:
    async with openai_client("async", f"{gateway.url}/openai/v1") as client:
        stream = await client.responses.create(model=model, input=SAID, stream=True)
        first = await anext(stream)
        with pytest.raises(openai.APIError):
            await items(stream)
    assert first.type == "response.created"


# In the background


@both
@every_base
async def test_a_background_response_is_retrieved_until_it_is_done(
    gateway: Gateway, flavour: str, base: str
) -> None:
    async with openai_client(flavour, gateway.url + base) as client:
        begun = await got(client.responses.create(model="mock/echo", input=SAID, background=True))
        states = await until(is_over, lambda: got(client.responses.retrieve(begun.id)))
    assert begun.status == "queued"
    assert begun.output == []
    assert {state.id for state in states} == {begun.id}
    assert {state.created_at for state in states} == {begun.created_at}
    assert {state.background for state in (begun, *states)} == {True}
    assert states[-1].status == "completed"
    assert states[-1].output_text == SAID


@both
async def test_it_works_below_a_base_path(gateway_below: Gateway, flavour: str) -> None:
    async with openai_client(flavour, f"{gateway_below.url}/openai/v1") as client:
        begun = await got(client.responses.create(model="echo", input=SAID, background=True))
        states = await until(is_over, lambda: got(client.responses.retrieve(begun.id)))
    assert states[-1].output_text == SAID


@both
async def test_a_response_is_cancelled_while_it_runs(gateway: Gateway, flavour: str) -> None:
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        begun = await got(
            client.responses.create(model="mock/slow?seconds=30", input=SAID, background=True)
        )
        await until(
            lambda state: state.status == "in_progress",
            lambda: got(client.responses.retrieve(begun.id)),
        )
        cancelled = await got(client.responses.cancel(begun.id))
        states = await until(is_over, lambda: got(client.responses.retrieve(begun.id)))
        again = await got(client.responses.cancel(begun.id))
    assert cancelled.id == begun.id
    assert {cancelled.status, *(state.status for state in states), again.status} == {"cancelled"}
    assert states[-1].error is None


@both
async def test_cancelling_what_is_done_changes_nothing(gateway: Gateway, flavour: str) -> None:
    async with openai_client(flavour, f"{gateway.url}/v1") as client:
        begun = await got(client.responses.create(model="mock/echo", input=SAID, background=True))
        states = await until(is_over, lambda: got(client.responses.retrieve(begun.id)))
        cancelled = await got(client.responses.cancel(begun.id))
    assert cancelled == states[-1]


@both
@pytest.mark.parametrize("base", ["/v1", "/openai/v1"])
@pytest.mark.parametrize("unknown", [UNKNOWN, "resp_nothing"])
async def test_an_unknown_response_is_asked_for_once(
    gateway: Gateway, flavour: str, base: str, unknown: str
) -> None:
    async with openai_client(flavour, gateway.url + base) as client:
        with pytest.raises(openai.NotFoundError) as caught:
            await got(client.responses.retrieve(unknown))
        with pytest.raises(openai.NotFoundError):
            await got(client.responses.cancel(unknown))
    assert NO_SUCH_JOB in caught.value.message
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert tries(caught.value) == 1


@both
@pytest.mark.parametrize(
    ("code", "shown"),
    [(500, "server_error"), (429, "rate_limit_exceeded"), (400, "invalid_prompt")],
)
async def test_a_response_that_failed_says_why_and_is_not_asked_for_again(
    gateway: Gateway, flavour: str, code: int, shown: str
) -> None:
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        begun = await got(
            client.responses.create(model=f"mock/error?code={code}", input=SAID, background=True)
        )
        await until(is_over, lambda: got(client.responses.retrieve(begun.id)))
        raw = await got(client.responses.with_raw_response.retrieve(begun.id))
        failed = raw.parse()
    assert failed.status == "failed"
    assert failed.error.code == shown
    assert f"The mock answers {code}" in failed.error.message
    assert failed.output == []
    assert raw.headers["x-should-retry"] == "false"
    assert raw.retries_taken == 0


async def test_the_same_job_is_below_the_native_route(gateway: Gateway) -> None:
    async with openai_client("async", f"{gateway.url}/v1") as client:
        begun = await client.responses.create(model="mock/echo", input=SAID, background=True)
        states = await until(is_over, lambda: client.responses.retrieve(begun.id))
        job: Any = await client.get(f"/async/responses/{_uuid(begun.id)}", cast_to=object)
    assert (job["status"], job["status_code"]) == ("completed", 200)
    assert Response.model_validate(job["result"]).output_text == states[-1].output_text


def _uuid(response_id: str) -> str:
    digits = response_id.removeprefix("resp_")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


async def test_a_background_response_cannot_stream(gateway: Gateway) -> None:
    async with openai_client("async", f"{gateway.url}/openai/v1") as client:
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(
                model="mock/echo", input=SAID, background=True, stream=True
            )


# Through the headers of the async protocol (wire-contract 6)


def response_checked(body: dict[str, Any]) -> Response:
    """By the SDK's type, which has other words for the two states of a job."""
    words = {"pending": "queued", "processing": "in_progress"}
    return Response.model_validate(body | {"status": words.get(body["status"], body["status"])})


PLACES: dict[str, tuple[Callable[[Any], Any], dict[str, Any], Callable[[Any], Any]]] = {
    "responses": (
        lambda client: client.responses.with_raw_response,
        {"input": SAID},
        response_checked,
    ),
    "chat": (
        lambda client: client.chat.completions.with_raw_response,
        {"messages": [{"role": "user", "content": SAID}]},
        ChatCompletion.model_validate,
    ),
}


@both
@pytest.mark.parametrize("base", ["/openai/v1", "/openai", "/litellm", "/langchain/openai/v1"])
@pytest.mark.parametrize("place", PLACES)
async def test_a_job_is_made_and_polled_by_headers(
    gateway: Gateway, flavour: str, base: str, place: str
) -> None:
    at, asking, checked = PLACES[place]
    # The states of a job are none of a response's: the SDK takes them, but not when it is strict.
    base_url = gateway.url + base
    async with openai_client(flavour, base_url, _strict_response_validation=False) as client:

        async def ask(headers: dict[str, str]) -> tuple[Any, Any]:
            raw = await got(
                at(client).create(model="mock/slow?seconds=0.1", **asking, extra_headers=headers)
            )
            checked(json.loads(raw.text if isinstance(raw.text, str) else raw.text()))
            assert raw.headers["x-bf-async-id"] == job_id or not job_id
            return raw.parse(), raw

        job_id = ""
        begun, _ = await ask(ASYNC)
        job_id = begun.id
        polls = await until(lambda poll: _is_done(poll[0]), lambda: ask({"x-bf-async-id": job_id}))
    *before, (last, _) = polls
    assert not _is_done(begun)
    assert {poll.id for poll, _ in before} <= {job_id}
    assert last.id != job_id
    assert _said(last) == GREETING


def _is_done(answer: Any) -> bool:
    """By the rule for clients (wire-contract 6.2)."""
    if answer.object == "response":
        return answer.status == "completed"
    return bool(answer.choices)


def _said(answer: Any) -> str:
    if answer.object == "response":
        return answer.output_text
    return answer.choices[0].message.content


@both
@pytest.mark.parametrize("place", PLACES)
async def test_a_failed_job_is_its_error_and_is_polled_once(
    gateway: Gateway, flavour: str, place: str
) -> None:
    at, asking, _ = PLACES[place]
    base_url = f"{gateway.url}/openai/v1"
    async with openai_client(flavour, base_url, _strict_response_validation=False) as client:

        async def ask(headers: dict[str, str]) -> Any:
            raw = await got(
                at(client).create(model="mock/error?code=500", **asking, extra_headers=headers)
            )
            return raw.parse()

        begun = await ask(ASYNC)
        with pytest.raises(openai.InternalServerError) as caught:
            await until(lambda _: False, lambda: ask({"x-bf-async-id": begun.id}))
    assert "The mock answers 500" in caught.value.message
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert tries(caught.value) == 1


@both
@pytest.mark.parametrize("place", PLACES)
async def test_an_unknown_job_is_not_found(gateway: Gateway, flavour: str, place: str) -> None:
    at, asking, _ = PLACES[place]
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        with pytest.raises(openai.NotFoundError) as caught:
            await got(
                at(client).create(
                    model="mock/hello", **asking, extra_headers={"x-bf-async-id": "unknown"}
                )
            )
    assert NO_SUCH_JOB in caught.value.message
    assert tries(caught.value) == 1


@both
@pytest.mark.parametrize("place", PLACES)
async def test_a_job_cannot_stream(gateway: Gateway, flavour: str, place: str) -> None:
    at, asking, _ = PLACES[place]
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await got(
                at(client).create(model="mock/hello", **asking, stream=True, extra_headers=ASYNC)
            )
    assert "streaming is not supported for async requests" in caught.value.message


@both
async def test_the_time_a_result_is_kept_can_be_asked_for(gateway: Gateway, flavour: str) -> None:
    headers = {**ASYNC, "x-bf-async-job-result-ttl": "60"}
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        begun = await got(
            client.chat.completions.create(
                model="hello",
                messages=[{"role": "user", "content": SAID}],
                extra_headers=headers,
            )
        )
    async with openai_client("async", f"{gateway.url}/v1") as client:
        job = await client.get(f"/async/chat/completions/{begun.id}", cast_to=object)
    assert job["expires_at"]
