"""How Claude is asked to think and to sample, model by model."""

import json
from typing import Any

import pytest

from hermod.providers.adapter import CannotCarry
from tests.providers.claude import NEWER, OLDER, prepared, sent


def refused(model: str = OLDER, **asked: Any) -> CannotCarry:
    with pytest.raises(CannotCarry) as caught:
        prepared(model, **asked)
    return caught.value


# Sampling and limits


def test_older_models_take_temperature_top_p_and_top_k() -> None:
    body = sent(OLDER, temperature=1.7, top_p=0.5, top_k=3)
    assert (body["temperature"], body["top_p"], body["top_k"]) == (1.7, 0.5, 3)


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_newer_models_take_none_of_them(name: str) -> None:
    error = refused(NEWER, **{name: 0.5})
    assert error.param == name
    assert NEWER in error.message
    found = prepared(NEWER, drop_unsupported=True, **{name: 0.5})
    assert found.dropped == (name,)
    assert name not in json.loads(found.body)


def test_their_defaults_are_no_loss() -> None:
    body = sent(NEWER, temperature=1, top_p=1.0)
    assert not {"temperature", "top_p"} & body.keys()


def test_thinking_goes_with_no_temperature() -> None:
    assert "thinking" in refused(reasoning_effort="low", temperature=0.5).message
    assert sent(reasoning_effort="low", top_p=0.97)["top_p"] == 0.97


def test_an_unnamed_deployment_is_left_to_its_own_judgement() -> None:
    assert sent("my-deployment", temperature=0.5)["temperature"] == 0.5


def test_the_newer_name_of_the_limit_wins() -> None:
    assert sent(max_tokens=5, max_completion_tokens=7)["max_tokens"] == 7
    assert sent(max_tokens=5)["max_tokens"] == 5


def test_the_first_models_have_a_lower_default() -> None:
    assert sent("claude-3-haiku-20240307")["max_tokens"] == 4096
    assert sent("claude-3-7-sonnet-20250219")["max_tokens"] == 32000


# Thinking


@pytest.mark.parametrize(
    ("model", "asked", "thinking", "effort"),
    [
        ("claude-sonnet-4-5", {}, None, None),
        ("claude-sonnet-4-5", {"reasoning_effort": "none"}, None, None),
        ("claude-sonnet-4-5", {"reasoning_effort": "minimal"}, 1024, None),
        ("claude-opus-4-20250514", {"reasoning_effort": "low"}, 4096, None),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", {"reasoning_effort": "medium"}, 16384, None),
        ("claude-haiku-4-5@20251001", {"reasoning": {"effort": "high"}}, 24576, None),
        ("claude-3-7-sonnet-20250219", {"reasoning": {"max_tokens": 50}}, 1024, None),
        ("claude-opus-4-1", {"reasoning_max_tokens": 3000}, 3000, None),
        ("claude-opus-4-1", {"reasoning": {"enabled": True}}, 16384, None),
        ("claude-opus-4-1", {"reasoning": {"max_tokens": -1}}, 16384, None),
        ("claude-opus-4-6", {"reasoning_effort": "medium"}, {"type": "adaptive"}, "medium"),
        ("claude-opus-4-6", {"reasoning_effort": "xhigh"}, {"type": "adaptive"}, "max"),
        ("claude-sonnet-4-6", {"reasoning": {"max_tokens": 2000}}, 2000, None),
        ("claude-opus-4-7", {"reasoning_effort": "xhigh"}, "adaptive", "xhigh"),
        ("claude-opus-4-8", {"reasoning_effort": "none"}, None, None),
        ("claude-sonnet-5", {"reasoning_effort": "minimal"}, "adaptive", "low"),
        ("claude-sonnet-5", {"reasoning": {"max_tokens": 4096}}, "adaptive", "low"),
        ("claude-sonnet-5", {"reasoning": {"max_tokens": 9000}}, "adaptive", "medium"),
        ("claude-sonnet-5", {"reasoning": {"max_tokens": 90000}}, "adaptive", "high"),
        ("claude-sonnet-5", {"reasoning": {"max_tokens": 0}}, {"type": "disabled"}, None),
        ("claude-sonnet-5-5", {"reasoning_effort": "none"}, {"type": "between_tools"}, None),
        ("claude-haiku-5-5", {"reasoning": {"enabled": False}}, {"type": "disabled"}, None),
        ("claude-next-9", {"reasoning_effort": "max"}, "adaptive", "max"),
    ],
)
def test_thinking_is_asked_for_in_the_words_of_the_model(
    model: str, asked: Any, thinking: Any, effort: Any
) -> None:
    body = sent(model, **asked)
    if isinstance(thinking, int):
        thinking = {"type": "enabled", "budget_tokens": thinking}
        assert thinking["budget_tokens"] < body["max_tokens"]
    elif thinking == "adaptive":
        thinking = {"type": "adaptive", "display": "summarized"}
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


def test_a_budget_leaves_room_for_the_answer() -> None:
    assert sent(reasoning_effort="high", max_tokens=5000)["thinking"]["budget_tokens"] == 4000
    body = sent(reasoning={"max_tokens": 40_000})
    assert body["max_tokens"] > 40_000


@pytest.mark.parametrize(
    "asked",
    [
        {"reasoning_effort": "low", "max_tokens": 1024},
        {"reasoning": {"max_tokens": 3000}, "max_tokens": 3000},
    ],
)
def test_a_limit_without_room_for_thinking_is_refused(asked: Any) -> None:
    assert refused(OLDER, **asked).param == "max_completion_tokens"
