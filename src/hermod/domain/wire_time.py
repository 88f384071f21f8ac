"""Instants as the wire shows them."""

from datetime import UTC, datetime
from functools import lru_cache


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
