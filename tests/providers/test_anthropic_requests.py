"""What Claude is asked for a chat completion. Anthropic's SDK judges every request."""

import json
from typing import Any

import pytest

from hermod.providers.adapter import CannotCarry
from hermod.providers.anthropic.request import messages_body
from tests.providers.claude import (
    ASKED,
    CHAT,
    NEWER,
    OLDER,
    accepted_by_sdk,
    outgoing,
    prepared,
    sent,
    turns,
)

FUNCTION: dict[str, Any] = {
    "type": "function",
    "function": {"name": "depth", "parameters": {"type": "object"}},
}
PNG = "data:image/png;base64,aGVybW9k"


def call(call_id: str = "c1", arguments: Any = "{}") -> dict[str, Any]:
    function = {"name": "depth", "arguments": arguments}
    return {
        "role": "assistant",
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def refused(model: str = OLDER, **asked: Any) -> CannotCarry:
    with pytest.raises(CannotCarry) as caught:
        prepared(model, **asked)
    return caught.value


# Messages


def test_system_messages_go_to_the_front_from_wherever_they_stand() -> None:
    messages = [{"role": "system", "content": "a"}, *ASKED, {"role": "developer", "content": "b"}]
    body = sent(messages=messages)
    assert [block["text"] for block in body["system"]] == ["a", "b"]
    assert [each["role"] for each in body["messages"]] == ["user"]


def test_neighbours_of_one_role_become_one_turn() -> None:
    found = turns(user("a"), user("b"), {"role": "assistant", "content": "c"}, user("d"))
    assert [each["role"] for each in found] == ["user", "assistant", "user"]
    assert [block["text"] for block in found[0]["content"]] == ["a", "b"]


def test_results_of_tools_stand_before_what_the_user_says() -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": "12"}
    found = turns(user("a"), call(), user("and?"), result)
    assert [block["type"] for block in found[2]["content"]] == ["tool_result", "text"]


def test_empty_texts_are_left_out_and_with_them_empty_turns() -> None:
    parts = [{"type": "text", "text": " \n"}, {"type": "text", "text": "a"}]
    found = turns(user(parts), {"role": "assistant", "content": ""}, user(""), user("b"))
    assert [block["text"] for block in found[0]["content"]] == ["a", "b"]


def test_a_conversation_in_which_nobody_says_anything_is_refused() -> None:
    assert refused(messages=[{"role": "system", "content": " "}]).param == "messages"


def test_ids_of_calls_lose_what_anthropic_does_not_allow_on_both_sides() -> None:
    result = {"role": "tool", "tool_call_id": "functions.depth:0", "content": "12"}
    found = turns(user("a"), call("functions.depth:0"), result)
    assert found[1]["content"][0]["id"] == "functions_depth_0"
    assert found[2]["content"][0]["tool_use_id"] == "functions_depth_0"


def test_arguments_of_a_call_keep_their_numbers() -> None:
    body = prepared(messages=[*ASKED, call(arguments='{"n": 1.50, "big": 12345678901234567890}')])
    assert b'{"n":1.50,"big":12345678901234567890}' in body.body


@pytest.mark.parametrize("arguments", ["", " ", None, "{}"])
def test_a_call_without_arguments_has_an_empty_input(arguments: Any) -> None:
    assert turns(*ASKED, call(arguments=arguments))[1]["content"][0]["input"] == {}


def test_thinking_goes_back_first_and_only_with_its_signature() -> None:
    details = [
        {"type": "reasoning.text", "text": "unsigned, but joined "},
        {"type": "reasoning.text", "text": "and "},
        {"type": "reasoning.text", "signature": "c2ln"},
        {"type": "reasoning.encrypted", "data": "c2VhbA=="},
        {"type": "reasoning.text", "text": "never signed"},
    ]
    found = turns(*ASKED, {"role": "assistant", "content": "b", "reasoning_details": details})
    assert found[1]["content"] == [
        {"type": "thinking", "thinking": "unsigned, but joined and ", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "c2VhbA=="},
        {"type": "text", "text": "b"},
    ]


def test_an_earlier_refusal_is_something_the_assistant_said() -> None:
    found = turns(*ASKED, {"role": "assistant", "content": None, "refusal": "No."}, user("Why?"))
    assert found[1]["content"] == [{"type": "text", "text": "No."}]


def test_a_cache_mark_of_a_message_stands_on_its_last_block() -> None:
    mark = {"type": "ephemeral"}
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PNG}}]
    found = turns({**user(parts), "cache_control": mark})[0]["content"]
    assert "cache_control" not in found[0]
    assert found[1]["cache_control"] == mark


