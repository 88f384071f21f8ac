"""The recorded calls in the eyes of others: Google's SDK reads what is sent to Google and what it
answers, OpenAI's SDK reads what clients get."""

import base64
import json
from array import array
from collections.abc import Mapping
from typing import Any

import pytest
from google.genai import types as google
from openai.types import CreateEmbeddingResponse, ImagesResponse
from openai.types.audio import Transcription
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.providers.gemini import dialect as gemini
from tests.providers.recorded import Example, examples
from tests.providers.test_gemini_answers import STREAM, streamed

RECORDED = [each for each in examples() if each.provider in ("gemini", "vertex")]
NATIVE = [each for each in RECORDED if "contents" in each.told["sent"]["body"]]
GIVEN = {
    "chat_completion": ChatCompletion,
    "embedding": CreateEmbeddingResponse,
    "image_generation": ImagesResponse,
    "transcription": Transcription,
}
OUTSIDE = ("safetySettings", "tools", "toolConfig", "systemInstruction", "cachedContent")
"""Beside `generationConfig` on the wire, within the SDK's config."""


def names(recorded: list[Example]) -> list[str]:
    return [f"{e.provider}-{e.kind.request_type}.{e.case}" for e in recorded]


def parsed(model: type[BaseModel], value: object) -> BaseModel:
    """What the SDK makes of it; a member that it does not know is an error."""
    assert model.model_config.get("extra") == "forbid"
    return model.model_validate_json(json.dumps(value))


def wire_of(model: BaseModel) -> Any:
    return json.loads(model.model_dump_json(by_alias=True, exclude_none=True))


@pytest.mark.parametrize("example", NATIVE, ids=names(NATIVE))
def test_googles_sdk_knows_everything_that_is_sent(example: Example) -> None:
    body = json.loads(example.build().body)
    for content in body["contents"]:
        assert wire_of(parsed(google.Content, content)) == content
    config = {name: body[name] for name in OUTSIDE if name in body}
    config |= body.get("generationConfig", {})
    if "imageOutputOptions" in config.get("imageConfig", {}):
        parsed(google.ImageConfig, config["imageConfig"])
    parsed(google.GenerateContentConfig, config)
    assert body.keys() <= {"contents", "generationConfig", *OUTSIDE}


@pytest.mark.parametrize("example", NATIVE, ids=names(NATIVE))
def test_the_recorded_answers_are_ones_that_googles_sdk_knows(example: Example) -> None:
    if example.told["reply"].get("status", 200) == 200:
        parsed(google.GenerateContentResponse, example.told["reply"]["body"])


@pytest.mark.parametrize("example", RECORDED, ids=names(RECORDED))
def test_openais_sdk_reads_every_answer(example: Example) -> None:
    model = GIVEN.get(example.kind.request_type)
    if model is None or "answer" not in example.told:
        return
    answer = example.told["answer"]
    if isinstance(packed := answer.get("data", [{}])[0].get("embedding"), str):
        # The SDK unpacks them itself, and its type is that of what comes out.
        unpacked = array("f", base64.b64decode(packed)).tolist()
        assert unpacked == example.told["reply"]["body"]["embeddings"][0]["values"]
        answer = {**answer, "data": [{**answer["data"][0], "embedding": unpacked}]}
    found = model.model_validate(answer)
    assert found.model_dump(exclude_unset=True, by_alias=True) == answer


def test_openais_sdk_reads_every_chunk() -> None:
    chunks, _, _ = streamed([STREAM], stream_options={"include_usage": True})
    for chunk in chunks:
        assert ChatCompletionChunk.model_validate(chunk).model_dump(exclude_unset=True) == chunk


@pytest.mark.parametrize(
    "example",
    [each for each in NATIVE if each.kind is CHAT_COMPLETION and "answer" in each.told],
    ids=lambda example: example.case,
)
def test_an_answer_in_pieces_is_the_answer(example: Example) -> None:
    outgoing = example.outgoing._replace(stream=True)
    event = b"data: %b\r\n\r\n" % json.dumps(example.told["reply"]["body"]).encode()
    told = gemini.open_stream(CHAT_COMPLETION, outgoing)
    lines = (told.feed(event) + told.end()).split(b"\n\n")
    assert lines[-2] == b"data: [DONE]"
    chunks = [json.loads(line.removeprefix(b"data: ")) for line in lines[:-2]]
    said: dict[int, dict[str, Any]] = {}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        ChatCompletionChunk.model_validate(chunks[0])
        said.setdefault(choice["index"], {}).update(choice["delta"])
    for choice in example.told["answer"]["choices"]:
        assert without_indices(said[choice["index"]]) == without_indices(choice["message"])


def without_indices(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message and a piece of one differ in nothing but where calls are numbered."""
    calls = [
        {name: value for name, value in call.items() if name != "index"}
        for call in message.get("tool_calls", [])
    ]
    return {**message, "content": message.get("content") or None, "tool_calls": calls}


def test_the_answer_to_a_call_finds_its_way_back() -> None:
    """What an answer gave out, a client's next request brings back as it was."""
    example = next(each for each in NATIVE if each.case == "tools")
    reply = example.told["reply"]["body"]
    message = ChatCompletion.model_validate(example.told["answer"]).choices[0].message
    asked = {
        "model": "gemini/g",
        "messages": [{"role": "user", "content": "Rain?"}, message.model_dump(exclude_unset=True)],
    }
    outgoing = example.outgoing._replace(body=json.dumps(asked).encode())
    built = json.loads(gemini.build(CHAT_COMPLETION, outgoing).body)
    sent = built["contents"][1]["parts"]
    expected = reply["candidates"][0]["content"]["parts"]
    assert [part["functionCall"]["args"] for part in sent] == [
        part["functionCall"]["args"] for part in expected
    ]
    assert sent[0]["thoughtSignature"] == expected[0]["thoughtSignature"]
    assert "thoughtSignature" not in sent[1]
