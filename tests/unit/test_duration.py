"""domain/duration.py: Go's durations."""

import pytest

from hermod.domain.duration import LONGEST_S, go_duration_s


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
