"""governance/judge.py: what a virtual key may do."""

import pytest

from hermod.domain.failure import Failure
from hermod.domain.governance import Team
from hermod.governance.book import Book, Rules
from hermod.governance.judge import has_all_models, key_ids, key_refusal, target_refusal
from tests.governance.entities import config, key

NONE = Rules()
ALL = Rules(empty_means_all=True)


def blocked(type_: str, message: str) -> Failure:
    return Failure(message, status_code=403, type=type_)


NO_PROVIDER = blocked("provider_blocked", "Provider 'openai' is not allowed for this virtual key")
NO_MODEL = blocked("model_blocked", "Model 'gpt-4o' is not allowed for this virtual key")


@pytest.mark.parametrize("expires_at", [None, 101])
def test_an_active_key_is_good_until_it_expires(expires_at: int | None) -> None:
    assert key_refusal(key(expires_at=expires_at), 100, Book()) is None


def test_an_expired_key_is_refused_from_that_instant_on() -> None:
    expected = blocked("virtual_key_blocked", "Virtual key has expired")
    assert key_refusal(key(expires_at=100), 100, Book()) == expected


def test_an_inactive_key_is_refused_before_it_is_called_expired() -> None:
    expected = blocked("virtual_key_blocked", "Virtual key is inactive")
    assert key_refusal(key(is_active=False, expires_at=1), 100, Book()) == expected


def test_a_key_whose_limits_are_not_all_known_is_refused() -> None:
    belonging = key(team_id="t")
    message = "Virtual key belongs to a team or a customer that cannot be found"
    expected = blocked("virtual_key_blocked", message)
    assert key_refusal(belonging, 100, Book([belonging])) == expected
    assert key_refusal(belonging, 100, Book([belonging, Team(id="t", name="t")])) is None


@pytest.mark.parametrize(
    ("configs", "rules", "refusal"),
    [
        ((), NONE, NO_PROVIDER),
        ((), ALL, None),
        ((config("azure", "*"),), NONE, NO_PROVIDER),
        ((config("azure", "*"),), ALL, NO_PROVIDER),
        ((config("openai"),), NONE, NO_MODEL),
        ((config("openai"),), ALL, None),
        ((config("openai", "*"),), NONE, None),
        ((config("openai", "gpt-5"),), ALL, NO_MODEL),
        ((config("openai", "gpt-5", "gpt-4o"),), NONE, None),
        ((config("openai", "openai/gpt-4o"),), NONE, None),
        ((config("openai", "regex:gpt-.*"),), NONE, None),
        ((config("openai", "regex:("),), NONE, NO_MODEL),
        ((config("openai", "*", blacklisted_models=("gpt-4o",)),), NONE, NO_MODEL),
        ((config("openai", "gpt-4o", blacklisted_models=("regex:gpt.*",)),), NONE, NO_MODEL),
        ((config("openai", "gpt-4o", blacklisted_models=("*",)),), NONE, NO_MODEL),
        ((config("openai", blacklisted_models=("gpt-4o",)),), ALL, NO_MODEL),
        ((config("openai", "gpt-4o", blacklisted_models=("gpt-4",)),), NONE, None),
    ],
)
def test_a_key_may_ask_for_what_its_lists_say(
    configs: tuple, rules: Rules, refusal: Failure | None
) -> None:
    assert target_refusal(key(*configs), "openai", "gpt-4o", rules) == refusal


@pytest.mark.parametrize(
    ("configs", "rules", "ids"),
    [
        ((config("openai", "*"),), NONE, None),
        ((config("openai", "*", key_ids=("a", "*")),), NONE, None),
        ((config("openai", "*", key_ids=("a", "b")),), NONE, ("a", "b")),
        ((config("openai", "*", key_ids=("a", "b")),), ALL, ("a", "b")),
        ((config("openai", "*", key_ids=()),), NONE, ()),
        ((config("openai", "*", key_ids=()),), ALL, None),
        ((config("azure", "*"),), ALL, ()),
        ((), ALL, None),
        ((), NONE, ()),
    ],
)
def test_a_key_may_use_the_keys_it_names(
    configs: tuple, rules: Rules, ids: tuple[str, ...] | None
) -> None:
    assert key_ids(key(*configs), "openai", rules) == ids


@pytest.mark.parametrize(
    ("configs", "rules", "all_of_them"),
    [
        ((config("openai", "*"),), NONE, True),
        ((config("openai", "*", "gpt-4o"),), NONE, True),
        ((config("openai", "gpt-4o"),), NONE, False),
        ((config("openai", "regex:.*"),), NONE, False),
        ((config("openai", "*", blacklisted_models=("gpt-4",)),), NONE, False),
        ((config("openai"),), NONE, False),
        ((config("openai"),), ALL, True),
        ((config("azure", "*"),), ALL, False),
        ((), ALL, True),
        ((), NONE, False),
    ],
)
def test_a_key_has_all_models_where_its_lists_leave_none_out(
    configs: tuple, rules: Rules, all_of_them: bool
) -> None:
    assert has_all_models(key(*configs), "openai", rules) is all_of_them
