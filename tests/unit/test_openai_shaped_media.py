"""Replies that are no JSON, or hold nothing, and are answers all the same (wire-contract 1.16)."""

import base64
import json

import pytest

from hermod.domain.outcome import Answer, Fault, Native, Outcome
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.replies import parse_reply


def parse(request_type: str, body: bytes, content_type: str | None) -> Outcome:
    """What a reply with status 200 comes to."""
    return parse_reply(
        KIND_BY_TYPE[request_type], 200, content_type, body, None,
        provider="openai", model="m", latency_ms=1, now_at=0,
    )  # fmt: skip


def answer(request_type: str, body: bytes, content_type: str | None) -> Answer:
    """The same, which must be an answer."""
    outcome = parse(request_type, body, content_type)
    assert isinstance(outcome, Answer)
    return outcome


@pytest.mark.parametrize("content_type", ["audio/mpeg", "audio/pcm; rate=24000", "x/y", None])
@pytest.mark.parametrize("audio", [b"\x00", b"ID3\x04\xff", bytes(range(256)) * 5])
def test_audio_in_bytes_becomes_base64(audio: bytes, content_type: str | None) -> None:
    found = answer("speech", audio, content_type)
    assert base64.b64decode(json.loads(found.body)["audio"]) == audio
    assert found.native is not None
    assert found.native.body == audio


def test_audio_in_json_stays_as_it_is() -> None:
    found = answer("speech", b'{"audio":"SUQz","usage":{"total_tokens":3}}', "application/json")
    assert json.loads(found.body)["audio"] == "SUQz"
    assert found.native is None


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "audio/mpeg"),
        (b"{}", "application/json"),
        (b'{"audio":null}', "application/json"),
        (b'{"error":{"message":"no"}}', "application/json"),
        (b"<html></html>", "text/html"),
    ],
)
def test_a_speech_without_audio_is_a_fault(body: bytes, content_type: str) -> None:
    assert isinstance(parse("speech", body, content_type), Fault)


@pytest.mark.parametrize("text", ["Good morning.", "1\n00:00 --> 00:01\nHei\n", "2024", "[music]"])
def test_a_transcription_in_plain_text_becomes_its_text(text: str) -> None:
    found = answer("transcription", text.encode(), "text/plain; charset=utf-8")
    assert json.loads(found.body)["text"] == text
    assert found.native == Native("text/plain; charset=utf-8", text.encode())


@pytest.mark.parametrize(("body", "content_type"), [(b'{"text":""}', None), (b"", "text/plain")])
def test_silence_has_an_empty_transcription(body: bytes, content_type: str | None) -> None:
    assert json.loads(answer("transcription", body, content_type).body)["text"] == ""


@pytest.mark.parametrize("body", [b'{"text":null}', b'{"text":5}', b'{"words":[]}'])
def test_a_transcription_without_a_text_is_a_fault(body: bytes) -> None:
    assert isinstance(parse("transcription", body, "application/json"), Fault)


def test_a_document_without_the_pages_that_were_asked_for_is_an_answer() -> None:
    found = answer("ocr", b'{"model":"m","pages":[]}', "application/json")
    assert json.loads(found.body)["pages"] == []


@pytest.mark.parametrize(
    ("request_type", "body"),
    [
        ("rerank", b'{"results":[]}'),
        ("image_generation", b'{"data":[]}'),
        ("image_edit", b'{"data":[]}'),
        ("image_variation", b'{"data":[]}'),
    ],
)
def test_no_ranking_and_no_image_are_no_answers(request_type: str, body: bytes) -> None:
    outcome = parse(request_type, body, "application/json")
    assert isinstance(outcome, Fault)
    assert outcome.failure.message == "empty response received from provider"
