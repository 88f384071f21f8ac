import json
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from hermod.doors.anthropic_events import Events
from hermod.doors.anthropic_reply import from_response
from hermod.kinds.sse import Reader
from tests.doors.clients import Answer, anthropic_client, cut, events

STRICT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)

REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [
        {"type": "summary_text", "text": "first"},
        {"type": "summary_text", "text": "second"},
    ],
    "encrypted_content": "sealed",
}
TEXT = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Grüße 😀", "annotations": []}],
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "f",
    "arguments": '{"a": "ü"}',
}
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 7,
    "total_tokens": 16,
}
RESULT: dict[str, Any] = {
    "id": "resp_1",
    "model": "gpt",
    "status": "completed",
    "output": [REASONING, TEXT, CALL],
    "usage": USAGE,
}
CREATED = {
    "type": "response.created",
    "response": {"id": "resp_1", "model": "gpt", "status": "in_progress", "output": []},
}
COMPLETED = {"type": "response.completed", "response": RESULT}


def summary(index: int, delta: str) -> dict[str, Any]:
    kind = "response.reasoning_summary_text.delta"
    return {"type": kind, "output_index": 0, "summary_index": index, "delta": delta}


def text(delta: str, output_index: int = 1) -> dict[str, Any]:
    return {
        "type": "response.output_text.delta",
        "output_index": output_index,
        "content_index": 0,
        "delta": delta,
    }


def arguments(delta: str) -> dict[str, Any]:
    kind = "response.function_call_arguments.delta"
    return {"type": kind, "output_index": 2, "delta": delta}


