"""The official `openai` SDK on the synchronous routes for text: chats, completions, models."""

import json
from typing import Any

import openai
import pytest

from hermod.providers.mock.mock import GREETING
from tests.sdks.clients import both, got, items, openai_client, tries
from tests.sdks.conftest import BASE_PATH
from tests.support.program import Gateway
from tests.support.wire import NO_MODEL

SAID = "The bridge is roofed with shining gold. ☂"
ASKED = [{"role": "user", "content": SAID}]
FUNCTION = {
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
TOOLS = [{"type": "function", "function": FUNCTION}]
DOORS = (
    "/openai/v1",
    "/openai",
    "/openai/openai",
    "/litellm",
    "/litellm/v1",
    "/litellm/openai/v1",
    "/langchain/openai/v1",
    "/pydanticai/openai/v1",
)

every_door = pytest.mark.parametrize("door", DOORS)


@both
@pytest.mark.parametrize(
    ("base", "model"), [("/v1", "openai/echo"), ("/v1", "mock/echo"), ("/openai/v1", "echo")]
)
async def test_a_chat_is_the_same_with_and_without_a_stream(
    gateway: Gateway, flavour: str, base: str, model: str
) -> None:
    async with openai_client(flavour, gateway.url + base) as client:
        create = client.chat.completions.create
        whole = await got(create(model=model, messages=ASKED))
        usage = {"include_usage": True}
        chunks = await items(create(model=model, messages=ASKED, stream=True, stream_options=usage))
    deltas = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(deltas) == whole.choices[0].message.content == SAID
    assert len(deltas) > 2
    assert whole.choices[0].finish_reason == "stop"
    assert chunks[-1].usage == whole.usage


@every_door
async def test_a_model_without_a_provider_is_openais_at_every_door(
    gateway: Gateway, door: str
) -> None:
    async with openai_client("async", gateway.url + door) as client:
        answer = await client.chat.completions.create(model="echo", messages=ASKED)
        (chunk, *_) = await items(
            client.chat.completions.create(model="echo", messages=ASKED, stream=True)
        )
    assert answer.choices[0].message.content == SAID
    assert chunk.object == "chat.completion.chunk"


@every_door
async def test_a_model_with_a_provider_is_taken_at_every_door(gateway: Gateway, door: str) -> None:
    async with openai_client("async", gateway.url + door) as client:
        answer = await client.chat.completions.create(model="mock/hello", messages=ASKED)
    assert answer.choices[0].message.content == GREETING


@both
@pytest.mark.parametrize(
    ("base", "model"), [("/v1", "mock/echo"), ("/openai/v1", "echo"), ("/litellm", "echo")]
)
async def test_everything_is_below_the_base_path(
    gateway_below: Gateway, flavour: str, base: str, model: str
) -> None:
    base_url = gateway_below.url + base
    assert BASE_PATH in base_url
    async with openai_client(flavour, base_url) as client:
        answer = await got(client.chat.completions.create(model=model, messages=ASKED))
    assert answer.choices[0].message.content == SAID


@both
@pytest.mark.parametrize("model", ["mock/tool", "openai/tool"])
async def test_a_tool_is_called_and_its_result_told(
    gateway: Gateway, flavour: str, model: str
) -> None:
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        create = client.chat.completions.create
        asking = await got(create(model=model, messages=ASKED, tools=TOOLS))
        (call,) = asking.choices[0].message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
        said = asking.choices[0].message.model_dump(exclude_none=True)
        told = await got(create(model=model, messages=[*ASKED, said, result], tools=TOOLS))
    assert asking.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": SAID, "days": 1}
    assert told.choices[0].message.content == "sunny"


async def test_the_sdks_accumulator_finds_the_call_of_a_tool_in_a_stream(gateway: Gateway) -> None:
    strict: Any = [{"type": "function", "function": FUNCTION | {"strict": True}}]
    async with (
        openai_client("async", f"{gateway.url}/openai/v1") as client,
        client.chat.completions.stream(model="tool", messages=ASKED, tools=strict) as stream,
    ):
        whole = await stream.get_final_completion()
    (call,) = whole.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": SAID, "days": 1}


@both
async def test_the_raw_response_names_the_job(gateway: Gateway, flavour: str) -> None:
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        raw = await got(
            client.chat.completions.with_raw_response.create(model="hello", messages=ASKED)
        )
        said = raw.parse().choices[0].message.content
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-hermod-job"]
    assert said == GREETING


@both
@pytest.mark.parametrize("base", ["/v1", "/openai/v1"])
async def test_a_text_completion_is_the_same_with_and_without_a_stream(
    gateway: Gateway, flavour: str, base: str
) -> None:
    # OpenAI's chunks have `finish_reason: null`, against the SDK's own type.
    base_url = gateway.url + base
    async with openai_client(flavour, base_url, _strict_response_validation=False) as client:
        create = client.completions.create
        whole = await got(create(model="openai/echo", prompt=SAID))
        chunks = await items(create(model="openai/echo", prompt=SAID, stream=True))
    texts = [chunk.choices[0].text for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole.choices[0].text == SAID


@both
@pytest.mark.parametrize("base", ["/v1", "/openai/v1", "/litellm", "/langchain/openai/v1"])
async def test_the_models_are_listed(gateway: Gateway, flavour: str, base: str) -> None:
    async with openai_client(flavour, gateway.url + base) as client:
        models = await items(client.models.list())
    names = {model.id for model in models}
    assert {"mock/hello", "openai/echo"} <= names
    assert {model.object for model in models} == {"model"}


@both
@pytest.mark.parametrize(
    ("base", "model"), [("/v1", "gpt-4"), ("/v1", "nope/gpt-4"), ("/openai/v1", "openai/")]
)
async def test_a_model_in_another_form_is_a_bad_request(
    gateway: Gateway, flavour: str, base: str, model: str
) -> None:
    async with openai_client(flavour, gateway.url + base) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await got(client.chat.completions.create(model=model, messages=ASKED))
    assert NO_MODEL in caught.value.message
    assert caught.value.body == {"message": NO_MODEL}


@both
async def test_no_messages_are_a_bad_request(gateway: Gateway, flavour: str) -> None:
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        with pytest.raises(openai.BadRequestError, match="messages is required for chat"):
            await got(client.chat.completions.create(model="hello", messages=[]))


@both
async def test_an_upstreams_error_is_the_sdks_own(gateway: Gateway, flavour: str) -> None:
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        with pytest.raises(openai.NotFoundError) as caught:
            await got(client.chat.completions.create(model="mock/no-such", messages=ASKED))
    assert "The model `no-such` does not exist" in caught.value.message
    assert caught.value.code == "model_not_found"


@both
@pytest.mark.parametrize(
    ("code", "error"),
    [
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_every_status_of_an_upstream_is_an_error_of_the_sdk(
    gateway: Gateway, flavour: str, code: int, error: type[openai.APIStatusError]
) -> None:
    base_url = f"{gateway.url}/openai/v1"
    async with openai_client(flavour, base_url, max_retries=0) as client:
        with pytest.raises(error) as caught:
            await got(
                client.chat.completions.create(model=f"mock/error?code={code}", messages=ASKED)
            )
    assert f"The mock answers {code}" in caught.value.message
    assert tries(caught.value) == 1


@pytest.mark.parametrize("model", ["openai/broken-stream?chunks=8", "cut/m"])
@pytest.mark.parametrize("base", ["/v1", "/openai/v1"])
async def test_a_stream_that_breaks_off_is_an_error_after_what_came(
    gateway: Gateway, base: str, model: str
) -> None:
    async with openai_client("async", gateway.url + base) as client:
        stream = await client.chat.completions.create(model=model, messages=ASKED, stream=True)
        first = await anext(stream)
        with pytest.raises(openai.APIError):
            await items(stream)
    assert first.choices
