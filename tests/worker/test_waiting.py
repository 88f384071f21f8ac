"""When jobs that a limit has refused are looked at again."""

import asyncio

from hermod.domain.meter import Hold, Refusal, Unit, Why, Window
from hermod.worker.waiting import WaitingLines

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOW = 1_000 * MINUTE


def spent(limit: int = 2, *, resets_at: int | None = NOW + MINUTE, amount: int = 1) -> Refusal:
    """A limit of requests per minute that is used up."""
    hold = Hold("m", Unit.REQUESTS, amount, limit, Window(None, MINUTE), "VK", "1m")
    return Refusal(hold, Why.SPENT, limit, 0, resets_at)


def busy(limit: int = 2) -> Refusal:
    """A limit of jobs at once, all of them out."""
    hold = Hold("p", Unit.PARALLEL, 1, limit, Window(), "VK")
    return Refusal(hold, Why.BUSY, 0, limit, None)


def test_each_period_is_told_to_as_many_jobs_as_it_takes() -> None:
    lines = WaitingLines()
    found = [lines.comes_back_at(spent(), NOW) for _ in range(5)]
    first = NOW + MINUTE
    assert found == [first, first, first + MINUTE, first + MINUTE, first + 2 * MINUTE]


def test_what_needs_half_a_period_shares_it_with_one_other() -> None:
    lines = WaitingLines()
    found = [lines.comes_back_at(spent(limit=100, amount=50), NOW) for _ in range(3)]
    assert found == [NOW + MINUTE, NOW + MINUTE, NOW + 2 * MINUTE]


def test_what_needs_more_than_a_period_has_one_to_itself() -> None:
    lines = WaitingLines()
    found = [lines.comes_back_at(spent(limit=100, amount=150), NOW) for _ in range(2)]
    assert found == [NOW + MINUTE, NOW + 2 * MINUTE]


def test_a_job_that_comes_a_little_early_keeps_its_turn() -> None:
    lines = WaitingLines()
    for _ in range(10):
        lines.comes_back_at(spent(), NOW)
    assert lines.comes_back_at(spent(resets_at=NOW + 10), NOW) == NOW + 10


def test_a_line_that_has_been_served_begins_anew() -> None:
    lines = WaitingLines()
    lines.comes_back_at(spent(), NOW)
    later = NOW + 10 * MINUTE
    assert lines.comes_back_at(spent(resets_at=later + MINUTE), later) == later + MINUTE


def test_a_limit_that_is_never_reset_is_not_waited_for() -> None:
    assert WaitingLines().comes_back_at(spent(resets_at=None), NOW) is None


def test_money_that_is_spent_is_not_waited_for() -> None:
    hold = Hold("b", Unit.USD_NANOS, 1, 2, Window(None, MINUTE), "VK", "1m")
    for why, used in ((Why.SPENT, 2), (Why.TOO_LARGE, 1)):
        refusal = Refusal(hold, why, used, 0, NOW + MINUTE)
        assert WaitingLines().comes_back_at(refusal, NOW) is None


def test_the_turns_of_a_busy_limit_are_as_far_apart_as_calls_end() -> None:
    lines = WaitingLines()
    lines.comes_back_at(busy(limit=4), NOW)
    for _ in range(80):
        lines.ended("p", 8 * SECOND, NOW)
    soon, then = lines.comes_back_at(busy(limit=4), NOW), lines.comes_back_at(busy(limit=4), NOW)
    assert soon is not None
    assert then is not None
    # Eight seconds, four at once, and two that look for each that finds room.
    assert 0.9 * SECOND < then - soon <= SECOND


async def test_a_job_in_its_slot_hears_when_a_call_has_ended() -> None:
    lines = WaitingLines()
    waiting = asyncio.ensure_future(lines.room(busy(), 60.0))
    await asyncio.sleep(0)
    lines.ended("p", SECOND, NOW)
    await asyncio.wait_for(waiting, 5)


async def test_no_more_wait_in_slots_than_may_be_out_at_once() -> None:
    lines = WaitingLines()
    waiting = [asyncio.ensure_future(lines.room(busy(), 60.0)) for _ in range(2)]
    await asyncio.sleep(0)
    assert not lines.may_stay(busy())
    assert lines.may_stay(busy(limit=3))
    lines.ended("p", SECOND, NOW)
    await asyncio.gather(*waiting)
    assert lines.may_stay(busy())


async def test_a_call_that_ends_in_another_process_is_not_heard_of_and_not_waited_for() -> None:
    lines = WaitingLines()
    await lines.room(busy(), 0.01)
    assert lines.may_stay(busy())


def test_a_guess_about_calls_reaches_ten_minutes_at_most() -> None:
    lines = WaitingLines()
    for _ in range(80):
        lines.comes_back_at(busy(), NOW)
        lines.ended("p", 60 * SECOND, NOW)
    turns = [lines.comes_back_at(busy(), NOW) or 0 for _ in range(100)]
    assert max(turns) == NOW + 10 * MINUTE
