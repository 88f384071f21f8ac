"""A chat's answers as responses, whole and in pieces, judged by OpenAI's own types."""

import json
from typing import Any

import pytest

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds import sse
from tests.providers.bridging import (
    NOW_S,
    OVER_CHAT,
    Json,
    answer,
    chat,
    chunk,
    is_event,
    is_response,
    lines,
    opened,
    read,
    sent,
    streamed,
    told,
)

ASKED: Json = {"input": "x"}
USAGE: Json = {
    "prompt_tokens": 10,
    "completion_tokens": 6,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 3, "cache_creation_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
CALL: Json = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
SEALED: Json = {"type": "reasoning.text", "text": "hm", "signature": "seal"}
SECRET: Json = {"type": "reasoning.encrypted", "data": "secret"}
LOGPROB: Json = {
    "token": "Hi",
    "bytes": [72, 105],
    "logprob": -0.5,
    "top_logprobs": [{"token": "Hi", "bytes": None, "logprob": -0.5}],
}


def response(message: Json, finish_reason: str = "stop", **more: Any) -> Any:
    """The response of a chat completion, as OpenAI's SDK reads it."""
    return is_response(answer(OVER_CHAT, ASKED, chat(message, finish_reason, **more)))


def names(events: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


# Whole


def test_a_text_is_a_message_of_a_completed_response() -> None:
    found = response({"content": "Grüße 😀"}, usage=USAGE)
    assert (found.id, found.created_at, found.model) == (
        "resp_77",
        1_700_000_000,
        "upstream-model",
    )
    assert (found.status, found.error, found.incomplete_details) == ("completed", None, None)
    assert found.output_text == "Grüße 😀"
    assert (found.output[0].id, found.output[0].status) == ("msg_77_0", "completed")


def test_the_usage_is_told_in_the_words_of_a_response() -> None:
    usage = response({"content": "a"}, usage=USAGE).usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (10, 6, 16)
    assert usage.input_tokens_details.cached_tokens == 3
    assert usage.input_tokens_details.cache_write_tokens == 2
    assert usage.output_tokens_details.reasoning_tokens == 4


def test_the_usage_is_metered() -> None:
    found = read(OVER_CHAT, ASKED, chat({"content": "a"}, usage=USAGE))
    assert not isinstance(found, Failure)
    assert found.usage == Usage(10, 6, 3, 2, 4)


def test_thoughts_text_and_calls_are_items_in_this_order() -> None:
    message = {
        "reasoning": "hm",
        "reasoning_details": [SEALED, SECRET],
        "content": "I look",
        "tool_calls": [CALL, {**CALL, "id": "c2"}],
    }
    found = response(message, "tool_calls")
    assert [item.type for item in found.output] == [
        "reasoning",
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    first, second, _, call, other = found.output
    assert (first.summary[0].text, first.encrypted_content) == ("hm", "seal")
    assert (second.summary, second.encrypted_content) == ([], "secret")
    assert (call.id, call.call_id, call.name, call.arguments) == ("fc_77_3", "c1", "f", '{"a":1}')
    assert other.call_id == "c2"
    assert found.status == "completed"


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_a_thought_without_details_is_a_summary(name: str) -> None:
    found = response({name: "hm", "content": "a"})
    assert found.output[0].summary[0].text == "hm"


def test_thoughts_within_a_content_are_found() -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "a"},
    ]
    found = response({"content": content})
    assert (found.output[0].summary[0].text, found.output_text) == ("hm", "a")


def test_a_refusal_is_a_part_of_its_own() -> None:
    found = response({"content": None, "refusal": "No."})
    assert found.output[0].content[0].refusal == "No."


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("length", "max_output_tokens"),
        ("content_filter", "content_filter"),
        ("insufficient_system_resource", None),
    ],
)
def test_an_answer_that_was_cut_off_is_incomplete(reason: str, why: str | None) -> None:
    found = response({"content": "a"}, reason)
    assert (found.status, found.incomplete_details.reason) == ("incomplete", why)
    assert found.output[0].status == "incomplete"


def test_sources_and_log_probabilities_stay_with_the_text() -> None:
    source = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
    message = {
        "content": "Hi",
        "annotations": [{"type": "url_citation", "url_citation": source}],
    }
    reply = chat(message)
    reply["choices"][0]["logprobs"] = {"content": [LOGPROB], "refusal": None}
    part = is_response(answer(OVER_CHAT, ASKED, reply)).output[0].content[0]  # type: ignore[union-attr]
    assert part.annotations[0].url == "https://a.example"  # type: ignore[union-attr]
    assert part.logprobs[0].bytes == [72, 105]  # type: ignore[union-attr,index]
    assert part.logprobs[0].top_logprobs[0].bytes == []  # type: ignore[union-attr,index]


