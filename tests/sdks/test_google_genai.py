"""The official `google-genai` SDK in front of any provider."""

from typing import Any

import pytest
from google.genai import errors, types
from pydantic import BaseModel

from hermod.providers.mock.mock import GREETING
from hermod.providers.mock.shapes import vector
from tests.sdks.clients import Google, both, got, items
from tests.sdks.conftest import BASE_PATH
from tests.support.program import Gateway

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")

SAID = "Twelve winters I ate the fruit of the hill. ☂"
DOORS = ("/genai", "/litellm/genai", "/litellm", "/langchain/genai", "/pydanticai/genai")


class Weather(BaseModel):
    """What a structured answer is asked to be."""

    city: str
    days: int


def tools() -> list[types.Tool]:
    """One function, in Google's own kind of schema."""
    schema = types.Schema(
        type=types.Type.OBJECT,
        properties={
            "city": types.Schema(type=types.Type.STRING),
            "days": types.Schema(type=types.Type.INTEGER),
        },
        required=["city", "days"],
    )
    function = types.FunctionDeclaration(
        name="weather", description="Says how it will be.", parameters=schema
    )
    return [types.Tool(function_declarations=[function])]


@both
@pytest.mark.parametrize("door", DOORS)
async def test_content_is_generated_at_every_door(
    gateway: Gateway, google: Google, flavour: str, door: str
) -> None:
    async with google(flavour, gateway.url + door) as client:
        answer = await got(client.models.generate_content(model="mock/echo", contents=SAID))
    assert answer.text == SAID
    (candidate,) = answer.candidates
    assert candidate.finish_reason == types.FinishReason.STOP
    assert candidate.content.role == "model"
    assert answer.usage_metadata.prompt_token_count > 0
    assert answer.usage_metadata.candidates_token_count > 0
    assert answer.response_id


@both
async def test_it_is_below_the_base_path(
    gateway_below: Gateway, google: Google, flavour: str
) -> None:
    base_url = f"{gateway_below.url}/genai"
    assert BASE_PATH in base_url
    async with google(flavour, base_url) as client:
        answer = await got(client.models.generate_content(model="openai/echo", contents=SAID))
    assert answer.text == SAID


@both
async def test_the_settings_of_a_request_are_taken(
    gateway: Gateway, google: Google, flavour: str
) -> None:
    config = types.GenerateContentConfig(
        system_instruction="Speak Norse.",
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        max_output_tokens=100,
        stop_sequences=["END"],
        seed=7,
        safety_settings=[
            types.SafetySetting(
                category=types.HarmCategory.HARM_CATEGORY_HARASSMENT,
                threshold=types.HarmBlockThreshold.BLOCK_NONE,
            )
        ],
        thinking_config=types.ThinkingConfig(thinking_budget=0),
    )
    async with google(flavour, f"{gateway.url}/genai") as client:
        answer = await got(
            client.models.generate_content(model="mock/hello", contents=SAID, config=config)
        )
    assert answer.text == GREETING


@both
@pytest.mark.parametrize("model", ["mock/tool", "openai/tool"])
async def test_a_function_is_called_and_its_result_told(
    gateway: Gateway, google: Google, flavour: str, model: str
) -> None:
    config = types.GenerateContentConfig(tools=tools())
    async with google(flavour, f"{gateway.url}/genai") as client:
        generate = client.models.generate_content
        called = await got(generate(model=model, contents=SAID, config=config))
        (call,) = called.function_calls
        response = types.FunctionResponse(id=call.id, name=call.name, response={"result": "sunny"})
        contents = [
            types.Content(role="user", parts=[types.Part(text=SAID)]),
            called.candidates[0].content,
            types.Content(role="user", parts=[types.Part(function_response=response)]),
        ]
        told = await got(generate(model=model, contents=contents, config=config))
    assert (call.name, call.args) == ("weather", {"city": SAID, "days": 1})
    assert "sunny" in told.text


@both
async def test_a_python_function_is_called_by_the_sdk_itself(
    gateway: Gateway, google: Google, flavour: str
) -> None:
    asked: list[tuple[str, int]] = []

    def weather(city: str, days: int) -> str:
        """Say how the weather will be."""
        asked.append((city, days))
        return "sunny"

    config = types.GenerateContentConfig(tools=[weather])
    async with google(flavour, f"{gateway.url}/genai") as client:
        answer = await got(
            client.models.generate_content(model="mock/tool", contents=SAID, config=config)
        )
    assert asked == [(SAID, 1)]
    assert "sunny" in answer.text


@both
@pytest.mark.parametrize("shape", [{"response_schema": Weather}, {"response_json_schema": None}])
async def test_an_answer_can_be_asked_for_as_json(
    gateway: Gateway, google: Google, flavour: str, shape: dict[str, Any]
) -> None:
    if "response_json_schema" in shape:
        shape = {"response_json_schema": Weather.model_json_schema()}
    config = types.GenerateContentConfig(response_mime_type="application/json", **shape)
    said = '{"city": "Asgard", "days": 3}'
    async with google(flavour, f"{gateway.url}/genai") as client:
        answer = await got(
            client.models.generate_content(model="mock/echo", contents=said, config=config)
        )
    if "response_schema" in shape:
        assert answer.parsed == Weather(city="Asgard", days=3)
    assert answer.text == said


