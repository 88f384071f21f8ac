"""calls/keys.py: which key a call uses."""

import pytest

from hermod.calls.keys import choose_key, session_chance
from hermod.domain.failure import Failure
from hermod.domain.provider import KeySettings, ProviderSettings, Row, Secret


def key(
    name: str,
    *,
    weight: float = 1.0,
    enabled: bool = True,
    models: frozenset[str] = frozenset(),
    blacklisted_models: frozenset[str] = frozenset(),
) -> KeySettings:
    return KeySettings(name, name, Secret("s-" + name), models, blacklisted_models, weight, enabled)


def provider(*keys: KeySettings, keyless: bool = False, name: str = "openai") -> ProviderSettings:
    row = Row(name, "http://127.0.0.1:1", (), (), keyless, {})
    return ProviderSettings(
        name=name,
        origin="config.json",
        row=row,
        base_url=row.base_url,
        keys=keys,
        attempt_timeout_s=600,
        max_retries=3,
        retry_backoff_initial_ms=500,
        retry_backoff_max_ms=5000,
        concurrency=10,
    )


def test_a_provider_without_keys_fails_the_job() -> None:
    assert choose_key(provider(), "m", 0.0) == Failure(
        "no keys found for provider: openai and model: m"
    )


def test_a_keyless_provider_needs_none() -> None:
    assert choose_key(provider(keyless=True), "m", 0.0) is None


def test_disabled_and_empty_keys_do_not_count() -> None:
    empty = KeySettings("empty", "empty", Secret())
    found = choose_key(provider(key("off", enabled=False), empty, key("on")), "m", 0.99)
    assert isinstance(found, KeySettings)
    assert found.name == "on"


def test_a_key_that_may_not_call_the_model_is_passed_over() -> None:
    keys = (key("a", models=frozenset({"x"})), key("b", blacklisted_models=frozenset({"m"})))
    assert choose_key(provider(*keys), "m", 0.0) == Failure("no keys found that support model: m")


@pytest.mark.parametrize(("chance", "name"), [(0.0, "a"), (0.24, "a"), (0.26, "b"), (0.99, "b")])
def test_keys_are_chosen_by_weight(chance: float, name: str) -> None:
    found = choose_key(provider(key("a", weight=0.25), key("b", weight=0.75)), "m", chance)
    assert isinstance(found, KeySettings)
    assert found.name == name


@pytest.mark.parametrize(("chance", "name"), [(0.0, "a"), (0.49, "a"), (0.51, "b")])
def test_weights_of_zero_are_equal(chance: float, name: str) -> None:
    found = choose_key(provider(key("a", weight=0), key("b", weight=0)), "m", chance)
    assert isinstance(found, KeySettings)
    assert found.name == name


@pytest.mark.parametrize("name", ["azure", "bedrock", "replicate", "vertex", "vllm"])
def test_where_models_are_deployed_the_refusal_says_so(name: str) -> None:
    found = choose_key(provider(key("a", models=frozenset({"x"})), name=name), "m", 0.0)
    assert found == Failure("no keys found that support model/deployment: m")


def test_a_key_can_be_named() -> None:
    found = choose_key(provider(key("a"), key("b")), "m", 0.0, name="b")
    assert isinstance(found, KeySettings)
    assert found.name == "b"


def test_an_id_wins_over_a_name() -> None:
    keys = (KeySettings("one", "id-1", Secret("s")), KeySettings("two", "id-2", Secret("s")))
    found = choose_key(provider(*keys), "m", 0.0, name="one", key_id="id-2")
    assert isinstance(found, KeySettings)
    assert found.name == "two"


@pytest.mark.parametrize("unfit", [key("off", enabled=False), key("off", models=frozenset({"x"}))])
def test_only_a_key_that_could_have_been_chosen_can_be_named(unfit: KeySettings) -> None:
    keys = (key("a"), unfit)
    assert choose_key(provider(*keys), "m", 0.0, name="off") == Failure(
        'no supported key found with name "off" for provider: openai and model: m'
    )
    assert choose_key(provider(*keys), "m", 0.0, key_id="off") == Failure(
        'no supported key found with id "off" for provider: openai and model: m'
    )


def test_a_provider_without_keys_says_so_whatever_key_is_named() -> None:
    assert choose_key(provider(keyless=True), "m", 0.0, name="b") is None
    assert choose_key(provider(), "m", 0.0, name="b") == Failure(
        "no keys found for provider: openai and model: m"
    )


def test_a_session_keeps_its_key() -> None:
    keys = provider(key("a"), key("b"), key("c"))
    chances = [session_chance(f"session {number}") for number in range(300)]
    assert all(0 <= chance < 1 for chance in chances)
    assert chances == [session_chance(f"session {number}") for number in range(300)]
    used = [choose_key(keys, "m", chance) for chance in chances]
    counts = [used.count(one) for one in keys.keys]
    assert sum(counts) == 300
    assert min(counts) > 60
