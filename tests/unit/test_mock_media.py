"""What the mock says in files and lists, as OpenAI's own client reads it."""

import base64
import io
import json
import struct
import wave
import zlib
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse, ImagesResponse
from openai.types.audio import Transcription, TranscriptionVerbose
from openai.types.chat import ChatCompletion
from openai.types.completion import Completion
from openai.types.responses import Response

from hermod.providers.mock import media as mock_media
from hermod.providers.mock import shapes as mock_shapes
from hermod.providers.mock.request import (
    CHAT,
    EMBEDDING,
    IMAGE_EDIT,
    IMAGE_GENERATION,
    IMAGE_VARIATION,
    OCR,
    RERANK,
    RESPONSES,
    SPEECH,
    TEXT,
    TRANSCRIPTION,
)
from tests.support.mock_requests import FUNCTION, SAID, ask, whole

TOOLS: dict[str, list[dict[str, Any]]] = {
    CHAT: [{"type": "web_search"}, {"type": "function", "function": FUNCTION}],
    RESPONSES: [{"type": "web_search"}, {"type": "function", **FUNCTION}],
}
ARGUMENTS = {"city": SAID, "days": 1, "unit": "C", "at": [{"h": SAID}]}


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (CHAT, ChatCompletion),
        (TEXT, Completion),
        (RESPONSES, Response),
        (EMBEDDING, CreateEmbeddingResponse),
        (TRANSCRIPTION, Transcription),
        (IMAGE_GENERATION, ImagesResponse),
        (IMAGE_EDIT, ImagesResponse),
        (IMAGE_VARIATION, ImagesResponse),
    ],
)
@pytest.mark.parametrize("model", ["hello", "echo", "stream", "tool"])
def test_the_clients_own_types_accept_an_answer(kind: str, shape: Any, model: str) -> None:
    fields: dict[str, Any] = {"tools": TOOLS[kind]} if kind in TOOLS else {}
    shape.model_validate_json(ask(kind, model, **fields).body)


# Speech


@pytest.mark.parametrize(
    ("response_format", "content_type"),
    [
        ("mp3", "audio/mpeg"),
        ("opus", "audio/opus"),
        ("aac", "audio/aac"),
        ("flac", "audio/flac"),
        ("wav", "audio/wav"),
        ("pcm", "audio/pcm"),
    ],
)
def test_a_speech_is_bytes_of_the_asked_format(response_format: str, content_type: str) -> None:
    reply = ask(SPEECH, "speech?bytes=5001", response_format=response_format)
    assert reply.headers == (("content-type", content_type),)
    assert reply.body == mock_media.audio(SAID, response_format, 5001)
    assert len(reply.body) == 5001


def test_a_wav_can_be_played() -> None:
    with wave.open(io.BytesIO(ask(SPEECH, "hello", response_format="wav").body)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2)
        assert sound.getnframes() / sound.getframerate() == pytest.approx(0.1)
        assert len(sound.readframes(10_000)) == 4800


@pytest.mark.parametrize("size", [0, 1, 43, 44, 45])
@pytest.mark.parametrize("response_format", mock_media.AUDIO_TYPES)
def test_an_audio_may_be_as_small_as_asked(size: int, response_format: str) -> None:
    assert len(mock_media.audio("a", response_format, size)) == size


def test_an_audio_is_another_for_another_text() -> None:
    assert mock_media.audio("a") == mock_media.audio("a") != mock_media.audio("b")


# Transcriptions


@pytest.mark.parametrize("model", ["hello", "echo", "stream?chunks=3"])
def test_every_format_of_a_transcription_says_the_same_text(model: str) -> None:
    text = whole(ask(TRANSCRIPTION, model))["text"]
    for response_format in ("text", "srt", "vtt", "verbose_json"):
        reply = ask(TRANSCRIPTION, model, response_format=response_format)
        said = whole(reply)["text"] if response_format == "verbose_json" else reply.body.decode()
        assert text in said


