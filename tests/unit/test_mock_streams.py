"""The mock's streams: the events that OpenAI documents, as its own client reads them."""

import base64
import json
from typing import Any

import pytest
from openai.types import (
    Completion,
    ImageEditCompletedEvent,
    ImageEditPartialImageEvent,
    ImageGenCompletedEvent,
    ImageGenPartialImageEvent,
)
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from hermod.providers.mock import media as mock_media
from hermod.providers.mock import mock
from hermod.providers.mock import streams as mock_streams
from hermod.providers.mock.request import (
    CHAT,
    IMAGE_EDIT,
    IMAGE_GENERATION,
    KINDS,
    RESPONSES,
    SPEECH,
    TEXT,
    TRANSCRIPTION,
)
from tests.support.mock_requests import FUNCTION, SAID, STREAMED, ask, whole

Event = dict[str, Any]
read_response_event = TypeAdapter[Any](ResponseStreamEvent).validate_python


def streamed(kind: str, model: str, **fields: Any) -> mock.MockReply:
    """The reply to a request that asks for a stream."""
    return ask(kind, model, **STREAMED[kind], **fields)


def events(reply: mock.MockReply) -> list[Event]:
    """What the pieces of a reply hold, but for the mark at the end."""
    found: list[Event] = []
    for piece in reply.pieces:
        *name, data = piece.decode().removesuffix("\n\n").split("\n")
        if data != "data: [DONE]":
            event = json.loads(data.removeprefix("data: "))
            assert name == ([f"event: {event['type']}"] if name else [])
            found.append(event)
    return found


@pytest.mark.parametrize("kind", STREAMED)
def test_a_stream_is_pieces_of_server_sent_events_and_no_body(kind: str) -> None:
    reply = streamed(kind, "hello")
    assert (reply.status, reply.body, reply.cut) == (200, b"", False)
    assert reply.headers == (("content-type", "text/event-stream"),)
    assert all(piece.endswith(b"\n\n") and piece.count(b"\n\n") == 1 for piece in reply.pieces)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in STREAMED])
def test_kinds_without_a_stream_ignore_the_wish(kind: str) -> None:
    assert ask(kind, "hello", stream="true") == ask(kind, "hello")


@pytest.mark.parametrize("kind", STREAMED)
@pytest.mark.parametrize("stream", [False, None, "false", "1"])
def test_only_the_very_word_asks_for_a_stream(kind: str, stream: Any) -> None:
    fields: dict[str, Any] = {"stream": stream if isinstance(stream, str) else str(stream)}
    if kind not in (TRANSCRIPTION, IMAGE_EDIT):
        fields = {"stream": stream, "stream_format": "audio"}
    assert not ask(kind, "hello", **fields).pieces


@pytest.mark.parametrize("kind", STREAMED)
@pytest.mark.parametrize(
    ("model", "status"), [("error?code=503", 503), ("429", 429), ("timeout", 504), ("no-such", 404)]
)
def test_an_error_is_no_stream(kind: str, model: str, status: int) -> None:
    reply = streamed(kind, model)
    assert (reply.status, reply.pieces) == (status, ())
    assert "error" in whole(reply)


def test_a_slow_stream_begins_late() -> None:
    assert streamed(CHAT, "slow?seconds=3").delay_s == 3


# Chat and text completions


def test_a_chat_streams_a_role_then_its_text_then_the_reason_of_its_end() -> None:
    reply = streamed(CHAT, "echo")
    chunks = [ChatCompletionChunk.model_validate(event) for event in events(reply)]
    choices = [chunk.choices[0] for chunk in chunks]
    assert choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for choice in choices) == SAID
    assert [choice.finish_reason for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert reply.pieces[-1] == b"data: [DONE]\n\n"
    assert {chunk.id for chunk in chunks} == {whole(ask(CHAT, "echo"))["id"]}


@pytest.mark.parametrize("kind", [CHAT, TEXT])
def test_the_usage_comes_in_a_last_chunk_of_its_own_when_asked_for(kind: str) -> None:
    *others, last = events(streamed(kind, "echo", stream_options={"include_usage": True}))
    assert all(event["usage"] is None for event in others)
    assert last["choices"] == []
    assert last["usage"] == whole(ask(kind, "echo"))["usage"]


@pytest.mark.parametrize("kind", [CHAT, TEXT])
def test_without_asking_there_is_no_usage(kind: str) -> None:
    assert all("usage" not in event for event in events(streamed(kind, "echo")))


def test_each_prompt_of_a_text_completion_streams_in_a_choice_of_its_own() -> None:
    texts = {0: "", 1: ""}
    for event in events(streamed(TEXT, "echo", prompt=["a b", "c d"])):
        (choice,) = Completion.model_construct(**event).choices
        texts[choice.index] += choice.text
    assert texts == {0: "a b", 1: "c d"}


def test_a_tool_call_of_a_chat_streams_its_arguments() -> None:
    tools = [{"type": "function", "function": FUNCTION}]
    found = events(streamed(CHAT, "tool", tools=tools))
    choices = [ChatCompletionChunk.model_validate(event).choices[0] for event in found]
    calls = [call for choice in choices for call in choice.delta.tool_calls or []]
    assert calls[0].id
    assert calls[0].function
    assert calls[0].function.name == "weather"
    (expected,) = whole(ask(CHAT, "tool", tools=tools))["choices"][0]["message"]["tool_calls"]
    arguments = "".join((call.function and call.function.arguments) or "" for call in calls)
    assert arguments == expected["function"]["arguments"]
    assert choices[-1].finish_reason == "tool_calls"


# Responses


def test_a_response_streams_the_documented_events_in_their_order() -> None:
    found = events(streamed(RESPONSES, "stream?chunks=3"))
    assert [event["type"] for event in found] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in found] == list(range(11))


