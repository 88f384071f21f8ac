"""How many calls each lane has in flight, and who waits for a slot. Bookkeeping, no I/O."""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Room(Protocol):
    """What is known of the upstream behind a lane."""

    def room(self, lane: str) -> tuple[int | None, float]:
        """How many calls may begin now, and in how many seconds that may change.

        None where no limit is known; the seconds are 0.0 then.
        """
        ...

    def out(self, lane: str) -> int:
        """How many calls are out now, those of other lanes' jobs included."""
        ...


class Boundless:
    """The room of upstreams of which nothing is known."""

    def room(self, lane: str) -> tuple[int | None, float]:
        """See `Room`."""
        del lane
        return None, 0.0

    def out(self, lane: str) -> int:
        """See `Room`. Not asked where there is no limit."""
        del lane
        return 0


@dataclass(slots=True)
class Lane:
    """The capacity of one provider in this process."""

    name: str
    cap: int
    backlog: bool
    """Whether older jobs may be waiting in the store."""
    taken: int = 0
    """Slots that run a job or are held for one."""
    callers: deque[asyncio.Future[bool]] = field(default_factory=deque[asyncio.Future[bool]])
    """Who holds a connection open until there is a slot, in the order of arrival. Each hears
    whether one came."""
    detour: int = 0
    """How many jobs may be on their way to a call although the upstream has no room for them: as
    long as jobs like them find another upstream, one that is down must not keep them."""
    backlogs_turn: bool = False
    """Slots that become free go to callers and to the backlog in turns."""

    @property
    def free(self) -> int:
        return max(self.cap - self.taken, 0)

    def went_elsewhere(self) -> None:
        """A job found another upstream: twice as many may try."""
        self.detour = min(max(self.detour * 2, 1), self.cap)

    def came_back(self) -> None:
        """A job had nowhere else to go."""
        self.detour = 0

    def hand_over(self) -> bool:
        """Give a slot that has become free to a caller, if one waits and it is their turn."""
        if self.backlog and self.backlogs_turn:
            self.backlogs_turn = False
            return False
        while self.callers:
            caller = self.callers.popleft()
            if not caller.done():
                caller.set_result(True)
                self.backlogs_turn = True
                return True
        return False

    def leave(self, caller: asyncio.Future[bool]) -> bool:
        """Stop waiting. Whether a slot had come: then it is the caller's."""
        if caller.done() and not caller.cancelled():
            return caller.result()
        if caller in self.callers:
            self.callers.remove(caller)
        return False

    def dismiss(self) -> None:
        """Tell everybody who waits that no slot comes."""
        for caller in self.callers:
            if not caller.done():
                caller.set_result(False)
        self.callers.clear()


class Lanes:
    """Every lane this process has met, each with a cap of its own.

    A lane whose provider hangs fills its own slots and no others (design.md 8, 17).
    """

    def __init__(self, slots: int, caps: Mapping[str, int], *, claims: bool = True) -> None:
        """`claims`: whether this process takes jobs from the queue; else no backlog is its own."""
        self._slots = slots
        self._caps = caps
        self._lanes: dict[str, Lane] = {}
        self._unseen = claims
        """Until the first look at the store, every lane is taken to have a backlog."""

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __getitem__(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = Lane(name, self._caps.get(name, self._slots), self._unseen)
            self._lanes[name] = lane
        return lane

    def resize(self, caps: Mapping[str, int]) -> None:
        """Have other caps. What runs beyond one goes on; its slots come back as they end."""
        self._caps = caps
        for name, lane in self._lanes.items():
            lane.cap = caps.get(name, self._slots)

    def looked(self, due: Mapping[str, int], now: int) -> None:
        """Note which lanes have jobs waiting, after a look at the store."""
        self._unseen = False
        for name in due:
            self[name]
        for name, lane in self._lanes.items():
            lane.backlog = due.get(name, now + 1) <= now
