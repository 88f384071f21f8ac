"""domain/duration.py: Go's durations, and days and weeks."""

import pytest

from hermod.domain.duration import LONGEST_S, duration_s, go_duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m30s", 90), ("1.5h", 5400), ("500ms", 0.5), ("+2m", 120), ("0s", 0)],
)
def test_a_duration_is_its_seconds(text: str, seconds: float) -> None:
    assert go_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "s", "-5s", "1d", "1h x", "1e3s", "٣s", "1 s", "5S"])
def test_anything_else_is_none(text: str) -> None:
    assert go_duration_s(text) is None


@pytest.mark.parametrize("text", ["9" * 400 + "s", f"{int(LONGEST_S) + 1}s"])
def test_what_go_could_not_count_is_none(text: str) -> None:
    assert go_duration_s(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7_776_000), ("2w", 1_209_600), ("12h", 43_200), ("0d", 0)]
)
def test_days_and_weeks_are_seconds_too(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1d", "1.5d", "1d12h", "1M", "1000000d", "1 d"])
def test_no_part_of_a_day_and_no_month(text: str) -> None:
    assert duration_s(text) is None
