"""Instants as the wire shows them."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def from_rfc3339(text: str) -> int | None:
    """The microseconds since the epoch of `2026-02-19T08:10:17.831Z`; None for what is no such
    instant (RFC 3339, 5.6). Parts of a microsecond are dropped."""
    if not _RFC3339.fullmatch(text):
        return None
    try:
        instant = datetime.fromisoformat(text.upper())
    except ValueError:  # the 30th of February, a leap second
        return None
    return (instant - _EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=4096)
def rfc3339(at: int) -> str:
    """Microseconds since the epoch as RFC 3339 in UTC: `2026-02-19T08:10:17.831Z`.

    Trailing zeros of the fraction are trimmed, an empty fraction is left out (wire-contract 3.2).
    Remembered for a while: the same instants are shown at submit and at every poll.
    """
    seconds, fraction = divmod(at, 1_000_000)
    if not fraction:
        return _second(seconds) + "Z"
    return f"{_second(seconds)}.{fraction:06d}".rstrip("0") + "Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
