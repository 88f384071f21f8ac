import pytest

from hermod.domain import failpoint
from hermod.domain.errors import StoreUnavailable
from hermod.domain.failpoint import NAMES
from tests.support.failpoints import armed, counted

POINT = "submit_job.before_commit"


def test_a_point_that_is_not_armed_does_nothing() -> None:
    for name in NAMES:
        failpoint.failpoint(name)
    with armed("finish_job.before=raise"):
        failpoint.failpoint(POINT)


def test_no_two_points_have_one_name() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_a_point_of_the_store_raises_that_the_store_is_away() -> None:
    with armed(f"{POINT}=raise"), pytest.raises(StoreUnavailable, match=POINT):
        failpoint.failpoint(POINT)


def test_a_network_step_raises_an_error_of_the_system() -> None:
    with armed("net.waiting=raise"), pytest.raises(OSError, match=r"net\.waiting"):
        failpoint.failpoint("net.waiting")


def test_a_point_can_act_at_its_third_hit_only() -> None:
    raised: list[int] = []
    with armed(f"{POINT}@3=raise") as hits:
        for hit in range(1, 6):
            try:
                failpoint.failpoint(POINT)
            except StoreUnavailable:
                raised.append(hit)
        assert hits() == {POINT: 5}
    assert raised == [3]


def test_what_is_counted_goes_on() -> None:
    with armed(counted()) as hits:
        failpoint.failpoint(POINT)
        assert {name for name, n in hits().items() if n} == {POINT}


def test_several_points_can_be_armed_at_once() -> None:
    with armed(f" {POINT}=count ; finish_job.before=raise;") as hits:
        failpoint.failpoint(POINT)
        with pytest.raises(StoreUnavailable):
            failpoint.failpoint("finish_job.before")
        assert hits() == {POINT: 1, "finish_job.before": 1}


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("submit.before=kill", "there is no point 'submit.before'"),
        (f"{POINT}=explode", "unknown action 'explode'"),
        (f"{POINT}", "expected NAME"),
        (f"{POINT}=", "expected NAME"),
        (f"{POINT}@0=kill", "expected NAME"),
        (f"{POINT}@x=kill", "expected NAME"),
        (f"{POINT}=sleep", "sleep needs its seconds"),
        (f"{POINT}=sleep:-1", "expected NAME"),
        (f"{POINT}=kill;{POINT}=raise", "given twice"),
        (f"finish_job.before=raise;{POINT}=explode", "unknown action"),
    ],
)
def test_a_wrong_spec_is_refused_by_its_part_and_arms_nothing(spec: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        failpoint.enable(spec)
    assert failpoint.hits() == {}