def added(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


STREAM = events(
    CREATED,
    {"type": "response.in_progress", "response": CREATED["response"]},
    added(0, {"type": "reasoning", "id": "rs_1", "summary": []}),
    summary(0, "fir"),
    summary(0, "st"),
    summary(1, "second"),
    done(0, REASONING),
    added(1, {"type": "message", "content": []}),
    text("Grü"),
    text("ße 😀"),
    {
        "type": "response.output_text.done",
        "output_index": 1,
        "content_index": 0,
        "text": "Grüße 😀",
    },
    done(1, TEXT),
    added(2, CALL | {"arguments": ""}),
    arguments('{"a": '),
    arguments('"ü"}'),
    {"type": "response.function_call_arguments.done", "output_index": 2, "arguments": "…"},
    done(2, CALL),
    COMPLETED,
)


def translated(stream: bytes) -> list[dict[str, Any]]:
    """The events, each of which the SDK's types accept."""
    translator = Events("asked")
    whole = translator.feed(stream) + translator.end()
    found = Reader().feed(whole)
    for event in found:
        if event.name != "error":
            STRICT.validate_json(event.data, strict=True)
    assert [event.name for event in found] == [json.loads(event.data)["type"] for event in found]
    return [json.loads(event.data) for event in found]


def accumulated(pieces: list[bytes]) -> Message:
    """What the SDK makes of the stream."""
    translator = Events("asked")
    given = [*map(translator.feed, pieces), translator.end()]
    client = anthropic_client(lambda _: Answer(given, "text/event-stream"))
    with client.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
        return stream.get_final_message()


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
def test_the_sdk_reads_a_stream_as_it_reads_the_whole_result(size: int):
    whole = Message.model_validate_json(from_response(json.dumps(RESULT).encode(), "asked"))
    found = accumulated(cut(STREAM, size))
    assert found.to_dict(exclude_none=True) == whole.to_dict(exclude_none=True)


def test_the_events_of_a_stream():
    assert [event["type"] for event in translated(STREAM)] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "content_block_start",
        *["content_block_delta"] * 2,
        "content_block_stop",
        "content_block_start",
        *["content_block_delta"] * 2,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_last_event_says_why_and_how_much():
    last = translated(STREAM)[-2]
    assert last["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert last["usage"] == {
        "input_tokens": 5,
        "output_tokens": 7,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
    }


@pytest.mark.parametrize(
    "stream",
    [
        events(COMPLETED),
        events(CREATED, done(0, REASONING), done(1, TEXT), done(2, CALL), COMPLETED),
        events(CREATED, text("Grüße 😀"), COMPLETED | {"response": RESULT | {"output": []}}),
    ],
)
def test_an_upstream_that_streams_little_loses_nothing(stream: bytes):
    found = accumulated([stream])
    assert [block.text for block in found.content if block.type == "text"] == ["Grüße 😀"]
    if len(found.content) > 1:
        whole = Message.model_validate_json(from_response(json.dumps(RESULT).encode(), ""))
        assert found.to_dict(exclude_none=True) == whole.to_dict(exclude_none=True)


def test_hidden_reasoning_is_redacted_thinking():
    hidden = {"type": "reasoning", "summary": [], "encrypted_content": "sealed"}
    found = accumulated([events(CREATED, done(0, hidden), text("a"), COMPLETED)])
    assert [block.type for block in found.content] == ["redacted_thinking", "text"]


def test_a_refusal_is_a_text_and_the_reason():
    refusal = {"type": "response.refusal.delta", "output_index": 0, "content_index": 0}
    ended = COMPLETED | {"response": {"id": "r", "status": "completed", "output": []}}
    found = accumulated([events(CREATED, refusal | {"delta": "no"}, ended)])
    assert found.stop_reason == "refusal"
    assert found.content[0].to_dict()["text"] == "no"


def test_an_incomplete_response_ran_out_of_tokens():
    response = {"id": "r", "incomplete_details": {"reason": "max_output_tokens"}, "output": []}
    ended = {"type": "response.incomplete", "response": response}
    assert accumulated([events(CREATED, text("a"), ended)]).stop_reason == "max_tokens"


def test_calls_written_side_by_side_stay_apart():
    other = CALL | {"call_id": "c2", "arguments": "{}"}
    stream = events(
        CREATED,
        added(2, CALL | {"arguments": ""}),
        added(3, other | {"arguments": ""}),
        arguments('{"a": "ü"}'),
        arguments("{}") | {"output_index": 3},
        done(2, CALL),
        done(3, other),
        COMPLETED,
    )
    assert [block.to_dict()["input"] for block in accumulated([stream]).content] == [
        {"a": "ü"},
        {},
    ]


@pytest.mark.parametrize(
    ("stream", "kind", "message"),
    [
        (b"", "api_error", "the stream ended before the response was complete"),
        (
            b"data: " + b"[" * 100_000 + b"\n\n",
            "api_error",
            "the stream ended before the response was complete",
        ),
        (STREAM[:-10], "api_error", "the stream ended before the response was complete"),
        (
            events(CREATED, text("a")),
            "api_error",
            "the stream ended before the response was complete",
        ),
        (
            events(
                CREATED,
                {
                    "type": "response.failed",
                    "response": {"error": {"code": "rate_limit_exceeded", "message": "slow"}},
                },
            ),
            "rate_limit_error",
            "slow",
        ),
        (
            events({"type": "error", "code": "server_error", "message": "broken"}),
            "api_error",
            "broken",
        ),
        (
            b'data: {"is_bifrost_error":true,"error":{"type":"request_timed_out","message":"m"}}'
            b"\n\n",
            "request_timed_out",
            "m",
        ),
        (b'event: error\ndata: {"message":"m"}\n\n', "api_error", "m"),
    ],
)
def test_a_stream_that_breaks_ends_with_an_error(stream: bytes, kind: str, message: str):
    found = translated(stream)
    assert found[-1] == {"type": "error", "error": {"type": kind, "message": message}}
    assert "message_stop" not in [event["type"] for event in found]
    with pytest.raises(anthropic.APIStatusError, match=message):
        accumulated([stream])


def test_after_the_end_nothing_follows():
    translator = Events()
    assert translator.feed(STREAM)
    assert translator.feed(STREAM) == b""
    assert translator.end() == b""


def test_an_event_beyond_the_limit_ends_the_stream():
    translator = Events(event_bytes_max=100)
    out = translator.feed(b"data: " + b"x" * 100)
    assert b"event: error" in out
    assert translator.end() == b""
