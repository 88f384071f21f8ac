"""Time comes in from outside."""

from typing import Protocol


class Clock(Protocol):
    """The two clocks the gateway uses."""

    def now(self) -> int:
        """Wall clock, microseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow; comparable within this process."""
        ...