@pytest.mark.parametrize("model", ["echo", "tool"])
def test_a_response_ends_with_what_the_same_request_without_stream_answers(model: str) -> None:
    tools = [{"type": "function", **FUNCTION}]
    found = events(streamed(RESPONSES, model, tools=tools))
    for event in found:
        read_response_event(event)
    expected = whole(ask(RESPONSES, model, tools=tools))
    assert found[-1]["response"] == expected
    (done,) = [event for event in found if event["type"] == "response.output_item.done"]
    assert [done["item"]] == expected["output"]
    deltas = [event["delta"] for event in found if event["type"].endswith(".delta")]
    (item,) = expected["output"]
    assert "".join(deltas) == (item["arguments"] if model == "tool" else SAID)


# Media


def test_a_speech_streams_its_audio_and_then_its_usage() -> None:
    *deltas, done = events(streamed(SPEECH, "speech?bytes=1001"))
    audio = b"".join(base64.b64decode(delta["audio"]) for delta in deltas)
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert audio == mock_media.audio(SAID, "mp3", 1001)
    assert done["type"] == "speech.audio.done"
    assert done["usage"]["total_tokens"] == sum(list(done["usage"].values())[:2])


def test_a_transcription_streams_its_text_and_then_all_of_it() -> None:
    *deltas, done = events(streamed(TRANSCRIPTION, "echo"))
    texts = [TranscriptionTextDeltaEvent.model_validate(delta).delta for delta in deltas]
    last = TranscriptionTextDoneEvent.model_validate(done)
    assert "".join(texts) == last.text == whole(ask(TRANSCRIPTION, "echo"))["text"]
    assert last.usage


@pytest.mark.parametrize(
    ("kind", "partial", "completed"),
    [
        (IMAGE_GENERATION, ImageGenPartialImageEvent, ImageGenCompletedEvent),
        (IMAGE_EDIT, ImageEditPartialImageEvent, ImageEditCompletedEvent),
    ],
)
def test_an_image_streams_the_asked_partial_ones_and_then_itself(
    kind: str, partial: Any, completed: Any
) -> None:
    *before, last = events(streamed(kind, "image?bytes=999", partial_images="2"))
    indices = [partial.model_validate(event).partial_image_index for event in before]
    assert indices == [0, 1]
    content = completed.model_validate(last).b64_json
    assert content == whole(ask(kind, "image?bytes=999"))["data"][0]["b64_json"]


# Length, pace and ends


@pytest.mark.parametrize("kind", [CHAT, TEXT, RESPONSES, TRANSCRIPTION])
def test_the_stream_model_says_a_number_in_each_delta(kind: str) -> None:
    reply = streamed(kind, "stream?chunks=300&pause=0.05")
    numbers = [f"{n} " for n in range(1, 300)] + ["300"]
    text = b"".join(reply.pieces).decode()
    assert reply.pause_s == 0.05
    assert [n for n in numbers if f'"{n}"' not in text] == []


@pytest.mark.parametrize("option", ["chunks=0", "chunks=10001", "chunks=x", "pause=-1", "pause=61"])
def test_a_pace_that_is_none_is_a_400(option: str) -> None:
    assert streamed(CHAT, f"stream?{option}").status == 400


@pytest.mark.parametrize("kind", STREAMED)
def test_a_broken_stream_is_the_beginning_of_a_whole_one(kind: str) -> None:
    broken = streamed(kind, "broken-stream?chunks=6", job_id="a")
    good = streamed(kind, "stream?chunks=6", job_id="a")
    assert broken.cut
    assert 0 < len(broken.pieces) <= len(good.pieces)
    for cut, piece in zip(broken.pieces, good.pieces, strict=False):
        assert cut.replace(b"broken-", b"") == piece


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_stream_a_broken_one_is_half_a_body(kind: str) -> None:
    broken = ask(kind, "broken-stream")
    assert broken.cut
    assert broken.body
    assert broken.pieces == ()


@pytest.mark.parametrize("how", sorted(set(mock.INVALID) - {"html", "empty"}))
def test_an_invalid_stream_has_its_flaw_in_the_middle(how: str) -> None:
    reply, good = streamed(CHAT, f"invalid?how={how}"), streamed(CHAT, "hello")
    assert len(reply.pieces) == len(good.pieces)
    flawed = [
        at
        for at, (piece, sound) in enumerate(zip(reply.pieces, good.pieces, strict=True))
        if piece.replace(f"invalid?how={how}".encode(), b"hello") != sound
    ]
    assert flawed == [len(good.pieces) // 2]


@pytest.mark.parametrize(("how", "kind"), [("html", "text/html"), ("empty", "text/event-stream")])
def test_these_invalid_replies_to_the_wish_for_a_stream_are_none(how: str, kind: str) -> None:
    reply = streamed(CHAT, f"invalid?how={how}")
    assert reply.pieces == ()
    assert reply.headers == (("content-type", kind),)


@pytest.mark.parametrize("text", ["", " ", "a", " a  b\n", "a" * 5000, "\u2028 x \u00a0y"])
@pytest.mark.parametrize("most", [1, 2, 256])
def test_deltas_are_the_whole_text_in_few_parts(text: str, most: int) -> None:
    deltas = mock_streams.deltas(text, most)
    assert "".join(deltas) == text
    assert len(deltas) <= most
