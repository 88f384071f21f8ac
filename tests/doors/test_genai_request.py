import base64
import json
from typing import Any

import pytest
from google.genai import types
from pydantic import BaseModel

from hermod.domain.errors import Refused
from hermod.doors.genai_embedding import from_embedding, to_embedding
from hermod.doors.genai_reply import from_chat
from hermod.doors.genai_request import to_chat
from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.kinds.embedding import EMBEDDING
from tests.doors.clients import KNOWN, Answer, Sent, google_client

BYTES = b"\xfb\xef\xff\x00"
STANDARD = base64.b64encode(BYTES).decode()


def sent(contents: Any = "hi", **config: Any) -> dict[str, Any]:
    """What the SDK asks for, as a chat completion that its kind accepts."""
    taken: list[bytes] = []

    def answering(request: Sent) -> Answer:
        assert request.path == "/v1/models/gemini-x:generateContent"
        taken.append(request.body)
        return Answer(from_chat(b"{}"))

    google_client(answering).models.generate_content(
        model="gemini-x",
        contents=contents,
        config=types.GenerateContentConfig(**config) if config else None,
    )
    return translated(taken[0])


def translated(body: bytes | dict[str, Any], model: str = "models/gemini-x") -> dict[str, Any]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    whole = to_chat(model, text, KNOWN)
    CHAT_COMPLETION.check(whole, KNOWN)
    return json.loads(whole)


def refusal(body: Any) -> str:
    with pytest.raises(Refused) as refused:
        to_chat("m", json.dumps(body).encode(), KNOWN)
    assert refused.value.failure.status_code == 400
    return refused.value.failure.message


def contents(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"contents": [{"role": role, "parts": list(parts)}]}


def test_the_smallest_request():
    assert sent() == {
        "model": "gemini/gemini-x",
        "messages": [{"role": "user", "content": "hi"}],
    }


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("gemini-x", "gemini/gemini-x"),
        ("models/openai/gpt", "openai/gpt"),
        ("tunedModels/mine", "gemini/tunedModels/mine"),
    ],
)
def test_the_model_of_the_path(path: str, model: str):
    assert translated(contents({"text": "hi"}), path)["model"] == model


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"temperature": 0.5, "top_p": 0.25}, {"temperature": 0.5, "top_p": 0.25}),
        ({"top_k": 5}, {}),
        ({"candidate_count": 1}, {}),
        ({"candidate_count": 2}, {"n": 2}),
        ({"max_output_tokens": 9}, {"max_completion_tokens": 9}),
        ({"stop_sequences": ["X"]}, {"stop": ["X"]}),
        ({"seed": 7}, {"seed": 7}),
        (
            {"presence_penalty": 0.5, "frequency_penalty": 1.5},
            {"presence_penalty": 0.5, "frequency_penalty": 1.5},
        ),
        ({"response_logprobs": True, "logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"response_modalities": ["TEXT"]}, {}),
        ({"thinking_config": {"thinking_level": "LOW"}}, {"reasoning_effort": "low"}),
        ({"thinking_config": {"thinking_budget": 0}}, {"reasoning_effort": "none"}),
        ({"thinking_config": {"thinking_budget": -1}}, {}),
        ({"thinking_config": {"thinking_budget": 1024}}, {"reasoning_effort": "low"}),
        ({"thinking_config": {"thinking_budget": 8192}}, {"reasoning_effort": "medium"}),
        ({"thinking_config": {"thinking_budget": 8193}}, {"reasoning_effort": "high"}),
        ({"response_mime_type": "text/plain"}, {}),
        (
            {"response_mime_type": "application/json"},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {
                "safety_settings": [
                    {
                        "category": "HARM_CATEGORY_HARASSMENT",
                        "threshold": "BLOCK_ONLY_HIGH",
                    }
                ]
            },
            {},
        ),
    ],
)
def test_parameters(config: dict[str, Any], expected: dict[str, Any]):
    assert sent(**config) == sent() | expected


