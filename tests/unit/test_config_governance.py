"""Virtual keys, teams, customers and limits of the config file."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from hermod.domain.governance import (
    Budget,
    Customer,
    ModelLimits,
    ProviderConfig,
    ProviderLimits,
    RateLimit,
    Team,
    VirtualKey,
)
from tests.support.config import TOKEN, problems, read

VALUE = "sk-bf-11111111-2222-3333-4444-555555555555"
OPENAI = {"OPENAI_API_KEY": "sk-1"}
OPEN: dict[str, Any] = {"provider": "mock", "allowed_models": ["*"], "key_ids": ["*"], "weight": 1}


def key(**more: object) -> dict[str, object]:
    """A virtual key without a fault."""
    return {"id": "vk", "name": "k", "value": VALUE, "provider_configs": [OPEN], **more}


def governed(tmp_path: Path, **governance: object) -> tuple[object, ...]:
    """What is made of a section; there is nothing to warn of."""
    loaded = read(tmp_path, {"governance": governance}, OPENAI)
    assert loaded.warnings == ()
    return loaded.settings.governance


def the_key(tmp_path: Path, /, **more: object) -> VirtualKey:
    (found,) = governed(tmp_path, virtual_keys=[key(**more)])
    assert isinstance(found, VirtualKey)
    return found


def warned(tmp_path: Path, /, **governance: object) -> str:
    (warning,) = read(tmp_path, {"governance": governance}, OPENAI).warnings
    return warning.replace(f"{tmp_path}/", "")


def refused(tmp_path: Path, /, **governance: object) -> str:
    (problem,) = problems(tmp_path, {"governance": governance}, OPENAI)
    return problem.split(" ", 1)[1]


# Virtual keys


def test_a_key_is_kept_as_its_hash_and_its_last_letters(tmp_path: Path) -> None:
    found = the_key(tmp_path)
    assert (found.id, found.name, found.last_four) == ("vk", "k", "5555")
    assert found.secret_hash == hashlib.sha256(VALUE.encode()).hexdigest()
    assert VALUE not in repr(found)
    assert found.is_active
    assert found.expires_at is None
    assert found.provider_configs == (
        ProviderConfig(
            id="vk:mock", provider="mock", weight=1.0, allowed_models=("*",), key_ids=("*",)
        ),
    )


def test_everything_a_key_may_say_is_read(tmp_path: Path) -> None:
    found = the_key(
        tmp_path,
        description="for all",
        is_active=False,
        expires_at="2030-01-31T12:00:00+01:00",
        max_parallel_jobs=4,
        max_pending_jobs=40,
        on_limit="reject",
    )
    assert found.description == "for all"
    assert not found.is_active
    assert found.expires_at == 1_896_087_600_000_000
    assert (found.max_parallel_jobs, found.max_pending_jobs, found.on_limit) == (4, 40, "reject")


def test_a_value_may_stand_in_the_environment(tmp_path: Path) -> None:
    config = {"governance": {"virtual_keys": [key(value="env.WEB_KEY")]}}
    (found,) = read(tmp_path, config, {"WEB_KEY": VALUE}).settings.governance
    assert isinstance(found, VirtualKey)
    assert found.last_four == "5555"


def test_a_key_whose_variable_is_not_set_cannot_be_shown_by_anybody(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"governance": {"virtual_keys": [key(value="env.NOT_SET")]}})
    (found,) = loaded.settings.governance
    assert isinstance(found, VirtualKey)
    assert found.secret_hash == ""
    assert "env.NOT_SET is not set in the environment" in loaded.warnings[0]


def test_a_key_without_value_and_id_is_for_tokens_and_keeps_an_id_of_its_own(
    tmp_path: Path,
) -> None:
    without = {"name": "service", "provider_configs": [OPEN]}
    config = {"governance": {"virtual_keys": [without]}}
    first, again = read(tmp_path, config), read(tmp_path, config)
    (found,) = first.settings.governance
    assert first.settings.governance == again.settings.governance
    assert isinstance(found, VirtualKey)
    assert found.id.startswith("file-")
    assert found.secret_hash == ""
    assert "only tokens lead to it" in first.warnings[0]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("our-own-very-long-secret", "only x-bf-vk takes it"),
        ("sk-bf-short", "short enough to be guessed"),
    ],
)
def test_a_weak_value_is_warned_of(tmp_path: Path, value: str, says: str) -> None:
    assert says in warned(tmp_path, virtual_keys=[key(value=value)])


def test_a_value_is_never_the_admins(tmp_path: Path) -> None:
    token = "sk-bf-and-the-admin-token"
    config = {"governance": {"virtual_keys": [key(value=token)]}}
    (problem,) = problems(tmp_path, config, {"HERMOD_ADMIN_TOKEN": token})
    assert "is HERMOD_ADMIN_TOKEN" in problem
    assert token not in problem


def test_keys_of_an_export_are_named_by_key_id_or_name(tmp_path: Path) -> None:
    exported = {**OPEN, "keys": [{"id": 3, "key_id": "k-3", "name": "c"}, {"name": "spare"}]}
    del exported["key_ids"]
    found = the_key(tmp_path, provider_configs=[exported])
    assert found.provider_configs[0].key_ids == ("k-3", "spare")


def test_a_weight_of_null_is_no_weight(tmp_path: Path) -> None:
    found = the_key(tmp_path, provider_configs=[{**OPEN, "weight": None}])
    assert found.provider_configs[0].weight is None


def test_a_provider_that_nobody_configured_is_warned_of(tmp_path: Path) -> None:
    configs = [{**OPEN, "provider": "groq"}]
    assert "groq" not in (text := warned(tmp_path, virtual_keys=[key(provider_configs=configs)]))
    assert "provider_configs[0].provider: is not configured, so its jobs will fail" in text


def test_a_key_of_a_provider_that_there_is_not_is_warned_of(tmp_path: Path) -> None:
    configs = [{**OPEN, "provider": "openai", "key_ids": ["OPENAI_API_KEY", "gone"]}]
    text = warned(tmp_path, virtual_keys=[key(provider_configs=configs)])
    assert "1 of them is no id or name of a key" in text


# Empty lists (design.md 8, 27)


@pytest.mark.parametrize("member", ["provider_configs", "allowed_models", "key_ids"])
def test_an_empty_list_allows_nothing_and_the_warning_names_the_switch(
    tmp_path: Path, member: str
) -> None:
    empty = {"provider_configs": []}
    if member != "provider_configs":
        empty = {"provider_configs": [{**OPEN, member: []}]}
    text = warned(tmp_path, virtual_keys=[key(**empty)])
    assert f"{member} is empty or missing, which allows nothing" in text
    assert '"hermod": {"empty_lists": "all"}' in text


def test_many_keys_with_empty_lists_are_one_warning(tmp_path: Path) -> None:
    keys = [{**key(provider_configs=[], value=f"{VALUE}{n}"), "id": n, "name": n} for n in "abc"]
    assert "(and 2 more)" in warned(tmp_path, virtual_keys=keys)


@pytest.mark.parametrize(
    ("config", "meaning"),
    [
        ({}, "none"),
        ({"version": 2}, "none"),
        ({"version": 1}, "all"),
        ({"hermod": {"empty_lists": "all"}}, "all"),
        ({"version": 1, "hermod": {"empty_lists": "none"}}, "none"),
    ],
)
def test_the_switch_is_ours_or_the_version_of_the_file(
    tmp_path: Path, config: object, meaning: str
) -> None:
    assert read(tmp_path, config).settings.hermod.empty_lists == meaning


# Limits


def test_limits_stand_where_they_apply(tmp_path: Path) -> None:
    found = the_key(
        tmp_path,
        budget={"max_limit": 0.1, "reset_duration": "1M", "calendar_aligned": True},
        rate_limit={"id": "mine", "token_max_limit": 9, "token_reset_duration": "1h"},
    )
    assert found.budget == Budget(
        id="virtual_key:vk:budget",
        max_limit_nanos=100_000_000,
        reset_duration="1M",
        calendar_aligned=True,
    )
    assert found.rate_limit == RateLimit(id="mine", token_max_limit=9, token_reset_duration="1h")


def test_limits_may_be_referred_to_and_shared(tmp_path: Path) -> None:
    found = governed(
        tmp_path,
        budgets=[{"id": "b", "max_limit": 3, "reset_duration": "1d"}],
        rate_limits=[{"id": "r", "request_max_limit": 5, "request_reset_duration": "1m"}],
        teams=[
            {"id": "t1", "name": "one", "budget_id": "b", "rate_limit_id": "r"},
            {"id": "t2", "name": "two", "budget_ids": ["b"]},
        ],
    )
    budget = Budget(id="b", max_limit_nanos=3_000_000_000, reset_duration="1d")
    rate_limit = RateLimit(id="r", request_max_limit=5, request_reset_duration="1m")
    assert found == (
        Team(id="t1", name="one", budget=budget, rate_limit=rate_limit),
        Team(id="t2", name="two", budget=budget),
    )


@pytest.mark.parametrize(
    ("owner", "entity"),
    [
        ({"virtual_key_id": "vk"}, VirtualKey),
        ({"team_id": "t"}, Team),
        ({"customer_id": "c"}, Customer),
        ({"model_config_id": "m"}, ModelLimits),
    ],
)
def test_a_budget_may_say_whose_it_is(tmp_path: Path, owner: dict[str, str], entity: type) -> None:
    found = governed(
        tmp_path,
        budgets=[{"id": "b", "max_limit": 3, "reset_duration": "1d", **owner}],
        customers=[{"id": "c", "name": "c"}],
        teams=[{"id": "t", "name": "t"}],
        virtual_keys=[key()],
        model_configs=[{"id": "m", "model_name": "gpt"}],
    )
    assert [type(each) for each in found if getattr(each, "budget", None)] == [entity]


def test_a_budget_of_a_provider_of_a_key_is_found_by_its_number(tmp_path: Path) -> None:
    (found,) = governed(
        tmp_path,
        budgets=[
            {"id": "b", "max_limit": 3, "reset_duration": "1d", "provider_config_id": 12},
        ],
        virtual_keys=[key(provider_configs=[{**OPEN, "id": 12}])],
    )
    assert isinstance(found, VirtualKey)
    budget = found.provider_configs[0].budget
    assert budget
    assert budget.id == "b"


def test_a_budget_written_twice_as_in_an_export_is_one(tmp_path: Path) -> None:
    budget = {"id": "b", "max_limit": 3, "reset_duration": "1d"}
    (found,) = governed(
        tmp_path,
        budgets=[{**budget, "team_id": "t"}],
        teams=[{"id": "t", "name": "t", "budget_id": "b", "budget": budget}],
    )
    assert isinstance(found, Team)
    assert found.budget == Budget(id="b", max_limit_nanos=3 * 10**9, reset_duration="1d")


def test_a_list_of_one_budget_is_a_budget(tmp_path: Path) -> None:
    found = the_key(tmp_path, budgets=[{"id": "b", "max_limit": 3, "reset_duration": "1d"}])
    assert found.budget
    assert found.budget.id == "b"


def test_an_owner_aligns_what_the_calendar_has(tmp_path: Path) -> None:
    found = the_key(
        tmp_path,
        calendar_aligned=True,
        budget={"max_limit": 3, "reset_duration": "1w"},
        provider_configs=[{**OPEN, "budget": {"max_limit": 1, "reset_duration": "1h"}}],
    )
    inner = found.provider_configs[0].budget
    assert found.budget
    assert found.budget.calendar_aligned
    assert inner
    assert not inner.calendar_aligned


@pytest.mark.parametrize(
    ("usd", "nanos"),
    [
        (0, 0),
        (0.3, 300_000_000),
        (1e-9, 1),
        (1.9e-9, 1),
        (19.99, 19_990_000_000),
        (9_000_000_000, 9 * 10**18),
    ],
)
def test_money_is_the_decimal_that_was_written(tmp_path: Path, usd: float, nanos: int) -> None:
    found = the_key(tmp_path, budget={"max_limit": usd, "reset_duration": "1d"})
    assert found.budget
    assert found.budget.max_limit_nanos == nanos


def test_limits_of_models_and_providers_are_for_everybody(tmp_path: Path) -> None:
    found = governed(
        tmp_path,
        model_configs=[{"id": "m", "model_name": "gpt", "provider": "OpenAI"}],
        providers=[
            {"name": "openai", "budget": {"id": "b", "max_limit": 1, "reset_duration": "1d"}},
        ],
    )
    assert found == (
        ModelLimits(id="m", model_name="gpt", provider="openai"),
        ProviderLimits(
            id="openai",
            budget=Budget(id="b", max_limit_nanos=10**9, reset_duration="1d"),
        ),
    )


def test_limits_for_one_key_and_limits_of_nobody_are_reported(tmp_path: Path) -> None:
    config = {
        "governance": {
            "model_configs": [
                {"id": "m", "model_name": "g", "scope": "virtual_key", "scope_id": "vk"}
            ],
            "rate_limits": [{"id": "r"}],
        }
    }
    loaded = read(tmp_path, config)
    assert loaded.settings.governance == ()
    assert [place for place, _ in loaded.ignored] == [
        "governance.model_configs[0]",
        "governance.rate_limits[0]",
    ]


# What is wrong


TWO_BUDGETS = [
    {"id": "d", "max_limit": 1, "reset_duration": "1d"},
    {"id": "m", "max_limit": 9, "reset_duration": "1M"},
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"virtual_keys": [{"value": VALUE}]}, "virtual_keys[0].name: missing"),
    ({"virtual_keys": [key(team_id="t")]}, "no such team in governance.teams"),
    ({"virtual_keys": [key(customer_id="c")]}, "no such customer in governance.customers"),
    ({"teams": [{"id": "t", "name": "t", "customer_id": "c"}]}, "no such customer"),
    (
        {
            "teams": [{"id": "t", "name": "t"}],
            "customers": [{"id": "c", "name": "c"}],
            "virtual_keys": [key(team_id="t", customer_id="c")],
        },
        "VirtualKey cannot be attached to both Team and Customer",
    ),
    ({"virtual_keys": [key(), key(id="w", value=f"{VALUE}2")]}, "[1].name: the same name as at"),
    ({"virtual_keys": [key(), key(name="l", value=f"{VALUE}2")]}, "[1].id: the same id as at"),
    ({"virtual_keys": [key(), key(id="w", name="l")]}, "[1].value: the same value as at"),
    ({"virtual_keys": [key(id="a b")]}, "[0].id: an id is made of"),
    ({"virtual_keys": [key(value=f"{VALUE}é")]}, "visible characters of ASCII"),
    ({"virtual_keys": [key(value=f"{VALUE}\n.")]}, "visible characters of ASCII"),
    ({"virtual_keys": [key(expires_at="tomorrow")]}, "expected an instant such as"),
    ({"virtual_keys": [key(on_limit="wait")]}, "expected delay or reject"),
    ({"virtual_keys": [key(max_parallel_jobs=0)]}, "a whole number from 1"),
    ({"virtual_keys": [key(provider_configs=[OPEN, OPEN])]}, "stands twice in this key"),
    (
        {"virtual_keys": [key(provider_configs=[{**OPEN, "allowed_models": ["regex:("]}])]},
        "allowed_models[0]: this pattern does not compile: ",
    ),
    (
        {
            "virtual_keys": [
                key(provider_configs=[{**OPEN, "blacklisted_models": ["a", "regex:(a+)+b"]}])
            ]
        },
        "blacklisted_models[1]: this pattern repeats a group",
    ),
    (
        {"virtual_keys": [key(provider_configs=[OPEN, {**OPEN, "provider": "Mock"}])]},
        "provider_configs[1].provider: stands twice in this key",
    ),
    ({"virtual_keys": [key(budget_id="b")]}, "budget_id: names no budget of"),
    ({"virtual_keys": [key(rate_limit_id="r")]}, "rate_limit_id: names no rate limit of"),
    ({"virtual_keys": [key(budgets=TWO_BUDGETS)]}, "has 2 budgets"),
    ({"virtual_keys": [key(budget={"reset_duration": "1d"})]}, "max_limit: missing"),
    (
        {"virtual_keys": [key(budget={"max_limit": -1, "reset_duration": "1d"})]},
        "max_limit: expected a number from 0",
    ),
    (
        {"virtual_keys": [key(budget={"max_limit": 1, "reset_duration": "soon"})]},
        "reset_duration: Invalid reset duration format: ",
    ),
    (
        {
            "virtual_keys": [
                key(budget={"max_limit": 1, "reset_duration": "1h", "calendar_aligned": True})
            ]
        },
        "calendar_aligned: a calendar has days",
    ),
    (
        {"virtual_keys": [key(rate_limit={"token_max_limit": 0, "token_reset_duration": "1h"})]},
        "token_max_limit: expected a whole number from 1",
    ),
    (
        {"virtual_keys": [key(rate_limit={"request_max_limit": 5})]},
        "request_reset_duration: missing",
    ),
    ({"budgets": [TWO_BUDGETS[0], {**TWO_BUDGETS[1], "id": "d"}]}, "[1].id: another one has"),
    ({"budgets": [{**TWO_BUDGETS[0], "team_id": "t"}]}, "belongs to a team that is not in"),
    (
        {
            "budgets": TWO_BUDGETS[:1],
            "teams": [{"id": "t", "name": "t", "budget_id": "d"}],
            "virtual_keys": [key(team_id="t", budget_id="d")],
        },
        "budget_id: belongs to something else already",
    ),
    ({"model_configs": [{"id": "m"}]}, "model_name: missing"),
    (
        {"model_configs": [{"model_name": "g"}, {"model_name": "g"}]},
        "[1].model_name: the same model_name as at",
    ),
    ({"providers": [{"name": "openai"}, {"name": "OpenAI"}]}, "[1].name: the same name as at"),
]


@pytest.mark.parametrize(("governance", "says"), WRONG)
def test_what_is_wrong_stops_the_start_with_its_place(
    tmp_path: Path, governance: dict[str, Any], says: str
) -> None:
    problems_found = problems(tmp_path, {"governance": governance}, OPENAI)
    # A budget that is written twice is also one that nobody has.
    assert any(says in problem for problem in problems_found)
    assert all(problem.startswith("config.json:1:") for problem in problems_found)
    assert VALUE not in " ".join(problems_found)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    wrong = key(team_id="t", expires_at="x", budget={"max_limit": -1}, on_limit="x")
    assert len(problems(tmp_path, {"governance": {"virtual_keys": [wrong]}}, TOKEN)) == 4


def test_a_place_in_the_file_is_told_of_both(tmp_path: Path) -> None:
    keys = [key(), key(id="w", name="l")]
    text = refused(tmp_path, virtual_keys=keys)
    assert text.startswith("governance.virtual_keys[1].value: the same value as at ")
    assert text.endswith("governance.virtual_keys[0]")
