"""How many calls each lane has in flight. Pure bookkeeping, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Lane:
    """The capacity of one provider in this process."""

    name: str
    cap: int
    backlog: bool
    """Whether older jobs may be waiting in the store."""
    taken: int = 0
    """Slots that run a job or are held for one."""

    @property
    def free(self) -> int:
        return max(self.cap - self.taken, 0)


class Lanes:
    """Every lane this process has met, each with a cap of its own.

    A lane whose provider hangs fills its own slots and no others (design.md 8, 17).
    """

    def __init__(self, slots: int, caps: Mapping[str, int]) -> None:
        self._slots = slots
        self._caps = caps
        self._lanes: dict[str, Lane] = {}
        self._unseen = True
        """Until the first look at the store, every lane is taken to have a backlog."""

    def __getitem__(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = Lane(name, self._caps.get(name, self._slots), self._unseen)
            self._lanes[name] = lane
        return lane

    def looked(self, due: Mapping[str, int], now: int) -> None:
        """Note which lanes have jobs waiting, after a look at the store."""
        self._unseen = False
        for name in due:
            self[name]
        for name, lane in self._lanes.items():
            lane.backlog = due.get(name, now + 1) <= now