@pytest.mark.parametrize(
    ("response_format", "beginning"),
    [
        ("srt", "1\n00:00:00,000 --> 00:00:00,100\nHello"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:00.100\nHello"),
        ("text", "Hello"),
    ],
)
def test_plain_formats_of_a_transcription_are_plain_text(
    response_format: str, beginning: str
) -> None:
    reply = ask(TRANSCRIPTION, "hello", response_format=response_format)
    assert reply.headers == (("content-type", "text/plain; charset=utf-8"),)
    assert reply.body.decode().startswith(beginning)


def test_the_verbose_format_of_a_transcription_has_segments_and_the_asked_words() -> None:
    fields: dict[str, Any] = {
        "response_format": "verbose_json",
        "timestamp_granularities[]": "word",
    }
    reply = ask(TRANSCRIPTION, "hello", **fields)
    verbose = TranscriptionVerbose.model_validate_json(reply.body)
    assert verbose.segments
    assert verbose.words
    assert [word.word for word in verbose.words] == verbose.text.split()
    assert verbose.words[-1].end == pytest.approx(verbose.duration, abs=0.001)


# Images


def png_chunks(content: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG, each of them checked."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    found: dict[bytes, bytes] = {}
    at = 8
    while at < len(content):
        (size,) = struct.unpack_from(">I", content, at)
        name, chunk = content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", content, at + 8 + size) == (zlib.crc32(name + chunk),)
        found[name] = chunk
        at += size + 12
    return found


@pytest.mark.parametrize("model", ["hello", "image", "image?bytes=100000"])
def test_an_image_is_a_real_png(model: str) -> None:
    (drawn,) = whole(ask(IMAGE_GENERATION, model))["data"]
    chunks = png_chunks(base64.b64decode(drawn["b64_json"]))
    assert struct.unpack_from(">II", chunks[b"IHDR"]) == (8, 8)
    assert len(zlib.decompress(chunks[b"IDAT"])) == 8 * (1 + 3 * 8)


@pytest.mark.parametrize("size", [0, 10, 300, 24_817, 24_820, 24_860, 20_000_000])
def test_an_image_has_the_asked_size_and_the_bytes_of_its_prompt(size: int) -> None:
    (drawn,) = whole(ask(IMAGE_GENERATION, f"image?bytes={size}"))["data"]
    content = base64.b64decode(drawn["b64_json"])
    assert len(content) == size
    assert content == mock_media.image(SAID, 0, size)


def test_each_of_n_images_is_another() -> None:
    data = whole(ask(IMAGE_EDIT, "hello", n="3"))["data"]
    assert len({drawn["b64_json"] for drawn in data}) == 3


def test_images_may_be_too_many_bytes_together() -> None:
    assert ask(IMAGE_GENERATION, "image?bytes=60000000", n=2).status == 400
    assert ask(IMAGE_GENERATION, "image?bytes=70000000").status == 400


def test_an_image_can_be_an_address() -> None:
    (drawn,) = whole(ask(IMAGE_VARIATION, "hello", response_format="url"))["data"]
    assert drawn["url"].startswith("https://images.mock.invalid/")
    assert "b64_json" not in drawn


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({}, ("1024x1024", "low")),
        ({"size": "512x512", "quality": "high"}, ("512x512", "high")),
        ({"size": "auto", "quality": "auto"}, ("1024x1024", "low")),
        ({"size": [1], "quality": 5}, ("1024x1024", "low")),
    ],
)
def test_an_image_repeats_the_looks_that_were_asked_for(
    asked: dict[str, Any], shown: tuple[str, str]
) -> None:
    answer = whole(ask(IMAGE_GENERATION, "hello", **asked))
    assert (answer["size"], answer["quality"]) == shown


# Rerank and OCR


def test_a_rerank_sorts_by_the_share_of_the_words_of_the_query() -> None:
    documents = ["nothing", "Green apples", {"text": "a GREEN, sour apple"}, "apple pie"]
    answer = whole(ask(RERANK, "rerank", query="sour green apple", documents=documents))
    assert answer["results"] == [
        {"index": 2, "relevance_score": 1.0},
        {"index": 1, "relevance_score": 0.333333},
        {"index": 3, "relevance_score": 0.333333},
        {"index": 0, "relevance_score": 0.0},
    ]
    assert answer["meta"]["billed_units"] == {"search_units": 1}


def test_a_rerank_returns_the_best_and_their_texts_when_told_to() -> None:
    documents = ["b", "a"]
    fields = {"query": "a", "documents": documents, "top_n": 1, "return_documents": True}
    (result,) = whole(ask(RERANK, "hello", **fields))["results"]
    assert result == {"index": 1, "relevance_score": 1.0, "document": {"text": "a"}}


def test_the_words_of_a_query_may_be_none() -> None:
    assert mock_shapes.relevance("?", "?") == 0


def test_an_ocr_has_the_asked_pages() -> None:
    answer = whole(ask(OCR, "ocr", pages=[2, 5]))
    assert [page["index"] for page in answer["pages"]] == [2, 5]
    assert answer["usage_info"]["pages_processed"] == 2
    assert answer["model"] == "ocr"


# Tools


def test_the_tool_model_calls_the_first_function_of_a_chat() -> None:
    answer = ChatCompletion.model_validate_json(ask(CHAT, "tool", tools=TOOLS[CHAT]).body)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == ARGUMENTS


def test_the_tool_model_calls_the_first_function_of_a_response() -> None:
    answer = Response.model_validate_json(ask(RESPONSES, "tool", tools=TOOLS[RESPONSES]).body)
    (call,) = answer.output
    assert call.type == "function_call"
    assert call.name == "weather"
    assert json.loads(call.arguments) == ARGUMENTS


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (CHAT, {}),
        (CHAT, {"tools": []}),
        (CHAT, {"tools": [{"type": "custom", "custom": {"name": "a"}}]}),
        (CHAT, {"tools": TOOLS[CHAT], "tool_choice": "none"}),
        (RESPONSES, {"tools": [{"type": "web_search"}]}),
        (TEXT, {"tools": TOOLS[CHAT]}),
    ],
)
def test_without_a_function_the_tool_model_greets(kind: str, fields: dict[str, Any]) -> None:
    assert b"Hello!" in ask(kind, "tool", **fields).body


def test_after_the_result_of_a_tool_the_tool_model_says_it() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "tool", "content": "sunny"}]
    chat = whole(ask(CHAT, "tool", tools=TOOLS[CHAT], messages=messages))
    assert chat["choices"][0]["message"]["content"] == "sunny"
    items = [{"role": "user", "content": "a"}, {"type": "function_call_output", "output": "rain"}]
    response = whole(ask(RESPONSES, "tool", tools=TOOLS[RESPONSES], input=items))
    assert response["output"][0]["content"][0]["text"] == "rain"


@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        (None, {}),
        ({"type": "string"}, {}),
        ({"type": "object"}, {}),
        ({"properties": {"a": {"type": ["boolean", "null"]}}}, {"a": True}),
        ({"properties": {"a": {"type": "array"}}}, {"a": [SAID]}),
        ({"properties": {"a": {"type": {}}, "b": 5}}, {"a": SAID, "b": SAID}),
    ],
)
def test_the_arguments_fit_whatever_schema_there_is(
    parameters: object, arguments: dict[str, object]
) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    message = whole(ask(CHAT, "tool", tools=tools))["choices"][0]["message"]
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == arguments
