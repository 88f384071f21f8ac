"""A streamed chat of Cohere's, in OpenAI's chunks, however it is cut."""

import json
from typing import Any

import pytest
from cohere.v2.types import V2ChatStreamResponse
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter

from hermod.domain.usage import Usage
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Outgoing
from hermod.providers.cohere import chat as cohere_chat
from hermod.providers.cohere.stream import CohereStream
from tests.providers.any_json import any_json

CITATION = {
    "start": 0,
    "end": 3,
    "text": "Sól",
    "sources": [{"type": "document", "id": "d", "document": {"url": "https://example.org/s"}}],
}


def delta(kind: str, index: int | None = None, **message: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"type": kind, "delta": {"message": message}}
    return made if index is None else {**made, "index": index}


def call(arguments: str, **start: str) -> dict[str, Any]:
    if not start:
        return {"function": {"arguments": arguments}}
    function = {"name": start["name"], "arguments": arguments}
    return {"id": start["id"], "type": "function", "function": function}


END = {
    "type": "message-end",
    "delta": {
        "finish_reason": "COMPLETE",
        "usage": {
            "billed_units": {"input_tokens": 4, "output_tokens": 2},
            "tokens": {"input_tokens": 40, "output_tokens": 3},
        },
    },
}
BEGIN = {"id": "s1", **delta("message-start", role="assistant", content=[])}
SPEECH: list[dict[str, Any]] = [
    BEGIN,
    delta("content-start", 0, content={"type": "thinking", "thinking": ""}),
    delta("content-delta", 0, content={"thinking": "Who? "}),
    {"type": "content-end", "index": 0},
    delta("content-start", 1, content={"type": "text", "text": ""}),
    delta("content-delta", 1, content={"text": "Sól"})
    | {"logprobs": {"text": "Sól", "token_ids": [1], "logprobs": [-0.5]}},
    delta("content-delta", 1, content={"text": " 🐎."}),
    delta("citation-start", 0, citations=CITATION),
    {"type": "citation-end", "index": 0},
    {"type": "content-end", "index": 1},
    END,
]
CALLS: list[dict[str, Any]] = [
    BEGIN,
    delta("tool-plan-delta", tool_plan="I look "),
    delta("tool-plan-delta", tool_plan="twice."),
    delta("tool-call-start", 1, tool_calls=call("", id="a", name="look")),
    delta("tool-call-delta", 1, tool_calls=call('{"at":')),
    delta("tool-call-delta", 1, tool_calls=call("1}")),
    {"type": "tool-call-end", "index": 1},
    delta("tool-call-start", 2, tool_calls=call("{}", id="b", name="wait")),
    {"type": "tool-call-end", "index": 2},
    {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}},
]


def wire(events: list[dict[str, Any]]) -> bytes:
    lines = [
        f"event: {each['type']}\ndata: {json.dumps(each, ensure_ascii=False)}\n\n"
        for each in events
    ]
    return "".join(lines).encode()


def stream(*, with_usage: bool = True) -> CohereStream:
    return CohereStream("command-a", 7, with_usage=with_usage)


def chunks(told: bytes) -> list[ChatCompletionChunk]:
    """What OpenAI's client would see; the last event is its end."""
    events = told.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    return [
        ChatCompletionChunk.model_validate_json(each.removeprefix("data: ")) for each in events[:-2]
    ]


def whole(events: list[dict[str, Any]], *, with_usage: bool = True) -> list[ChatCompletionChunk]:
    translator = stream(with_usage=with_usage)
    return chunks(translator.feed(wire(events)) + translator.end())


def test_text_and_thoughts_come_apart() -> None:
    found = whole(SPEECH)
    deltas = [each.choices[0].delta for each in found if each.choices]
    assert "".join(each.content or "" for each in deltas) == "Sól 🐎."
    assert "".join((each.model_extra or {}).get("reasoning", "") for each in deltas) == "Who? "
    assert {each.id for each in found} == {"s1"}
    assert found[-2].choices[0].finish_reason == "stop"


