"""calls/keys.py: which key a call uses."""

import pytest

from hermod.calls.keys import choose_key
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


def provider(*keys: KeySettings, keyless: bool = False) -> ProviderSettings:
    row = Row("openai", "http://127.0.0.1:1", (), (), keyless, {})
    return ProviderSettings(
        name="openai",
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
