"""Waiting for something to become true, instead of sleeping."""

import time
from collections.abc import Callable


def wait_until(
    predicate: Callable[[], object], timeout_s: float = 10.0, every_s: float = 0.02
) -> None:
    """Returns as soon as the predicate holds; fails when it does not within the time."""
    ends_at = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < ends_at, f"not true within {timeout_s} s: {predicate}"
        time.sleep(every_s)
