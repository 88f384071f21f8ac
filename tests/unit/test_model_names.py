"""domain/model_names.py: lists of models."""

import pytest

from hermod.domain.model_names import forbids, lists, pattern_problem


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("gpt-4o", "openai", "gpt-4o"),
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("openai/gpt-4o", "openrouter", "openai/gpt-4o"),
        ("openrouter/openai/gpt-4o", "openrouter", "openai/gpt-4o"),
        ("*", "openai", "anything/at all"),
        ("regex:gpt-4.*", "openai", "gpt-4o-mini"),
        ("regex:openai/gpt-.*", "openai", "gpt-4o-mini"),
        ("regex:(?i)GPT-(4|5)(-mini)?", "openai", "gpt-5-mini"),
        (r"regex:gpt-[0-9]+\.[0-9]", "openai", "gpt-4.1"),
        (r"regex:[)*+{|?(]\)\+", "p", "{)+"),
    ],
)
def test_a_list_names_a_model(name: str, provider: str, model: str) -> None:
    assert pattern_problem(name) is None
    assert lists(("other", name), provider, model)


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("gpt-4o", "openai", "gpt-4o-mini"),
        ("GPT-4o", "openai", "gpt-4o"),
        ("openai/gpt-4o", "azure", "gpt-4o"),
        ("gpt-4o", "openrouter", "openai/gpt-4o"),
        ("gpt-*", "openai", "gpt-4o"),
        ("regex:gpt-4", "openai", "gpt-4o"),
        ("regex:pt-4o", "openai", "gpt-4o"),
        ("regex:.*", "openai", "x" * 300),
    ],
)
def test_a_list_does_not_name_others(name: str, provider: str, model: str) -> None:
    assert not lists((name,), provider, model)


@pytest.mark.parametrize(
    "pattern",
    [
        "gpt-(",
        "[",
        "*",
        "(a+)+b",
        "(a|a)*b",
        "(?:x*)*y",
        "(a?){30}",
        "(?=a).*",
        "(?!gpt).*",
        r"(a)\1",
        "(?P<n>a)",
        ".*.*.*.*x",
        "a?" * 23,
        "a?" * 8 + ".*.*.*b",
        "a" * 201,
        "a{99999999999999999999}",
    ],
)
def test_a_pattern_that_is_wrong_or_may_never_end_matches_nothing(pattern: str) -> None:
    name = f"regex:{pattern}"
    assert pattern_problem(name) is not None
    assert not lists((name,), "openai", "a" * 40)
    assert not lists((name,), "openai", pattern)


@pytest.mark.parametrize("pattern", [".*a.*a.*b", "a?" * 8 + ".*.*b", "(a|a)" * 4 + ".*.*b"])
def test_a_pattern_that_is_taken_fails_soon(pattern: str) -> None:
    assert pattern_problem(f"regex:{pattern}") is None
    assert not lists((f"regex:{pattern}",), "openai", "a" * 120)


@pytest.mark.parametrize(
    "model",
    ["GPT-4o", "gpt-4O ", "\tgpt-4o", "gpt\u200b-4o", "\ufeffgpt-4o", "models/gpt-4o", "./gpt-4o",
     "x/../gpt-4o", "gpt-4o/", "\uff47pt-4o", "openai/gpt-4o"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["gpt-4o", "GPT-4O", "openai/gpt-4o", "regex:gpt-4.*", "*"])
def test_a_blacklist_names_a_model_however_it_is_spelled(name: str, model: str) -> None:
    assert forbids([name], "openai", model)


@pytest.mark.parametrize("model", ["gpt-4", "gpt-4o-mini", "gpt-4o/mini", "gpt4o", "", "/"])
def test_a_blacklist_names_no_other_model(model: str) -> None:
    assert not forbids(["gpt-4o", "openai/gpt-4o", "regex:gpt-4o"], "openai", model)