def test_a_system_instruction_is_the_first_message():
    assert sent(system_instruction=["be brief", "be kind"])["messages"] == [
        {"role": "system", "content": "be brief\nbe kind"},
        {"role": "user", "content": "hi"},
    ]


class Point(BaseModel):
    """A schema with what schemas have."""

    x: int
    name: str | None = None
    tags: list[str]


def test_a_response_schema_is_json_schema():
    whole = sent(response_mime_type="application/json", response_schema=Point)
    shape = whole["response_format"]
    assert shape["type"] == "json_schema"
    schema = shape["json_schema"]["schema"]
    assert schema["type"] == "object"
    assert schema["properties"]["x"]["type"] == "integer"
    assert schema["properties"]["tags"]["items"]["type"] == "string"
    assert schema["properties"]["name"]["type"] == ["string", "null"]
    assert "propertyOrdering" not in schema


def test_a_json_schema_is_taken_as_it_is():
    schema = Point.model_json_schema()
    whole = sent(response_mime_type="application/json", response_json_schema=schema)
    assert whole["response_format"]["json_schema"] == {"name": "response", "schema": schema}


def test_googles_schema_in_full():
    schema = {
        "type": "OBJECT",
        "title": "T",
        "nullable": True,
        "properties": {
            "nullable": {"type": "BOOLEAN", "example": True},
            "e": {"type": "STRING", "enum": ["a"], "nullable": True},
            "l": {"type": "ARRAY", "minItems": "1", "items": {"type": "NUMBER", "maximum": 2}},
            "u": {"anyOf": [{"type": "STRING"}, {"type": "TYPE_UNSPECIFIED"}], "nullable": True},
        },
        "required": ["e"],
        "propertyOrdering": ["e", "l"],
    }
    tools = [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]
    function = translated(contents({"text": "a"}) | {"tools": tools})["tools"][0]["function"]
    assert function["parameters"] == {
        "type": ["object", "null"],
        "title": "T",
        "properties": {
            "nullable": {"type": "boolean", "examples": [True]},
            "e": {"type": ["string", "null"], "enum": ["a", None]},
            "l": {"type": "array", "minItems": 1, "items": {"type": "number", "maximum": 2}},
            "u": {"anyOf": [{"type": "string"}, {}, {"type": "null"}]},
        },
        "required": ["e"],
    }


F = types.FunctionDeclaration(
    name="f",
    description="does f",
    parameters=types.Schema(
        type=types.Type.OBJECT, properties={"a": types.Schema(type=types.Type.STRING)}
    ),
)
G = types.FunctionDeclaration(name="g", parameters_json_schema={"type": "object"})


def test_functions():
    whole = sent(
        tools=[types.Tool(function_declarations=[F]), types.Tool(function_declarations=[G])]
    )
    assert whole["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "does f",
                "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
            },
        },
        {"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}},
    ]


@pytest.mark.parametrize(
    ("calling", "choice", "offered"),
    [
        ({"mode": "AUTO"}, "auto", ["f", "g"]),
        ({"mode": "NONE"}, "none", ["f", "g"]),
        ({"mode": "ANY"}, "required", ["f", "g"]),
        ({"mode": "VALIDATED"}, "auto", ["f", "g"]),
        (
            {"mode": "ANY", "allowed_function_names": ["g"]},
            {"type": "function", "function": {"name": "g"}},
            ["g"],
        ),
        ({"mode": "ANY", "allowed_function_names": ["f", "g"]}, "required", ["f", "g"]),
        ({}, None, ["f", "g"]),
    ],
)
def test_how_functions_are_chosen(calling: dict[str, Any], choice: Any, offered: list[str]):
    whole = sent(
        tools=[types.Tool(function_declarations=[F, G])],
        tool_config={"function_calling_config": calling},
    )
    assert whole.get("tool_choice") == choice
    assert [tool["function"]["name"] for tool in whole["tools"]] == offered


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (types.Part(text="t"), "t"),
        (
            types.Part.from_bytes(data=BYTES, mime_type="image/png"),
            [
                {
                    "type": "image_url",
                    "image_url": {"url": f"data:image/png;base64,{STANDARD}"},
                }
            ],
        ),
        (
            types.Part.from_bytes(data=BYTES, mime_type="audio/mpeg"),
            [{"type": "input_audio", "input_audio": {"data": STANDARD, "format": "mp3"}}],
        ),
        (
            types.Part.from_bytes(data=BYTES, mime_type="application/pdf"),
            [
                {
                    "type": "file",
                    "file": {
                        "filename": "file",
                        "file_data": f"data:application/pdf;base64,{STANDARD}",
                    },
                }
            ],
        ),
        (
            types.Part.from_uri(file_uri="https://a/b.png", mime_type="image/png"),
            [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}],
        ),
        (types.Part(text="t", thought=True), ""),
        (types.Part(thought_signature=b"s"), ""),
    ],
)
def test_parts_of_a_user(part: types.Part, content: Any):
    asked = [types.Content(role="user", parts=[part])]
    assert sent(asked)["messages"] == [{"role": "user", "content": content}]


