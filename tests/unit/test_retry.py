"""domain/retry.py: what follows a failed call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermod.domain.failure import Failure
from hermod.domain.outcome import Fault, Retryable
from hermod.domain.retry import (
    RETRY_AFTER_CAP_S,
    GiveUp,
    RetryPolicy,
    TryAgain,
    backoff_s,
    decide,
)

POLICY = RetryPolicy(max_retries=3, backoff_initial_s=0.5, backoff_max_s=5.0)
NO_JITTER = 0.5
"""0.8 + 0.4 * 0.5 = 1: the wait is exactly what it grew to."""


def fault(retryable: Retryable, retry_after_s: float | None = None) -> Fault:
    return Fault(Failure("no"), retryable, retry_after_s)


def decided(
    of: Fault,
    *,
    spent: int = 0,
    waits: int = 0,
    remaining_s: float = 3600.0,
    policy: RetryPolicy = POLICY,
) -> GiveUp | TryAgain:
    return decide(of, policy, spent=spent, waits=waits, remaining_s=remaining_s, chance=NO_JITTER)


def test_a_fault_that_a_retry_cannot_help_ends_the_job() -> None:
    assert decided(fault(Retryable.NO)) == GiveUp()


@pytest.mark.parametrize(("spent", "delay_s"), [(0, 0.5), (1, 1.0), (2, 2.0)])
def test_a_server_error_is_retried_with_a_doubling_backoff(spent: int, delay_s: float) -> None:
    assert decided(fault(Retryable.BACKOFF), spent=spent) == TryAgain(delay_s, spent=True)


@pytest.mark.parametrize("retryable", [Retryable.BACKOFF, Retryable.RATE_LIMITED])
def test_the_tries_run_out(retryable: Retryable) -> None:
    assert decided(fault(retryable), spent=3) == GiveUp()


def test_a_429_without_retry_after_costs_a_try() -> None:
    assert decided(fault(Retryable.RATE_LIMITED)) == TryAgain(0.5, spent=True)


def test_a_429_with_retry_after_costs_no_try_however_many_were_spent() -> None:
    assert decided(fault(Retryable.RATE_LIMITED, 30), spent=3) == TryAgain(30, spent=False)


def test_a_server_error_with_retry_after_waits_that_long_and_costs_a_try() -> None:
    assert decided(fault(Retryable.BACKOFF, 30)) == TryAgain(30, spent=True)


def test_a_retry_after_of_nothing_still_backs_off_longer_each_time() -> None:
    waited = [decided(fault(Retryable.RATE_LIMITED, 0), waits=n) for n in range(9)]
    delays = [each.delay_s for each in waited if isinstance(each, TryAgain)]
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_retry_after_is_capped() -> None:
    assert decided(fault(Retryable.RATE_LIMITED, 1e9)) == TryAgain(RETRY_AFTER_CAP_S, spent=False)


@pytest.mark.parametrize("retry_after_s", [None, 1.0])
@pytest.mark.parametrize("retryable", [each for each in Retryable if each is not Retryable.HELD])
def test_no_retries_means_none(retryable: Retryable, retry_after_s: float | None) -> None:
    policy = RetryPolicy(0, 0.5, 5.0)
    assert decided(fault(retryable, retry_after_s), policy=policy) == GiveUp()


def test_a_wait_past_the_deadline_is_not_begun() -> None:
    asked = fault(Retryable.RATE_LIMITED, 60)
    assert decided(asked, remaining_s=60) == GiveUp(deadline_passed=True)
    assert decided(asked, remaining_s=60.1) == TryAgain(60, spent=False)


@pytest.mark.parametrize(("delay_s", "keeps"), [(0.5, True), (5.0, True), (5.1, False)])
def test_only_a_short_wait_keeps_its_slot(delay_s: float, keeps: bool) -> None:
    assert TryAgain(delay_s, spent=True).keeps_slot is keeps


@given(
    nth=st.integers(0, 10_000),
    chance=st.floats(0, 1, exclude_max=True),
    initial=st.floats(0.001, 10),
    longest=st.floats(0.001, 100),
)
def test_a_backoff_stays_within_its_jitter_and_its_maximum(
    nth: int, chance: float, initial: float, longest: float
) -> None:
    policy = RetryPolicy(1, initial, longest)
    grown = min(initial * 2.0 ** min(nth, 60), longest)
    assert grown * 0.8 <= backoff_s(policy, nth, chance) <= min(grown * 1.2, longest)


@pytest.mark.parametrize("max_retries", [0, 3])
def test_a_call_that_was_held_back_costs_no_try_and_comes_again(max_retries: int) -> None:
    policy = RetryPolicy(max_retries, 0.5, 5.0)
    found = decided(fault(Retryable.HELD, 7.0), policy=policy, spent=max_retries)
    assert found == TryAgain(7.0, spent=False)


def test_a_refused_key_is_no_reason_to_use_it_again() -> None:
    assert decided(fault(Retryable.OTHER_KEY)) == GiveUp()
