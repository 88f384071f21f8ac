"""`hermod.prices` and `hermod.strict_prices`."""

from pathlib import Path

import pytest

from hermod.domain.price import OwnPrice
from tests.support.config import problems, read


def given(prices: object) -> object:
    """A configuration with these prices."""
    return {"hermod": {"prices": prices}}


def test_without_a_word_there_are_no_own_prices_and_nothing_is_refused(tmp_path: Path) -> None:
    settings = read(tmp_path).settings
    assert (dict(settings.prices), settings.hermod.strict_prices) == ({}, False)


def test_prices_are_read_as_whole_nano_dollars(tmp_path: Path) -> None:
    told = {
        "openai/gpt-4o": {
            "input_usd_per_mtok": 2.5,
            "output_usd_per_mtok": 10,
            "cache_read_usd_per_mtok": 0.000000001,
            "cache_write_usd_per_mtok": 0.1,
            "request_usd": 0.002,
        },
        "ollama/*": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0},
    }
    loaded = read(tmp_path, given(told))
    assert loaded.warnings == ()
    assert loaded.settings.prices == {
        "openai/gpt-4o": OwnPrice(2_500_000_000, 10_000_000_000, 1, 100_000_000, 2_000_000),
        "ollama/*": OwnPrice(0, 0),
    }


@pytest.mark.parametrize("name", ["gpt-4o", "/gpt-4o", "openai/", "*/gpt-4o", "openai/*-mini", "*"])
def test_a_name_that_can_be_no_model_is_a_problem(tmp_path: Path, name: str) -> None:
    (found,) = problems(tmp_path, given({name: {"input_usd_per_mtok": 1}}))
    assert 'expected "provider/model", "provider/*" or "provider/begin*"' in found


@pytest.mark.parametrize("price", [-1, 1e7, "2.50", True])
def test_a_price_that_is_none_is_a_problem(tmp_path: Path, price: object) -> None:
    told = {"openai/gpt-4o": {"output_usd_per_mtok": 1, "input_usd_per_mtok": price}}
    (found,) = problems(tmp_path, given(told))
    assert "input_usd_per_mtok" in found
    assert "expected a number from 0 to 1000000" in found


@pytest.mark.parametrize("entry", [{}, {"input_usd_per_mtok": None}])
def test_an_entry_without_a_price_is_a_problem(tmp_path: Path, entry: object) -> None:
    (found,) = problems(tmp_path, given({"openai/gpt-4o": entry}))
    assert "says no price" in found


def test_a_misspelt_price_is_told(tmp_path: Path) -> None:
    told = {"openai/gpt-4o": {"input_usd_per_mtok": 1, "ouput_usd_per_mtok": 1}}
    (warning,) = read(tmp_path, given(told)).warnings
    assert 'did you mean "output_usd_per_mtok"?' in warning
