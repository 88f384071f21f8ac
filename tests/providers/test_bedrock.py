"""Chat for Bedrock's Converse: what is refused, what is dropped, and what any JSON comes to."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from hermod.domain.failure import Failure
from hermod.domain.outcome import Retryable
from hermod.domain.provider import BedrockKey, KeySettings, Secret
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Answered, CannotCarry, Outgoing, Prepared
from hermod.providers.bedrock import dialect as bedrock
from hermod.providers.upstream_errors import retryable
from tests.providers.recorded import examples

CHAT = KIND_BY_TYPE["chat_completion"]
USER: dict[str, Any] = {"role": "user", "content": "Hello"}
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NEWER_CLAUDE = "anthropic.claude-opus-5-5"
NOVA = "us.amazon.nova-2-lite-v1:0"
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "look"}}


def outgoing(
    asked: dict[str, Any],
    model: str = NOVA,
    *,
    drop: bool = False,
    forward: bool = True,
    key: KeySettings | None = None,
) -> Outgoing:
    body = json.dumps({"model": f"bedrock/{model}", **asked}).encode()
    return Outgoing(body, None, model, forward, "", key=key, drop_unsupported=drop, now_s=1)


def prepared(asked: dict[str, Any], model: str = NOVA, *, drop: bool = False) -> Prepared:
    return bedrock.build(CHAT, outgoing({"messages": [USER], **asked}, model, drop=drop))


def sent(asked: dict[str, Any], model: str = NOVA, *, drop: bool = False) -> dict[str, Any]:
    return json.loads(prepared(asked, model, drop=drop).body)


def refusal_of(asked: dict[str, Any], model: str = NOVA) -> CannotCarry:
    with pytest.raises(CannotCarry) as caught:
        prepared(asked, model)
    return caught.value


def reply(**members: Any) -> bytes:
    whole = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
    }
    return json.dumps(whole | members).encode()


def answer(body: bytes) -> dict[str, Any]:
    found = bedrock.DIALECT.read(CHAT, outgoing({"messages": [USER]}), "application/json", body)
    assert isinstance(found, Answered), found
    return json.loads(found.body)


# Messages


def test_a_conversation_without_anything_to_answer_is_refused() -> None:
    messages = [{"role": "system", "content": ""}, {"role": "user", "content": " "}]
    assert refusal_of({"messages": messages}).param == "messages"


def test_messages_of_one_role_become_one() -> None:
    messages = [USER, {"role": "user", "content": "Still there?"}]
    (one,) = sent({"messages": messages})["messages"]
    assert one == {"role": "user", "content": [{"text": "Hello"}, {"text": "Still there?"}]}


def test_system_messages_go_to_the_front_from_everywhere() -> None:
    messages = [USER, {"role": "developer", "content": "Be brief."}]
    assert sent({"messages": messages})["system"] == [{"text": "Be brief."}]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            "messages[0].content[0].image_url",
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA=="}},
            "messages[0].content[0].image_url",
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png,abc"}},
            "messages[0].content[0].image_url",
        ),
        ({"type": "file", "file": {"file_id": "file-1"}}, "messages[0].content[0].file"),
        (
            {"type": "file", "file": {"filename": "a.exe", "file_data": "AA=="}},
            "messages[0].content[0].file",
        ),
        ({"type": "hologram"}, "messages[0].content[0]"),
    ],
)
def test_a_part_that_bedrock_does_not_take_is_refused_with_its_place(
    part: dict[str, Any], param: str
) -> None:
    assert refusal_of({"messages": [{"role": "user", "content": [part]}]}).param == param


def test_arguments_travel_to_the_digit() -> None:
    arguments = '{"a":1.50,"b":123456789012345678901234567890}'
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    body = prepared({"messages": [USER, {"role": "assistant", "tool_calls": [call]}]}).body
    assert arguments.encode() in body


def test_a_thought_told_in_pieces_comes_back_whole_and_only_with_its_signature() -> None:
    details = [
        {"type": "reasoning.text", "text": "One ", "index": 0},
        {"type": "reasoning.text", "text": "two.", "index": 0},
        {"type": "reasoning.text", "text": "", "signature": "c2ln", "index": 0},
        {"type": "reasoning.text", "text": "unsigned", "index": 1},
    ]
    message = {"role": "assistant", "content": "So.", "reasoning_details": details}
    assert sent({"messages": [USER, message]})["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "One two.", "signature": "c2ln"}}},
        {"text": "So."},
    ]


# Tools


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", None),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "look"}}, {"tool": {"name": "look"}}),
    ],
)
def test_a_tool_choice_has_converses_name(choice: Any, expected: Any) -> None:
    config = sent({"tools": [TOOL], "tool_choice": choice})["toolConfig"]
    assert config.get("toolChoice") == expected


def test_without_a_choice_there_are_no_tools() -> None:
    assert "toolConfig" not in sent({"tools": [TOOL], "tool_choice": "none"})


def test_a_conversation_with_calls_has_a_tool_even_if_none_may_be_called() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        USER,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": ""},
    ]
    asked = {"messages": messages, "tools": [TOOL], "tool_choice": "none"}
    (tool,) = sent(asked)["toolConfig"]["tools"]
    assert tool["toolSpec"]["name"] == "none"


def test_only_allowed_tools_are_offered() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}}
    config = sent({"tools": [TOOL, other], "tool_choice": choice})["toolConfig"]
    assert [each["toolSpec"]["name"] for each in config["tools"]] == ["look"]
    assert config["toolChoice"] == {"any": {}}


def test_calls_one_at_a_time_are_asked_for_where_there_is_a_word_for_it() -> None:
    asked = {"tools": [TOOL], "parallel_tool_calls": False, "tool_choice": "required"}
    claudes = sent(asked, CLAUDE)
    choice = {"type": "any", "disable_parallel_tool_use": True}
    assert claudes["additionalModelRequestFields"] == {"tool_choice": choice}
    assert "toolChoice" not in claudes["toolConfig"]
    assert refusal_of(asked).param == "parallel_tool_calls"
    assert "toolConfig" not in sent({"parallel_tool_calls": False})


def test_a_tool_that_is_no_function_is_refused() -> None:
    assert refusal_of({"tools": [{"type": "custom", "custom": {"name": "x"}}]}).param == "tools[0]"


# Thinking


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        (
            CLAUDE,
            {"reasoning_effort": "low", "max_tokens": 8000},
            {"thinking": {"type": "enabled", "budget_tokens": 4096}},
        ),
        (CLAUDE, {"reasoning_effort": "none"}, None),
        (
            NEWER_CLAUDE,
            {"reasoning": {"max_tokens": 20000}},
            {"thinking": {"type": "adaptive", "display": "summarized"}},
        ),
        (
            NOVA,
            {"reasoning_effort": "minimal"},
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
        ),
        (NOVA, {"reasoning_effort": "none"}, {"reasoningConfig": {"type": "disabled"}}),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        ("meta.llama3-3-70b-instruct-v1:0", {"reasoning_effort": "none"}, None),
    ],
)
def test_thinking_is_asked_for_in_the_words_of_the_family(
    model: str, asked: dict[str, Any], expected: Any
) -> None:
    assert sent(asked, model).get("additionalModelRequestFields") == expected


def test_a_model_that_is_not_known_to_think_is_not_asked_to() -> None:
    llama = "meta.llama3-3-70b-instruct-v1:0"
    assert refusal_of({"reasoning_effort": "low"}, llama).param == "reasoning_effort"
    dropped = prepared({"reasoning_effort": "low"}, llama, drop=True).dropped
    assert dropped == ("reasoning_effort",)


def test_the_name_that_the_caller_uses_tells_the_family_of_a_profile() -> None:
    body = json.dumps({"model": f"bedrock/{CLAUDE}", "messages": [USER], "reasoning_effort": "low"})
    profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
    made = bedrock.build(CHAT, Outgoing(body.encode(), None, profile, True, ""))
    assert json.loads(made.body)["additionalModelRequestFields"]["thinking"]["type"] == "enabled"


def test_newer_claude_is_sampled_as_it_likes() -> None:
    assert refusal_of({"temperature": 0.2}, NEWER_CLAUDE).param == "temperature"
    assert "inferenceConfig" not in sent({"temperature": 1}, NEWER_CLAUDE)
    assert sent({"temperature": 0.2}, CLAUDE)["inferenceConfig"] == {"temperature": 0.2}


# What has no place


@pytest.mark.parametrize(
    "member",
    [
        {"logprobs": True},
        {"seed": 7},
        {"frequency_penalty": 0.5},
        {"logit_bias": {"1": 2}},
        {"response_format": {"type": "json_object"}},
        {"modalities": ["text", "audio"]},
        {"web_search_options": {"search_context_size": "low"}},
    ],
)
def test_what_converse_has_no_place_for_is_refused_or_dropped(member: dict[str, Any]) -> None:
    (name,) = member
    assert refusal_of(member).param == name
    assert prepared(member, drop=True).dropped == (name,)


def test_what_asks_for_nothing_is_no_loss() -> None:
    asked = {"frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": False, "n": 1}
    nothing = {"response_format": {"type": "text"}, "modalities": ["text"], "logit_bias": {}}
    assert sent(asked | nothing) == {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}


def test_unknown_members_are_for_the_model_unless_they_stay_here() -> None:
    asked = {"messages": [USER], "top_k": 5, "additionalModelRequestFields": {"a": 1}}
    made = bedrock.build(CHAT, outgoing(asked, CLAUDE))
    assert json.loads(made.body)["additionalModelRequestFields"] == {"top_k": 5, "a": 1}
    kept = bedrock.build(CHAT, outgoing(asked, CLAUDE, forward=False))
    assert json.loads(kept.body).keys() == {"messages"}


def test_nova_has_a_place_of_its_own_for_top_k() -> None:
    fields = sent({"top_k": 5})["additionalModelRequestFields"]
    assert fields == {"inferenceConfig": {"topK": 5}}


def test_a_profile_of_the_key_is_in_the_path_and_a_whole_arn_stays_as_it_is() -> None:
    own = BedrockKey(arn="arn:aws:bedrock:eu-west-1:1:inference-profile/")
    key = KeySettings("k", "k", Secret(), bedrock=own)
    asked = {"messages": [USER]}
    path = bedrock.build(CHAT, outgoing(asked, "eu.a.b", key=key)).path
    assert (
        path == "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.a.b/converse"
    )
    assert bedrock.build(CHAT, outgoing(asked, "arn:aws:x", key=key)).path is None


# Replies


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_why_it_ended_is_said_in_openais_words(reason: str, expected: str) -> None:
    assert answer(reply(stopReason=reason))["choices"][0]["finish_reason"] == expected


def test_what_is_cached_for_an_hour_is_counted_apart() -> None:
    told = {
        "inputTokens": 1,
        "outputTokens": 2,
        "cacheWriteInputTokens": 30,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 10}, {"ttl": "1h", "inputTokens": 20}],
    }
    found = bedrock.DIALECT.read(CHAT, outgoing({}), "application/json", reply(usage=told))
    assert isinstance(found, Answered)
    assert found.usage is not None
    assert (found.usage.cache_write_tokens, found.usage.cache_write_1h_tokens) == (30, 20)


def test_malformed_output_is_no_answer() -> None:
    body = reply(stopReason="malformed_tool_use")
    found = bedrock.DIALECT.read(CHAT, outgoing({"messages": [USER]}), "application/json", body)
    assert isinstance(found, Failure)
    assert found.error_type == "upstream_invalid"


def test_arguments_come_to_the_digit() -> None:
    use = b'{"toolUse":{"toolUseId":"1","name":"f","input":{"a":1.50}}}'
    body = b'{"output":{"message":{"content":[%b]}},"stopReason":"end_turn"}' % use
    choice = answer(body)["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"a":1.50}'
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None


def test_tools_that_ran_at_amazon_are_not_called_again() -> None:
    use = {"toolUseId": "1", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}
    content = [{"toolUse": use}, {"toolResult": {}}, {"text": "Found it."}]
    message = answer(reply(output={"message": {"role": "assistant", "content": content}}))
    assert "tool_calls" not in message["choices"][0]["message"]


def test_images_of_an_answer_are_data_urls() -> None:
    content = [{"image": {"format": "png", "source": {"bytes": "AA=="}}}]
    message = answer(reply(output={"message": {"content": content}}))["choices"][0]["message"]
    assert message["images"][0]["image_url"]["url"] == "data:image/png;base64,AA=="


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b'{"message": "no"}',
        b'{"output":{"message":{"content":{}}},"stopReason":"end_turn"}',
        b'{"output":{"message":{"content":[]}}}',
        b'{"output":{"message":{"content":[]}},"stopReason":"end_turn","x":1e999}',
    ],
)
def test_what_is_no_answer_is_a_failure(body: bytes) -> None:
    found = bedrock.DIALECT.read(CHAT, outgoing({"messages": [USER]}), "application/json", body)
    assert isinstance(found, Failure)


@pytest.mark.parametrize(
    "example",
    [each for each in examples() if each.provider == "bedrock" and each.kind is CHAT],
    ids=lambda each: each.case or "plain",
)
def test_recorded_answers_are_openais(example: Any) -> None:
    if "answer" in example.told:
        parsed = ChatCompletion.model_validate(example.told["answer"], strict=True)
        assert parsed.choices[0].message.role == "assistant"


# Errors


@pytest.mark.parametrize(
    ("status", "name", "again"),
    [
        (400, "ValidationException", Retryable.NO),
        (403, "AccessDeniedException", Retryable.NO),
        (404, "ResourceNotFoundException", Retryable.NO),
        (408, "ModelTimeoutException", Retryable.BACKOFF),
        (424, "ModelErrorException", Retryable.NO),
        (429, "ThrottlingException", Retryable.RATE_LIMITED),
        (429, "ModelNotReadyException", Retryable.RATE_LIMITED),
        (400, "ThrottlingException", Retryable.RATE_LIMITED),
        (400, "ServiceQuotaExceededException", Retryable.RATE_LIMITED),
        (500, "InternalServerException", Retryable.BACKOFF),
        (503, "ServiceUnavailableException", Retryable.BACKOFF),
    ],
)
@pytest.mark.parametrize("prefix", ["", "com.amazon.coral.service#"])
def test_an_error_is_known_by_its_name(
    status: int, name: str, again: Retryable, prefix: str
) -> None:
    body = json.dumps({"__type": prefix + name + ":http://x", "Message": "No."}).encode()
    found = bedrock.refusal(status, "application/json", body)
    assert (found.status_code, found.error_type, found.message) == (status, name, "No.")
    assert retryable(found) in {again, Retryable.OTHER_KEY}


def test_an_error_without_a_name_is_its_message() -> None:
    found = bedrock.refusal(403, "application/json", b'{"message":"Not yours."}')
    assert (found.message, found.error_type) == ("Not yours.", None)
