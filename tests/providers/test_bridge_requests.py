"""Responses as chat completions: the request (OpenAI's API reference, both)."""

import json
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from hermod.providers.adapter import CannotCarry
from tests.providers.bridging import OVER_CHAT, RESPONSES, Json, judge, outgoing, prepared, sent

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": "ü"}'}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": "ü"}'}}
TOOL = {
    "type": "function",
    "name": "f",
    "description": "d",
    "parameters": {"type": "object"},
    "strict": False,
}
CHAT_TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
}


def thought(text: str | None, seal: str | None = None) -> Json:
    summary = [] if text is None else [{"type": "summary_text", "text": text}]
    item: Json = {"type": "reasoning", "id": "rs_1", "summary": summary}
    return item | ({} if seal is None else {"encrypted_content": seal})


def said(text: str) -> Json:
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    return {**item, "content": [part]}


def messages(*items: Json) -> list[Json]:
    """What these items of an input become."""
    return sent(OVER_CHAT, {"input": list(items)})["messages"]


def test_a_text_is_the_users_message_and_instructions_are_the_systems() -> None:
    body = sent(OVER_CHAT, {"input": "Hello", "instructions": "Be brief"})
    assert body == {
        "model": "upstream-model",
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "Hello"},
        ],
    }


@pytest.mark.parametrize("role", ["system", "developer"])
def test_what_a_developer_says_the_system_says(role: str) -> None:
    item = {"role": role, "content": [{"type": "input_text", "text": "rules"}]}
    assert messages(item, {"role": "user", "content": "hi"}) == [
        {"role": "system", "content": "rules"},
        {"role": "user", "content": "hi"},
    ]


PARTS: list[tuple[Json, Json]] = [
    ({"type": "input_text", "text": "t"}, {"type": "text", "text": "t"}),
    (
        {"type": "input_image", "image_url": "https://a.example/i.png", "detail": "auto"},
        {"type": "image_url", "image_url": {"url": "https://a.example/i.png"}},
    ),
    (
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
    ),
    (
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
        },
    ),
    (
        {"type": "input_file", "file_url": "https://a.example/a.pdf"},
        {"type": "file", "file": {"file_url": "https://a.example/a.pdf"}},
    ),
    (
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ),
    (
        {"type": "input_text", "text": "t", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}},
    ),
]


@pytest.mark.parametrize(("part", "becomes"), PARTS)
def test_each_part_of_a_message_has_its_counterpart(part: Json, becomes: Json) -> None:
    other = {"type": "input_text", "text": "and"}
    found = messages({"role": "user", "content": [part, other]})[0]["content"]
    assert found == [becomes, {"type": "text", "text": "and"}]


def test_an_assistants_turn_is_one_message_again() -> None:
    turn = (thought("hm", "seal"), said("I look"), CALL, {**CALL, "call_id": "c2"})
    outputs = [
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "function_call_output", "call_id": "c2", "output": [PARTS[0][0], PARTS[1][0]]},
    ]
    assert messages(*turn, *outputs) == [
        {
            "role": "assistant",
            "reasoning": "hm",
            "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "seal"}],
            "content": "I look",
            "tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "c2"}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": [PARTS[0][1], PARTS[1][1]]},
    ]


def test_thoughts_stay_before_what_they_led_to() -> None:
    found = messages(thought("first"), said("a"), thought("second"), CALL)
    assert [(each.get("reasoning"), each.get("content")) for each in found] == [
        ("first", "a"),
        ("second", None),
    ]
    assert found[1]["tool_calls"] == [CHAT_CALL]


def test_calls_that_wait_for_their_results_stay_in_one_message() -> None:
    found = messages(CALL, thought("more"), {**CALL, "call_id": "c2"}, said("done?"))
    assert [each["id"] for each in found[0]["tool_calls"]] == ["c1", "c2"]
    assert found[0]["content"] == "done?"
    assert len(found) == 1


def test_a_thought_that_nobody_can_read_is_carried_as_it_came() -> None:
    found = messages(thought(None, "secret"), said("a"))[0]
    assert found["reasoning_details"] == [{"type": "reasoning.encrypted", "data": "secret"}]
    assert "reasoning" not in found


