"""ConverseStream as OpenAI's chunks."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Outgoing, StreamTranslator
from hermod.providers.bedrock.dialect import DIALECT
from tests.providers.eventstreams import event, exception, message

CHAT = KIND_BY_TYPE["chat_completion"]
STREAM = b"".join(
    [
        event("messageStart", {"role": "assistant", "p": "abcd"}),
        event(
            "contentBlockDelta",
            {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm."}}},
        ),
        event(
            "contentBlockDelta",
            {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "c2ln"}}},
        ),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event(
            "contentBlockDelta",
            {"contentBlockIndex": 1, "delta": {"reasoningContent": {"redactedContent": "c2Vh"}}},
        ),
        event("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"text": "Grüße, "}}),
        event("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"text": "日本"}}),
        event("contentBlockStop", {"contentBlockIndex": 2}),
        event(
            "contentBlockStart",
            {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "t1", "name": "look"}}},
        ),
        event(
            "contentBlockDelta", {"contentBlockIndex": 3, "delta": {"toolUse": {"input": '{"a'}}}
        ),
        event(
            "contentBlockDelta", {"contentBlockIndex": 3, "delta": {"toolUse": {"input": '":1}'}}}
        ),
        event("contentBlockStop", {"contentBlockIndex": 3}),
        event(
            "contentBlockStart",
            {"contentBlockIndex": 4, "start": {"toolUse": {"toolUseId": "t2", "name": "ask"}}},
        ),
        event("contentBlockStop", {"contentBlockIndex": 4}),
        event("messageStop", {"stopReason": "tool_use"}),
        event(
            "metadata",
            {
                "usage": {
                    "inputTokens": 5,
                    "outputTokens": 7,
                    "totalTokens": 22,
                    "cacheReadInputTokens": 10,
                },
                "metrics": {"latencyMs": 3},
            },
        ),
    ]
)


def opened(*, with_usage: bool = True) -> StreamTranslator:
    asked = {"messages": [], "stream_options": {"include_usage": with_usage}}
    assert DIALECT.open_stream is not None
    out = Outgoing(json.dumps(asked).encode(), None, "m", True, "", stream=True, now_s=1)
    return DIALECT.open_stream(CHAT, out)


def told(stream: StreamTranslator, *pieces: bytes) -> bytes:
    return b"".join([*map(stream.feed, pieces), stream.end()])


def events(whole: bytes) -> list[Any]:
    lines = whole.decode().split("\n\n")
    assert lines.pop() == ""
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line[6:]) for line in lines if line != "data: [DONE]"]


def test_the_chunks_add_up_to_the_answer() -> None:
    whole = told(opened(), STREAM)
    assert whole.endswith(b"data: [DONE]\n\n")
    chunks = [ChatCompletionChunk.model_validate(each, strict=True) for each in events(whole)]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Grüße, 日本"
    calls: dict[int, list[Any]] = {}
    for call in (call for delta in deltas for call in delta.tool_calls or []):
        assert call.function is not None
        calls.setdefault(call.index, []).append(call)
    assert [calls[0][0].id, calls[1][0].id] == ["t1", "t2"]
    written = ["".join(call.function.arguments for call in calls[index]) for index in (0, 1)]
    assert written == ['{"a":1}', "{}"]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "tool_calls"
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.total_tokens) == (15, 22)


def test_thoughts_come_with_what_they_need_to_come_back() -> None:
    details = [
        detail
        for each in events(told(opened(), STREAM))
        for choice in each["choices"]
        for detail in choice["delta"].get("reasoning_details", [])
    ]
    assert details == [
        {"type": "reasoning.text", "text": "Hm.", "index": 0},
        {"type": "reasoning.text", "text": "", "signature": "c2ln", "index": 0},
        {"type": "reasoning.encrypted", "data": "c2Vh", "index": 1},
    ]


def test_the_usage_is_known_and_shown_only_to_who_asked() -> None:
    stream = opened(with_usage=False)
    assert all(each["choices"] for each in events(told(stream, STREAM)))
    assert stream.usage is not None
    assert (stream.usage.input_tokens, stream.usage.cache_read_tokens) == (15, 10)


def test_a_cut_anywhere_means_nothing() -> None:
    whole = told(opened(), STREAM)
    for at in range(0, len(STREAM), 11):
        assert told(opened(), STREAM[:at], STREAM[at:]) == whole


@pytest.mark.parametrize("size", [1, 5, 64])
def test_the_size_of_the_pieces_means_nothing(size: int) -> None:
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert told(opened(), *pieces) == told(opened(), STREAM)


@pytest.mark.parametrize("missing", [1, 100, len(STREAM) - 10])
def test_a_stream_that_breaks_off_has_no_last_event(missing: int) -> None:
    whole = told(opened(), STREAM[:-missing])
    assert b"[DONE]" not in whole


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("throttlingException", "429"),
        ("validationException", "400"),
        ("modelStreamErrorException", "424"),
        ("serviceUnavailableException", "503"),
        ("internalServerException", "500"),
    ],
)
def test_an_exception_in_the_stream_ends_it_with_an_error(name: str, code: str) -> None:
    start = event("messageStart", {"role": "assistant"})
    whole = told(opened(), start + exception(name, {"message": "No."}) + STREAM)
    error = {"message": "No.", "type": name, "code": code}
    assert events(whole)[1:] == [{"error": error}]
    assert b"[DONE]" not in whole


def test_an_error_of_the_framing_says_it_in_its_headers() -> None:
    headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": "Oh."}
    (shown,) = events(told(opened(), message(headers, b"")))
    assert shown["error"] == {"message": "Oh.", "type": "InternalError"}


def test_damaged_bytes_end_the_stream_with_an_error() -> None:
    damaged = bytearray(STREAM)
    damaged[200] ^= 1
    whole = told(opened(), bytes(damaged))
    assert events(whole)[-1]["error"]["type"] == "upstream_invalid"
    assert b"[DONE]" not in whole


def test_output_that_was_malformed_is_an_error() -> None:
    whole = told(opened(), event("messageStop", {"stopReason": "malformed_model_output"}))
    assert "error" in events(whole)[0]
    assert b"[DONE]" not in whole


NAMES = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop"]
INNER = [
    "contentBlockIndex",
    "start",
    "delta",
    "toolUse",
    "toolUseId",
    "name",
    "input",
    "text",
    "reasoningContent",
    "signature",
    "stopReason",
    "usage",
    "inputTokens",
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.dictionaries(st.sampled_from(INNER), inner, max_size=4) | st.lists(inner, max_size=2)
    ),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*NAMES, "messageStop", "metadata", "x"]), values)))
def test_events_of_any_shape_do_not_raise(told_events: list[tuple[str, Any]]) -> None:
    stream = b"".join(event(name, value) for name, value in told_events)
    events(told(opened(), stream))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes_do_not_raise(pieces: list[bytes]) -> None:
    events(told(opened(), *pieces))
