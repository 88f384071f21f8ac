"""Every front door over providers that speak another language, in the hands of official SDKs."""

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import anthropic
import pytest
from google.genai import errors, types
from openai.types.chat import ChatCompletion

from tests.faults.families import Asked, Families, families, first_cases, jobs_of
from tests.faults.family_streams import SAID, STREAMS, whole
from tests.faults.places import SqlitePlace
from tests.net.upstream import Peer
from tests.sdks.clients import Google, anthropic_client, items, openai_client, until
from tests.support.program import Gateway

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")

JSON: Final = b"Content-Type: application/json"
PIXELS: Final = b"\x89PNG\r\n\x1a\n and the rest"
PICTURE: Final = base64.b64encode(PIXELS).decode()
SYSTEM: Final = "Speak Norse."
SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
SUNNY: Final = "sunny"
CITY: Final = {"city": "Tromsø"}
CASES: Final = {case.family: case for case in first_cases()}
TRANSLATED: Final = ("anthropic", "gemini", "vertex", "bedrock", "cohere", "mistral")
DOORS: Final = ("anthropic", "gemini", "bedrock")
"""Those whose answers are written down here."""


def _call(family: str) -> Any:
    """An answer that calls the tool."""
    match family:
        case "anthropic":
            use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": CITY}
            said = {"type": "text", "text": "I look."}
            return _claude([said, use], "tool_use")
        case "gemini":
            parts = [{"text": "I look."}, {"functionCall": {"name": "weather", "args": CITY}}]
            return _gemini(parts)
        case _:
            use = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": CITY}}
            return _converse([{"text": "I look."}, use], "tool_use")


def _text(family: str) -> Any:
    """An answer in words."""
    match family:
        case "anthropic":
            return _claude([{"type": "text", "text": SAID}], "end_turn")
        case "gemini":
            return _gemini([{"text": SAID}])
        case _:
            return _converse([{"text": SAID}], "end_turn")


def _claude(content: list[Any], reason: str) -> Any:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": content, "stop_reason": reason, "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 15},
    }  # fmt: skip


def _gemini(parts: list[Any]) -> Any:
    content = {"role": "model", "parts": parts}
    usage = {"promptTokenCount": 25, "candidatesTokenCount": 15, "totalTokenCount": 40}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": usage,
        "modelVersion": "gemini-3.8-flash",
        "responseId": "r1",
    }


def _converse(content: list[Any], reason: str) -> Any:
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": reason,
        "usage": {"inputTokens": 25, "outputTokens": 15, "totalTokens": 40},
        "metrics": {"latencyMs": 1},
    }


async def weather(peer: Peer, asked: Asked) -> None:
    """A behaviour: first calls the tool, then speaks of what it said."""
    told = SUNNY.encode() in asked.received.body
    answer = _text if told else _call
    await peer.reply(json.dumps(answer(asked.case.family)).encode(), JSON)


@asynccontextmanager
async def started(file: SqlitePlace) -> AsyncGenerator[tuple[Gateway, Families]]:
    """A gateway, and the upstream of all its families."""
    async with families({"weather": weather, "whole": whole}) as there:
        config = {"providers": there.providers((), ()), "hermod": {"upkeep_s": 0.3}}
        with file.start("gateway", config) as gateway:
            yield gateway, there
            assert "Traceback" not in gateway.output, gateway.output


def model_of(family: str, behaviour: str) -> str:
    """The model that has the upstream behave so."""
    case = CASES[family]
    name = STREAMS[family].model if family in STREAMS else case.example.told["model"]
    return f"{family}/{name}--{behaviour}--{case.number}"


def sent(there: Families, family: str) -> list[Any]:
    """The bodies that the upstream has received for the tool."""
    return [json.loads(each.received.body) for each in there.calls("weather", CASES[family])]


def speaks_of_all(family: str, body: Mapping[str, Any]) -> bool:
    """Whether a request holds the picture, the tool and the system's words, in the family's."""
    match family:
        case "gemini":
            parts = [part for content in body["contents"] for part in content["parts"]]
            pictures = [part["inlineData"]["data"] for part in parts if "inlineData" in part]
            tools = [each["functionDeclarations"][0] for each in body["tools"]]
            system = body["systemInstruction"]["parts"]
        case "anthropic":
            blocks = [block for each in body["messages"] for block in each["content"]]
            pictures = [block["source"]["data"] for block in blocks if block["type"] == "image"]
            tools, system = body["tools"], body["system"]
        case _:
            blocks = [block for each in body["messages"] for block in each["content"]]
            pictures = [block["image"]["source"]["bytes"] for block in blocks if "image" in block]
            tools = [each["toolSpec"] for each in body["toolConfig"]["tools"]]
            system = body["system"]
    words = system if isinstance(system, str) else "".join(part["text"] for part in system)
    names = [tool["name"] for tool in tools]
    return (pictures, names, words) == ([PICTURE], ["weather"], SYSTEM)


