"""When a job that a limit has refused is worth another look. Bookkeeping, no I/O.

A limit whose period is used up says when the next one begins, and how many it will take: jobs are
told the period that will have room for them, so a backlog is looked at once, not every second.

A limit that is taken up by calls under way has room again when one of them ends. Some jobs wait for
that in their slots, as many as may be out at once; the others come back about when it is their
turn, as far as the length of the calls so far can tell.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Final

from hermod.domain.meter import Refusal, Unit, Why

_SECOND: Final = 1_000_000
_NEAR: Final = 5 * _SECOND
"""What is so near is not queued for: the turn of the job was foreseen, and a little early."""
_USUAL_CALL: Final = 100_000
"""How long calls are thought to take before one has ended."""
_EAGERNESS: Final = 2
"""How many jobs come back for each that there is room for: to look in vain costs little, to leave
room unused costs time."""
_SHORTEST: Final = 50_000
_CLOSEST: Final = 5_000
"""Between two jobs that come back."""
_FARTHEST: Final = _SECOND
"""Likewise, for what is held of a budget or a period: a call mostly leaves room for several others,
as it uses less than it held."""
_HORIZON: Final = 600 * _SECOND
"""No turn is told beyond it: it is a guess, and who was in line before may be gone by then."""
_LONGEST_CALL: Final = 60 * _SECOND
_WEIGHT: Final = 0.2
"""Of the last call in the average."""
_IN_SLOTS: Final = 64
"""How many jobs wait in slots for one meter at most: other keys want slots, too."""


@dataclass(slots=True)
class _Line:
    """Who waits for one meter."""

    period_at: int = 0
    """The period that the next job in line is told."""
    booked: int = 0
    """How many were told that one."""
    resets_at: int = 0
    """The end of the present period, as far as is known."""
    n_ended: int = 0
    """How many calls have ended in it."""
    usual: int = 0
    """How many did in those before: as many as calls hold would be few, where they use less."""
    turn_at: int = 0
    """When the next job in line comes back to see whether a call has ended."""
    call_us: float = _USUAL_CALL
    quiet_since: int = 0
    """Since when no call has begun or ended, or since the first refusal."""
    waiting: int = 0
    """Jobs in slots."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class WaitingLines:
    """All meters of this process that had no room."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, _Line] = defaultdict(_Line)

    def may_stay(self, refusal: Refusal) -> bool:
        """Whether one more job may wait in its slot for this meter."""
        return self._lines[refusal.hold.meter_id].waiting < min(_at_once(refusal), _IN_SLOTS)

    async def room(self, refusal: Refusal, timeout_s: float) -> None:
        """Wait in a slot until a call of this process has ended, or the time is over."""
        line = self._lines[refusal.hold.meter_id]
        line.waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await line.changed.wait()
        except TimeoutError:
            pass  # calls of other processes end unheard
        finally:
            line.waiting -= 1

    def began(self, meter_id: str, now: int) -> None:
        """A call that holds something of the meter may be made: there was room."""
        line = self._lines.get(meter_id)
        if line is not None:
            line.quiet_since = now

    def ended(self, meter_id: str, lasted_us: int, now: int) -> None:
        """A call that held something of the meter has ended."""
        line = self._lines.get(meter_id)
        if line is None:
            return
        lasted = min(max(lasted_us, _SHORTEST), _LONGEST_CALL)
        line.call_us += _WEIGHT * (lasted - line.call_us)
        line.quiet_since = now
        line.n_ended += 1
        line.changed.set()
        line.changed = asyncio.Event()

    def comes_back_at(self, refusal: Refusal, now: int) -> int | None:
        """When a job that was refused and leaves should be looked at again; None if never.

        It is in line from then on: whoever asks next is told a later turn.
        """
        return self._turn(self._line(refusal), refusal, now)

    def would_come_back_at(self, refusal: Refusal, now: int) -> int | None:
        """The same for a job that may stay, or go elsewhere: nobody is put in line."""
        return self._turn(replace(self._line(refusal)), refusal, now)

    def _line(self, refusal: Refusal) -> _Line:
        line = self._lines[refusal.hold.meter_id]
        if refusal.resets_at is not None and refusal.resets_at != line.resets_at:
            line.usual = max(line.n_ended, (line.usual + line.n_ended) // 2)
            line.resets_at, line.n_ended = refusal.resets_at, 0
        return line

    def _turn(self, line: _Line, refusal: Refusal, now: int) -> int | None:
        if refusal.hold.unit is Unit.USD_NANOS and refusal.why is not Why.BUSY:
            return None  # money that is spent is not waited for (design.md 8, 23)
        if refusal.why is Why.BUSY:
            turn_at = max(line.turn_at, now) + self._apart_us(line, refusal, now)
            line.turn_at = min(turn_at, now + _HORIZON)
            return max(line.turn_at, now + _SHORTEST)
        if refusal.resets_at is None:
            return None
        return self._period(line, refusal, refusal.resets_at, now)

    def _apart_us(self, line: _Line, refusal: Refusal, now: int) -> int:
        line.quiet_since = line.quiet_since or now
        # Calls last longer than those before if none has ended for so long.
        lasted_us = min(now - line.quiet_since, _LONGEST_CALL)
        if refusal.hold.unit is Unit.PARALLEL:
            call_us = max(line.call_us, lasted_us)
            return max(int(call_us / _at_once(refusal) / _EAGERNESS), _CLOSEST)
        # A backlog comes in a burst: what is soon free again shall not part it for long.
        return max(min((lasted_us - _NEAR) // _EAGERNESS, _FARTHEST), _CLOSEST)

    def _period(self, line: _Line, refusal: Refusal, resets_at: int, now: int) -> int:
        hold = refusal.hold
        lasts_us = hold.window.lasts_us or 0
        if resets_at - now <= min(_NEAR, lasts_us // 10):
            return resets_at
        if line.period_at < resets_at:
            line.period_at, line.booked = resets_at, 0
        if line.booked >= max(hold.limit // max(hold.amount, 1), line.usual, line.n_ended, 1):
            line.period_at, line.booked = line.period_at + lasts_us, 0
        line.booked += 1
        return line.period_at


def _at_once(refusal: Refusal) -> int:
    """About how many calls may hold something of the meter at the same time."""
    hold = refusal.hold
    if hold.unit is Unit.PARALLEL:
        return max(hold.limit, 1)
    return max(refusal.reserved // max(hold.amount, 1), 1)