@both
@pytest.mark.parametrize("model", ["mock/echo", "openai/echo"])
async def test_a_stream_says_the_same(
    gateway: Gateway, google: Google, flavour: str, model: str
) -> None:
    async with google(flavour, f"{gateway.url}/genai") as client:
        whole = await got(client.models.generate_content(model=model, contents=SAID))
        chunks = await items(client.models.generate_content_stream(model=model, contents=SAID))
    texts = [chunk.text for chunk in chunks if chunk.text]
    assert len(texts) > 2
    assert "".join(texts) == whole.text == SAID
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    spent = whole.usage_metadata.total_token_count
    assert chunks[-1].usage_metadata.total_token_count == spent


@both
async def test_a_function_is_called_in_a_stream(
    gateway: Gateway, google: Google, flavour: str
) -> None:
    config = types.GenerateContentConfig(tools=tools())
    async with google(flavour, f"{gateway.url}/genai") as client:
        chunks = await items(
            client.models.generate_content_stream(model="mock/tool", contents=SAID, config=config)
        )
    calls = [call for chunk in chunks for call in chunk.function_calls or []]
    assert [(call.name, call.args) for call in calls] == [("weather", {"city": SAID, "days": 1})]


@both
async def test_a_stream_of_nothing_but_an_error_is_an_error(
    gateway: Gateway, google: Google, flavour: str
) -> None:
    async with google(flavour, f"{gateway.url}/genai") as client:
        with pytest.raises(errors.ClientError) as caught:
            await items(client.models.generate_content_stream(model="mock/no-such", contents=SAID))
    assert caught.value.code == 404


@both
@pytest.mark.parametrize("model", ["openai/broken-stream", "cut/m"])
async def test_a_stream_that_breaks_off_is_an_error(
    gateway: Gateway, google: Google, flavour: str, model: str
) -> None:
    async with google(flavour, f"{gateway.url}/genai") as client:
        with pytest.raises(errors.ServerError) as caught:
            await items(client.models.generate_content_stream(model=model, contents=SAID))
    assert caught.value.status == "INTERNAL"


@both
async def test_a_model_is_described(gateway: Gateway, google: Google, flavour: str) -> None:
    async with google(flavour, f"{gateway.url}/genai") as client:
        model = await got(client.models.get(model="mock/hello"))
    assert model.name == "models/mock/hello"
    assert "generateContent" in model.supported_actions


@both
@pytest.mark.parametrize("model", ["mock/embed", "openai/embed"])
async def test_texts_are_embedded(
    gateway: Gateway, google: Google, flavour: str, model: str
) -> None:
    async with google(flavour, f"{gateway.url}/genai") as client:
        one = await got(client.models.embed_content(model=model, contents=SAID))
        two = await got(
            client.models.embed_content(
                model=model,
                contents=[SAID, "b"],
                config=types.EmbedContentConfig(output_dimensionality=8),
            )
        )
    assert [each.values for each in one.embeddings] == [pytest.approx(vector(SAID, 16))]
    assert [each.values for each in two.embeddings] == [
        pytest.approx(vector(SAID, 8)),
        pytest.approx(vector("b", 8)),
    ]


@both
async def test_the_models_are_listed(gateway: Gateway, google: Google, flavour: str) -> None:
    async with google(flavour, f"{gateway.url}/genai") as client:
        names = {model.name for model in await _all(client.models.list())}
    assert {"models/mock/hello", "models/openai/echo"} <= names


async def _all(pager: Any) -> list[Any]:
    pager = await got(pager)
    return [each async for each in pager] if hasattr(pager, "__aiter__") else list(pager)


@both
async def test_a_listed_model_can_be_asked_by_its_name(
    gateway: Gateway, google: Google, flavour: str
) -> None:
    async with google(flavour, f"{gateway.url}/genai") as client:
        answer = await got(client.models.generate_content(model="models/mock/hello", contents=SAID))
    assert answer.text == GREETING


@both
async def test_a_chat_remembers_what_was_said(
    gateway: Gateway, google: Google, flavour: str
) -> None:
    async with google(flavour, f"{gateway.url}/genai") as client:
        chat = client.chats.create(model="mock/echo")
        said = [(await got(chat.send_message(text))).text for text in ("one", "two")]
    assert said == ["one", "two"]
    assert len(chat.get_history()) == 4


@both
@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("mock/no-such", 404, "The model `no-such` does not exist"),
        ("mock/", 400, "model should be in provider/model format"),
    ],
)
async def test_an_error_is_the_sdks_own(
    gateway: Gateway, google: Google, flavour: str, model: str, code: int, message: str
) -> None:
    async with google(flavour, f"{gateway.url}/genai") as client:
        with pytest.raises(errors.ClientError) as caught:
            await got(client.models.generate_content(model=model, contents=SAID))
    assert caught.value.code == code
    assert message in str(caught.value.message)
    assert caught.value.status in ("NOT_FOUND", "INVALID_ARGUMENT")


@both
async def test_a_job_cannot_be_made_here(gateway: Gateway, google: Google, flavour: str) -> None:
    options = types.HttpOptions(headers={"x-bf-async": "true"})
    config = types.GenerateContentConfig(http_options=options)
    async with google(flavour, f"{gateway.url}/genai") as client:
        with pytest.raises(errors.ClientError) as caught:
            await got(
                client.models.generate_content(model="mock/hello", contents=SAID, config=config)
            )
    assert caught.value.code == 400
    assert caught.value.message == "async operation is not supported on this route"
