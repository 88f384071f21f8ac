"""The vendors' own clients send what we send, and read what the recorded calls answer.

Each is told the members of a recorded request; what it puts on the wire is compared with ours.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from cohere import ClientV2, V2ChatResponse
from cohere.types import ChatMessageV2, EmbedByTypeResponse, ResponseFormatV2, Thinking, ToolV2
from elevenlabs.client import ElevenLabs
from elevenlabs.types import (
    AudioWithTimestampsResponse,
    SpeechToTextChunkResponseModel,
    VoiceSettings,
)
from pydantic import BaseModel, TypeAdapter
from replicate.client import Client as Replicate
from replicate.prediction import Prediction

from tests.providers.recorded import Example, examples, parts_of

Seen = list[httpx.Request]


@contextmanager
def transport(example: Example) -> Iterator[tuple[httpx.MockTransport, Seen]]:
    """Answers with the recorded reply; what was asked is seen."""
    seen: Seen = []
    status, content_type, body = example.reply

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        seen.append(request)
        return httpx.Response(status, headers={"content-type": content_type}, content=body)

    yield httpx.MockTransport(answer), seen


def of(provider: str, request_type: str, fits: Callable[[Example], bool] = lambda _: True) -> Any:
    """A test for each recorded call that was answered."""
    found = [
        each
        for each in examples()
        if (each.provider, each.kind.request_type) == (provider, request_type)
        and each.reply[0] < 400
        and fits(each)
    ]
    assert found
    return pytest.mark.parametrize("example", found, ids=[each.case or "plain" for each in found])


def nothing_unknown(value: object) -> None:
    """No member that the vendor's types do not have."""
    if isinstance(value, BaseModel):
        assert not value.model_extra
        for name in type(value).model_fields:
            nothing_unknown(getattr(value, name))
    elif isinstance(value, list):
        for each in value:
            nothing_unknown(each)


def same_place(example: Example, request: httpx.Request) -> None:
    """It went to the path that ours goes to, with the same query."""
    ours = urlsplit(example.path_of(example.build()))
    assert request.url.path == ours.path
    assert dict(parse_qsl(request.url.query.decode())) == dict(parse_qsl(ours.query))


@of("cohere", "chat_completion")
def test_cohere_sends_the_chat_that_we_send(example: Example) -> None:
    sent = json.loads(example.build().body)
    with transport(example) as (answers, seen):
        client = ClientV2("key", httpx_client=httpx.Client(transport=answers))
        told = client.chat(**{name: value for name, value in sent.items() if name != "stream"})
    assert json.loads(seen[0].content) == sent
    same_place(example, seen[0])
    assert isinstance(told, V2ChatResponse)


@of("cohere", "chat_completion")
def test_coheres_types_take_every_part_of_the_chat(example: Example) -> None:
    sent = json.loads(example.build().body)
    wanted: dict[str, Any] = {
        "messages": list[ChatMessageV2],
        "tools": list[ToolV2],
        "response_format": ResponseFormatV2,
        "thinking": Thinking,
    }
    for name, its_type in wanted.items():
        if name in sent:
            nothing_unknown(TypeAdapter(its_type).validate_python(sent[name]))
    nothing_unknown(V2ChatResponse.model_validate_json(example.reply[2]))


@of("cohere", "embedding")
def test_cohere_sends_the_embeddings_that_we_send(example: Example) -> None:
    sent = json.loads(example.build().body)
    with transport(example) as (answers, seen):
        client = ClientV2("key", httpx_client=httpx.Client(transport=answers))
        client.embed(**sent)
    assert json.loads(seen[0].content) == sent
    same_place(example, seen[0])
    nothing_unknown(EmbedByTypeResponse.model_validate_json(example.reply[2]).embeddings)


def is_spoken(example: Example) -> bool:
    return "voice" in example.told["asked"]