def test_a_seal_that_comes_after_its_text_stays_with_it() -> None:
    found = messages(said("a"), thought(None, "secret"), {"role": "user", "content": "b"})
    assert found[0]["reasoning_details"] == [{"type": "reasoning.encrypted", "data": "secret"}]
    assert [each["role"] for each in found] == ["assistant", "user"]


def test_a_refusal_is_said_again() -> None:
    item = {**said(""), "content": [{"type": "refusal", "refusal": "No."}]}
    assert messages(item) == [{"role": "assistant", "refusal": "No.", "content": ""}]


def test_the_call_of_a_custom_tool_is_one_in_a_chat() -> None:
    call = {"type": "custom_tool_call", "call_id": "c1", "name": "sh", "input": "ls"}
    output = {"type": "custom_tool_call_output", "call_id": "c1", "output": "a b"}
    found = messages(call, output)
    assert found[0]["tool_calls"] == [
        {"id": "c1", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
    ]
    assert found[1] == {"role": "tool", "tool_call_id": "c1", "content": "a b"}


SETTINGS: list[tuple[Json, Json]] = [
    ({"max_output_tokens": 9}, {"max_completion_tokens": 9}),
    ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
    ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
    (
        {"reasoning": {"effort": "low", "max_tokens": 5}},
        {"reasoning": {"effort": "low", "max_tokens": 5}},
    ),
    ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
    (
        {"text": {"format": {"type": "json_object"}}},
        {"response_format": {"type": "json_object"}},
    ),
    (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {}, "strict": True},
            }
        },
    ),
    ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
    ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    ({"tools": [{**TOOL, "strict": None}]}, {"tools": [CHAT_TOOL]}),
    (
        {"tools": [TOOL], "parallel_tool_calls": False, "tool_choice": "required"},
        {"tools": [CHAT_TOOL], "parallel_tool_calls": False, "tool_choice": "required"},
    ),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "name": "f"}},
        {
            "tools": [CHAT_TOOL],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
        },
    ),
    (
        {
            "tools": [TOOL, {**TOOL, "name": "g"}],
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}],
            },
        },
        {"tools": [CHAT_TOOL], "tool_choice": "required"},
    ),
    (
        {
            "tools": [
                {
                    "type": "custom",
                    "name": "sh",
                    "format": {"type": "grammar", "syntax": "lark", "definition": "d"},
                }
            ]
        },
        {
            "tools": [
                {
                    "type": "custom",
                    "custom": {
                        "name": "sh",
                        "format": {
                            "type": "grammar",
                            "grammar": {"syntax": "lark", "definition": "d"},
                        },
                    },
                }
            ]
        },
    ),
    (
        {"metadata": {"a": "b"}, "user": "u", "prompt_cache_key": "k", "safety_identifier": "s"},
        {"metadata": {"a": "b"}, "user": "u", "prompt_cache_key": "k", "safety_identifier": "s"},
    ),
    ({"service_tier": "flex"}, {"service_tier": "flex"}),
    ({"stop": ["END"], "seed": 7}, {"stop": ["END"], "seed": 7}),
    ({"top_k": 5}, {"top_k": 5}),
]


@pytest.mark.parametrize(("setting", "becomes"), SETTINGS)
def test_each_setting_has_its_counterpart(setting: Json, becomes: Json) -> None:
    body = sent(OVER_CHAT, {"input": "x", **setting})
    assert body == {
        "model": "upstream-model",
        "messages": [{"role": "user", "content": "x"}],
        **becomes,
    }


