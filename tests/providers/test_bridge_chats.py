"""Chat completions over a model that knows responses only (OpenAI's API reference, both)."""

from typing import Any

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.providers.adapter import CannotCarry
from tests.providers.bridging import (
    OVER_RESPONSES,
    Json,
    answer,
    is_chat,
    is_chunk,
    judge,
    lines,
    opened,
    read,
    sent,
    streamed,
    told,
)

ASKED: Json = {"messages": [{"role": "user", "content": "x"}]}
CALL: Json = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ITEM: Json = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
TEXT: Json = {"type": "output_text", "text": "Grüße 😀", "annotations": []}
MESSAGE: Json = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [TEXT],
}
THOUGHT: Json = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "secret",
}
USAGE: Json = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
    "output_tokens": 6,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 16,
}


def response(*output: Json, status: str = "completed", **more: Any) -> Json:
    return {
        "id": "resp_77",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": "upstream-model",
        "status": status,
        "output": list(output),
        "usage": USAGE,
        **more,
    }


def items(*messages: Json) -> list[Json]:
    """What these messages become."""
    return sent(OVER_RESPONSES, {"messages": list(messages)})["input"]


def test_a_conversation_becomes_items() -> None:
    found = items(
        {"role": "system", "content": "rules"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": "https://a.example/i"}},
                {"type": "file", "file": {"file_data": "data:,x", "filename": "a"}},
            ],
        },
        {"role": "assistant", "content": "I look", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
    )
    assert found == [
        {"role": "system", "content": "rules"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "t"},
                {"type": "input_image", "image_url": "https://a.example/i", "detail": "auto"},
                {"type": "input_file", "file_data": "data:,x", "filename": "a"},
            ],
        },
        {"role": "assistant", "content": "I look"},
        ITEM,
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
    ]


def test_a_thought_goes_back_as_it_came() -> None:
    message = answer(OVER_RESPONSES, ASKED, response(THOUGHT, MESSAGE))["choices"][0]["message"]
    assert items(message)[0] == THOUGHT


def test_thoughts_that_are_not_sealed_stay_here() -> None:
    details = [{"type": "reasoning.text", "text": "hm"}]
    message = {"role": "assistant", "content": "a", "reasoning_details": details}
    assert items(message) == [{"role": "assistant", "content": "a"}]


def test_the_result_of_a_custom_tool_is_known_by_its_call() -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
    found = items(
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "a"},
    )
    assert [each["type"] for each in found] == ["custom_tool_call", "custom_tool_call_output"]


SETTINGS: list[tuple[Json, Json]] = [
    ({"max_completion_tokens": 9}, {"max_output_tokens": 9}),
    ({"max_tokens": 9}, {"max_output_tokens": 9}),
    ({"store": True}, {"store": True}),
    (
        {"logprobs": True, "top_logprobs": 2},
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
    ),
    (
        {"reasoning_effort": "low"},
        {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]},
    ),
    ({"reasoning": {"effort": "none"}}, {"reasoning": {"effort": "none"}}),
    ({"verbosity": "low"}, {"text": {"verbosity": "low"}}),
    ({"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {}, "strict": True},
            }
        },
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}}},
    ),
    (
        {
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
        },
        {
            "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": False}],
            "tool_choice": {"type": "function", "name": "f"},
        },
    ),
    ({"web_search_options": {}}, {"tools": [{"type": "web_search"}]}),
    (
        {
            "web_search_options": {
                "search_context_size": "low",
                "user_location": {"type": "approximate", "approximate": {"country": "IS"}},
            }
        },
        {
            "tools": [
                {
                    "type": "web_search",
                    "search_context_size": "low",
                    "user_location": {"type": "approximate", "country": "IS"},
                }
            ]
        },
    ),
    ({"tools": [{"type": "web_search"}]}, {"tools": [{"type": "web_search"}]}),
    (
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            }
        },
        {
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}],
            }
        },
    ),
    ({"tool_choice": "any"}, {"tool_choice": "required"}),
    ({"frequency_penalty": 0, "modalities": ["text"]}, {}),
]


