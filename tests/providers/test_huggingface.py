"""Hugging Face's router: whose model is asked, and what its own servers answer."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse, ImagesResponse
from openai.types.audio import TranscriptionVerbose

from hermod.domain.failure import Failure
from hermod.domain.outcome import Native
from hermod.kinds.form import FilePart
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers import huggingface
from hermod.providers.adapter import Answered, CannotCarry, Outgoing
from hermod.providers.multipart_body import FormFile, compose
from tests.providers.any_json import any_json

CHAT = KIND_BY_TYPE["chat_completion"]
EMBEDDING = KIND_BY_TYPE["embedding"]
IMAGE = KIND_BY_TYPE["image_generation"]
TRANSCRIPTION = KIND_BY_TYPE["transcription"]
FILE = FormFile(FilePart("file", "a.flac", "audio/flac", 4), memoryview(b"fLaC"))
BGE = "BAAI/bge-small-en-v1.5"


def outgoing(model: str, /, **asked: Any) -> Outgoing:
    body = json.dumps({"model": f"huggingface/{model}"} | asked).encode()
    return Outgoing(body, None, model, True, "", now_s=5)


def form(**fields: str) -> Outgoing:
    body, content_type = compose([("model", "huggingface/o/w"), *fields.items()], [FILE], "ours")
    return Outgoing(body, content_type, "o/w", True, "theirs")


def read(kind: Any, asked: Outgoing, reply: object) -> Answered | Failure:
    return huggingface.read(kind, asked, "application/json", json.dumps(reply).encode())


@pytest.mark.parametrize(
    ("model", "theirs"),
    [
        ("meta-llama/Llama", "meta-llama/Llama"),
        ("groq/meta-llama/Llama", "meta-llama/Llama:groq"),
        ("auto/meta-llama/Llama", "meta-llama/Llama"),
        ("meta-llama/Llama:fastest", "meta-llama/Llama:fastest"),
    ],
)
def test_a_provider_in_front_goes_behind(model: str, theirs: str) -> None:
    prepared = huggingface.build(CHAT, outgoing(model, messages=[]))
    assert json.loads(prepared.body)["model"] == theirs
    assert prepared.path is None


@pytest.mark.parametrize("model", [f"nebius/{BGE}", "../x", "a/..", "a/b/c/d", "a/b?c"])
def test_a_task_of_another_provider_or_of_no_model_is_refused(model: str) -> None:
    with pytest.raises(CannotCarry) as caught:
        huggingface.build(EMBEDDING, outgoing(model, input="one"))
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("param", "kind", "asked"),
    [
        ("dimensions", EMBEDDING, {"input": "one", "dimensions": 5}),
        ("input", EMBEDDING, {"input": [1, 2]}),
        ("response_format", IMAGE, {"prompt": "x", "response_format": "url"}),
        ("n", IMAGE, {"prompt": "x", "n": 2}),
        ("size", IMAGE, {"prompt": "x", "size": "large"}),
    ],
)
def test_what_a_task_has_no_words_for_is_refused(
    param: str, kind: Any, asked: dict[str, Any]
) -> None:
    with pytest.raises(CannotCarry) as caught:
        huggingface.build(kind, outgoing(BGE, **asked))
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("param", "fields"),
    [("language", {"language": "en"}), ("response_format", {"response_format": "srt"})],
)
def test_what_a_transcript_has_no_words_for_is_refused(param: str, fields: dict[str, str]) -> None:
    with pytest.raises(CannotCarry) as caught:
        huggingface.build(TRANSCRIPTION, form(**fields))
    assert caught.value.param == param


def test_openais_types_take_the_vectors() -> None:
    asked = outgoing(BGE, input=["a", "b"])
    found = read(EMBEDDING, asked, [[0.5, 1], [0.25, 0]])
    assert isinstance(found, Answered)
    # No usage is told, and none is made up.
    whole = json.loads(found.body) | {"usage": {"prompt_tokens": 0, "total_tokens": 0}}
    assert len(CreateEmbeddingResponse.model_validate(whole).data) == 2
    packed = read(EMBEDDING, outgoing(BGE, input="a", encoding_format="base64"), [[1.0]])
    assert isinstance(packed, Answered)
    assert json.loads(packed.body)["data"][0]["embedding"] == "AACAPw=="


@pytest.mark.parametrize(
    "reply", [[], [[1], [2]], [1, 2], [[[1]]], {"error": "loading"}, {"x": 1}, "x", [["a"]]]
)
def test_what_is_no_vector_for_each_input_is_no_answer(reply: object) -> None:
    assert isinstance(read(EMBEDDING, outgoing(BGE, input="one"), reply), Failure)


def test_openais_types_take_the_transcript() -> None:
    reply = {"text": "Who", "chunks": [{"text": "Who", "timestamp": [0, None]}, None]}
    found = read(TRANSCRIPTION, form(response_format="verbose_json"), reply)
    assert isinstance(found, Answered)
    assert TranscriptionVerbose.model_validate_json(found.body).text == "Who"


def test_text_is_a_text() -> None:
    found = read(TRANSCRIPTION, form(response_format="text"), {"text": "Who"})
    assert isinstance(found, Answered)
    assert found.native == Native("text/plain; charset=utf-8", b"Who")


def test_openais_types_take_the_picture() -> None:
    found = huggingface.read(IMAGE, outgoing("a/b", prompt="x"), "image/png", b"\x89PNG")
    assert isinstance(found, Answered)
    whole = ImagesResponse.model_validate_json(found.body)
    assert [base64.b64decode(each.b64_json or "") for each in whole.data or ()] == [b"\x89PNG"]


@pytest.mark.parametrize(
    ("label", "body"), [("text/html", b"<html>"), ("image/png", b""), ("application/json", b"{}")]
)
def test_what_is_no_picture_is_no_answer(label: str, body: bytes) -> None:
    found = huggingface.read(IMAGE, outgoing("a/b", prompt="x"), label, body)
    assert isinstance(found, Failure)


@given(any_json("text chunks timestamp error data embeddings"))
def test_no_reply_makes_it_raise(reply: object) -> None:
    for told in (reply, [reply], {"text": "x", "chunks": reply}, {"text": "x", "chunks": [reply]}):
        read(EMBEDDING, outgoing(BGE, input="one"), told)
        read(TRANSCRIPTION, form(response_format="verbose_json"), told)
        read(IMAGE, outgoing("a/b", prompt="x"), told)


@given(st.binary(), st.sampled_from(["image/png", "application/json", None]))
def test_no_bytes_make_it_raise(body: bytes, label: str | None) -> None:
    huggingface.read(EMBEDDING, outgoing(BGE, input="one", encoding_format="base64"), label, body)
    huggingface.read(TRANSCRIPTION, form(), label, body)
    huggingface.read(IMAGE, outgoing("a/b", prompt="x"), label, body)