WITHOUT_EFFECT: list[Json] = [
    {"store": True},
    {"background": False},
    {"truncation": "disabled"},
    {"include": ["reasoning.encrypted_content"]},
    {"max_tool_calls": 3},
    {"service_tier": "auto"},
    {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
    {"text": {"verbosity": "medium"}},
    {"metadata": {}},
    {"previous_response_id": None, "conversation": None, "prompt": None},
    {"stream_options": {"include_obfuscation": False}},
]


@pytest.mark.parametrize("setting", WITHOUT_EFFECT)
def test_what_changes_nothing_in_the_answer_is_left_out(setting: Json) -> None:
    assert sent(OVER_CHAT, {"input": "x", **setting}) == sent(OVER_CHAT, {"input": "x"})


REFUSED: list[tuple[Json, str]] = [
    ({"previous_response_id": "resp_1"}, "previous_response_id: no conversations are kept"),
    ({"conversation": {"id": "conv_1"}}, "conversation: no conversations are kept"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt: prompts are stored with OpenAI"),
    ({"truncation": "auto"}, "truncation: not supported by"),
    ({"tools": [{"type": "web_search"}]}, "tools[0]: 'web_search' is a tool that OpenAI runs"),
    ({"tools": [TOOL, {"type": "mcp", "server_label": "x"}]}, "tools[1]: 'mcp' is a tool"),
    ({"tools": [{"type": "function"}]}, "tools[0].name: expected a string"),
    (
        {"tools": [TOOL], "tool_choice": {"type": "file_search"}},
        "tool_choice: 'file_search' is a tool that only OpenAI runs",
    ),
    ({"text": {"format": {"type": "xml"}}}, "text.format: a chat has no format 'xml'"),
    ({"input": [{"id": "msg_1"}]}, "input[0]: no responses are kept here"),
    ({"input": [{"type": "item_reference", "id": "m"}]}, "input[0]: no responses are kept here"),
    ({"input": [{"type": "web_search_call", "id": "w"}]}, "input[0]: this provider has chat"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        "input[0].content[0]: a chat takes an image by its URL",
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "sculpture"}]}]},
        "input[0].content[0]: a chat has no part of type 'sculpture'",
    ),
    ({"input": [{"role": "user", "content": 5}]}, "input[0].content: expected a string or an"),
    ({"input": [{"role": "owl", "content": "x"}]}, "input[0].role: unknown role 'owl'"),
    ({"input": [{**CALL, "call_id": None}]}, "input[0].call_id: expected a string"),
    ({"top_p": 1, "reasoning": {"mode": "pro"}}, "reasoning.mode: a chat has no modes"),
]


@pytest.mark.parametrize(("asked", "why"), REFUSED)
def test_what_a_chat_cannot_carry_is_refused_with_its_place(asked: Json, why: str) -> None:
    with pytest.raises(CannotCarry) as caught:
        sent(OVER_CHAT, {"input": "x", **asked})
    assert caught.value.message.startswith(why)
    assert caught.value.param


def test_what_may_be_dropped_is_dropped_and_named() -> None:
    asked: Json = {
        "input": [{"type": "web_search_call", "id": "w"}, {"role": "user", "content": "x"}],
        "tools": [{"type": "web_search"}, TOOL],
        "truncation": "auto",
    }
    found = prepared(OVER_CHAT, asked, drop=True)
    assert found.dropped == ("input[0]", "tools[0]", "truncation")
    assert json.loads(found.body) == {
        "model": "upstream-model",
        "messages": [{"role": "user", "content": "x"}],
        "tools": [CHAT_TOOL],
    }


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "prompt"])
def test_what_the_whole_answer_hangs_on_is_never_dropped(name: str) -> None:
    with pytest.raises(CannotCarry):
        sent(OVER_CHAT, {"input": "x", name: "a"}, drop=True)


def test_a_stream_asks_for_its_usage() -> None:
    body = sent(OVER_CHAT, {"input": "x", "stream": True}, stream=True)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_a_number_that_nothing_holds_is_refused() -> None:
    request = b'{"model":"a/b","input":"x","tools":[{"type":"function","name":"f","x":1e400}]}'

    with pytest.raises(CannotCarry):
        OVER_CHAT.build(RESPONSES, outgoing({})._replace(body=request))


CONVERSATION: list[Any] = [
    {"role": "developer", "content": "rules"},
    {"role": "user", "content": [PARTS[0][0], PARTS[1][0], PARTS[3][0]]},
    thought("hm", "seal"),
    said("I look"),
    CALL,
    {"type": "function_call_output", "call_id": "c1", "output": "one"},
]


@pytest.mark.parametrize("setting", [{}, *(setting for setting, _ in SETTINGS)])
def test_what_openais_types_call_a_response_request_becomes_what_they_call_a_chat(
    setting: Json,
) -> None:
    asked = {"input": CONVERSATION, **setting}
    judge(ResponseCreateParamsNonStreaming, {"model": "m", **asked})
    judge(CompletionCreateParamsNonStreaming, sent(OVER_CHAT, asked))
