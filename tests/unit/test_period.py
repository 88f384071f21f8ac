"""domain/period.py: the periods of limits."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermod.domain.meter import Window
from hermod.domain.period import is_period, may_align, window_of

DAY_US = 86_400_000_000
PERIODS = st.builds(
    lambda number, unit: f"{number}{unit}", st.integers(1, 24), st.sampled_from("dwMQY")
)
NOW = st.integers(366 * DAY_US, 84_000 * DAY_US)
"""From 1971 to 2199."""


def us(at: datetime) -> int:
    """Microseconds since the epoch."""
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)


def day(text: str) -> int:
    """Midnight, UTC, of an ISO date."""
    return us(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "days"),
    [("30s", 30 / 86400), ("1h", 1 / 24), ("1h30m", 1.5 / 24), ("1d", 1), ("2w", 14), ("1M", 30),
     ("1Q", 90), ("1Y", 365)],
)  # fmt: skip
def test_a_rolling_period_has_no_place_in_the_calendar(text: str, days: float) -> None:
    assert window_of(text, False, day("2026-05-17")) == Window(None, int(days * DAY_US))


@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        ("1d", "2028-02-29", "2028-03-01"),
        ("1w", "2028-02-28", "2028-03-06"),
        ("1M", "2028-02-01", "2028-03-01"),
        ("2M", "2028-01-01", "2028-03-01"),
        ("1Q", "2028-01-01", "2028-04-01"),
        ("2Q", "2028-01-01", "2028-07-01"),
        ("1Y", "2028-01-01", "2029-01-01"),
        ("10Y", "2020-01-01", "2030-01-01"),
    ],
)
def test_an_aligned_period_is_the_calendars(text: str, begins: str, ends: str) -> None:
    noon_of_a_leap_day = day("2028-02-29") + DAY_US // 2
    window = window_of(text, True, noon_of_a_leap_day)
    assert window == Window(day(begins), day(ends) - day(begins))


def test_a_calendar_does_not_count_hours() -> None:
    assert window_of("24h", True, day("2026-05-17")) == Window(None, DAY_US)


@pytest.mark.parametrize("text", ["", "1x", "d", "0d", "1.5d", "-1d", "1d2d", "293Y", "0s", "1 d"])
def test_what_is_no_period_never_ends(text: str) -> None:
    assert not is_period(text)
    assert not may_align(text)
    assert window_of(text, True, day("2026-05-17")) == Window()


@pytest.mark.parametrize("text", ["30s", "5m", "1h", "1d", "1w", "1M", "1Q", "1Y", "292Y", "1ms"])
def test_these_are_periods(text: str) -> None:
    assert is_period(text)
    assert may_align(text) == (text[-1] in "dwMQY")


@given(PERIODS, NOW)
def test_now_lies_in_its_window(text: str, now: int) -> None:
    begins_at, lasts_us = window_of(text, True, now)
    assert begins_at is not None
    assert lasts_us is not None
    assert begins_at <= now < begins_at + lasts_us
    assert begins_at % DAY_US == lasts_us % DAY_US == 0


@given(PERIODS, NOW)
def test_windows_abut(text: str, now: int) -> None:
    begins_at, lasts_us = window_of(text, True, now)
    assert begins_at is not None
    assert lasts_us is not None
    after, before = (window_of(text, True, at) for at in (begins_at + lasts_us, begins_at - 1))
    assert after.begins_at == begins_at + lasts_us
    assert before.begins_at is not None
    assert before.lasts_us == begins_at - before.begins_at


@given(PERIODS, NOW, st.floats(0, 1, exclude_max=True))
def test_everybody_in_a_window_sees_the_same_one(text: str, now: int, part: float) -> None:
    window = window_of(text, True, now)
    assert window.begins_at is not None
    assert window.lasts_us is not None
    assert window_of(text, True, window.begins_at + int(part * window.lasts_us)) == window


@given(NOW)
def test_weeks_begin_on_mondays(now: int) -> None:
    begins_at = window_of("1w", True, now).begins_at
    assert begins_at is not None
    assert datetime.fromtimestamp(begins_at / 1_000_000, UTC).weekday() == 0