def test_the_call_of_a_custom_tool_is_an_item() -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
    found = response({"content": None, "tool_calls": [call]}, "tool_calls").output[0]
    assert (found.type, found.call_id, found.input) == ("custom_tool_call", "c1", "ls")


def test_a_response_repeats_the_settings_of_its_request() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    asked = {
        "input": "x",
        "instructions": "rules",
        "temperature": 0.5,
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "tools": [tool],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
        "text": {"verbosity": "low"},
        "reasoning": {"effort": "low"},
    }
    body = answer(OVER_CHAT, asked, chat({"content": "a"}))
    is_response(body)
    assert {name: body[name] for name in asked if name != "input"} == {
        name: value for name, value in asked.items() if name != "input"
    }
    assert (body["store"], body["background"], body["previous_response_id"]) == (False, False, None)


def test_an_answer_without_an_id_or_a_time_gets_them() -> None:
    reply = chat({"content": "a"}, id=None, created=None, model=None)
    first, again = (answer(OVER_CHAT, ASKED, reply) for _ in range(2))
    assert first == again
    assert is_response(first).id.startswith("resp_")
    assert (first["created_at"], first["model"]) == (NOW_S, "upstream-model")


def test_an_id_that_is_no_id_is_replaced() -> None:
    found = answer(OVER_CHAT, ASKED, chat({"content": "a"}, id="x y/" * 50))
    assert len(found["id"]) < 50
    assert " " not in found["id"]


@pytest.mark.parametrize("mark", [{}, {"format": "google-gemini-v1"}, {"id": "c1", "format": "g"}])
@pytest.mark.parametrize("detail", [SEALED, SECRET])
def test_what_a_client_hands_back_of_a_thought_is_what_the_upstream_gave(
    detail: Json, mark: Json
) -> None:
    given = {**detail, **mark}
    found = answer(OVER_CHAT, ASKED, chat({"reasoning_details": [given], "content": "a"}))
    again = sent(OVER_CHAT, {"input": found["output"]})
    assert again["messages"][0]["reasoning_details"] == [given]


def test_a_choice_that_broke_off_is_a_failure() -> None:
    reply = chat({"content": "a"}, "error")
    reply["choices"][0]["error"] = {"code": 502, "message": "gone"}
    found = read(OVER_CHAT, ASKED, reply)
    assert isinstance(found, Failure)
    assert found.message == "gone"


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"error":{"message":"m"}}', b"{}"])
def test_what_is_no_answer_of_a_chat_is_none_of_a_response(body: bytes) -> None:
    assert isinstance(read(OVER_CHAT, ASKED, body), Failure)


def test_a_number_that_nothing_holds_is_a_failure() -> None:
    body = b'{"choices":[{"message":{"content":"a"}}],"x":1e400}'
    assert isinstance(read(OVER_CHAT, ASKED, body), Failure)


# In pieces

TEXT = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Grü"}),
    chunk({"content": "ße 😀"}),
    chunk({}, "stop"),
    chunk({}, usage=USAGE) | {"choices": []},
)
TOOLS = (
    chunk({"role": "assistant", "content": None}),
    chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
    chunk({"tool_calls": [{"index": 1, **CALL, "id": "c2"}]}),
    chunk({}, "tool_calls"),
)
THINKING = (
    chunk({"reasoning": "h", "reasoning_details": [{"type": "reasoning.text", "text": "h"}]}),
    chunk({"reasoning": "m", "reasoning_details": [{"type": "reasoning.text", "text": "m"}]}),
    chunk({"reasoning_details": [{"type": "reasoning.text", "signature": "seal"}]}),
    chunk({"reasoning_details": [SECRET]}),
    chunk({"content": "a"}),
    chunk({"refusal": "No."}),
    chunk({}, "stop"),
)


