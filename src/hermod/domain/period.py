"""The periods of limits: how long they are, and when the present one began (wire-contract 10.2)."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from hermod.domain.duration import LONGEST_S, go_duration_s
from hermod.domain.meter import Window

_CALENDAR: Final = re.compile(r"([1-9][0-9]{0,5})([dwMQY])")
_DAYS: Final = {"d": 1, "w": 7, "M": 30, "Q": 90, "Y": 365}
"""What a unit lasts where the calendar does not count."""
_MONTHS: Final = {"M": 1, "Q": 3, "Y": 12}
_DAY_US: Final = 86_400_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_A_MONDAY: Final = -3 * _DAY_US
"""The epoch was a Thursday."""


class _Period(NamedTuple):
    lasts_us: int
    number: int = 0
    unit: str = ""
    """Empty for what the calendar does not know."""


def is_period(text: str) -> bool:
    """Whether it is a duration as Go writes it (`30s`, `1h30m`), or a whole number of `d`, `w`,
    `M`, `Q` or `Y`; longer than nothing, shorter than 292 years."""
    return _read(text) is not None


def may_align(text: str) -> bool:
    """Whether `calendar_aligned` means anything for it: whole days, weeks, months, quarters and
    years have a place in the calendar."""
    period = _read(text)
    return period is not None and period.unit != ""


def window_of(reset_duration: str, calendar_aligned: bool, now: int) -> Window:
    """The period of `now`, microseconds since the epoch.

    By the calendar, in UTC, several units together are counted from 1970 on: `2Y` begins with even
    years, `2w` every other Monday. What is no period never ends: a limit that cannot be read must
    not be one that is always fresh.
    """
    period = _read(reset_duration)
    if period is None:
        return Window()
    if not calendar_aligned or not period.unit:
        return Window(None, period.lasts_us)
    if period.unit in _MONTHS:
        at = _EPOCH + timedelta(microseconds=now)
        months = _MONTHS[period.unit] * period.number
        first = (at.year - _EPOCH.year) * 12 + at.month - 1
        first -= first % months
        begins_at = _begin_of_month(first)
        return Window(begins_at, _begin_of_month(first + months) - begins_at)
    base = _A_MONDAY if period.unit == "w" else 0
    return Window(now - (now - base) % period.lasts_us, period.lasts_us)


@lru_cache(maxsize=1024)
def _read(text: str) -> _Period | None:
    by_calendar = _CALENDAR.fullmatch(text)
    if by_calendar is not None:
        number, unit = int(by_calendar[1]), by_calendar[2]
        period = _Period(number * _DAYS[unit] * _DAY_US, number, unit)
        return period if period.lasts_us < LONGEST_S * 1e6 else None
    lasts_s = go_duration_s(text)
    lasts_us = 0 if lasts_s is None else round(lasts_s * 1e6)
    return _Period(lasts_us) if lasts_us else None


def _begin_of_month(months: int) -> int:
    """Of the month that is so many after January 1970."""
    begin = datetime(_EPOCH.year + months // 12, months % 12 + 1, 1, tzinfo=UTC)
    return (begin - _EPOCH).days * _DAY_US
