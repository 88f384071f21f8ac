"""Chat in Cohere's dialect: what its words are for ours, and what it has none for."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from hermod.domain.failure import Failure
from hermod.domain.outcome import Retryable
from hermod.domain.usage import Usage
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Answered, CannotCarry, Outgoing
from hermod.providers.cohere import chat as cohere_chat
from hermod.providers.upstream_errors import retryable
from tests.providers.any_json import any_json
from tests.providers.recorded import examples

CHAT = KIND_BY_TYPE["chat_completion"]
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def outgoing(**asked: Any) -> Outgoing:
    body = json.dumps({"model": "cohere/command-a", "messages": HELLO} | asked).encode()
    return Outgoing(body, None, "command-a", True, "", now_s=5)


def sent(**asked: Any) -> dict[str, Any]:
    return json.loads(cohere_chat.build(CHAT, outgoing(**asked)).body)


def refused(**asked: Any) -> str | None:
    with pytest.raises(CannotCarry) as caught:
        cohere_chat.build(CHAT, outgoing(**asked))
    return caught.value.param


def read(reply: object) -> Answered | Failure:
    return cohere_chat.read(CHAT, outgoing(), "application/json", json.dumps(reply).encode())


def answer(reply: object) -> dict[str, Any]:
    found = read(reply)
    assert isinstance(found, Answered), found
    return json.loads(found.body)


def said(**message: Any) -> dict[str, Any]:
    whole = answer({"id": "1", "finish_reason": "COMPLETE", "message": message})
    return whole["choices"][0]["message"]


def test_top_p_stays_within_what_cohere_takes() -> None:
    assert sent(top_p=1)["p"] == 0.99
    assert sent(top_p=0)["p"] == 0.01
    assert sent(top_p=0.5)["p"] == 0.5


def test_the_longer_name_of_the_limit_wins() -> None:
    assert sent(max_tokens=5)["max_tokens"] == 5
    assert sent(max_tokens=5, max_completion_tokens=9)["max_tokens"] == 9


@pytest.mark.parametrize(
    ("choice", "there"),
    [("auto", None), ("none", "NONE"), ("required", "REQUIRED"), ({"type": "any"}, "REQUIRED")],
)
def test_a_tool_choice_is_theirs(choice: object, there: str | None) -> None:
    body = sent(tools=[TOOL], tool_choice=choice)
    assert body.get("tool_choice") == there
    assert len(body["tools"]) == 1


def test_a_function_by_name_is_offered_alone_and_required() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    choice = {"type": "function", "function": {"name": "look"}}
    body = sent(tools=[other, TOOL], tool_choice=choice)
    assert [each["function"]["name"] for each in body["tools"]] == ["look"]
    assert body["tool_choice"] == "REQUIRED"


def test_allowed_tools_are_the_only_ones_offered() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "other"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    body = sent(tools=[other, TOOL], tool_choice=choice)
    assert [each["function"]["name"] for each in body["tools"]] == ["other"]
    assert "tool_choice" not in body


def test_a_function_that_is_not_offered_cannot_be_chosen() -> None:
    choice = {"type": "function", "function": {"name": "missing"}}
    assert refused(tools=[TOOL], tool_choice=choice) == "tool_choice"


@pytest.mark.parametrize(
    ("param", "asked"),
    [
        ("logit_bias", {"logit_bias": {"5": 1}}),
        ("parallel_tool_calls", {"parallel_tool_calls": False, "tools": [TOOL]}),
        ("top_logprobs", {"top_logprobs": 2}),
        ("n", {"n": 2}),
        ("tools[0]", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}),
        ("response_format", {"response_format": {"type": "grammar"}}),
        ("modalities", {"modalities": ["text", "audio"]}),
        ("web_search_options", {"web_search_options": {"search_context_size": "low"}}),
        (
            "messages[0].content[0]",
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        ),
        ("messages[0]", {"messages": [{"role": "critic", "content": "x"}]}),
        (
            "messages[0].content[0]",
            {"messages": [{"role": "system", "content": [{"type": "image_url"}]}]},
        ),
    ],
)
def test_what_cohere_has_no_words_for_is_refused(param: str, asked: dict[str, Any]) -> None:
    assert refused(**asked) == param


def test_what_is_refused_may_be_dropped_where_the_operator_says_so() -> None:
    asked = outgoing(logit_bias={"5": 1})._replace(drop_unsupported=True)
    prepared = cohere_chat.build(CHAT, asked)
    assert prepared.dropped == ("logit_bias",)
    assert "logit_bias" not in json.loads(prepared.body)


@pytest.mark.parametrize(
    ("asked", "thinking"),
    [
        ({"reasoning_effort": "low"}, {"type": "enabled"}),
        ({"reasoning": {"effort": "none"}}, {"type": "disabled"}),
        ({"reasoning": {"max_tokens": 0}}, {"type": "disabled"}),
        ({"reasoning": {"max_tokens": -1}}, {"type": "enabled"}),
        ({"reasoning_max_tokens": 9}, {"type": "enabled", "token_budget": 9}),
        ({}, None),
    ],
)
def test_reasoning_is_thinking(asked: dict[str, Any], thinking: object) -> None:
    assert sent(**asked).get("thinking") == thinking


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ("sunny", "sunny"),
        ("[1, 2]", "[1, 2]"),
        ("{}", "{}"),
        ("[" * 3000, "[" * 3000),
        ('{"a": 1}', [{"type": "document", "document": {"data": {"a": 1}}}]),
        (
            '[{"a": 1}, {"b": 2}]',
            [
                {"type": "document", "document": {"data": {"a": 1}}},
                {"type": "document", "document": {"data": {"b": 2}}},
            ],
        ),
    ],
)
def test_a_result_that_is_objects_comes_as_documents(result: str, content: object) -> None:
    message = {"role": "tool", "tool_call_id": "c", "content": result}
    body = sent(messages=[message])
    assert body["messages"] == [{"role": "tool", "tool_call_id": "c", "content": content}]


def test_what_was_thought_goes_back_as_what_it_was() -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    answered = said(
        tool_plan="I look.",
        tool_calls=calls,
        content=[{"type": "thinking", "thinking": "Hm."}],
    )
    assert answered["reasoning"] == "Hm.I look."
    back = sent(messages=[*HELLO, answered])["messages"][1]
    assert back == {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "Hm."}],
        "tool_calls": calls,
        "tool_plan": "I look.",
    }


def test_the_price_is_of_what_is_billed_and_the_client_sees_what_went_through() -> None:
    found = read(
        {
            "message": {"content": []},
            "usage": {
                "tokens": {"input_tokens": 100.0, "output_tokens": 20.0},
                "billed_units": {"input_tokens": 10.0, "output_tokens": 2.0},
                "cached_tokens": 64,
            },
        }
    )
    assert isinstance(found, Answered)
    assert found.usage == Usage(10, 2, 10)
    usage = json.loads(found.body)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (100, 20)


@pytest.mark.parametrize(
    ("reason", "again"), [("ERROR", Retryable.BACKOFF), ("TIMEOUT", Retryable.BACKOFF)]
)
def test_a_generation_that_failed_is_no_answer(reason: str, again: Retryable) -> None:
    found = read({"finish_reason": reason, "message": {"content": [{"text": "half"}]}})
    assert isinstance(found, Failure)
    assert retryable(found) is again


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("COMPLETE", "stop"), ("STOP_SEQUENCE", "stop"), ("MAX_TOKENS", "length"), ("NEW", "stop")],
)
def test_a_finish_reason_is_openais(theirs: str, ours: str) -> None:
    whole = answer({"finish_reason": theirs, "message": {"content": []}})
    assert whole["choices"][0]["finish_reason"] == ours


@pytest.mark.parametrize("message", [None, {}, {"content": 5}, {"role": "assistant"}])
def test_a_reply_without_a_message_is_no_answer(message: object) -> None:
    assert isinstance(read({"finish_reason": "COMPLETE", "message": message}), Failure)


@pytest.mark.parametrize(
    "example",
    [e for e in examples() if e.provider == "cohere" and e.kind is CHAT and "answer" in e.told],
    ids=lambda each: each.case or "plain",
)
def test_openais_types_take_the_answer(example: Any) -> None:
    found = example.read()
    whole = ChatCompletion.model_validate_json(found.body, strict=True)
    assert whole.choices[0].message.role == "assistant"


REPLIES = any_json(
    "message content tool_calls tool_plan citations usage tokens billed_units finish_reason "
    "logprobs text thinking function sources document start end type id arguments url"
)


@given(REPLIES)
def test_no_reply_makes_it_raise(reply: object) -> None:
    read(reply)
    read({"message": {"content": [reply], "tool_calls": [reply], "citations": [reply]}})
    read({"message": {"content": reply}, "usage": reply, "logprobs": [reply], "id": reply})
    cohere_chat.refusal(400, "application/json", json.dumps(reply).encode())


@given(REPLIES)
def test_no_message_makes_it_raise_anything_else(part: object) -> None:
    for role in ("system", "user", "assistant", "tool"):
        message = {"role": role, "content": [part], "tool_calls": [part], "reasoning_details": part}
        with suppress(CannotCarry):
            sent(messages=[message], tools=[{"function": part}], tool_choice="auto")


@given(st.binary())
def test_no_bytes_make_it_raise(body: bytes) -> None:
    cohere_chat.read(CHAT, outgoing(), None, body)
    cohere_chat.refusal(500, None, body)
