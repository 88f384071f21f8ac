"""Claude's streams as OpenAI's. OpenAI's SDK reads every chunk, and puts them together."""

import json
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter

from hermod.domain.usage import Usage
from hermod.providers.adapter import Outgoing
from hermod.providers.anthropic import dialect as anthropic
from hermod.providers.anthropic.stream import Chunks, Stream
from tests.providers.claude import (
    CHAT,
    answer,
    chunks_in,
    events_of,
    message,
    outgoing,
    streamed,
    translated,
)
from tests.providers.recorded import EXAMPLES

STREAMS = Path(__file__).parent / "streams" / "anthropic"
RECORDED = {path.stem: path.read_bytes() for path in sorted(STREAMS.glob("*.sse"))}
ANSWERS = {
    path.stem: told["reply"]["body"]
    for path in sorted((EXAMPLES / "anthropic").glob("*.json"))
    for told in [json.loads(path.read_text("utf-8"))]
    if "answer" in told
}
WITH_USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}


def whole(stream: bytes) -> dict[str, Any]:
    """What OpenAI's SDK puts together from a translated stream."""
    state = ChatCompletionStreamState()
    for chunk in chunks_in(stream):
        for _ in state.handle_chunk(chunk):
            pass
    return json.loads(state.current_completion_snapshot.model_dump_json())


def deltas(name: str) -> list[dict[str, Any]]:
    """What the chunks of a recorded stream say, one after another."""
    chunks = chunks_in(translated([RECORDED[name]]))
    return [
        choice.delta.model_dump(exclude_unset=True) for chunk in chunks for choice in chunk.choices
    ]


def test_a_text_comes_in_its_pieces_after_the_role() -> None:
    assert deltas("text") == [
        {"role": "assistant", "content": ""},
        {"content": "Hermóðr "},
        {"content": "🐎 rides."},
        {},
    ]


def test_calls_come_with_their_place_and_never_without_arguments() -> None:
    calls = [each["tool_calls"][0] for each in deltas("tools") if "tool_calls" in each]
    assert [each["index"] for each in calls] == [0, 0, 0, 1, 1]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("toolu_1", "depth")
    assert calls[-1]["function"]["arguments"] == "{}"


def test_thinking_comes_with_its_signatures() -> None:
    details = [each["reasoning_details"][0] for each in deltas("thinking") if "content" not in each
               and "reasoning_details" in each]  # fmt: skip
    assert details == [
        {"type": "reasoning.text", "index": 0, "text": "Nine "},
        {"type": "reasoning.text", "index": 0, "text": "nights."},
        {"type": "reasoning.text", "index": 0, "text": "", "signature": "c2ln"},
        {"type": "reasoning.encrypted", "index": 1, "data": "c2VhbA=="},
        {"type": "reasoning.text", "index": 2, "text": "", "signature": "bm8="},
    ]
    assert "".join(each.get("reasoning", "") for each in deltas("thinking")) == "Nine nights."


def test_a_refusal_is_told_with_the_end() -> None:
    last = chunks_in(translated([RECORDED["refusal"]]))[-1].choices[0]
    assert (last.finish_reason, last.delta.refusal) == ("content_filter", "It may do harm.")


def test_a_citation_is_told_for_the_text_before_it() -> None:
    (note,) = [each["annotations"][0] for each in deltas("web_search") if "annotations" in each]
    assert (note["url_citation"]["start_index"], note["url_citation"]["end_index"]) == (0, 8)


def test_usage_comes_last_where_it_was_asked_for() -> None:
    chunks = chunks_in(translated([RECORDED["text"]], **WITH_USAGE))
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (125, 15)
    assert all(chunk.usage is None for chunk in chunks_in(translated([RECORDED["text"]])))


def test_usage_is_known_as_soon_as_it_is_told() -> None:
    stream = anthropic.open_stream(CHAT, outgoing(stream=True))
    assert stream.usage is None
    stream.feed(RECORDED["text"][:600])
    assert stream.usage == Usage(125, 1, 100)
    stream.feed(RECORDED["text"][600:])
    assert stream.usage == Usage(125, 15, 100)


def test_an_error_is_the_last_event_and_the_stream_is_not_whole() -> None:
    more = streamed([{"type": "message_stop"}])
    out = translated([RECORDED["overloaded"], more])
    last = out.rstrip().rpartition(b"\n\n")[2]
    assert json.loads(last.removeprefix(b"data: ")) == {
        "error": {"message": "Overloaded", "type": "overloaded_error"}
    }
    assert b"[DONE]" not in out


