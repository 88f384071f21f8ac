"""How fast one key of a provider may be used: a state machine without I/O.

Four things slow a key down, and all of them end by themselves: the cap its operator gave it, what
the upstream says remains, a 429, and an upstream that is broken. After the last three the key comes
back by a slow start: one call, and with each that goes well twice as many at once. Instants are
monotonic seconds (`now_s`).
"""

from collections.abc import Iterable
from typing import Final

from hermod.calls.limit_headers import Window
from hermod.domain.retry import RETRY_AFTER_CAP_S

FULL_S: Final = 0.25
"""When to ask again where only the end of a call makes room."""
PROBE_S: Final = 5.0
"""The longest pause between two probes. A probe that hangs holds the next one up for no longer."""
BROKEN_AFTER: Final = 16
"""So many failures in a row, of calls that began after the first of them, are no bad luck: an
upstream that fails 30 % of its calls at random comes here once in a milliard. Calls that were out
when the first one failed do not count: they may all have died of the same blow."""
_FIRST_PAUSE_S: Final = 0.5
"""Of a 429 that says nothing; doubled with each in a row, up to PROBE_S."""
_FIRST_PROBE_S: Final = 1.0
_GROWTH_S: Final = 1.0
"""With no bad news for so long, twice as many calls may be out, even if none has ended: a model may
think for minutes."""
_NEW_AT_ONCE: Final = 8
"""How many calls the backlog makes with a key that was never tried; doubled every _NEW_S."""
_NEW_S: Final = 0.1


