"""calls/keys.py: which key a call uses."""

import pytest

from hermod.calls.keys import Chosen, choose_key, session_chance
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


def named(found: Chosen | Failure) -> str:
    """The key's name."""
    assert isinstance(found, Chosen)
    assert found.key is not None
    return found.key.name


def test_a_provider_without_keys_fails_the_job() -> None:
    assert choose_key(provider(), "m", 0.0) == Failure(
        "no keys found for provider: openai and model: m"
    )


def test_a_keyless_provider_needs_none() -> None:
    assert choose_key(provider(keyless=True), "m", 0.0) == Chosen(None)


def test_disabled_and_empty_keys_do_not_count() -> None:
    empty = KeySettings("empty", "empty", Secret())
    found = choose_key(provider(key("off", enabled=False), empty, key("on")), "m", 0.99)
    assert named(found) == "on"


def test_a_key_that_may_not_call_the_model_is_passed_over() -> None:
    keys = (key("a", models=frozenset({"x"})), key("b", blacklisted_models=frozenset({"m"})))
    assert choose_key(provider(*keys), "m", 0.0) == Failure("no keys found that support model: m")


@pytest.mark.parametrize(("chance", "name"), [(0.0, "a"), (0.24, "a"), (0.26, "b"), (0.99, "b")])
def test_keys_are_chosen_by_weight(chance: float, name: str) -> None:
    found = choose_key(provider(key("a", weight=0.25), key("b", weight=0.75)), "m", chance)
    assert named(found) == name


@pytest.mark.parametrize(("chance", "name"), [(0.0, "a"), (0.49, "a"), (0.51, "b")])
def test_weights_of_zero_are_equal(chance: float, name: str) -> None:
    found = choose_key(provider(key("a", weight=0), key("b", weight=0)), "m", chance)
    assert named(found) == name


@pytest.mark.parametrize("name", ["azure", "bedrock", "replicate", "vertex", "vllm"])
def test_where_models_are_deployed_the_refusal_says_so(name: str) -> None:
    found = choose_key(provider(key("a", models=frozenset({"x"})), name=name), "m", 0.0)
    assert found == Failure("no keys found that support model/deployment: m")


def test_a_key_can_be_named() -> None:
    found = choose_key(provider(key("a"), key("b")), "m", 0.0, name="b")
    assert named(found) == "b"


def test_an_id_wins_over_a_name() -> None:
    keys = (KeySettings("one", "id-1", Secret("s")), KeySettings("two", "id-2", Secret("s")))
    found = choose_key(provider(*keys), "m", 0.0, name="one", key_id="id-2")
    assert named(found) == "two"


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
    assert choose_key(provider(keyless=True), "m", 0.0, name="b") == Chosen(None)
    assert choose_key(provider(), "m", 0.0, name="b") == Failure(
        "no keys found for provider: openai and model: m"
    )


def test_a_session_keeps_its_key() -> None:
    keys = provider(key("a"), key("b"), key("c"))
    chances = [session_chance(f"session {number}") for number in range(300)]
    assert all(0 <= chance < 1 for chance in chances)
    assert chances == [session_chance(f"session {number}") for number in range(300)]
    used = [named(choose_key(keys, "m", chance)) for chance in chances]
    counts = [used.count(one.name) for one in keys.keys]
    assert sum(counts) == 300
    assert min(counts) > 60


def test_a_key_that_was_refused_is_not_used_while_there_are_others() -> None:
    keys = provider(key("a"), key("b"), key("c"))
    for chance in (0.0, 0.4, 0.9):
        found = choose_key(keys, "m", chance, dead=("a", "c"))
        assert (named(found), found.others if isinstance(found, Chosen) else -1) == ("b", 0)


def test_all_refused_keys_are_as_good_as_none_refused() -> None:
    assert named(choose_key(provider(key("a"), key("b")), "m", 0.9, dead=("a", "b"))) == "b"


def test_a_tired_key_rests_while_there_are_others() -> None:
    keys = provider(key("a", weight=9), key("b"))
    assert named(choose_key(keys, "m", 0.0)) == "a"
    assert named(choose_key(keys, "m", 0.0, tired="a")) == "b"
    assert named(choose_key(provider(key("a")), "m", 0.0, tired="a")) == "a"


def test_the_key_that_has_to_wait_least_is_used() -> None:
    waits = {"a": 3.0, "b": 1.0, "c": 2.0}
    keys = provider(key("a"), key("b"), key("c"))
    found = choose_key(keys, "m", 0.9, wait_s=lambda each: waits[each.name] if each else 0.0)
    assert named(found) == "b"
    assert isinstance(found, Chosen)
    assert (found.wait_s, found.others) == (1.0, 2)


def test_a_session_keeps_its_key_when_another_one_is_refused() -> None:
    keys = provider(key("a"), key("b"))
    chance = next(c for n in range(99) if (c := session_chance(str(n))) < 0.5)
    assert named(choose_key(keys, "m", chance, tired="b")) == "a"