@of("elevenlabs", "speech", is_spoken)
def test_elevenlabs_sends_the_speech_that_we_send(example: Example) -> None:
    prepared = example.build()
    sent = json.loads(prepared.body)
    url = urlsplit(example.path_of(prepared))
    query: dict[str, Any] = dict(parse_qsl(url.query))
    if "enable_logging" in query:
        query["enable_logging"] = query["enable_logging"] == "true"
    nothing_unknown(VoiceSettings.model_validate(sent.get("voice_settings", {})))
    voice = url.path.split("/")[3]
    timed = example.told["asked"].get("with_timestamps")
    with transport(example) as (answers, seen):
        client = ElevenLabs(api_key="key", httpx_client=httpx.Client(transport=answers))
        speech = client.text_to_speech
        if timed:
            told = speech.convert_with_timestamps(voice, **query, **sent)
            assert isinstance(told, AudioWithTimestampsResponse)
        else:
            assert b"".join(speech.convert(voice, **query, **sent)) == example.reply[2]
    assert json.loads(seen[0].content) == sent
    same_place(example, seen[0])


@of("elevenlabs", "speech", lambda example: not is_spoken(example))
def test_elevenlabs_sends_the_sound_that_we_send(example: Example) -> None:
    prepared = example.build()
    sent = json.loads(prepared.body)
    query: dict[str, Any] = dict(parse_qsl(urlsplit(example.path_of(prepared)).query))
    with transport(example) as (answers, seen):
        client = ElevenLabs(api_key="key", httpx_client=httpx.Client(transport=answers))
        assert b"".join(client.text_to_sound_effects.convert(**query, **sent)) == example.reply[2]
    assert json.loads(seen[0].content) == sent
    same_place(example, seen[0])


@of("elevenlabs", "transcription")
def test_elevenlabs_sends_the_form_that_we_send(example: Example) -> None:
    prepared = example.build()
    ours = parts_of(prepared.body, prepared.content_type)
    fields: dict[str, Any] = dict(ours["fields"])
    if "additional_formats" in fields:
        fields["additional_formats"] = json.loads(fields["additional_formats"])
    file = ours["files"]["file"]
    given = (file["filename"], file["text"].encode("latin-1"), file["content_type"])
    with transport(example) as (answers, seen):
        client = ElevenLabs(api_key="key", httpx_client=httpx.Client(transport=answers))
        told = client.speech_to_text.convert(file=given, **fields)
    theirs = parts_of(seen[0].content, seen[0].headers["content-type"])
    assert theirs["files"]["file"] == file
    # It writes those that were not given as null, and the formats with spaces.
    known = {name: value for name, value in theirs["fields"].items() if value != "null"}
    for name, value in ours["fields"].items():
        shown = json.loads(known[name]) if name == "additional_formats" else known[name]
        assert shown == fields[name], (name, value)
    assert known.keys() == ours["fields"].keys()
    same_place(example, seen[0])
    assert isinstance(told, SpeechToTextChunkResponseModel)


@pytest.mark.parametrize("request_type", ["chat_completion", "text_completion", "image_generation"])
def test_replicate_sends_the_predictions_that_we_send(request_type: str) -> None:
    found = [e for e in examples() if e.provider == "replicate" and e.reply[0] < 400]
    for example in (each for each in found if each.kind.request_type == request_type):
        prepared = example.build()
        sent = json.loads(prepared.body)
        parts = example.path_of(prepared).split("/")
        with transport(example) as (answers, seen):
            client = Replicate("token", transport=answers)
            if parts[2] == "models":
                told = client.models.predictions.create(
                    (parts[3], parts[4]), input=sent["input"], wait=60
                )
            elif parts[2] == "deployments":
                told = client.deployments.predictions.create(
                    (parts[3], parts[4]), input=sent["input"], wait=60
                )
            else:
                told = client.predictions.create(sent["version"], input=sent["input"], wait=60)
        assert json.loads(seen[0].content) == sent
        assert seen[0].headers["prefer"] == dict(prepared.headers)["Prefer"]
        same_place(example, seen[0])
        assert isinstance(told, Prediction)
