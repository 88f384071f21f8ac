"""The short form of `make mutants`: every mutant can be made, and a few are noticed."""

from collections import Counter
from typing import Final

import pytest

from tests.mutants.run import ROOT, is_imported, mutated, package_of, survives
from tests.mutants.table import MUTANTS, Mutant

TRIED: Final = (
    "sqlite: finish_job ignores the fencing token",
    "sqlite: recovery takes leases that hold",
    "a broken connection has a known outcome",
)
"""Mutants whose tests take no time."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_made_and_names_a_test_that_there_is(mutant: Mutant) -> None:
    assert mutated(mutant)
    path, _, function = mutant.test.partition("::")
    assert f"def {function}(" in (ROOT / path).read_text("utf-8")


def test_no_two_mutants_have_one_name() -> None:
    assert [name for name, n in Counter(each.name for each in MUTANTS).items() if n > 1] == []


def test_tests_run_against_the_mutant_they_are_given() -> None:
    with package_of(MUTANTS[0]) as package:
        assert is_imported(package)


@pytest.mark.parametrize("name", TRIED)
def test_a_mutant_is_noticed(name: str) -> None:
    (mutant,) = (each for each in MUTANTS if each.name == name)
    assert survives(mutant) is None


def test_a_change_that_changes_nothing_is_not_taken_for_a_mutant_that_was_noticed() -> None:
    harmless = Mutant(
        "harmless",
        "domain/retry.py",
        "    return TryAgain(delay_s, spent=not free)",
        "    return TryAgain(delay_s, spent=not bool(free))",
        "tests/unit/test_retry.py::test_the_tries_run_out",
    )
    assert survives(harmless) is not None
