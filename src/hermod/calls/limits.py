"""What keeps a backlog from hammering an upstream that is dead, full, or has said its limits.

Decisions without I/O (design.md 8, 13): who calls asks before, and says afterwards what it heard.
Nothing here fails a job or changes an error. It is one process's own knowledge. Instants are
monotonic seconds (`now_s`) unless they say otherwise; a key is named by its id, None where a
provider is called without one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Final, NamedTuple

from hermod.calls.limit_headers import wait_asked_s, windows
from hermod.calls.pace import FULL_S, Pace
from hermod.domain.outcome import Answer, Outcome, Retryable
from hermod.domain.provider import ProviderSettings

_MOST: Final = 1024
"""Where a slow start is over, if the provider has no cap."""
_KEYS_MAX: Final = 1000
"""Keys remembered per provider: callers may bring their own."""


class Sign(Enum):
    """What a reply, or that there was none, says about the upstream."""

    OK = "ok"
    RATE_LIMITED = "rate_limited"
    BROKEN = "broken"
    """5xx, the network, a timeout."""
    REFUSED = "refused"
    """Any other 4xx: it lives."""


_BROKEN: Final = Sign.BROKEN
_RATE_LIMITED: Final = Sign.RATE_LIMITED


class Heard(NamedTuple):
    """How a call ended."""

    sign: Sign
    headers: Sequence[tuple[str, str]] = ()
    """The reply's, names in lower case."""
    retry_after_s: float | None = None
    """`Retry-After` as read, not capped."""
    now_at: int = 0
    """The wall clock, microseconds: for headers that name instants."""


class Provider:
    """The calls to one provider, over all its keys."""

    __slots__ = ("cap", "in_flight", "key_caps", "paces")

    def __init__(self, cap: int | None, key_caps: Mapping[str, int]) -> None:
        self.cap = cap
        self.key_caps = key_caps
        self.in_flight = 0
        self.paces: dict[str | None, Pace] = {}

    def pace(self, key: str | None) -> Pace:
        """The state of a key, new if it was never used."""
        pace = self.paces.get(key)
        if pace is None:
            if len(self.paces) >= _KEYS_MAX:
                self.paces = {
                    name: each for name, each in self.paces.items() if each.in_flight or each.cap
                }
            cap = self.key_caps.get(key) if key is not None else None
            pace = self.paces[key] = Pace(cap, self.cap or _MOST)
        return pace


Call = tuple[Provider, Pace, int]
"""A call that is out: to be handed back when it has ended."""


class Limits:
    """The limits of all providers, as far as this process knows them."""

    def __init__(self, providers: Iterable[ProviderSettings] = ()) -> None:
        self._providers = {
            each.name: Provider(each.concurrency, _key_caps(each)) for each in providers
        }

    def reconfigure(
        self, name: str, before: ProviderSettings | None, now: ProviderSettings | None
    ) -> None:
        """A provider is another one, or new, or gone. Calls that are out still count.

        What is known of its keys stays, as long as they and the rest of it are the same.
        """
        if now is None:
            self._providers.pop(name, None)
            return
        whole = self._providers.setdefault(name, Provider(None, {}))
        whole.cap, whole.key_caps = now.concurrency, _key_caps(now)
        same: set[str] = set()
        if before is not None and replace(before, keys=()) == replace(now, keys=()):
            same = {key.id for key in before.keys if key in now.keys}
        whole.paces = {key: pace for key, pace in whole.paces.items() if key in same}

    def wait_s(
        self, provider: str, key: str | None, now_s: float, *, insists: bool = False
    ) -> float:
        """How long a call with this key has to wait; 0.0: it may go now.

        Who `insists` heeds only how many calls the operator allows at once.
        """
        whole = self._providers.get(provider)
        if whole is None:
            return 0.0
        if whole.cap is not None and whole.in_flight >= whole.cap:
            return FULL_S
        pace = whole.paces.get(key)
        if pace is None or not pace.limited:
            return 0.0
        if insists:
            return FULL_S if pace.is_full else 0.0
        return pace.wait_s(now_s)

    def began(self, provider: str, key: str | None, now_s: float) -> Call:
        """A call goes out, whether or not it should have waited."""
        whole = self._providers.get(provider)
        if whole is None:
            whole = self._providers[provider] = Provider(None, {})
        pace = whole.paces.get(key) or whole.pace(key)
        whole.in_flight += 1
        pace.in_flight += 1
        pace.begun += 1
        if pace.limited or not pace.tried:
            pace.count(now_s)
        return whole, pace, pace.begun

    def ended(self, call: Call, heard: Heard | None, now_s: float) -> None:
        """The call is over. None: it says nothing, since it was never sent or was broken off."""
        whole, pace, number = call
        whole.in_flight -= 1
        pace.in_flight -= 1
        if pace.limited:
            pace.over(number)
        if heard is None:
            return
        sign, headers, retry_after_s, now_at = heard
        if sign is _BROKEN:
            pace.went_wrong(number, now_s)
            return
        if sign is _RATE_LIMITED:
            asked_s = retry_after_s
            if asked_s is None:
                asked_s = wait_asked_s(headers, now_at)
            pace.too_much(number, asked_s, now_s)
            pace.tried = True
            return
        pace.tried = True
        if headers and (told := windows(headers, now_at)):
            pace.learn(told, number, now_s)
        if pace.limited or pace.streak:
            pace.went_well(number, now_s)

    def in_flight(self, provider: str) -> int:
        """How many calls to the provider are out now."""
        whole = self._providers.get(provider)
        return 0 if whole is None else whole.in_flight

    def room(
        self, provider: str, keys: Sequence[str | None], now_s: float
    ) -> tuple[int | None, float]:
        """How many calls may begin now over all these keys, and when that may change.

        None: no limit is known; the seconds until a change are 0.0 then, and never otherwise. There
        is room for at least a probe after each pause.
        """
        whole = self._providers.get(provider)
        if whole is None:
            return None, 0.0
        if whole.cap is not None and whole.in_flight >= whole.cap:
            return 0, FULL_S
        total, again_s = 0, 0.0
        for key in keys or (None,):
            pace = whole.paces.get(key) or whole.pace(key)
            if pace.tried and not pace.limited:
                return None, 0.0
            room, key_again_s = pace.room(now_s)
            if room is None:
                return None, 0.0
            total += room
            again_s = min(again_s or key_again_s, key_again_s)
        spare = total if whole.cap is None else whole.cap - whole.in_flight
        return min(total, spare), again_s


def _key_caps(provider: ProviderSettings) -> Mapping[str, int]:
    return {key.id: key.concurrency for key in provider.keys if key.concurrency is not None}


def sign_of(outcome: Outcome) -> Sign | None:
    """What an outcome says about the upstream that it came from; None: nothing."""
    if isinstance(outcome, Answer):
        return Sign.OK
    failure = outcome.failure
    on_the_way = failure.from_gateway or failure.error_type == "network_error"
    if outcome.job_deadline or not (outcome.sent or on_the_way):
        return None
    if outcome.retryable is Retryable.RATE_LIMITED:
        return Sign.RATE_LIMITED
    broken = on_the_way or outcome.unknown or (failure.status_code or 0) >= 500
    return Sign.BROKEN if broken or outcome.retryable is Retryable.BACKOFF else Sign.REFUSED