@pytest.mark.parametrize(("setting", "becomes"), SETTINGS)
def test_each_setting_has_its_counterpart(setting: Json, becomes: Json) -> None:
    body = sent(OVER_RESPONSES, {**ASKED, **setting})
    assert body == {
        "model": "upstream-model",
        "input": [{"role": "user", "content": "x"}],
        "store": False,
        **becomes,
    }
    judge(ResponseCreateParamsNonStreaming, body)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"stop": ["a"]}, "stop: not supported by"),
        ({"seed": 1}, "seed: not supported by"),
        ({"audio": {"voice": "x"}}, "audio: not supported by"),
        ({"response_format": {"type": "xml"}}, "response_format: a response has no format"),
        (
            {"messages": [{"role": "assistant", "audio": {"id": "a"}}]},
            "messages[0].audio: send what was said as content instead",
        ),
        (
            {"messages": [{"role": "assistant", "function_call": {"name": "f"}}]},
            "messages[0].function_call: use tool_calls instead",
        ),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages[0].tool_call_id: a tool's message needs one",
        ),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role: unknown role"),
    ],
)
def test_what_a_response_cannot_carry_is_refused(asked: Json, why: str) -> None:
    with pytest.raises(CannotCarry) as caught:
        sent(OVER_RESPONSES, {**ASKED, **asked})
    assert caught.value.message.startswith(why)


# Answers


def test_a_response_is_a_chat_completion_again() -> None:
    found = is_chat(answer(OVER_RESPONSES, ASKED, response(THOUGHT, MESSAGE)))
    assert (found.id, found.created, found.model) == (
        "chatcmpl-77",
        1_700_000_000,
        "upstream-model",
    )
    assert found.choices[0].message.content == "Grüße 😀"
    assert found.choices[0].finish_reason == "stop"
    assert found.usage is not None
    assert found.usage.prompt_tokens_details is not None
    assert found.usage.prompt_tokens_details.cached_tokens == 3


def test_thoughts_stand_beside_the_text() -> None:
    message = answer(OVER_RESPONSES, ASKED, response(THOUGHT, MESSAGE))["choices"][0]["message"]
    assert message["reasoning"] == "hm"
    assert message["reasoning_details"] == [
        {"type": "reasoning.summary", "summary": "hm", "id": "rs_1"},
        {"type": "reasoning.encrypted", "data": "secret", "id": "rs_1"},
    ]


def test_calls_are_the_messages() -> None:
    found = answer(OVER_RESPONSES, ASKED, response({**ITEM, "id": "fc_1"}))
    is_chat(found)
    assert found["choices"][0]["message"]["tool_calls"] == [CALL]
    assert found["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("why", "reason"), [("max_output_tokens", "length"), ("content_filter", "content_filter")]
)
def test_an_incomplete_response_ends_for_its_reason(why: str, reason: str) -> None:
    cut = response(MESSAGE, status="incomplete", incomplete_details={"reason": why})
    assert answer(OVER_RESPONSES, ASKED, cut)["choices"][0]["finish_reason"] == reason


def test_a_failed_response_is_a_failure() -> None:
    error = {"code": "server_error", "message": "gone"}
    found = read(OVER_RESPONSES, ASKED, response(status="failed", error=error))
    assert isinstance(found, Failure)
    assert found.message == "gone"


def test_sources_are_wrapped_and_log_probabilities_stay() -> None:
    logprob = {"token": "a", "bytes": [97], "logprob": -1.0, "top_logprobs": []}
    source = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
    part = {**TEXT, "annotations": [source], "logprobs": [logprob]}
    found = is_chat(answer(OVER_RESPONSES, ASKED, response({**MESSAGE, "content": [part]})))
    message = found.choices[0].message
    assert message.annotations is not None
    assert message.annotations[0].url_citation.url == "u"
    assert found.choices[0].logprobs is not None
    assert found.choices[0].logprobs.content is not None
    assert found.choices[0].logprobs.content[0].token == "a"


# In pieces


def at(kind: str, **members: Any) -> Json:
    return {"type": f"response.{kind}", "output_index": 0, **members}