def test_the_events_of_a_text_are_openais() -> None:
    events = told(OVER_CHAT, ASKED, *TEXT)
    assert names(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"]["usage"]["input_tokens"] == 10
    assert events[0]["response"]["status"] == "in_progress"


def test_the_events_of_calls_are_openais() -> None:
    events = told(OVER_CHAT, ASKED, *TOOLS)
    assert names(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    calls = is_event(events[-1]).response.output
    assert [(call.call_id, call.arguments) for call in calls] == [
        ("c1", '{"a":1}'),
        ("c2", '{"a":1}'),
    ]


def test_the_events_of_thoughts_and_refusals_are_openais() -> None:
    events = told(OVER_CHAT, ASKED, *THINKING)
    assert names(events)[2:-1] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
    ]
    first = is_event(events[-1]).response.output[0]
    assert (first.summary[0].text, first.encrypted_content) == ("hm", "seal")


@pytest.mark.parametrize("stream", [TEXT, TOOLS, THINKING], ids=["text", "tools", "thinking"])
def test_every_event_is_one_of_openais(stream: tuple[Json, ...]) -> None:
    for event in told(OVER_CHAT, ASKED, *stream):
        is_event(event)


@pytest.mark.parametrize("stream", [TEXT, TOOLS, THINKING], ids=["text", "tools", "thinking"])
def test_a_stream_may_be_cut_anywhere(stream: tuple[Json, ...]) -> None:
    whole = lines(*stream)
    expected = streamed(OVER_CHAT, ASKED, whole)
    for size in (1, 2, 3, 7, 64):
        assert streamed(OVER_CHAT, ASKED, whole, size) == expected


def test_each_event_bears_its_type_as_its_name() -> None:
    events = sse.Reader().feed(streamed(OVER_CHAT, ASKED, lines(*TEXT)))
    assert [event.name for event in events] == [json.loads(event.data)["type"] for event in events]


def test_calls_that_are_all_numbered_0_stay_apart() -> None:
    first = {"index": 0, **CALL}
    second = {"index": 0, **CALL, "id": "c2", "function": {"name": "g", "arguments": "{"}}
    rest = {"index": 0, "function": {"arguments": "}"}}
    events = told(
        OVER_CHAT,
        ASKED,
        chunk({"tool_calls": [first]}),
        chunk({"tool_calls": [second]}),
        chunk({"tool_calls": [rest]}, "tool_calls"),
    )
    output = events[-1]["response"]["output"]
    assert [(call["name"], call["arguments"]) for call in output] == [
        ("f", '{"a":1}'),
        ("g", "{}"),
    ]


def test_a_stream_that_was_cut_off_at_its_limit_is_incomplete() -> None:
    events = told(OVER_CHAT, ASKED, chunk({"content": "a"}), chunk({}, "length"))
    last = is_event(events[-1])
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details.reason == "max_output_tokens"


def test_a_stream_without_its_last_word_is_complete_if_its_reason_came() -> None:
    events = told(OVER_CHAT, ASKED, chunk({"content": "a"}), chunk({}, "stop"), done=False)
    assert names(events)[-1] == "completed"


def test_a_stream_that_breaks_off_says_nothing_of_an_end() -> None:
    events = told(OVER_CHAT, ASKED, chunk({"content": "a"}), done=False)
    assert names(events)[-1] == "output_text.delta"


ERROR: Json = {"error": {"message": "too many", "type": "rate_limit", "code": 429}}


def test_an_error_in_a_stream_is_told_and_ends_the_response() -> None:
    events = told(OVER_CHAT, ASKED, chunk({"content": "a"}), ERROR, chunk({"content": "b"}))
    assert names(events)[-2:] == ["error", "failed"]
    error, failed = (is_event(event) for event in events[-2:])
    assert (error.message, error.code) == ("too many", "429")
    assert (failed.response.status, failed.response.error.code) == ("failed", "rate_limit_exceeded")


def test_an_error_before_anything_else_is_all_there_is() -> None:
    assert names(told(OVER_CHAT, ASKED, ERROR)) == ["error"]


def test_a_choice_that_breaks_off_in_a_stream_fails_the_response() -> None:
    last = chunk({}, "error")
    last["choices"][0]["error"] = {"message": "gone"}
    events = told(OVER_CHAT, ASKED, chunk({"content": "a"}), last)
    assert names(events)[-2:] == ["error", "failed"]
    assert events[-2]["message"] == "gone"


def test_the_usage_of_a_stream_is_metered() -> None:
    translator = opened(OVER_CHAT, ASKED)
    translator.feed(lines(*TEXT))
    assert translator.usage == Usage(10, 6, 3, 2, 4)


@pytest.mark.parametrize("stream", [TEXT, TOOLS, THINKING], ids=["text", "tools", "thinking"])
def test_a_stream_tells_what_the_whole_answer_tells(stream: tuple[Json, ...]) -> None:
    """The last event's response, but for the usage, is that of the message put together."""
    streamed_output = told(OVER_CHAT, ASKED, *stream)[-1]["response"]["output"]
    texts = [piece["choices"][0]["delta"] for piece in stream if piece["choices"]]
    message: Json = {
        "content": "".join(delta.get("content") or "" for delta in texts),
        "refusal": "".join(delta.get("refusal") or "" for delta in texts),
    }
    if stream is TOOLS:
        message["tool_calls"] = [CALL, {**CALL, "id": "c2"}]
    if stream is THINKING:
        message["reasoning_details"] = [SEALED, SECRET]
    whole = answer(OVER_CHAT, ASKED, chat(message))
    assert streamed_output == whole["output"]
