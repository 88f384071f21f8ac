"""The dice of a torture: the same seed, the same blows, and everybody gets their share."""

from collections import Counter
from dataclasses import replace

import pytest

from hermod.torture.plan import Plan, schedule

LARGE = Plan(
    jobs=20_000,
    kills=30,
    freezes=6,
    gateways=2,
    workers=2,
    kills_database=True,
    shared_app_dir=False,
)


def test_the_seed_decides_everything() -> None:
    assert schedule(LARGE) == schedule(LARGE)
    assert schedule(LARGE) != schedule(replace(LARGE, seed=2))


def test_blows_come_in_the_order_of_the_jobs_that_call_for_them() -> None:
    marks = [planned.accepted for planned in schedule(LARGE)]
    assert marks == sorted(marks)
    assert 0 < marks[0] <= marks[-1] < LARGE.jobs


@pytest.mark.parametrize("seed", range(20))
def test_every_group_gets_its_share_of_the_kills(seed: int) -> None:
    planned = schedule(replace(LARGE, seed=seed))
    assert Counter(p.group for p in planned if p.sort == "kill") == {
        "gateway": 10,
        "worker": 10,
        "database": 10,
    }
    assert {p.group for p in planned if p.sort == "freeze"} == {"worker"}
    assert Counter(p.sort for p in planned) == {"kill": 30, "freeze": 6, "term": 3}


def test_a_freeze_lasts_longer_than_the_lease() -> None:
    frozen = [planned.away_s for planned in schedule(LARGE) if planned.sort == "freeze"]
    assert min(frozen) > LARGE.lease_s


def test_a_machine_stays_away_only_where_another_can_go_on() -> None:
    def longest_s(plan: Plan) -> float:
        return max(planned.away_s for planned in schedule(plan))

    several = replace(LARGE, freezes=0, kills=200)
    assert longest_s(several) > several.lease_s
    assert longest_s(replace(several, workers=1)) < 5
    assert longest_s(replace(several, shared_app_dir=True)) < 5


def test_without_workers_the_gateways_run_the_jobs() -> None:
    assert Plan(gateways=2).processes == (("all-1", "all"), ("all-2", "all"))
    assert Plan(workers=1).processes == (("gateway-1", "gateway"), ("worker-1", "worker"))
