"""What is known of a database that is away: that it goes is said once, and that it is back."""

import asyncio
import logging
import random
from typing import Final

from hermod.domain.errors import StoreError, StoreUnavailable
from hermod.store.postgres.driver import words
from hermod.store.postgres.errors import breaks_connection, has_no_more_connections, translate

log = logging.getLogger(__name__)

_PAUSE_S: Final = 0.1
"""After a login that failed."""
_CALM_S: Final = 2.0
"""Without a failure, before an outage counts as over."""


class Outage:
    """Whether the database is away, as far as one process has seen."""

    def __init__(self) -> None:
        self._is_on = False
        self._failed_s = 0.0
        self._refusal: StoreError | None = None
        self._refused_until_s = 0.0

    def check(self) -> None:
        """Raises what the last login failed with, if that was a moment ago."""
        if self._refusal is not None and now_s() < self._refused_until_s:
            raise type(self._refusal)(str(self._refusal), self._refusal.detail)

    def no_connection(self, error: Exception) -> Exception:
        """A login that failed, in our terms."""
        judged = self.judged(error, sent=False)
        if has_no_more_connections(error):
            judged = NoMore(str(judged), words(error))
        self._refusal = judged if isinstance(judged, StoreError) else None
        self._refused_until_s = now_s() + jittered(_PAUSE_S)
        return judged

    def judged(self, error: Exception, *, sent: bool = True) -> Exception:
        """Any error, in our terms."""
        judged = translate(error, sent=sent)
        if breaks_connection(error):
            self._failed_s = now_s()
            if not self._is_on:
                self._is_on = True
                log.warning("%s: %s", judged, words(error))
        return judged

    def over(self) -> None:
        """Something went well. While others still fail, that is one outage and not many."""
        if self._is_on and now_s() - self._failed_s >= _CALM_S:
            self._is_on = False
            log.warning("the database is back")


class NoMore(StoreUnavailable):
    """The server has as many connections as it can have."""


def now_s() -> float:
    """Of the loop's clock: only good for waiting."""
    return asyncio.get_running_loop().time()


def jittered(delay_s: float) -> float:
    """A pause of about that long, so that many who lost the database do not return as one."""
    return delay_s * random.uniform(0.5, 1.5)  # noqa: S311 - dice, not secrets
