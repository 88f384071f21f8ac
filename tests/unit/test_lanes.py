"""worker/lanes.py: capacity per provider."""

from hermod.worker.lanes import Lanes


def test_each_lane_has_its_own_slots() -> None:
    lanes = Lanes(10, {"slow": 2})
    lanes["slow"].taken = 2
    assert lanes["slow"].free == 0
    assert lanes["openai"].free == 10


def test_a_new_lane_has_a_backlog_only_until_the_first_look() -> None:
    lanes = Lanes(1, {})
    assert lanes["before"].backlog
    lanes.looked({}, now=10)
    assert not lanes["before"].backlog
    assert not lanes["after"].backlog


def test_a_look_at_the_store_clears_and_sets_backlogs() -> None:
    lanes = Lanes(1, {})
    lanes["empty"].backlog = True
    lanes.looked({"due": 5, "later": 11, "new": 0}, now=10)
    assert [name for name in ("empty", "due", "later", "new") if lanes[name].backlog] == [
        "due",
        "new",
    ]