def test_calls_without_ids_are_matched_with_their_responses():
    asked = [
        types.Content(role="user", parts=[types.Part(text="go")]),
        types.Content(
            role="model",
            parts=[
                types.Part(text="so"),
                types.Part.from_function_call(name="f", args={"a": 1}),
                types.Part.from_function_call(name="f", args={"a": 2}),
                types.Part(
                    function_call=types.FunctionCall(id="own", name="g"), thought_signature=b"s"
                ),
            ],
        ),
        types.Content(
            role="user",
            parts=[
                types.Part(
                    function_response=types.FunctionResponse(
                        id="own", name="g", response={"output": 3}
                    )
                ),
                types.Part.from_function_response(name="f", response={"output": 1}),
                types.Part.from_function_response(name="f", response={"output": 2}),
                types.Part(text="and?"),
            ],
        ),
    ]
    call = {"type": "function"}
    assert sent(asked)["messages"][1:] == [
        {
            "role": "assistant",
            "content": "so",
            "tool_calls": [
                call | {"id": "call_1", "function": {"name": "f", "arguments": '{"a": 1}'}},
                call | {"id": "call_2", "function": {"name": "f", "arguments": '{"a": 2}'}},
                call | {"id": "own", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "own", "content": '{"output": 3}'},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"output": 1}'},
        {"role": "tool", "tool_call_id": "call_2", "content": '{"output": 2}'},
        {"role": "user", "content": "and?"},
    ]


def test_both_spellings_are_taken():
    body = {
        "system_instruction": {"parts": [{"text": "s"}]},
        "contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": "AA=="}}]}],
        "generation_config": {"max_output_tokens": 3, "thinking_config": {"thinking_budget": 0}},
        "tools": [{"function_declarations": [{"name": "f"}]}],
        "tool_config": {"function_calling_config": {"mode": "ANY"}},
    }
    whole = translated(body)
    assert whole["messages"][0] == {"role": "system", "content": "s"}
    assert whole["max_completion_tokens"] == 3
    assert whole["reasoning_effort"] == "none"
    assert whole["tool_choice"] == "required"