class Pace:
    """The state of one key."""

    __slots__ = (
        "_allowed", "_away_s", "_ceiling", "_epoch", "_first_s", "_fresh", "_grown_s", "_heard",
        "_last_s", "_left", "_limit", "_most", "_pauses", "_probe_s", "_proved", "_reset_s",
        "_span_s", "_streak_from", "begun", "cap", "in_flight", "limited", "streak", "tried",
    )  # fmt: skip

    def __init__(self, cap: int | None, most: int) -> None:
        """`cap`: calls in flight, as configured; `most`: where a slow start is over."""
        self.cap = cap
        self.limited = cap is not None
        """Whether there is anything to look at before a call. In the normal case there is not."""
        self.in_flight = 0
        self.begun = 0
        """Counts the calls. A call is known by its number: those that began before something
        happened prove nothing about what is true since."""
        self.tried = False
        """Whether any call was answered."""
        self._first_s: float | None = None
        """When the first call began."""
        self._most = most
        # What the upstream says remains.
        self._left: int | None = None
        self._limit: int | None = None
        self._reset_s = 0.0
        self._span_s = 0.0
        self._heard = 0
        """The youngest call whose headers were read; older ones were overtaken."""
        # Staying away, and coming back.
        self._away_s = 0.0
        self._allowed: int | None = None
        """Calls of this epoch that may be out at once; None when the slow start is over."""
        self._ceiling: int | None = None
        """From where a slow start goes slowly: half of what was out when it was too much, or what
        had ended by then, if that is less."""
        self._proved = False
        """Whether a call of this epoch went well."""
        self._grown_s = 0.0
        self._last_s = 0.0
        """When the last call began."""
        self._epoch = 0
        """The number of the last call before we stood back."""
        self._fresh = 0
        """Calls of this epoch in flight."""
        self._pauses = 0
        """429s in a row."""
        # A broken upstream.
        self.streak = 0
        """Failures in a row that count."""
        self._streak_from = 0
        self._probe_s = 0.0
        """The pause between probes; 0 while the upstream is not taken to be broken."""

    # Before a call

    @property
    def is_full(self) -> bool:
        """Whether as many calls are out as its operator allows."""
        return self.cap is not None and self.in_flight >= self.cap

    def wait_s(self, now_s: float) -> float:
        """How long no call may begin with this key; 0.0: one may now."""
        if now_s < self._away_s:
            return min(self._away_s - now_s, RETRY_AFTER_CAP_S)
        self._renew(now_s)
        if self._left is not None and self._left <= 0:
            return min(self._reset_s - now_s, RETRY_AFTER_CAP_S)
        if self.is_full:
            return FULL_S
        if self._allowed is not None and self._fresh >= self._allowed:
            return max(self._next_s() - now_s, 0.0)
        return 0.0

    def room(self, now_s: float) -> tuple[int | None, float]:
        """How many calls may begin now (None: any number), and when that may change."""
        wait_s = self.wait_s(now_s) if self.limited else 0.0
        if wait_s > 0:
            return 0, wait_s
        room, again_s = self._most, 0.0
        if not self.tried:
            # Nobody knows what awaits us: a backlog does not begin with everything at once.
            since_s = 0.0 if self._first_s is None else now_s - self._first_s
            now_fit = _NEW_AT_ONCE << min(int(since_s / _NEW_S), 20)
            self.tried = now_fit >= self._most
            room, again_s = min(room, max(now_fit - self.in_flight, 0)), _NEW_S
        if self.tried and not self.limited:
            return None, 0.0
        if self.cap is not None:
            room, again_s = min(room, self.cap - self.in_flight), FULL_S
        if self._left is not None:
            room, again_s = min(room, self._left), FULL_S
        if self._allowed is not None:
            # At least the probe that hangs does not hold up.
            room, again_s = min(room, max(self._allowed - self._fresh, 1)), FULL_S
        return room, again_s

    def count(self, now_s: float) -> None:
        """A call of a limited key, or of one that was never tried, begins."""
        if self._first_s is None:
            self._first_s = now_s
        self._fresh += 1
        self._last_s = now_s
        if self._left is not None:
            self._left -= 1

    # After a call

    def over(self, number: int) -> None:
        """A call of a limited key has ended."""
        if number > self._epoch and self._fresh:
            self._fresh -= 1

    def went_well(self, number: int, now_s: float) -> None:
        """The upstream did its work, or refused with a reason: it lives and has room."""
        self.streak = 0
        if number <= self._epoch:
            return
        self._pauses = 0
        if self._probe_s:
            self._probe_s = 0.0
            self._away_s = now_s
        if self._allowed is not None:
            if not self._proved:
                self._proved = True
                self._grown_s = now_s
            slowly = self._ceiling is not None and self._allowed >= self._ceiling
            self._allow(self._allowed + 1 if slowly else self._allowed * 2)

    def went_wrong(self, number: int, now_s: float) -> None:
        """A 5xx, or no answer at all."""
        if number <= self._epoch:
            return
        if self._probe_s:
            self._probe_s = min(self._probe_s * 2, PROBE_S)
            self._stand_back(now_s + self._probe_s, now_s)
        elif self.streak == 0:
            self.streak, self._streak_from = 1, self.begun
        elif number > self._streak_from:
            self.streak += 1
            if self.streak > BROKEN_AFTER:
                self.streak = 0
                self._probe_s = _FIRST_PROBE_S
                self._stand_back(now_s + self._probe_s, now_s)

    def too_much(self, number: int, asked_s: float | None, now_s: float) -> None:
        """A 429; `asked_s` is how long it asks us to stay away."""
        self.streak = 0
        self._left = None  # how long to wait, the reply says better
        asked_s = None if asked_s is None else min(max(asked_s, 0.0), RETRY_AFTER_CAP_S)
        if number <= self._epoch:
            # One of many that were out at once: they count as one.
            if asked_s is not None:
                self._away_s = max(self._away_s, now_s + asked_s)
                self._limit_from(now_s)
            return
        if self._proved or (self._allowed is None and self.tried):
            ended = self.begun - self._epoch - self.in_flight - 1
            self._ceiling = max(min((self.in_flight + 1) // 2, ended), 1)
        pause_s = asked_s or 0.0
        if asked_s is None or self._pauses:
            pause_s = max(pause_s, min(_FIRST_PAUSE_S * 2.0 ** min(self._pauses, 9), PROBE_S))
        self._pauses += 1
        self._probe_s = 0.0
        self._stand_back(now_s + pause_s, now_s)

    def learn(self, told: Iterable[Window], number: int, now_s: float) -> None:
        """Keep what the headers of call `number` say remains, unless a younger one has spoken."""
        if number < self._heard:
            return
        self._heard = number
        # What was sent since, the upstream may not have counted yet.
        since = min(self.begun - number, self.in_flight)
        tightest: tuple[int, float, int | None] | None = None
        for window in told:
            left = max(window.remaining - since, 0)
            if not window.of_requests:
                if window.remaining > 0:
                    continue
                left = 0
            end_s = min(window.reset_s, RETRY_AFTER_CAP_S)
            # A window longer than we wait is not whole again when we come back.
            whole = window.of_requests and window.reset_s <= RETRY_AFTER_CAP_S
            if tightest is None or (left, -end_s) < (tightest[0], -tightest[1]):
                tightest = left, end_s, window.limit if whole else None
        if tightest is None:
            self._left = None
            return
        self._left, self._span_s, self._limit = tightest
        self._reset_s = now_s + self._span_s
        self.limited = True

    # Within

    def _stand_back(self, until_s: float, now_s: float) -> None:
        """Stay away; then begin again with one call."""
        self._away_s = max(self._away_s, until_s)
        self._allowed = 1
        self._proved = False
        self._epoch = self.begun
        self._fresh = 0
        self._limit_from(now_s)

    def _limit_from(self, now_s: float) -> None:
        self.limited = True
        self._grown_s = self._last_s = now_s

    def _next_s(self) -> float:
        """When one more call may begin although none of those that are out has ended."""
        return self._grown_s + _GROWTH_S if self._proved else self._last_s + PROBE_S

    def _renew(self, now_s: float) -> None:
        """What time alone makes better."""
        if self._left is not None and now_s >= self._reset_s:
            if self._limit is None and self._left <= 0:
                self._stand_back(now_s, now_s)
            self._left = self._limit
            self._reset_s = now_s + max(self._span_s, FULL_S)
        if self._proved and self._allowed is not None:
            times = min(int((now_s - self._grown_s) / _GROWTH_S), 20)
            self._grown_s += times * _GROWTH_S
            self._allow(self._allowed << times)
        if self._allowed is None and self._left is None and self.cap is None:
            self.limited = False

    def _allow(self, calls: int) -> None:
        self._allowed = calls
        if calls > self._most:
            self._allowed = self._ceiling = None
