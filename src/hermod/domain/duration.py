"""Durations as Go writes them, and days and weeks."""

import re
from typing import Final, cast

_WHOLE: Final = re.compile(r"\+?(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+")
_STEP: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_UNIT_S: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_DAYS: Final = re.compile(r"([0-9]{1,6})([dw])")
_DAY_S: Final = 86_400.0
LONGEST_S: Final = 2**63 / 1e9
"""What Go can count, in 64 bits of nanoseconds: 292 years."""


def go_duration_s(text: str) -> float | None:
    """The seconds of `500ms` or `1m30s`; None for what is no duration, a negative one, or one
    that is too long."""
    if not _WHOLE.fullmatch(text):
        return None
    steps = cast("list[tuple[str, str]]", _STEP.findall(text))
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in steps)
    return seconds if seconds < LONGEST_S else None


def duration_s(text: str) -> float | None:
    """The same, and whole days and weeks: `90d`, `2w`."""
    days = _DAYS.fullmatch(text)
    if days is None:
        return go_duration_s(text)
    return int(days[1]) * _DAY_S * (7 if days[2] == "w" else 1)
