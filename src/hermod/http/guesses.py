"""Slows down who guesses the administrator's password (reliability.md S5).

Only a password can be guessed; keys and tokens are too long for that. What is counted is this
process's own.
"""

from collections import deque
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import Final

from hermod.domain.clock import Clock
from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.http.asgi import Scope

_FAILURES: Final = 10
_WINDOW_S: Final = 60.0
_ADDRESSES: Final = 10_000
_V6_HOME_BITS: Final = 64
"""Of an IPv6 address: the rest is the guesser's own to choose."""


class Guesses:
    """Failed logins by address; a network of IPv6 counts as one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: dict[str, deque[float]] = {}

    def check(self, scope: Scope) -> None:
        """Raises Refused (429) for an address that failed ten times within a minute."""
        address = _address(scope)
        failed = self._failed.get(address)
        if failed is None:
            return
        now = self._clock.monotonic()
        while failed and failed[0] <= now - _WINDOW_S:
            failed.popleft()
        if not failed:
            del self._failed[address]
        elif len(failed) >= _FAILURES:
            wait_s = max(1, ceil(failed[0] + _WINDOW_S - now))
            failure = Failure("too many failed logins; try again later", status_code=429)
            raise Refused(failure, retry_after_s=wait_s)

    def note(self, scope: Scope) -> None:
        """A login failed."""
        address = _address(scope)
        failed = self._failed.get(address)
        if failed is None:
            while len(self._failed) >= _ADDRESSES:
                del self._failed[next(iter(self._failed))]
            failed = self._failed[address] = deque(maxlen=_FAILURES)
        failed.append(self._clock.monotonic())

    def judge(self, scope: Scope, *, is_right: bool) -> None:
        """`check` for a request with the password in its headers, and `note` if it is wrong."""
        self.check(scope)
        if not is_right:
            self.note(scope)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    host = str(client[0]) if client else ""
    try:
        parsed = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(int(parsed) >> (128 - _V6_HOME_BITS))
    return str(parsed)
