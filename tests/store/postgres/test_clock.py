"""The database's clock, as a gateway knows it."""

from hermod.store.postgres.clock import DatabaseClock
from tests.store.backends import SECOND, ManualClock

START = 1_800_000_000 * SECOND


def told(ours: ManualClock, clock: DatabaseClock, at: int, took_s: float = 0.0) -> None:
    """The database says that it is `at`; question and answer take a time."""
    asked_s = ours.monotonic()
    ours.advance(took_s)
    clock.heard(asked_s, at)


def test_without_the_database_it_is_this_machines() -> None:
    ours = ManualClock()
    assert DatabaseClock(ours).now() == ours.now()


def test_it_goes_on_from_what_the_database_said() -> None:
    ours = ManualClock()
    clock = DatabaseClock(ours)
    told(ours, clock, START)
    ours.advance(5)
    assert clock.now() == START + 5 * SECOND


def test_a_slow_answer_does_not_make_it_jump() -> None:
    ours = ManualClock()
    clock = DatabaseClock(ours)
    told(ours, clock, START)
    told(ours, clock, START, took_s=4)
    assert clock.now() == START + 4 * SECOND
    told(ours, clock, START + 8 * SECOND, took_s=4)
    assert clock.now() == START + 8 * SECOND


def test_it_follows_a_database_whose_clock_was_set() -> None:
    ours = ManualClock()
    clock = DatabaseClock(ours)
    told(ours, clock, START)
    for change in (3_600, -7_200):
        told(ours, clock, START + change * SECOND, took_s=0.5)
        assert abs(clock.now() - START - change * SECOND) <= SECOND / 2


def test_after_a_sleep_of_this_machine_it_is_right_at_the_next_word() -> None:
    ours = ManualClock()
    clock = DatabaseClock(ours)
    told(ours, clock, START)
    told(ours, clock, START + 3_600 * SECOND)
    assert clock.now() == START + 3_600 * SECOND