# Claude's door


def claude_asks(family: str, *more: Any, **headers: str) -> dict[str, Any]:
    """The arguments of a message with a picture and a tool."""
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    image = {"type": "image", "source": source}
    text = {"type": "text", "text": "How is the weather there?"}
    return {
        "model": model_of(family, "weather"),
        "max_tokens": 1000,
        "system": SYSTEM,
        "tools": [{"name": "weather", "description": "Says it.", "input_schema": SCHEMA}],
        "messages": [{"role": "user", "content": [image, text]}, *more],
        "extra_headers": headers,
    }


async def claude_done(
    client: anthropic.AsyncAnthropic, family: str, *more: Any, is_async: bool
) -> anthropic.types.Message:
    """The message, at once or as a job."""
    if not is_async:
        return await client.messages.create(**claude_asks(family, *more))
    begun = await client.messages.create(**claude_asks(family, *more, **{"x-bf-async": "true"}))
    polled = {"x-bf-async-id": begun.id}
    polls = await until(
        lambda message: bool(message.content),
        lambda: client.messages.create(**claude_asks(family, *more, **polled)),
    )
    return polls[-1]


@pytest.mark.parametrize("is_async", [False, True])
async def test_claudes_sdk_reaches_every_family_with_its_tools_and_pictures(
    file: SqlitePlace, is_async: bool
) -> None:
    async with (
        started(file) as (gateway, there),
        anthropic_client("async", f"{gateway.url}/anthropic") as client,
    ):
        for family in ("gemini", "bedrock", "anthropic"):
            called = await claude_done(client, family, is_async=is_async)
            said, use = cast("list[Any]", called.content)
            assert (said.text, use.name, use.input) == ("I look.", "weather", CITY), family
            assert called.stop_reason == "tool_use", family
            assert called.usage.input_tokens == 25, family
            content = [
                block.model_dump(exclude_none=True, exclude={"parsed_output"})
                for block in called.content
            ]
            result = {"type": "tool_result", "tool_use_id": use.id, "content": SUNNY}
            told = await claude_done(
                client,
                family,
                {"role": "assistant", "content": content},
                {"role": "user", "content": [result]},
                is_async=is_async,
            )
            (last,) = cast("list[Any]", told.content)
            assert (last.text, told.stop_reason) == (SAID, "end_turn"), family
            asked = sent(there, family)
            assert len(asked) == 2, family
            assert all(speaks_of_all(family, body) for body in asked), (family, asked)


async def test_claudes_sdk_reads_the_streams_of_every_family(file: SqlitePlace) -> None:
    async with (
        started(file) as (gateway, _),
        anthropic_client("async", f"{gateway.url}/anthropic") as client,
    ):
        for family in STREAMS:
            async with client.messages.stream(
                model=model_of(family, "whole"),
                max_tokens=1000,
                messages=[{"role": "user", "content": "Who?"}],
            ) as stream:
                message = await stream.get_final_message()
            assert message.content[0].text == SAID, family
            assert message.stop_reason == "end_turn", family
            usage = message.usage.input_tokens, message.usage.output_tokens
            assert usage == (25, 15), family


# Google's door


def google_asks(family: str, *more: types.Content, **headers: str) -> dict[str, Any]:
    """The arguments of a request with a picture and a tool."""
    function = types.FunctionDeclaration(
        name="weather", description="Says it.", parameters_json_schema=SCHEMA
    )
    picture = types.Part.from_bytes(data=PIXELS, mime_type="image/png")
    text = types.Part.from_text(text="How is the weather there?")
    return {
        "model": model_of(family, "weather"),
        "contents": [types.Content(role="user", parts=[picture, text]), *more],
        "config": types.GenerateContentConfig(
            system_instruction=SYSTEM,
            max_output_tokens=1000,
            tools=[types.Tool(function_declarations=[function])],
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            http_options=types.HttpOptions(headers=headers),
        ),
    }


