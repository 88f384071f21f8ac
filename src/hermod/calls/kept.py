"""What is fetched from elsewhere and good for a while: credentials and tokens."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from hermod.calls.credentials import CredentialError
from hermod.domain.clock import Clock

_EARLY_S: Final = 300.0
"""How long before its end something is replaced; what is short-lived, after three quarters."""
_AGAIN_S: Final = 5.0
"""How long a failure is remembered: a backlog of jobs must not become a storm of questions."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetched(Generic[T]):
    """Something, and how long it is good."""

    value: T
    renew_s: float
    end_s: float
    """Of the monotonic clock, both."""


def lasting(value: T, lasts_s: float, clock: Clock) -> Fetched[T]:
    """What is good from now on for some seconds, or for ever (`inf`)."""
    end_s = clock.monotonic() + lasts_s
    return Fetched(value, end_s - min(_EARLY_S, lasts_s / 4), end_s)


class Kept(Generic[T]):
    """One such thing, fetched for all who want it at once, and again shortly before its end."""

    def __init__(self, clock: Clock, fetch: Callable[[], Awaitable[Fetched[T]]]) -> None:
        """`fetch` raises CredentialError."""
        self._clock = clock
        self._fetch = fetch
        self._found: Fetched[T] | None = None
        self._error = CredentialError("nothing was fetched")
        self._error_until_s = 0.0
        self._fetching: asyncio.Task[None] | None = None

    async def get(self) -> T:
        """What is still good, also where no new one can be had. Raises CredentialError."""
        if self._found is None or self._found.renew_s <= self._clock.monotonic():
            await self._renew()
        if self._found is None or self._found.end_s <= self._clock.monotonic():
            raise CredentialError(str(self._error)) from self._error
        return self._found.value

    async def _renew(self) -> None:
        if self._clock.monotonic() < self._error_until_s:
            return
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._ask())
        # Who gives up must not take the answer from the others.
        await asyncio.shield(self._fetching)

    async def _ask(self) -> None:
        try:
            self._found = await self._fetch()
        except CredentialError as error:
            self._error = error
            self._error_until_s = self._clock.monotonic() + _AGAIN_S
        finally:
            self._fetching = None
