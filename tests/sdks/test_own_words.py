"""A vendor's own SDK in front of that vendor's own models: nothing is lost on the way.

Every request is made twice, once straight to the upstream and once through the gateway. What may
differ there is how the transport frames it (`content-length`, the order of members) and whose
credential and name it bears; in Anthropic's answers the gateway's `extra_fields` come on top.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest
from google.genai import types

from tests.sdks.clients import Google, anthropic_client, both, got, items, opened, until
from tests.sdks.vendors import Vendor
from tests.support.program import Gateway

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")

STREAMS = Path(__file__).parents[1] / "providers" / "streams" / "anthropic"
CACHED = {"type": "ephemeral", "ttl": "1h"}
TOOLS = [
    {
        "name": "map",
        "description": "Shows the way.",
        "input_schema": {"type": "object", "properties": {"to": {"type": "string"}}},
        "cache_control": CACHED,
    },
    {
        "type": "web_search_20250305",
        "name": "web_search",
        "max_uses": 2,
        "blocked_domains": ["a.b"],
    },
]
ASKED: dict[str, Any] = {
    "model": "claude-opus-5",
    "max_tokens": 9000,
    "system": [{"type": "text", "text": "Speak Norse.", "cache_control": CACHED}],
    "messages": [
        {
            "role": "user",
            "content": [
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
                    "title": "Runes",
                    "context": "Carved.",
                    "citations": {"enabled": True},
                    "cache_control": {"type": "ephemeral"},
                },
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "Nine nights."},
                    "citations": {"enabled": False},
                },
                {"type": "image", "source": {"type": "url", "url": "https://a.example/r.png"}},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"},
                },
                {"type": "text", "text": "How long? ᛗ", "cache_control": CACHED},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I need the map.", "signature": "c2lnbmVk"},
                {"type": "redacted_thinking", "data": "c2VhbGVk"},
                {"type": "tool_use", "id": "toolu_01", "name": "map", "input": {"to": "Hel"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_01",
                    "is_error": True,
                    "content": [{"type": "text", "text": "torn"}],
                    "cache_control": {"type": "ephemeral"},
                }
            ],
        },
    ],
    "tools": TOOLS,
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 5555},
    "stop_sequences": ["Ragnarök"],
    "service_tier": "standard_only",
    "metadata": {"user_id": "u-1"},
    "extra_headers": {"anthropic-beta": "interleaved-thinking-2025-05-14"},
    "extra_body": {"top_k": 40, "container": "c-1"},
}
MESSAGE: dict[str, Any] = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-20250929",
    "content": [
        {"type": "thinking", "thinking": "Torn.", "signature": "bW9yZQ=="},
        {"type": "redacted_thinking", "data": "c2VhbA=="},
        {
            "type": "server_tool_use",
            "id": "srvtoolu_1",
            "name": "web_search",
            "input": {"query": "x"},
        },
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [
                {
                    "type": "web_search_result",
                    "url": "https://a.example",
                    "title": "A",
                    "encrypted_content": "ZW5j",
                    "page_age": None,
                }
            ],
        },
        {
            "type": "text",
            "text": "Nine nights.",
            "citations": [
                {
                    "type": "char_location",
                    "cited_text": "Nine nights.",
                    "document_index": 1,
                    "document_title": None,
                    "file_id": None,
                    "start_char_index": 0,
                    "end_char_index": 12,
                }
            ],
        },
    ],
    "stop_reason": "stop_sequence",
    "stop_sequence": "Ragnarök",
    "usage": {
        "input_tokens": 7,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 2000,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "output_tokens": 60,
        "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
        "service_tier": "standard",
    },
}


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    """The one upstream of these tests."""
    with Vendor() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Gateway]:
    """A gateway whose providers are all that upstream, each spoken to in words of its own."""
    config = {
        "providers": {
            "anthropic": vendor.provider(),
            "gemini": vendor.provider(),
            "openai": vendor.provider(),
            "mine": vendor.provider(
                custom_provider_config={"base_provider_type": "anthropic"},
            ),
        }
    }
    app_dir = tmp_path_factory.mktemp("own") / "data"
    with Gateway(app_dir, config=config) as running:
        yield running
        assert "Traceback" not in running.output


Make = Callable[[Any], Any]


async def both_ways(flavour: str, vendor: Vendor, gateway: Gateway, make: Make) -> tuple[Any, Any]:
    """What comes of it straight, and what through the door."""
    async with anthropic_client(flavour, vendor.url) as client:
        straight = await make(client)
    async with anthropic_client(flavour, f"{gateway.url}/anthropic") as client:
        return straight, await make(client)


def plain(message: Any) -> Any:
    """A message without what the gateway adds to it."""
    return message.model_dump(exclude={"extra_fields", "parsed_output"})


# Anthropic


@both
async def test_a_request_reaches_anthropic_as_it_would_straight(
    gateway: Gateway, vendor: Vendor, flavour: str
) -> None:
    vendor.says(MESSAGE)

    async def make(client: Any) -> Any:
        return await got(client.messages.create(**ASKED))

    await both_ways(flavour, vendor, gateway, make)
    straight, through = vendor.calls
    assert through.body == straight.body
    assert through.path == straight.path == "/v1/messages"
    for name in ("anthropic-version", "anthropic-beta"):
        assert through.headers[name] == straight.headers[name]
    assert through.headers["x-api-key"] == "sk-vendors-secret"


@both
async def test_an_answer_of_anthropic_comes_back_as_it_would_straight(
    gateway: Gateway, vendor: Vendor, flavour: str
) -> None:
    vendor.says(MESSAGE)

    async def make(client: Any) -> Any:
        return await got(client.messages.create(**ASKED))

    straight, through = await both_ways(flavour, vendor, gateway, make)
    assert plain(through) == plain(straight)
    assert through.usage.cache_read_input_tokens == 2000
    assert through.content[0].signature == "bW9yZQ=="
    assert through.extra_fields["provider"] == "anthropic"


@both
@pytest.mark.parametrize("name", ["text", "thinking", "tools", "web_search", "refusal"])
async def test_a_stream_of_anthropic_comes_back_event_by_event(
    gateway: Gateway, vendor: Vendor, flavour: str, name: str
) -> None:
    vendor.streams((STREAMS / f"{name}.sse").read_bytes())

    async def make(client: Any) -> Any:
        async with opened(client.messages.stream(**ASKED)) as stream:
            events = [plain(event) for event in await items(stream)]
            return events, plain(await got(stream.get_final_message()))

    straight, through = await both_ways(flavour, vendor, gateway, make)
    assert through == straight
    assert vendor.calls[1].body == vendor.calls[0].body


async def test_a_stream_in_which_anthropic_fails_is_that_error(
    gateway: Gateway, vendor: Vendor
) -> None:
    vendor.streams((STREAMS / "overloaded.sse").read_bytes())
    async with anthropic_client("async", f"{gateway.url}/anthropic") as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await items(client.messages.create(**ASKED, stream=True))
    assert caught.value.body == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
    }


async def test_a_stream_of_anthropic_that_is_cut_off_is_an_error(
    gateway: Gateway, vendor: Vendor
) -> None:
    whole = (STREAMS / "thinking.sse").read_bytes()
    vendor.streams(whole[: whole.index(b"event: message_delta")])
    async with anthropic_client("async", f"{gateway.url}/anthropic") as client:
        with pytest.raises(anthropic.APIStatusError):
            await items(client.messages.create(**ASKED, stream=True))


async def test_a_refusal_of_anthropic_is_its_own(gateway: Gateway, vendor: Vendor) -> None:
    error = {"type": "invalid_request_error", "message": "container: unknown"}
    vendor.says({"type": "error", "error": error, "request_id": "req_1"}, 400)
    async with anthropic_client("async", f"{gateway.url}/anthropic") as client:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.messages.create(**ASKED)
    assert caught.value.body == {"type": "error", "error": error}


async def test_a_job_keeps_what_only_anthropic_knows(gateway: Gateway, vendor: Vendor) -> None:
    vendor.says(MESSAGE)
    async with anthropic_client("async", f"{gateway.url}/anthropic") as client:

        async def ask(**headers: str) -> Any:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.messages.create(
                **ASKED | {"extra_headers": ASKED["extra_headers"] | named}
            )

        begun = await ask(x_bf_async="true")
        *_, last = await until(lambda it: bool(it.content), lambda: ask(x_bf_async_id=begun.id))
    assert last.model_dump(include=set(MESSAGE)) == await _straight(vendor)
    assert vendor.calls[0].headers["anthropic-beta"] == "interleaved-thinking-2025-05-14"
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        result = (await http.get(f"/v1/async/responses/{begun.id}")).json()["result"]
    assert [item["type"] for item in result["output"]] == ["reasoning", "reasoning", "message"]
    assert result["usage"]["input_tokens"] == 2307


async def _straight(vendor: Vendor) -> Any:
    async with anthropic_client("async", vendor.url) as client:
        message = await client.messages.create(**ASKED)
    return message.model_dump(include=set(MESSAGE))


async def test_a_provider_of_ones_own_that_speaks_like_anthropic_is_asked_the_same(
    gateway: Gateway, vendor: Vendor
) -> None:
    vendor.says(MESSAGE)
    async with anthropic_client("async", f"{gateway.url}/anthropic") as client:
        await client.messages.create(**ASKED | {"model": "mine/claude-x"})
    (call,) = vendor.calls
    assert call.body["model"] == "claude-x"
    assert call.body["system"] == ASKED["system"]


async def test_a_fallback_with_other_words_gets_a_translation(
    gateway: Gateway, vendor: Vendor
) -> None:
    """Its upstream refuses parts with members that OpenAI does not document."""
    vendor.says({"type": "error", "error": {"type": "overloaded_error", "message": "!"}}, 529)
    asked = {
        "model": "claude-opus-5",
        "max_tokens": 9000,
        "system": ASKED["system"],
        "messages": ASKED["messages"][:1],
        "tools": TOOLS[:1],
    }
    extra = {"fallbacks": ["openai/gpt-5"]}
    async with anthropic_client("async", f"{gateway.url}/anthropic", max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError):
            await client.messages.create(**asked, extra_body=extra)
    first, second = vendor.calls
    assert first.body == json.loads(json.dumps(asked))
    assert second.path == "/v1/responses"
    assert second.body["model"] == "gpt-5"
    assert second.body["instructions"] == "Speak Norse."
    assert "cache_control" not in json.dumps(second.body)
    assert "hermod" not in json.dumps(second.body)


async def test_fallbacks_with_the_same_words_leave_nothing_to_translate(
    gateway: Gateway, vendor: Vendor
) -> None:
    vendor.says({"type": "error", "error": {"type": "overloaded_error", "message": "!"}}, 529)
    extra = ASKED["extra_body"] | {"fallbacks": ["mine/claude-old"]}
    async with anthropic_client("async", f"{gateway.url}/anthropic", max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError):
            await client.messages.create(**ASKED | {"extra_body": extra})
    first, second = (call.body for call in vendor.calls)
    assert first | {"model": "claude-old"} == second
    assert second["container"] == "c-1"


# Google

GOOGLES = "gemini-3-pro"
CONTENTS = [
    types.Content(
        role="user",
        parts=[
            types.Part(text="Where to?"),
            types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png"),
            types.Part.from_uri(file_uri="gs://runes/a.pdf", mime_type="application/pdf"),
        ],
    ),
    types.Content(
        role="model",
        parts=[
            types.Part(
                function_call=types.FunctionCall(name="map", args={"to": "Hel"}),
                thought_signature=b"signed",
            )
        ],
    ),
    types.Content(
        role="user",
        parts=[types.Part.from_function_response(name="map", response={"error": "torn"})],
    ),
]
CONFIG: dict[str, Any] = {
    "system_instruction": "Speak Norse.",
    "top_k": 40,
    "thinking_config": types.ThinkingConfig(thinking_budget=777, include_thoughts=True),
    "safety_settings": [
        types.SafetySetting(
            category=types.HarmCategory.HARM_CATEGORY_HARASSMENT,
            threshold=types.HarmBlockThreshold.BLOCK_NONE,
        )
    ],
    "cached_content": "cachedContents/runes",
    "response_mime_type": "application/json",
    "response_json_schema": {"type": "object", "properties": {"nights": {"type": "integer"}}},
    "tools": [
        types.Tool(function_declarations=[types.FunctionDeclaration(name="map")]),
        types.Tool(google_search=types.GoogleSearch()),
    ],
    "tool_config": types.ToolConfig(
        function_calling_config=types.FunctionCallingConfig(
            mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["map"]
        )
    ),
    "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
}
CANDIDATE = {
    "content": {
        "role": "model",
        "parts": [
            {"text": "Torn.", "thought": True},
            {
                "functionCall": {"name": "map", "args": {"finish_reason": "error", "n": 1}},
                "thoughtSignature": "c2lnbmVk",
            },
        ],
    },
    "finishReason": "MALFORMED_FUNCTION_CALL",
    "finishMessage": "It is torn.",
    "index": 0,
    "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"}],
    "groundingMetadata": {"webSearchQueries": ["runes"]},
}
GENERATED = {
    "candidates": [CANDIDATE],
    "usageMetadata": {
        "promptTokenCount": 2000,
        "cachedContentTokenCount": 1900,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 50,
        "toolUsePromptTokenCount": 3,
        "totalTokenCount": 2058,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 2000}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 1900}],
    },
    "modelVersion": "gemini-3-pro-001",
    "responseId": "r-1",
}


async def googles(
    flavour: str, google: Google, vendor: Vendor, gateway: Gateway, make: Make
) -> tuple[Any, Any]:
    """What comes of it straight, and what through the door."""
    async with google(flavour, vendor.url) as client:
        straight = await make(client.models)
    async with google(flavour, f"{gateway.url}/genai") as client:
        return straight, await make(client.models)


def answered(response: Any) -> Any:
    """A response without its headers."""
    return response.model_dump(exclude={"sdk_http_response"})


async def _generated(models: Any) -> Any:
    asked = {"model": GOOGLES, "contents": CONTENTS}
    config = types.GenerateContentConfig(**CONFIG)
    return answered(await got(models.generate_content(**asked, config=config)))


async def _streamed(models: Any) -> Any:
    asked = {"model": GOOGLES, "contents": CONTENTS}
    config = types.GenerateContentConfig(**CONFIG)
    chunks = await items(models.generate_content_stream(**asked, config=config))
    return [answered(chunk) for chunk in chunks]


@both
async def test_nothing_is_lost_between_googles_sdk_and_google(
    gateway: Gateway, vendor: Vendor, google: Google, flavour: str
) -> None:
    calm = CANDIDATE | {"finishReason": "STOP"}
    vendor.says(GENERATED | {"candidates": [calm]})
    straight, through = await googles(flavour, google, vendor, gateway, _generated)
    assert through == straight
    first, second = vendor.calls
    assert second.body == first.body
    assert second.path == f"/v1beta/models/{GOOGLES}:generateContent"
    assert second.headers["x-goog-api-key"] == "sk-vendors-secret"


@both
async def test_a_stream_of_google_comes_back_chunk_by_chunk(
    gateway: Gateway, vendor: Vendor, google: Google, flavour: str
) -> None:
    begun = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Ni"}]}}]}
    vendor.streams(
        b"".join(b"data: %b\r\n\r\n" % json.dumps(each).encode() for each in (begun, GENERATED))
    )
    straight, through = await googles(flavour, google, vendor, gateway, _streamed)
    assert through == straight
    assert len(through) == 2
    first, second = vendor.calls
    assert second.body == first.body
    assert second.path == f"/v1beta/models/{GOOGLES}:streamGenerateContent?alt=sse"


async def test_a_stream_of_google_can_be_an_array(gateway: Gateway, vendor: Vendor) -> None:
    vendor.streams(b"data: %b\n\n" % json.dumps(GENERATED).encode())
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        answer = await http.post(
            f"/genai/v1beta/models/{GOOGLES}:streamGenerateContent", json={"contents": []}
        )
    assert answer.json() == [GENERATED]


async def test_a_stream_of_google_that_is_cut_off_ends_with_an_error(
    gateway: Gateway, vendor: Vendor
) -> None:
    begun = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Ni"}]}}]}
    vendor.streams(b"data: %b\n\n" % json.dumps(begun).encode())
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        answer = await http.post(
            f"/genai/v1beta/models/{GOOGLES}:streamGenerateContent", json={"contents": []}
        )
    first, last = answer.json()
    assert first == begun
    assert last["error"]["code"] == 500
