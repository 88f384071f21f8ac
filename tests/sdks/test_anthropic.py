"""The official `anthropic` SDK in front of any provider."""

import json
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, TextBlock

from hermod.providers.mock.mock import GREETING
from tests.sdks.clients import anthropic_client, both, got, items, opened, tries, until
from tests.sdks.conftest import BASE_PATH
from tests.support.program import Gateway
from tests.support.wire import NO_SUCH_JOB

SAID = "Ask the wise one's name. ᛗ"
TOOL = {
    "name": "weather",
    "description": "Says how the weather will be.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
CALLED = {"city": SAID, "days": 1}
DOORS = ("/anthropic", "/litellm/anthropic", "/litellm", "/langchain/anthropic", "/pydanticai")
ASYNC = {"x-bf-async": "true"}


def asking(model: str = "mock/echo", **more: Any) -> dict[str, Any]:
    """The arguments of a request."""
    return {
        "model": model,
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": SAID}],
    } | more


def said_by(caught: pytest.ExceptionInfo[anthropic.APIStatusError]) -> Any:
    """The body of an error."""
    return caught.value.body


def content_of(message: Message) -> list[dict[str, Any]]:
    """What a message says, without what only the SDK adds to it."""
    return [
        block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in message.content
    ]


@both
@pytest.mark.parametrize("door", DOORS)
async def test_a_message_is_answered_at_every_door(
    gateway: Gateway, flavour: str, door: str
) -> None:
    async with anthropic_client(flavour, gateway.url + door) as client:
        message = await got(client.messages.create(**asking(system="Speak Norse.")))
    assert content_of(message) == [{"type": "text", "text": SAID}]
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0


@both
async def test_a_model_of_another_provider_is_served_below_a_base_path(
    gateway_below: Gateway, flavour: str
) -> None:
    base_url = f"{gateway_below.url}/anthropic"
    assert BASE_PATH in base_url
    async with anthropic_client(flavour, base_url) as client:
        message = await got(client.messages.create(**asking("openai/echo")))
    assert content_of(message) == [{"type": "text", "text": SAID}]


@both
async def test_the_system_prompt_arrives_as_it_was_sent(gateway: Gateway, flavour: str) -> None:
    blocks = [{"type": "text", "text": "Speak Norse."}, {"type": "text", "text": "Be brief."}]
    async with anthropic_client(flavour, f"{gateway.url}/anthropic") as client:
        message = await got(client.messages.create(**asking("mock/hello", system=blocks)))
    assert content_of(message) == [{"type": "text", "text": GREETING}]


@both
@pytest.mark.parametrize("model", ["mock/tool", "openai/tool"])
async def test_a_tool_is_called_and_its_result_told(
    gateway: Gateway, flavour: str, model: str
) -> None:
    async with anthropic_client(flavour, f"{gateway.url}/anthropic") as client:
        called = await got(client.messages.create(**asking(model, tools=[TOOL])))
        (use,) = called.content
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
        told = await got(
            client.messages.create(
                **asking(
                    model,
                    tools=[TOOL],
                    messages=[
                        {"role": "user", "content": SAID},
                        {"role": "assistant", "content": content_of(called)},
                        {"role": "user", "content": [result]},
                    ],
                )
            )
        )
    assert called.stop_reason == "tool_use"
    assert (use.type, use.name, use.input) == ("tool_use", "weather", CALLED)
    assert content_of(told) == [{"type": "text", "text": "sunny"}]


@both
@pytest.mark.parametrize("model", ["mock/echo", "openai/echo", "mock/tool", "openai/tool"])
async def test_the_sdks_accumulator_finds_the_same_message_in_a_stream(
    gateway: Gateway, flavour: str, model: str
) -> None:
    async with anthropic_client(flavour, f"{gateway.url}/anthropic") as client:
        whole = await got(client.messages.create(**asking(model, tools=[TOOL])))
        async with opened(client.messages.stream(**asking(model, tools=[TOOL]))) as stream:
            events = await items(stream)
            found = await got(stream.get_final_message())
    assert len([event for event in events if event.type == "content_block_delta"]) > 1
    assert _without_ids(found) == _without_ids(whole)
    assert found.stop_reason == whole.stop_reason
    assert found.usage.output_tokens == whole.usage.output_tokens
    assert found.usage.input_tokens == whole.usage.input_tokens


def _without_ids(message: Message) -> list[dict[str, Any]]:
    return [block | {"id": ""} for block in content_of(message)]


@both
async def test_the_text_of_a_stream_comes_in_pieces(gateway: Gateway, flavour: str) -> None:
    async with (
        anthropic_client(flavour, f"{gateway.url}/anthropic") as client,
        opened(client.messages.stream(**asking("mock/stream?chunks=9"))) as stream,
    ):
        texts = await items(stream.text_stream)
    assert len(texts) > 5
    assert "".join(texts) == "1 2 3 4 5 6 7 8 9"


@both
async def test_the_plain_stream_has_the_events_of_the_api(gateway: Gateway, flavour: str) -> None:
    async with anthropic_client(flavour, f"{gateway.url}/anthropic") as client:
        events = await items(client.messages.create(**asking(), stream=True))
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


@both
@pytest.mark.parametrize("model", ["openai/broken-stream?chunks=8", "cut/m"])
async def test_a_stream_that_breaks_off_is_an_error(
    gateway: Gateway, flavour: str, model: str
) -> None:
    async with anthropic_client(flavour, f"{gateway.url}/anthropic") as client:
        asked = asking(model)
        with pytest.raises(anthropic.APIStatusError) as caught:
            async with opened(client.messages.stream(**asked)) as stream:
                await items(stream)
    assert said_by(caught)["type"] == "error"
    assert said_by(caught)["error"]["message"]


# Through the headers of the async protocol (wire-contract 6)


@both
@pytest.mark.parametrize("door", ["/anthropic", "/litellm/anthropic", "/langchain/anthropic"])
async def test_a_job_is_made_and_polled_by_headers(
    gateway: Gateway, flavour: str, door: str
) -> None:
    async with anthropic_client(flavour, gateway.url + door) as client:

        async def ask(headers: dict[str, str]) -> Message:
            asked = asking("mock/slow?seconds=0.1", extra_headers=headers)
            raw = await got(client.messages.with_raw_response.create(**asked))
            Message.model_validate(json.loads(raw.http_response.content))
            assert raw.http_response.headers["x-bf-async-id"]
            return await got(raw.parse())

        begun = await ask(ASYNC)
        polls = await until(
            lambda message: bool(message.content),
            lambda: ask({"x-bf-async-id": begun.id}),
        )
    *before, last = polls
    assert begun.content == []
    assert begun.stop_reason is None
    assert {(poll.id, poll.type, poll.role) for poll in (begun, *before)} == {
        (begun.id, "message", "assistant")
    }
    assert last.content[0] == TextBlock(type="text", text=GREETING)
    assert last.stop_reason == "end_turn"


@both
async def test_the_job_of_a_tool_call_is_a_message_too(gateway: Gateway, flavour: str) -> None:
    async with anthropic_client(flavour, f"{gateway.url}/anthropic") as client:

        async def ask(headers: dict[str, str]) -> Message:
            asked = asking("mock/tool", tools=[TOOL], extra_headers=headers)
            return await got(client.messages.create(**asked))

        begun = await ask(ASYNC)
        polls = await until(
            lambda message: bool(message.content), lambda: ask({"x-bf-async-id": begun.id})
        )
    (use,) = polls[-1].content
    assert use.type == "tool_use"
    assert use.input == CALLED


@both
async def test_a_failed_job_is_its_error_and_is_polled_once(gateway: Gateway, flavour: str) -> None:
    async with anthropic_client(flavour, f"{gateway.url}/anthropic") as client:

        async def ask(headers: dict[str, str]) -> Message:
            asked = asking("mock/error?code=500", extra_headers=headers)
            return await got(client.messages.create(**asked))

        begun = await ask(ASYNC)
        with pytest.raises(anthropic.InternalServerError) as caught:
            await until(lambda _: False, lambda: ask({"x-bf-async-id": begun.id}))
    assert caught.value.body == {
        "type": "error",
        "error": {"type": "server_error", "message": "The mock answers 500, as it was told to."},
    }
    assert tries(caught.value) == 1


@both
async def test_an_unknown_job_is_not_found(gateway: Gateway, flavour: str) -> None:
    async with anthropic_client(flavour, f"{gateway.url}/anthropic") as client:
        with pytest.raises(anthropic.NotFoundError) as caught:
            await got(client.messages.create(**asking(extra_headers={"x-bf-async-id": "unknown"})))
    assert said_by(caught)["error"]["message"] == NO_SUCH_JOB
    assert tries(caught.value) == 1


@both
async def test_a_job_cannot_stream(gateway: Gateway, flavour: str) -> None:
    async with anthropic_client(flavour, f"{gateway.url}/anthropic") as client:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await got(client.messages.create(**asking(stream=True, extra_headers=ASYNC)))
    message = "streaming is not supported for async requests"
    assert said_by(caught)["error"]["message"] == message


# Errors


@both
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "mock/"}, "model should be in provider/model format"),
        ({"messages": []}, "messages is required"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice"),
    ],
)
async def test_a_wrong_request_is_a_bad_request_in_anthropics_shape(
    gateway: Gateway, flavour: str, arguments: dict[str, Any], message: str
) -> None:
    async with anthropic_client(flavour, f"{gateway.url}/anthropic") as client:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await got(client.messages.create(**asking(**arguments)))
    assert said_by(caught)["type"] == "error"
    assert message in said_by(caught)["error"]["message"]
    assert said_by(caught)["error"]["type"]


@both
@pytest.mark.parametrize(
    ("code", "error"),
    [
        (401, anthropic.AuthenticationError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
    ],
)
async def test_every_status_of_an_upstream_is_an_error_of_the_sdk(
    gateway: Gateway, flavour: str, code: int, error: type[anthropic.APIStatusError]
) -> None:
    async with anthropic_client(flavour, f"{gateway.url}/anthropic", max_retries=0) as client:
        with pytest.raises(error) as caught:
            await got(client.messages.create(**asking(f"mock/error?code={code}")))
    assert f"The mock answers {code}" in said_by(caught)["error"]["message"]
