"""One thread writes. What has queued up while it committed is its next transaction.

The loop hands over one batch at a time and collects the next meanwhile, so a busy loop and a busy
disk both make the groups larger, never the waiting list longer (docs/decisions/0002).
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

import apsw

from hermod.domain.errors import HermodError, StoreUnavailable
from hermod.domain.failpoint import failpoint
from hermod.store.sqlite.driver import Connection
from hermod.store.sqlite.errors import HITS_EVERYBODY, translate
from hermod.store.sqlite.transaction import Transaction

log = logging.getLogger(__name__)

MAX_BATCH: Final = 512
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Of large bodies in one transaction: what is beyond waits, and lets the rest pass."""

Call = TypeVar("Call")
Result = TypeVar("Result")
Verb = Callable[[Transaction, Sequence[Call]], Sequence[Result]]


class _Asked(NamedTuple):
    verb: Verb[Any, Any]
    call: Any
    size: int
    future: "asyncio.Future[Any]"


class _Done(NamedTuple):
    results: list[Any]
    """One per verb of the batch, in order: its result or its error."""
    woken: set[str]
    barred: Exception | None = None
    """What stopped the batch and would stop any other: not to be waited for again."""


class Writer:
    """Runs verbs in grouped transactions on a thread of its own."""

    def __init__(
        self,
        connection: Connection,
        new_transaction: Callable[[Connection], Transaction],
        woken: Callable[[set[str]], None],
    ) -> None:
        self.connection = connection
        self.storage_full = False
        """Whether the last transaction that had something to write found no room."""
        self._new_transaction = new_transaction
        self._woken = woken
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[list[_Asked] | None] = queue.SimpleQueue()
        self._pending: list[_Asked] = []
        self._busy = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._work, name="hermod-writer", daemon=True)
        self._thread.start()

    def run(self, verb: Verb[Call, Result], call: Call, size: int = 0) -> "asyncio.Future[Result]":
        """Have `verb(transaction, [call, …])` run and committed; its result for this call.

        `size` is how many bytes of a large body the call writes or frees. The future raises
        StoreError, or what the verb raised. Cancelled before its group is handed over, the call
        does not happen.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        future: asyncio.Future[Result] = self._loop.create_future()
        self._pending.append(_Asked(verb, call, size, future))
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._hand_over)
        return future

    async def close(self) -> None:
        """Commit what was asked for, then stop the thread."""
        self._closed = True
        await self._idle.wait()
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        batch: list[_Asked] = []
        pending, self._pending = self._pending, []
        size = 0
        for index, asked in enumerate(pending):
            if len(batch) == MAX_BATCH:
                self._pending += pending[index:]
                break
            if asked.future.done():
                continue
            if size and size + asked.size > MAX_BATCH_BYTES and asked.size:
                self._pending.append(asked)
                continue
            size += asked.size
            batch.append(asked)
        if batch:
            self._inbox.put(batch)
        else:
            self._busy = False
            self._idle.set()

    def _deliver(self, batch: list[_Asked], done: _Done) -> None:
        for asked, result in zip(batch, done.results, strict=True):
            if asked.future.done():
                continue
            if isinstance(result, Exception):
                asked.future.set_exception(result)
            else:
                asked.future.set_result(result)
        if self._pending:
            # After the callbacks of the futures: what they ask for next joins the group.
            self._loop.call_soon(self._hand_over)
        else:
            self._busy = False
            self._idle.set()
        if done.woken:
            self._woken(done.woken)

    def _work(self) -> None:
        while (batch := self._inbox.get()) is not None:
            done = self._commit(batch)
            try:
                self._loop.call_soon_threadsafe(self._deliver, batch, done)
            except RuntimeError:  # the loop is closed: nobody is left to tell
                return

    def _commit(self, batch: list[_Asked]) -> _Done:
        try:
            return self._transact(batch)
        except (*HITS_EVERYBODY, StoreUnavailable) as error:
            return _Done([translate(error) for _ in batch], set(), error)
        except Exception as error:  # the boundary of the thread: every error goes to its caller
            if isinstance(error, apsw.FullError):
                self.storage_full = True
            if len(batch) == 1:
                if not isinstance(error, (apsw.Error, HermodError)):
                    log.exception("a store verb failed")
                return _Done([translate(error)], set())
        return self._commit_apart(batch)

    def _commit_apart(self, batch: list[_Asked]) -> _Done:
        """One bad apple: each half by itself, so that in the end it spoils only its own."""
        half = len(batch) // 2
        first = self._commit(batch[:half])
        if first.barred is not None:
            error = first.barred
            results = first.results + [translate(error) for _ in batch[half:]]
            return _Done(results, first.woken, error)
        second = self._commit(batch[half:])
        return _Done(first.results + second.results, first.woken | second.woken, second.barred)

    def _transact(self, batch: list[_Asked]) -> _Done:
        by_verb: dict[Verb[Any, Any], list[int]] = {}
        for index, asked in enumerate(batch):
            by_verb.setdefault(asked.verb, []).append(index)
        results: list[Any] = [None] * len(batch)
        _reach(by_verb, "before")
        self._begin()
        changes = self.connection.total_changes()
        try:
            transaction = self._new_transaction(self.connection)
            for verb, indexes in by_verb.items():
                done = verb(transaction, [batch[index].call for index in indexes])
                for index, result in zip(indexes, done, strict=True):
                    results[index] = result
            transaction.flush_counts()
            _reach(by_verb, "before_commit")
            self.connection.execute("COMMIT")
        except BaseException:
            with suppress(apsw.Error):  # `_begin` tries again
                self._roll_back()
            raise
        if self.connection.total_changes() != changes:
            self.storage_full = False
        _reach(by_verb, "after_commit")
        return _Done(results, transaction.woken)

    def _begin(self) -> None:
        self._roll_back()
        self.connection.execute("BEGIN IMMEDIATE")

    def _roll_back(self) -> None:
        """End what an error left open; some errors have already ended it."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


def _reach(verbs: Iterable[Verb[Any, Any]], step: str) -> None:
    for verb in verbs:
        failpoint(f"{verb.__name__}.{step}")
