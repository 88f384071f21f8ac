"""A caller who holds a connection open until its job has ended (design.md 8, 21)."""

import asyncio
from typing import Protocol

from hermod.domain.outcome import Outcome


class Sink(Protocol):
    """Where the pieces of a streamed answer go."""

    def begin(self, content_type: str) -> None:
        """The upstream has begun an answer in pieces; from here on nothing can be tried again."""
        ...

    async def write(self, piece: bytes) -> None:
        """Pass a piece on; returns when the caller can take the next one."""
        ...


class Live:
    """The seam between such a caller and whoever runs its job in the same process."""

    def __init__(self, sink: Sink | None = None) -> None:
        """With a sink the caller takes a stream, if the upstream gives one."""
        self.sink = sink
        self.begun = False
        """Whether a part of the answer may have reached the caller."""
        self.told_all = False
        """Whether its last word has, or that it failed: nothing changes when who has read that
        leaves."""
        self._ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def end(self, outcome: Outcome) -> None:
        """Tell the caller what came of it. Only the first word counts."""
        if not self._ended.done():
            self._ended.set_result(outcome)

    async def outcome(self) -> Outcome:
        """What came of it. Cancelling the wait does not end the job."""
        return await asyncio.shield(self._ended)
