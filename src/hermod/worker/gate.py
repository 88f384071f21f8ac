"""How much of large bodies is in memory at once."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class ByteGate:
    """Lets in what fits, in the order of arrival. What is larger than the gate goes in alone."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._inside = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncGenerator[None]:
        """Waits until `size` bytes fit; they count until the block is left."""
        if self._waiting or not self._fits(size):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except BaseException:
                self._give_up(size, turn)
                raise
        else:
            self._inside += size
        try:
            yield
        finally:
            self._inside -= size
            self._admit()

    def _fits(self, size: int) -> bool:
        return self._inside == 0 or self._inside + size <= self._total

    def _admit(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.done():
                if not self._fits(size):
                    return
                self._inside += size
                turn.set_result(None)
            self._waiting.popleft()

    def _give_up(self, size: int, turn: "asyncio.Future[None]") -> None:
        if not turn.cancelled():
            self._inside -= size  # its turn had come in the same moment
        self._admit()