async def test_googles_sdk_reaches_every_family_with_its_tools_and_pictures(
    file: SqlitePlace,
) -> None:
    google = Google()
    async with (
        started(file) as (gateway, there),
        google("async", f"{gateway.url}/genai") as client,
    ):
        generate = client.models.generate_content
        for family in ("anthropic", "bedrock", "gemini"):
            called = await generate(**google_asks(family))
            (call,) = called.function_calls
            assert (call.name, call.args) == ("weather", CITY), family
            assert called.usage_metadata.prompt_token_count == 25, family
            response = types.FunctionResponse(
                id=call.id, name="weather", response={"result": SUNNY}
            )
            result = types.Content(role="user", parts=[types.Part(function_response=response)])
            told = await generate(**google_asks(family, called.candidates[0].content, result))
            assert told.text == SAID, family
            asked = sent(there, family)
            assert len(asked) == 2, family
            assert all(speaks_of_all(family, body) for body in asked), (family, asked)
        with pytest.raises(errors.ClientError) as caught:
            await generate(**google_asks("anthropic", **{"x-bf-async": "true"}))
        assert caught.value.code == 400
    google.close()


async def test_googles_sdk_reads_the_streams_of_every_family(file: SqlitePlace) -> None:
    google = Google()
    async with (
        started(file) as (gateway, _),
        google("async", f"{gateway.url}/genai") as client,
    ):
        for family in STREAMS:
            stream = client.models.generate_content_stream(
                model=model_of(family, "whole"), contents="Who?"
            )
            chunks = await items(stream)
            assert "".join(chunk.text or "" for chunk in chunks) == SAID, family
            last = chunks[-1]
            assert last.candidates[0].finish_reason == types.FinishReason.STOP, family
            assert last.usage_metadata.prompt_token_count == 25, family
    google.close()


# OpenAI's


async def test_a_chat_of_every_family_is_openais(file: SqlitePlace) -> None:
    chats = [case for case in first_cases() if case.path == "chat/completions"]
    assert len(chats) == 11
    async with (
        started(file) as (gateway, _),
        openai_client("async", f"{gateway.url}/v1") as client,
        jobs_of(gateway.url) as jobs,
    ):
        for case in chats:
            body = case.body("good")
            answer = await client.chat.completions.create(
                model=body.pop("model"), messages=body.pop("messages"), extra_body=body
            )
            assert answer.choices[0].finish_reason, case.family
            job = await jobs.end_of(await jobs.submit(case.path, case.body("good")))
            result = job.whole["result"]
            assert result["extra_fields"]["provider"] == case.family
            assert ChatCompletion.model_validate(result).choices, case.family


@pytest.mark.parametrize("family", DOORS)
async def test_a_background_response_of_a_translated_provider_is_openais(
    file: SqlitePlace, family: str
) -> None:
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}"}
    said = {"type": "input_text", "text": "How is the weather there?"}
    tool = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
    asking: dict[str, Any] = {
        "model": model_of(family, "weather"),
        "instructions": SYSTEM,
        "tools": [tool],
    }
    input_: list[Any] = [{"role": "user", "content": [image, said]}]
    async with (
        started(file) as (gateway, there),
        openai_client("async", f"{gateway.url}/openai/v1") as client,
        jobs_of(gateway.url) as jobs,
    ):

        async def done(**asked: Any) -> Any:
            begun = await client.responses.create(background=True, **asked)
            states = await until(
                lambda response: response.status not in ("queued", "in_progress"),
                lambda: client.responses.retrieve(begun.id),
            )
            assert {state.id for state in states} == {begun.id}
            return states[-1]

        called = await done(**asking, input=input_)
        (call,) = [item for item in called.output if item.type == "function_call"]
        assert (called.status, called.output_text) == ("completed", "I look.")
        assert (call.name, json.loads(call.arguments)) == ("weather", CITY)
        input_ += [item.model_dump(exclude_none=True) for item in called.output]
        input_.append({"type": "function_call_output", "call_id": call.call_id, "output": SUNNY})
        told = await done(**asking, input=input_)
        assert (told.status, told.output_text) == ("completed", SAID)
        assert told.usage.input_tokens == 25
        asked = sent(there, family)
        assert len(asked) == 2
        assert all(speaks_of_all(family, body) for body in asked), asked
        # The same as a job of our own.
        url = await jobs.submit("responses", {**asking, "input": input_})
        end = await jobs.end_of(url)
        assert end.whole["result"]["output"][0]["content"][0]["text"] == SAID
