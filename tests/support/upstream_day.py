"""A worker's lane, its upstream and their clock, simulated: hours pass in milliseconds."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from hermod.calls.limits import Call, Heard, Limits, Sign

Upstream = Callable[[float, str | None], tuple[float, Heard]]
"""How long a call that begins now with this key takes, and how it ends."""


class _Event(NamedTuple):
    at_s: float
    order: int
    happens: Callable[[], None]


@dataclass
class Day:
    """Jobs of one lane, run by the rules of the worker."""

    limits: Limits
    upstream: Upstream
    slots: int
    keys: tuple[str | None, ...] = (None,)
    provider: str = "openai"
    now_s: float = 1000.0
    waiting: list[float] = field(default_factory=list[float])
    """When each job that holds no slot is due."""
    taken: int = 0
    done: int = 0
    done_s: float = 0.0
    began_s: list[float] = field(default_factory=list[float])
    """When each call began."""
    put_back: int = 0
    """Claims that came to no call."""
    _events: list[_Event] = field(default_factory=list[_Event])
    _look_s: float = 0.0
    _order: int = 0

    def submit(self, jobs: int) -> None:
        for _ in range(jobs):
            heapq.heappush(self.waiting, self.now_s)

    def run(self, for_s: float) -> None:
        """Until nothing is left to do, or this time has passed."""
        ends_s = self.now_s + for_s
        self._claim()
        while self._events and self._events[0].at_s <= ends_s:
            event = heapq.heappop(self._events)
            self.now_s = event.at_s
            event.happens()
            self._claim()
        if self._events:
            self.now_s = ends_s

    def calls_between(self, from_s: float, to_s: float) -> int:
        return sum(1 for at_s in self.began_s if from_s <= at_s < to_s)

    def _at(self, at_s: float, happens: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, _Event(at_s, self._order, happens))

    def _claim(self) -> None:
        while self.waiting and self.taken < self.slots:
            room, again_s = self.limits.room(self.provider, self.keys, self.now_s)
            due_s = self.waiting[0]
            if due_s > self.now_s or room == 0:
                self._look(max(due_s, self.now_s + again_s))
                return
            heapq.heappop(self.waiting)
            self.taken += 1
            self._call()

    def _look(self, at_s: float) -> None:
        if not self.now_s < self._look_s <= at_s:
            self._look_s = at_s
            self._at(at_s, lambda: None)

    def _call(self) -> None:
        waits = {key: self.limits.wait_s(self.provider, key, self.now_s) for key in self.keys}
        soonest_s = min(waits.values())
        if soonest_s > 0:
            self.put_back += 1
            self._wait_outside(soonest_s)
            return
        free = [name for name, wait_s in waits.items() if wait_s == 0]
        key = free[len(self.began_s) % len(free)]
        self.began_s.append(self.now_s)
        call = self.limits.began(self.provider, key, self.now_s)
        takes_s, heard = self.upstream(self.now_s, key)
        self._at(self.now_s + takes_s, lambda: self._end(call, heard))

    def _end(self, call: Call, heard: Heard) -> None:
        self.limits.ended(call, heard, self.now_s)
        if heard.sign is Sign.OK:
            self.taken -= 1
            self.done += 1
            self.done_s = self.now_s
        elif heard.sign is Sign.RATE_LIMITED and heard.retry_after_s is not None:
            self._wait_outside(min(heard.retry_after_s, 300.0))
        else:
            self._at(self.now_s + 0.5, self._call)  # a backoff in the slot

    def _wait_outside(self, wait_s: float) -> None:
        self.taken -= 1
        heapq.heappush(self.waiting, self.now_s + wait_s)