def test_calls_are_numbered_from_zero_and_their_plan_is_marked() -> None:
    found = whole(CALLS)
    pieces = [call for each in found for call in each.choices[0].delta.tool_calls or ()]
    assert [(each.index, each.id) for each in pieces if each.id] == [(0, "a"), (1, "b")]
    arguments = [
        "".join(
            (each.function and each.function.arguments) or "" for each in pieces if each.index == n
        )
        for n in (0, 1)
    ]
    assert arguments == ['{"at":1}', "{}"]
    extras = [each.choices[0].delta.model_extra or {} for each in found]
    plans = [detail for extra in extras for detail in extra.get("reasoning_details", ())]
    assert {each["id"] for each in plans} == {"tool_plan"}
    assert "".join(each["text"] for each in plans) == "I look twice."
    assert found[-1].choices[0].finish_reason == "tool_calls"


def test_a_citation_with_an_address_is_an_annotation_too() -> None:
    extras = [each.choices[0].delta.model_extra or {} for each in whole(SPEECH) if each.choices]
    cited = next(each for each in extras if "citations" in each)
    assert cited["citations"] == [CITATION]
    assert cited["annotations"][0]["url_citation"]["url"] == "https://example.org/s"


def test_log_probabilities_stand_with_their_piece() -> None:
    found = [each.choices[0].logprobs for each in whole(SPEECH) if each.choices]
    told = [each.content for each in found if each is not None]
    assert [(each.token, each.logprob) for each in told[0] or ()] == [("Sól", -0.5)]


def test_usage_comes_last_and_only_where_it_is_wanted() -> None:
    last = whole(SPEECH)[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 43
    assert whole(SPEECH, with_usage=False)[-1].usage is None
    translator = stream(with_usage=False)
    translator.feed(wire(SPEECH))
    assert translator.usage == Usage(4, 2)


@pytest.mark.parametrize("events", [SPEECH, CALLS], ids=["speech", "calls"])
def test_every_cut_gives_the_same(events: list[dict[str, Any]]) -> None:
    data = wire(events)
    translator = stream()
    expected = translator.feed(data) + translator.end()
    for cut in range(1, len(data)):
        translator = stream()
        told = translator.feed(data[:cut]) + translator.feed(data[cut:]) + translator.end()
        assert told == expected, cut


def test_byte_by_byte_gives_the_same() -> None:
    data = wire(SPEECH)
    expected, slow = stream(), stream()
    told = b"".join(slow.feed(data[at : at + 1]) for at in range(len(data))) + slow.end()
    assert told == expected.feed(data) + expected.end()


def test_a_stream_that_breaks_off_has_no_end() -> None:
    translator = stream()
    told = translator.feed(wire(SPEECH[:-1])) + translator.end()
    assert b"[DONE]" not in told


@pytest.mark.parametrize("reason", ["ERROR", "TIMEOUT"])
def test_a_generation_that_fails_is_told_as_an_error(reason: str) -> None:
    failed = {"type": "message-end", "delta": {"finish_reason": reason, "error": "out of luck"}}
    translator = stream()
    told = translator.feed(wire([BEGIN, failed])) + translator.end()
    last = json.loads(told.decode().split("\n\n")[-2].removeprefix("data: "))
    assert last["error"]["message"] == "out of luck"
    assert b"[DONE]" not in told


def test_the_request_says_whether_usage_is_wanted() -> None:
    body = b'{"messages":[],"stream":true,"stream_options":{"include_usage":true}}'
    asked = Outgoing(body, None, "command-a", True, "", stream=True)
    translator = cohere_chat.open_stream(KIND_BY_TYPE["chat_completion"], asked)
    told = translator.feed(wire(SPEECH)) + translator.end()
    assert chunks(told)[-1].usage is not None


def test_coheres_own_types_know_these_events() -> None:
    reads = TypeAdapter(V2ChatStreamResponse)
    for event in SPEECH + CALLS:
        assert reads.validate_python(event).type == event["type"]


JSON = any_json(
    "type index delta message content text thinking tool_calls function citations sources "
    "document usage tokens finish_reason error logprobs"
)


@given(st.sampled_from([each["type"] for each in SPEECH + CALLS]), JSON, JSON)
def test_no_event_makes_it_raise(kind: str, inner: object, index: object) -> None:
    translator = stream()
    for message in (inner, {"content": inner}, {"tool_calls": inner, "citations": inner}):
        event = {"type": kind, "index": index, "delta": {"message": message, "usage": inner}}
        translator.feed(f"data: {json.dumps(event)}\n\n".encode())
    translator.end()


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_no_bytes_make_it_raise(pieces: list[bytes]) -> None:
    translator = stream()
    for piece in pieces:
        translator.feed(piece)
    translator.end()