def test_a_cache_mark_of_a_result_stands_on_the_result() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    result = {"role": "tool", "tool_call_id": "c1", "content": "12", "cache_control": mark}
    assert turns(*ASKED, call(), result)[2]["content"][0]["cache_control"] == mark


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "aa", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "ftp://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png,plain"}},
        {"type": "image_url", "image_url": {"url": "data:text/plain;base64,aa"}},
        {"type": "image_url"},
        {"type": "file", "file": {"file_data": "data:application/zip;base64,aa"}},
        {"type": "file", "file": {"file_data": "data:text/plain;base64,//8="}},
        {"type": "file", "file": {}},
        {"type": "video_url", "video_url": {}},
        {},
        7,
    ],
)
def test_a_part_that_claude_does_not_take_is_refused_with_its_place(part: Any) -> None:
    error = refused(messages=[user([{"type": "text", "text": "a"}, part])])
    assert (error.param or "").startswith("messages[0].content[1]")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "function", "name": "f", "content": "1"},
        {"role": "tool", "content": "1"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "assistant", "audio": {"id": "a"}},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]},
        {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f"}}]},
        {"role": "assistant", "tool_calls": ["x"]},
        {"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]},
    ],
)
def test_a_message_that_claude_does_not_take_is_refused_with_its_place(message: Any) -> None:
    assert (refused(messages=[*ASKED, message]).param or "").startswith("messages[1]")


def test_pdf_data_needs_no_data_url() -> None:
    for file in ({"file_data": "JVBERi0xLjQ="}, {"file_data": "AAAA", "filename": "a.PDF"}):
        source = turns(user([{"type": "file", "file": file}]))[0]["content"][0]["source"]
        assert source["media_type"] == "application/pdf"


# Tools


def test_tools_of_other_types_are_refused() -> None:
    custom = {"type": "custom", "custom": {"name": "f"}}
    assert "custom" in refused(tools=[custom]).message
    assert refused(tools=[{"type": "function", "function": {}}]).param == "tools[0].function.name"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "depth"}}, {"type": "tool", "name": "depth"}),
    ],
)
def test_every_choice_of_tools_has_its_word(choice: Any, expected: Any) -> None:
    assert sent(tools=[FUNCTION], tool_choice=choice)["tool_choice"] == expected


def test_a_choice_of_tools_that_has_no_word_is_refused() -> None:
    choice = {"type": "custom", "custom": {"name": "f"}}
    assert refused(tools=[FUNCTION], tool_choice=choice).param == "tool_choice"


def test_one_call_at_a_time_is_said_with_the_choice_of_tools() -> None:
    choice = sent(tools=[FUNCTION], parallel_tool_calls=False)["tool_choice"]
    assert choice == {"type": "auto", "disable_parallel_tool_use": True}
    body = sent(tools=[FUNCTION], parallel_tool_calls=False, tool_choice="none")
    assert body["tool_choice"] == {"type": "none"}
    assert "tool_choice" not in sent(tools=[FUNCTION], parallel_tool_calls=True)


def test_without_tools_there_is_no_choice_of_them() -> None:
    assert "tool_choice" not in sent(tool_choice="auto", parallel_tool_calls=False, tools=[])


# The rest