CREATED = {"type": "response.created", "response": response(status="in_progress", usage=None)}
TEXTS = (
    CREATED,
    at("output_item.added", item={**THOUGHT, "summary": []}),
    at("reasoning_summary_text.delta", summary_index=0, delta="hm"),
    at("output_item.done", item=THOUGHT),
    at("output_item.added", output_index=1, item={**MESSAGE, "content": []}),
    at("output_text.delta", output_index=1, content_index=0, delta="Grüße ", logprobs=[]),
    at("output_text.delta", output_index=1, content_index=0, delta="😀", logprobs=[]),
    at("output_item.done", output_index=1, item=MESSAGE),
    {"type": "response.completed", "response": response(THOUGHT, MESSAGE)},
)
CALLS = (
    CREATED,
    at("output_item.added", item={**ITEM, "arguments": ""}),
    at("function_call_arguments.delta", delta="{"),
    at("function_call_arguments.delta", delta="}"),
    at("output_item.done", item=ITEM),
    at("output_item.done", output_index=1, item={**ITEM, "call_id": "c2"}),
    {"type": "response.completed", "response": response(ITEM)},
)


def deltas(events: list[Json]) -> list[Json]:
    return [event["choices"][0]["delta"] for event in events if event["choices"]]


def test_a_stream_of_a_response_is_one_of_a_chat() -> None:
    found = told(OVER_RESPONSES, ASKED, *TEXTS)
    said = deltas(found)
    assert said[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("reasoning", "") for delta in said) == "hm"
    assert "".join(delta.get("content", "") for delta in said) == "Grüße 😀"
    assert [delta["reasoning_details"] for delta in said if "reasoning_details" in delta] == [
        [
            {"type": "reasoning.summary", "summary": "hm", "id": "rs_1"},
            {"type": "reasoning.encrypted", "data": "secret", "id": "rs_1"},
        ]
    ]
    assert found[-1]["choices"][0]["finish_reason"] == "stop"


def test_calls_come_piece_by_piece_or_whole() -> None:
    found = told(OVER_RESPONSES, ASKED, *CALLS)
    calls: dict[int, list[Any]] = {}
    for delta in deltas(found):
        for call in delta.get("tool_calls", []):
            known = calls.setdefault(call["index"], [call.get("id"), ""])
            known[1] += call["function"]["arguments"]
    assert calls == {0: ["c1", "{}"], 1: ["c2", "{}"]}
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [TEXTS, CALLS], ids=["texts", "calls"])
def test_every_chunk_is_one_of_openais(stream: tuple[Json, ...]) -> None:
    asked = {**ASKED, "stream_options": {"include_usage": True}}
    found = told(OVER_RESPONSES, asked, *stream)
    for each in found:
        is_chunk(each)
    assert found[-1]["usage"]["total_tokens"] == 16


def test_a_usage_that_nobody_asked_for_is_metered_and_not_told() -> None:
    translator = opened(OVER_RESPONSES, ASKED)
    out = translator.feed(lines(*TEXTS, done=False))
    assert b'"usage"' not in out
    assert translator.usage == Usage(10, 6, 3, 2, 4)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
@pytest.mark.parametrize("stream", [TEXTS, CALLS], ids=["texts", "calls"])
def test_a_stream_may_be_cut_anywhere(stream: tuple[Json, ...], size: int) -> None:
    whole = lines(*stream, done=False)
    expected = streamed(OVER_RESPONSES, ASKED, whole)
    assert streamed(OVER_RESPONSES, ASKED, whole, size) == expected
    assert expected.endswith(b"data: [DONE]\n\n")


def test_a_response_that_came_whole_is_said_at_its_end() -> None:
    whole = {"type": "response.completed", "response": response(MESSAGE)}
    found = deltas(told(OVER_RESPONSES, ASKED, whole))
    assert "".join(delta.get("content") or "" for delta in found) == "Grüße 😀"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "server_error", "message": "gone"},
        {"type": "error", "error": {"code": "server_error", "message": "gone"}},
        {
            "type": "response.failed",
            "response": response(
                status="failed", error={"code": "server_error", "message": "gone"}
            ),
        },
    ],
)
def test_an_error_in_a_stream_is_told_in_a_chats_words(event: Json) -> None:
    found = told(OVER_RESPONSES, ASKED, CREATED, event)
    assert (found[-1]["error"]["message"], found[-1]["error"]["code"]) == ("gone", "server_error")
    assert b"[DONE]" not in streamed(OVER_RESPONSES, ASKED, lines(CREATED, event, done=False))
