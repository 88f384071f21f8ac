"""Any conversation with Claude: it can be sent, or is refused in clear words."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.anthropic import dialect as anthropic
from tests.providers.claude import CHAT, NEWER, OLDER, accepted_by_sdk, outgoing

TEXT = st.text(max_size=12)
WORD = st.text("abcdefgh_-", min_size=1, max_size=8)
MARK = {"cache_control": st.just({"type": "ephemeral"})}
URL = st.sampled_from(
    ["https://example.com/a.png", "data:image/png;base64,aGk=", "data:image/jpg;base64,aGk="]
)
FILE = st.sampled_from(
    [
        {"file_id": "file_1"},
        {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        {"file_data": "data:text/csv;base64,YSxi"},
        {"file_url": "https://example.com/a.pdf"},
    ]
)
TEXT_PART = st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}, optional=MARK)
PART = (
    TEXT_PART
    | st.fixed_dictionaries(
        {"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": URL})},
        optional=MARK,
    )
    | st.fixed_dictionaries({"type": st.just("file"), "file": FILE}, optional=MARK)
)
DETAIL = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("reasoning.text")}, optional={"text": TEXT, "signature": WORD}
    ),
    st.fixed_dictionaries({"type": st.just("reasoning.encrypted"), "data": WORD}),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(WORD, JSON, max_size=3).map(json.dumps) | st.just("")
CALL = st.fixed_dictionaries(
    {
        "id": WORD,
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": WORD, "arguments": ARGUMENTS}),
    }
)
MESSAGE = st.one_of(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer"]),
            "content": TEXT | st.lists(TEXT_PART, max_size=2),
        }
    ),
    st.fixed_dictionaries(
        {"role": st.just("user"), "content": TEXT | st.lists(PART, max_size=3)}, optional=MARK
    ),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": st.none() | TEXT},
        optional={
            "tool_calls": st.lists(CALL, max_size=2),
            "reasoning_details": st.lists(DETAIL, max_size=3),
            **MARK,
        },
    ),
    st.fixed_dictionaries(
        {
            "role": st.just("tool"),
            "tool_call_id": WORD,
            "content": TEXT | st.lists(PART, max_size=2),
        },
        optional={"is_error": st.booleans(), **MARK},
    ),
)
TOOL = st.fixed_dictionaries(
    {
        "type": st.just("function"),
        "function": st.fixed_dictionaries(
            {"name": WORD},
            optional={
                "description": TEXT,
                "parameters": st.just({"type": "object", "properties": {"a": {}}}),
                "strict": st.booleans(),
            },
        ),
    },
    optional=MARK,
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "tools": st.lists(TOOL, min_size=1, max_size=3),
        "tool_choice": st.sampled_from(["auto", "none", "required"])
        | WORD.map(lambda name: {"type": "function", "function": {"name": name}}),
        "parallel_tool_calls": st.booleans(),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"]),
        "max_completion_tokens": st.integers(2000, 64000),
        "stop": TEXT | st.lists(TEXT, max_size=2),
        "user": WORD,
        "service_tier": st.sampled_from(["auto", "default", "flex"]),
        "stream": st.booleans(),
    },
)


@settings(max_examples=150, deadline=None)
@given(st.lists(MESSAGE, max_size=6), OPTIONS, st.sampled_from([OLDER, NEWER, "claude-opus-4-6"]))
def test_every_conversation_is_one_that_anthropics_sdk_accepts(
    messages: list[Any], options: dict[str, Any], model: str
) -> None:
    asked = [*messages, {"role": "user", "content": "And?"}]
    try:
        body = json.loads(anthropic.build(CHAT, outgoing(model, messages=asked, **options)).body)
    except CannotCarry as error:
        assert error.param == "tool_choice"  # it names what is not offered
        return
    accepted_by_sdk(body)
    roles = [each["role"] for each in body["messages"]]
    assert all(role != after for role, after in pairwise(roles))
    thinking = body.get("thinking", {})
    assert thinking.get("budget_tokens", 1024) in range(1024, body["max_tokens"])
    for turn in body["messages"]:
        kinds = [block["type"] for block in turn["content"]]
        assert kinds == sorted(kinds, key=lambda kind: kind != "tool_result")
        assert all(block["text"].strip() for block in turn["content"] if block["type"] == "text")


STRANGE_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "other"])},
    optional=dict.fromkeys(
        ("content", "tool_calls", "tool_call_id", "reasoning_details", "cache_control", "refusal"),
        JSON,
    ),
)
STRANGE_OPTIONS = st.dictionaries(
    st.sampled_from(("tools", "tool_choice", "reasoning", "response_format", "metadata", "n")), JSON
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STRANGE_MESSAGE, max_size=3), STRANGE_OPTIONS)
def test_nothing_that_is_asked_raises_anything_else(messages: Any, options: Any) -> None:
    whole = json.dumps({"messages": messages, **options}).encode()
    try:
        anthropic.build(CHAT, Outgoing(whole, None, OLDER, forward_unknown=True, boundary=""))
    except CannotCarry as error:
        assert error.message


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": 5},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [], "x": 1},
        {"messages": [], "tools": [{"name": "f"}]},
    ],
)
def test_the_judge_of_these_tests_refuses_what_is_wrong(body: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, AssertionError)):
        accepted_by_sdk({"model": "m", "max_tokens": 1, **body})