def test_an_open_schema_is_closed_and_what_cannot_be_is_left() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "object", "properties": {"b": {}}}},
            "c": {"anyOf": [{"$ref": "#/$defs/d"}, {"type": "null"}]},
            "free": {"type": "object"},
            "open": {"properties": {"x": True}, "additionalProperties": True},
            "both": {"allOf": [{"properties": {"x": {}}}, {"properties": {"y": {}}}]},
        },
        "$defs": {"d": {"type": "object", "properties": {"e": {"type": "string"}}}},
    }
    asked = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    found = sent(response_format=asked)["output_config"]["format"]["schema"]
    assert found["additionalProperties"] is False
    inner = found["properties"]
    assert inner["a"]["items"]["additionalProperties"] is False
    assert found["$defs"]["d"]["additionalProperties"] is False
    assert inner["free"] == {"type": "object"}
    assert inner["open"]["additionalProperties"] is True
    assert inner["both"] == schema["properties"]["both"]


def test_json_without_a_schema_is_refused_or_dropped() -> None:
    asked = {"type": "json_object"}
    assert refused(response_format=asked).param == "response_format"
    found = prepared(response_format=asked, drop_unsupported=True)
    assert found.dropped == ("response_format",)
    assert "output_config" not in sent(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("functions", [{"name": "f"}]),
        ("logprobs", True),
        ("logit_bias", {"5": 1}),
        ("frequency_penalty", 0.5),
        ("presence_penalty", -1),
        ("seed", 7),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("web_search_options", {"search_context_size": "low"}),
        ("truncation", "auto"),
    ],
)
def test_what_claude_has_nothing_like_is_refused_or_dropped(name: str, value: Any) -> None:
    assert refused(**{name: value}).param == name
    found = prepared(drop_unsupported=True, **{name: value})
    assert found.dropped == (name,)
    assert name not in json.loads(found.body)


def test_what_asks_for_nothing_is_no_loss() -> None:
    nothing = {
        "n": 1,
        "logprobs": False,
        "logit_bias": {},
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "top_logprobs": 0,
        "modalities": ["text"],
        "seed": None,
        "truncation": "disabled",
        "store": True,
        "verbosity": "low",
        "fallbacks": ["openai/gpt-5"],
        "functions": [],
        "prediction": {"type": "content", "content": "a"},
    }
    assert sent(**nothing) == sent()


@pytest.mark.parametrize(
    "asked",
    [
        {"metadata": {"user_id": "x"}, "user": "y", "safety_identifier": "z"},
        {"safety_identifier": "x", "user": "y"},
        {"user": "x", "metadata": {"topic": "saga"}},
    ],
)
def test_the_user_is_named_as_the_client_names_them_best(asked: Any) -> None:
    assert sent(**asked)["metadata"] == {"user_id": "x"}


@pytest.mark.parametrize(
    ("tier", "expected"),
    [("auto", "auto"), ("priority", "auto"), ("default", "standard_only"), ("flex", None)],
)
def test_a_service_tier_is_told_where_there_is_one_like_it(tier: str, expected: Any) -> None:
    assert sent(service_tier=tier).get("service_tier") == expected


def test_unknown_fields_go_along_as_configured() -> None:
    assert sent(inference_geo="eu")["inference_geo"] == "eu"
    assert "inference_geo" not in sent(inference_geo="eu", forward_unknown=False)
    assert "top_k" not in sent(top_k=5, forward_unknown=False)


def test_a_native_thinking_replaces_ours() -> None:
    thinking = {"type": "adaptive", "display": "omitted"}
    assert sent(NEWER, reasoning_effort="low", thinking=thinking)["thinking"] == thinking


def test_a_stream_is_asked_for_when_one_is_wanted() -> None:
    assert sent(stream=True)["stream"] is True
    assert "stream" not in sent()


@pytest.mark.parametrize("version", ["vertex-2023-10-16", "bedrock-2023-05-31"])
def test_other_clouds_have_the_version_in_the_body_and_the_model_elsewhere(version: str) -> None:
    request = outgoing("my-profile", service_tier="auto", reasoning_effort="low")
    body = messages_body(CHAT, request, version=version, model="claude-sonnet-5").body
    assert body["anthropic_version"] == version
    assert not {"model", "service_tier"} & body.keys()
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    without = {name: value for name, value in body.items() if name != "anthropic_version"}
    accepted_by_sdk({**without, "model": "claude-sonnet-5"})
