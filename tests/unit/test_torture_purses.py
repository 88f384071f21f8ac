"""Who pays in a torture: limits that are reached, and jobs that can all be paced within the run."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from hermod.torture.plan import Plan
from hermod.torture.purses import Purses

PLANS = [Plan(jobs=jobs, rate=rate) for jobs, rate in ((20, 200), (400, 200), (20_000, 150))]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: str(plan.jobs))
def test_budgets_that_are_to_be_used_up_pay_for_some_of_their_jobs(plan: Plan) -> None:
    purses = Purses.of(plan, "run")
    share = Counter(purses.draw(random.Random(n)).key_id for n in range(2_000))
    for purse in purses.money.purses:
        jobs = plan.jobs * sum(share[key] for key in purse.keys) / 2_000
        cheapest, dearest = min(purses.money.prices.values()), max(purses.money.prices.values())
        assert purse.cap_nanos >= dearest
        if not purse.name.startswith("rich") and jobs > 10:
            assert purse.cap_nanos < jobs * (cheapest + dearest) / 2


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: str(plan.jobs))
def test_a_pace_makes_jobs_wait_and_lets_all_through_in_time(plan: Plan) -> None:
    purses = Purses.of(plan, "run")
    pace = next(limit for limit in purses.money.limits if limit.period_s is not None)
    share = sum(purses.draw(random.Random(n)).key_id == pace.key_id for n in range(2_000)) / 2_000
    assert plan.jobs * share / pace.most < 1.5 * plan.jobs / plan.rate + 10


def test_keys_of_two_runs_on_one_database_are_not_the_same() -> None:
    one, other = (Purses.of(PLANS[0], run) for run in ("one", "two"))
    assert not {asker.key_id for asker in one.askers if asker.key_id} & {
        asker.key_id for asker in other.askers
    }


def test_longer_calls_may_be_more_at_once() -> None:
    def at_once(plan: Plan) -> int:
        return next(
            limit.most for limit in Purses.of(plan, "run").money.limits if limit.period_s is None
        )

    plan = Plan(jobs=5_000)
    assert at_once(replace(plan, latency="lognormal:1000,5000")) > at_once(plan) >= 2