def test_a_stream_asks_for_its_usage():
    body = json.dumps(contents({"text": "hi"})).encode()
    whole = json.loads(to_chat("m", body, KNOWN, stream=True))
    assert whole["stream"] is True
    assert whole["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "invalid request format: Expected `object`, got `array`"),
        (
            {},
            "invalid request format: Object missing required field `contents` - at `$`",
        ),
        (
            contents({"text": 4}) | {"generationConfig": {"temperature": "hot"}},
            "invalid request format: Expected `number` - at `$.generationConfig.temperature`",
        ),
        (
            contents({"text": "a"}, role="tool"),
            "invalid request format: 'tool' is none of user, model, function "
            "- at `$.contents[0].role`",
        ),
        (
            contents({}),
            "invalid request format: this part holds nothing that is supported here "
            "- at `$.contents[0].parts[0]`",
        ),
        (
            contents({"executableCode": {}}),
            "invalid request format: this is not supported here "
            "- at `$.contents[0].parts[0].executableCode`",
        ),
        (
            contents({"fileData": {"fileUri": "gs://a/b.png", "mimeType": "image/png"}}),
            "invalid request format: only images can be named by their address here, and only "
            "over http(s) - at `$.contents[0].parts[0].fileData.fileUri`",
        ),
        (
            contents({"functionResponse": {"name": "f", "response": {}}}),
            "invalid request format: no functionCall of this name comes before "
            "- at `$.contents[0].parts[0].functionResponse`",
        ),
        (
            contents({"text": "a"}) | {"tools": [{"googleSearch": {}}]},
            "invalid request format: this is not supported here - at `$.tools[0].googleSearch`",
        ),
        (
            contents({"text": "a"}) | {"cachedContent": "c"},
            "invalid request format: this is not supported here - at `$.cachedContent`",
        ),
        (
            contents({"text": "a"}) | {"generationConfig": {"responseModalities": ["IMAGE"]}},
            "invalid request format: 'IMAGE' is none of TEXT, MODALITY_UNSPECIFIED "
            "- at `$.generationConfig.responseModalities[0]`",
        ),
        (
            contents({"text": "a"})
            | {
                "toolConfig": {
                    "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["x"]}
                }
            },
            "invalid request format: none of these functions is declared "
            "- at `$.toolConfig.functionCallingConfig.allowedFunctionNames`",
        ),
    ],
)
def test_what_is_wrong_or_cannot_be_carried_is_named(body: Any, message: str):
    if "temperature" in message:
        body = body | contents({"text": "a"})
    assert refusal(body) == message


# Embeddings

RESULT = (
    b'{"object":"list","data":[{"index":1,"embedding":[3, 4.50]},{"index":0,"embedding":[1,2e0]}],'
    b'"model":"m","usage":{"prompt_tokens":5,"total_tokens":5}}'
)


def test_the_sdk_embeds_a_batch():
    taken: list[Sent] = []

    def answering(request: Sent) -> Answer:
        taken.append(request)
        return Answer(from_embedding(RESULT, batch=True))

    found = google_client(answering).models.embed_content(
        model="emb",
        contents=["a", "b"],
        config=types.EmbedContentConfig(output_dimensionality=2, task_type="RETRIEVAL_QUERY"),
    )
    assert taken[0].path == "/v1/models/emb:batchEmbedContents"
    whole = to_embedding("emb", taken[0].body, KNOWN, batch=True)
    EMBEDDING.check(whole, KNOWN)
    assert json.loads(whole) == {"model": "gemini/emb", "input": ["a", "b"], "dimensions": 2}
    assert found.embeddings is not None
    assert [each.values for each in found.embeddings] == [[1.0, 2.0], [3.0, 4.5]]


def test_one_text_is_embedded():
    body = b'{"content":{"parts":[{"text":"a"},{"text":"b"}]},"output_dimensionality":2}'
    whole = to_embedding("openai/emb", body, KNOWN, batch=False)
    assert json.loads(whole) == {"model": "openai/emb", "input": ["a\nb"], "dimensions": 2}
    assert json.loads(from_embedding(RESULT, batch=False))["embedding"] == {"values": [1, 2]}


def test_vectors_travel_as_they_were_written():
    assert b'{"values":[3, 4.50]}' in from_embedding(RESULT, batch=True)


def test_vectors_in_base64_are_decoded():
    result = b'{"data":[{"index":0,"embedding":"AACAPwAAAEA="}]}'
    found = json.loads(from_embedding(result, batch=False))
    assert found["embedding"] == {"values": [1.0, 2.0]}


def test_vectors_of_different_sizes_are_refused():
    part = {"content": {"parts": [{"text": "a"}]}}
    body = {"requests": [part, part | {"outputDimensionality": 2}]}
    with pytest.raises(Refused, match="outputDimensionality"):
        to_embedding("m", json.dumps(body).encode(), KNOWN, batch=True)