@pytest.mark.parametrize(
    "broken",
    [
        b'event: error\ndata: {"error":{"message":"m"}}\n\n',
        b'event: error\ndata: "gone"\n\n',
        b'data: {"error":{"type":"api_error","message":"m"}}\n\n',
        b"data: {\n\n",
        b'data: {"type":"message_start","message":{"id":"\\ud800"}}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_what_cannot_be_read_ends_the_stream_with_an_error(broken: bytes) -> None:
    out = translated([broken, RECORDED["text"]])
    assert out.startswith(b'data: {"error":{')
    assert out.count(b"data:") == 1


def test_a_stream_that_breaks_off_has_no_end() -> None:
    out = translated([RECORDED["text"].rpartition(b"event: message_stop")[0]])
    assert b"[DONE]" not in out


def test_the_last_event_needs_no_empty_line() -> None:
    assert translated([RECORDED["text"].rstrip()]) == translated([RECORDED["text"]])


def test_what_follows_the_end_is_not_passed_on() -> None:
    more = b"data: [DONE]\n\n" + RECORDED["text"]
    assert translated([RECORDED["text"], more]) == translated([RECORDED["text"]])


def test_events_and_blocks_that_are_new_are_passed_over() -> None:
    events = [
        {"type": "message_start", "message": {}},
        {"type": "something_new", "data": 1},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "new"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": 5, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    chunks = chunks_in(translated([streamed(events)]))
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, "stop"]


def test_a_call_that_comes_whole_is_passed_on_whole() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "depth", "input": {"n": 1}}
    events = [
        {"type": "content_block_start", "index": 0, "content_block": call},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    out = whole(translated([streamed(events)]))
    assert out["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"n":1}'
    assert out["choices"][0]["finish_reason"] == "tool_calls"


# Cuts


@pytest.mark.parametrize("name", RECORDED)
def test_it_does_not_matter_where_the_pieces_are_cut(name: str) -> None:
    recorded = RECORDED[name]
    expected = translated([recorded])
    assert translated(recorded[at : at + 1] for at in range(len(recorded))) == expected
    for size in (2, 3, 7, 64, 300):
        cut = [recorded[at : at + size] for at in range(0, len(recorded), size)]
        assert translated(cut) == expected
    assert translated([recorded.replace(b"\n", b"\r\n")]) == expected


@pytest.mark.parametrize("name", RECORDED)
def test_two_pieces_are_the_same_wherever_they_part(name: str) -> None:
    recorded = RECORDED[name]
    expected = translated([recorded])
    for at in range(0, len(recorded), 5):
        assert translated([recorded[:at], recorded[at:]]) == expected


@pytest.mark.parametrize("case", ANSWERS)
def test_a_stream_comes_to_the_same_as_the_whole_answer(case: str) -> None:
    reply = ANSWERS[case]
    stream = translated([streamed(events_of(reply))], **WITH_USAGE)
    expected = answer(reply)
    built = whole(stream)
    assert built["usage"]["prompt_tokens"] == expected["usage"]["prompt_tokens"]
    assert built["usage"]["completion_tokens"] == expected["usage"]["completion_tokens"]
    assert (built["id"], built["model"]) == (expected["id"], expected["model"])
    choice, message = built["choices"][0], built["choices"][0]["message"]
    told = expected["choices"][0]
    assert choice["finish_reason"] == told["finish_reason"]
    assert (message["content"] or "") == (told["message"]["content"] or "")
    for name in ("refusal", "reasoning"):
        assert message.get(name) == told["message"].get(name)
    calls = [each["function"] for each in message.get("tool_calls") or ()]
    expected_calls = [each["function"] for each in told["message"].get("tool_calls", [])]
    assert [(each["name"], each["arguments"]) for each in calls] == [
        (each["name"], each["arguments"]) for each in expected_calls
    ]


# Any events

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)
INDEX = st.integers(0, 2) | JSON
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "new"])},
    optional={
        name: st.text() | JSON
        for name in ("text", "thinking", "signature", "data", "id", "name", "input")
    },
)
DELTAS = ("text", "thinking", "signature", "input_json", "citations")
DELTA = st.fixed_dictionaries(
    {"type": st.sampled_from([f"{name}_delta" for name in DELTAS])},
    optional={
        name: st.text() | JSON
        for name in ("text", "thinking", "signature", "partial_json", "citation")
    },
)
EVENT = st.one_of(
    st.fixed_dictionaries({"type": st.just("message_start"), "message": JSON}),
    st.fixed_dictionaries(
        {"type": st.just("content_block_start"), "index": INDEX, "content_block": BLOCK | JSON}
    ),
    st.fixed_dictionaries(
        {"type": st.just("content_block_delta"), "index": INDEX, "delta": DELTA | JSON}
    ),
    st.fixed_dictionaries({"type": st.just("content_block_stop"), "index": INDEX}),
    st.fixed_dictionaries(
        {
            "type": st.just("message_delta"),
            "delta": st.dictionaries(st.sampled_from(["stop_reason", "stop_details"]), JSON),
            "usage": JSON,
        }
    ),
    st.just({"type": "message_stop"}),
    JSON.map(lambda value: value if isinstance(value, dict) else {}),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENT, max_size=12))
def test_no_events_raise_and_every_chunk_can_be_read(events: list[dict[str, Any]]) -> None:
    taker = Chunks(outgoing(stream=True, **WITH_USAGE))
    for event in events:
        for said in taker.take(event).split(b"\n\n")[:-1]:
            data = said.removeprefix(b"data: ")
            if "error" not in json.loads(data):
                ChatCompletionChunk.model_validate_json(data, strict=True)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=6), st.binary(max_size=20))
def test_no_bytes_raise(pieces: list[bytes], body: bytes) -> None:
    stream = Stream(Outgoing(body, None, "m", forward_unknown=True, boundary=""))
    for piece in pieces:
        stream.feed(piece)
        stream.feed(b"\ndata: ")
    assert b"[DONE]" not in stream.end()


def test_the_events_made_here_are_those_of_anthropics_sdk() -> None:
    judge = TypeAdapter[Any](RawMessageStreamEvent)
    for reply in [*ANSWERS.values(), message({"type": "text", "text": "a"})]:
        for event in events_of(reply):
            if event["type"] != "ping":
                judge.validate_python(event)
