"""The store's absence, told when it begins and when it is over.

Every loop and every running job notices it, again and again: a line for each would bury the log.
"""

import logging
from typing import Final

from hermod.domain.clock import Clock
from hermod.domain.errors import StoreError

log = logging.getLogger(__name__)

_CALM_S: Final = 2.0
"""How long nothing may have failed before it counts as over: while one lane fails every second and
the others work, that is one outage and not many."""


class Outage:
    """Whether the store is away, as far as this worker has seen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None
        self._failed_at = 0.0
        self._jobs_left = 0

    def failed(self, what: str, error: StoreError) -> None:
        """Something could not be done; it will be tried again."""
        self._failed_at = self._clock.monotonic()
        if self._since is None:
            self._since = self._failed_at
            log.warning("the store fails (%s): %s; trying until it works again", what, error)

    def left(self, jobs: int) -> None:
        """So many jobs had to be given up to their leases."""
        self._jobs_left += jobs

    def worked(self) -> None:
        """Something could be done."""
        if self._since is None or self._clock.monotonic() - self._failed_at < _CALM_S:
            return
        log.warning(
            "the store works again; it failed for %.1f s, and %d jobs were left to their leases",
            self._failed_at - self._since,
            self._jobs_left,
        )
        self._since = None
        self._jobs_left = 0

    def ends(self) -> None:
        """Nobody will see it work again: we are leaving."""
        if self._jobs_left:
            log.error("the store failed: %d jobs are left to their leases", self._jobs_left)
