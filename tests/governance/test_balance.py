"""governance/balance.py: who gets a model without a prefix."""

import pytest

from hermod.governance.balance import Placed, place
from hermod.governance.book import Rules
from tests.governance.entities import config, key

RULES = Rules()


def everywhere(_provider: str, _model: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("chance", "provider"), [(0.0, "openai"), (0.24, "openai"), (0.26, "azure"), (0.999, "azure")]
)
def test_providers_are_chosen_by_weight(chance: float, provider: str) -> None:
    asked = key(config("openai", "m", weight=0.5), config("azure", "m", weight=1.5))
    placed = place(asked, "m", RULES, chance, everywhere)
    assert placed is not None
    assert placed.provider == provider


@pytest.mark.parametrize(("chance", "provider"), [(0.0, "a"), (0.49, "a"), (0.51, "b")])
def test_weights_of_zero_are_equal(chance: float, provider: str) -> None:
    asked = key(config("a", "m", weight=0.0), config("b", "m", weight=0.0))
    placed = place(asked, "m", RULES, chance, everywhere)
    assert placed is not None
    assert placed.provider == provider


def test_a_provider_of_no_weight_beside_others_is_only_fallen_back_to() -> None:
    asked = key(config("a", "m", weight=0.0), config("b", "m", weight=0.1))
    assert place(asked, "m", RULES, 0.0, everywhere) == Placed("b", ("a/m",))


def test_the_others_are_fallbacks_highest_weight_first() -> None:
    asked = key(
        config("none", "m", weight=None),
        config("zero", "m", weight=0.0),
        config("one", "m", weight=1.0),
        config("nine", "m", weight=9.0),
        config("two", "m", weight=2.0),
    )
    expected = Placed("one", ("nine/m", "two/m", "zero/m", "none/m"))
    assert place(asked, "m", RULES, 0.0, everywhere) == expected


def test_a_provider_without_a_weight_is_never_chosen() -> None:
    asked = key(config("a", "m", weight=None))
    assert place(asked, "m", RULES, 0.0, everywhere) is None


def test_who_may_not_or_cannot_serve_the_model_is_no_candidate() -> None:
    asked = key(
        config("refused", "*", blacklisted_models=("m",)),
        config("other", "n"),
        config("unknown", "*"),
        config("able", "regex:m.*"),
    )
    placed = place(asked, "m", RULES, 0.0, lambda provider, _: provider != "unknown")
    assert placed == Placed("able", ())


def test_without_candidates_there_is_no_place() -> None:
    assert place(key(), "m", RULES, 0.5, everywhere) is None
    assert place(key(config("a", "n")), "m", RULES, 0.5, everywhere) is None


@pytest.mark.parametrize("name", ["m", "maker/m"])
def test_who_names_the_model_goes_before_who_takes_all(name: str) -> None:
    asked = key(config("any", "*", weight=9.0), config("maker", name), config("like", "regex:m"))
    assert place(asked, "m", RULES, 0.0, everywhere) == Placed("maker", ())


def test_an_empty_list_is_one_of_all_where_it_means_that() -> None:
    rules = Rules(empty_means_all=True)
    assert place(key(config("a")), "m", rules, 0.0, everywhere) == Placed("a", ())
    assert place(key(config("a")), "m", RULES, 0.0, everywhere) is None
