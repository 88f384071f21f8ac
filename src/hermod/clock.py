"""The system's clocks, the only place that reads them for the rest of the program."""

import time


class SystemClock:
    """The real `Clock`."""

    def now(self) -> int:
        """Wall clock, microseconds since the epoch, UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()
