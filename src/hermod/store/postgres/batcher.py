"""Many calls of a verb, one statement.

What is asked for while a statement is out goes with the next one: no artificial wait, and a slow
database makes the groups larger, not the waiting list longer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from typing import Final, Generic, NamedTuple, TypeVar

from hermod.domain.errors import StoreError, StoreUnavailable

MAX_CALLS: Final = 256
MAX_BYTES: Final = 2 * 1024 * 1024
"""Of bodies in one statement."""

Call = TypeVar("Call")
Result = TypeVar("Result")


class _Asked(NamedTuple, Generic[Call, Result]):
    call: Call
    key: Hashable
    size: int
    future: "asyncio.Future[Result]"


class Batcher(Generic[Call, Result]):
    """Runs one verb, up to `in_flight` statements of it at a time."""

    def __init__(
        self,
        run: Callable[[Sequence[Call]], Awaitable[Sequence[Result | Exception]]],
        in_flight: int = 1,
    ) -> None:
        """`run` carries out a group, all of it or nothing, and gives one result per call."""
        self._run = run
        self._free = in_flight
        self._pending: list[_Asked[Call, Result]] = []
        self._out: set[Hashable] = set()
        """The keys of calls in flight. Two calls of one key never share a group or a moment."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._planned = False
        self._closed = False

    def ask(self, call: Call, key: Hashable, size: int = 0) -> "asyncio.Future[Result]":
        """Have the call run; its result.

        The future raises StoreError, or what is wrong with this call alone. Cancelled before its
        group is sent, the call does not happen.
        """
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._pending.append(_Asked(call, key, size, future))
        if self._free and not self._planned:
            self._planned = True
            loop.call_soon(self._send)  # after everything else that is ready to ask
        return future

    async def close(self) -> None:
        """Carry out what was asked for."""
        self._closed = True
        while self._tasks or self._pending:
            self._send()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def abandon(self) -> None:
        """Let go of what was asked for: its callers hear that the store is closed."""
        self._closed = True
        pending, self._pending = self._pending, []
        for asked in pending:
            if not asked.future.done():
                asked.future.set_exception(_closed())
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _send(self) -> None:
        self._planned = False
        while self._free and (group := self._group()):
            self._free -= 1
            self._out |= {asked.key for asked in group}
            task = asyncio.get_running_loop().create_task(self._carry(group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _group(self) -> "list[_Asked[Call, Result]]":
        """The next calls that may go together, in order."""
        group: list[_Asked[Call, Result]] = []
        left: list[_Asked[Call, Result]] = []
        barred = set(self._out)
        size = 0
        for asked in self._pending:
            if asked.future.done():
                continue
            size += asked.size
            full = len(group) >= MAX_CALLS or (group and size > MAX_BYTES)
            (left if full or asked.key in barred else group).append(asked)
            barred.add(asked.key)
        self._pending = left
        return group

    async def _carry(self, group: "list[_Asked[Call, Result]]") -> None:
        results: Sequence[Result | Exception] = [_closed()] * len(group)
        try:
            with suppress(asyncio.CancelledError):  # abandoned
                results = await self._results([asked.call for asked in group])
        finally:
            self._free += 1
            self._out -= {asked.key for asked in group}
            if self._pending and not self._planned:
                self._planned = True
                # After the callbacks of the futures: what they ask for next joins the group.
                asyncio.get_running_loop().call_soon(self._send)
        for asked, result in zip(group, results, strict=True):
            if asked.future.done():
                continue  # cancelled: nobody waits for it
            if isinstance(result, Exception):
                asked.future.set_exception(result)
            else:
                asked.future.set_result(result)

    async def _results(self, calls: Sequence[Call]) -> Sequence[Result | Exception]:
        try:
            return await self._run(calls)
        except StoreError as error:  # of the database: it would hit each of them
            return [error] * len(calls)
        except Exception as error:  # noqa: BLE001 - every error goes to its caller
            if len(calls) == 1:
                return [error]
        # One bad apple: each half by itself, so that in the end it spoils only its own.
        half = len(calls) // 2
        return [*await self._results(calls[:half]), *await self._results(calls[half:])]


def _closed() -> StoreUnavailable:
    return StoreUnavailable("the store is closed")
