"""The verbs of many calls, each one statement: sent, and sent again when its reply is lost.

A statement whose connection breaks may have been committed. Every verb here can be sent again all
the same: a submit finds its own job, a write under a lease its own attempt, a claim its own number.

Calls that meters have a part in go in groups of their own, each a transaction of a few statements.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from hermod.domain.clock import Clock
from hermod.domain.errors import LimitReached, StoreError, StoreFull
from hermod.domain.failpoint import failpoint
from hermod.domain.job import Claim, ClaimedJob, Lease
from hermod.domain.meter import Refusal
from hermod.store.postgres import calls, meters
from hermod.store.postgres.calls import (
    Became,
    Fenced,
    FinishJob,
    NextAttempt,
    PutBack,
    Read,
    Stored,
    Submit,
)
from hermod.store.postgres.change import Change
from hermod.store.postgres.connections import Connections
from hermod.store.postgres.driver import Connection, Row
from hermod.store.postgres.errors import ReplyLost
from hermod.store.postgres.meters import Reserve
from hermod.store.postgres.outage import jittered

_INSIST_S: Final = 5.0
"""How long a statement whose reply was lost is sent again before its caller hears of it."""
_FIRST_PAUSE_S: Final = 0.05
_NEEDS_ROOM: Final = ("submit_job", "put_chunk", "finish_job")
"""The verbs whose success shows that there is room again."""
_MAX_UNSURE: Final = 100_000


FencedCall = TypeVar("FencedCall", bound=Fenced)
Written = TypeVar("Written")


class Statements:
    """The statements of one store."""

    def __init__(
        self,
        connections: Connections,
        sql: Mapping[str, str],
        clock: Clock,
        now: Callable[[], int | None],
        lease_now: Callable[[], int | None],
        woken: Callable[[set[str]], None],
    ) -> None:
        """`now` and `lease_now` stand in for the database's clock; None leaves it to itself."""
        self._connections = connections
        self._sql = sql
        self._clock = clock
        self._now = now
        self._lease_now = lease_now
        self._woken = woken
        self._unsure: set[Lease] = set()
        """Leases under which a write may have happened that its caller was told has failed."""
        self._unheard: dict[tuple[str, str, Any], int] = {}
        """The numbers of claims whose replies never came, by worker, verb and lane."""
        self._claims = 0
        self.storage_full = False
        """Whether the last write found no room."""

    async def run(self, name: str, *values: Any) -> list[Row]:
        """One statement. Raises like `Connections.run`."""
        return await self._connections.run(self._sql[name], *values)

    async def write(self, verb: str, *values: Any) -> list[Row]:
        """One statement that writes, with its failpoints. Raises like `run`."""
        failpoint(f"{verb}.before")
        failpoint(f"{verb}.before_commit")
        return await self._written(verb, self.run(verb, *values))

    async def transact(self, verb: str, work: Callable[[Change], Awaitable[Written]]) -> Written:
        """A transaction that writes, with its failpoints. Raises like `Connections.transact`."""

        async def act(connection: Connection) -> Written:
            written = await work(Change(connection, self._sql, self._now()))
            failpoint(f"{verb}.before_commit")
            return written

        failpoint(f"{verb}.before")
        return await self._written(verb, self._connections.transact(act))

    async def _written(self, verb: str, write: Awaitable[Written]) -> Written:
        try:
            written = await write
        except StoreFull:
            self.storage_full = True
            raise
        if verb in _NEEDS_ROOM:
            self.storage_full = False
        failpoint(f"{verb}.after_commit")
        return written

    async def _insist(self, verb: str, *values: Any) -> tuple[list[Row], bool]:
        return await self.insist(lambda: self.write(verb, *values))

    async def insist(self, write: Callable[[], Awaitable[Written]]) -> tuple[Written, bool]:
        """What may be sent twice, and whether it was. Raises StoreError."""
        ends_s = self._clock.monotonic() + _INSIST_S
        again = False
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await write(), again
            except ReplyLost:
                again = True
                if self._clock.monotonic() > ends_s:
                    raise
            except StoreError as error:
                # Whatever is said now, of a full disk or a changed password, the first time it may
                # have been committed.
                if not again:
                    raise
                if self._clock.monotonic() > ends_s:
                    raise ReplyLost(str(error), error.detail) from error
            await asyncio.sleep(jittered(pause_s))
            pause_s = min(pause_s * 2, 1.0)

    # Clients

    async def submit_jobs(self, group: Sequence[Submit]) -> Sequence[Lease | Exception | None]:
        """Store jobs; a lease for each that has a claim."""
        values = calls.submit_values(group)
        rows, again = await self._insist("submit_job", self._now(), self._lease_now(), *values)
        stored = {str(row[0]) for row in rows}
        if not again and len(stored) < len(group):
            known = [call.job.id for call in group if call.job.id not in stored]
            group = [call for call in group if call.job.id in stored]
            self._wake_for(group)
            results: dict[str, Lease | None] = {call.job.id: _lease(call) for call in group}
            return [
                _known(call_id) if call_id in known else results[call_id]
                for call_id in (str(value) for value in values[0])
            ]
        self._wake_for(group)
        return [_lease(call) for call in group]

    async def submit_pending(self, group: Sequence[Submit]) -> Sequence[Exception | None]:
        """Store jobs that hold a place in the queue, in turn, as far as there is room."""

        async def submit(change: Change) -> meters.Submitted:
            return await meters.submit(change, self._lease_now(), group)

        submitted, again = await self.insist(lambda: self.transact("submit_job", submit))
        results: dict[str, Exception | None] = {
            job_id: LimitReached(refusal) for job_id, refusal in submitted.refused.items()
        }
        if not again:
            results |= {job_id: _known(job_id) for job_id in submitted.known}
        self._wake_for([call for call in group if call.job.id not in results])
        return [results.get(call.job.id) for call in group]

    def _wake_for(self, group: Sequence[Submit]) -> None:
        if lanes := {call.job.lane for call in group if call.claim is None}:
            self._woken(lanes)

    async def read_jobs(self, group: Sequence[Read]) -> Sequence[Stored | None]:
        """Jobs as their principals may see them."""
        failpoint("read_job.before")
        rows = await self.run("read_job", self._now(), *calls.read_values(group))
        failpoint("read_job.after")
        found: dict[int, Row] = {row[0]: row for row in rows}
        return [
            calls.stored(call.job_id, tuple(found[place])[1:]) if place in found else None
            for place, call in enumerate(group, 1)
        ]

    # Workers

    async def claim(
        self, verb: str, claim: Claim, among: Any, limit: int, *rest: Any
    ) -> list[ClaimedJob]:
        """Lease jobs; first of all those of a claim whose reply was lost. Raises StoreError."""
        lease_us = calls.microseconds(claim.lease_s)
        asked = (claim.worker_id, verb, among)
        earlier = self._unheard.pop(asked, None)
        if earlier is not None:
            again = (self._lease_now(), lease_us, claim.worker_id, earlier)
            try:
                rows = await self.run("claimed_before", *again)
            except BaseException:
                self._unheard[asked] = earlier
                raise
            if rows:
                return calls.claimed(rows, claim)
        self._claims += 1
        number = self._claims
        clocks = (self._now(), self._lease_now())
        leased = (claim.worker_id, lease_us, number, *rest)
        try:
            rows = await self.write(verb, *clocks, among, limit, *leased)
        except ReplyLost:
            self._unheard[asked] = number
            raise
        return calls.claimed(rows, claim)

    def unheard(self, verb: str) -> list[Any]:
        """What `verb` should be asked for again, because it may have leased jobs unheard."""
        return [among for _, asked, among in self._unheard if asked == verb]

    async def reserve(self, group: Sequence[Reserve]) -> Sequence[tuple[Refusal, ...] | None]:
        """Reserve for attempts, in turn; the refusals of each, None where its lease is lost."""

        async def reserve(change: Change) -> dict[Lease, tuple[Refusal, ...] | None]:
            return await meters.reserve(change, group)

        # Where it happened unheard, the second time finds what is held.
        results, _ = await self.insist(lambda: self.transact("reserve", reserve))
        return [results[call.lease] for call in group]

    async def begin_attempts(self, group: Sequence[NextAttempt]) -> Sequence[Lease | None]:
        """End attempts and begin the next ones; the new leases."""
        clocks = (self._now(), self._lease_now())
        done = await self._fenced(
            "begin_attempt", group, clocks, calls.next_attempt_values, calls.has_begun
        )
        return [
            call.lease._replace(attempt=call.lease.attempt + 1) if call.lease in done else None
            for call in group
        ]

    async def put_back(self, group: Sequence[PutBack]) -> Sequence[bool]:
        """End attempts and give their jobs up."""
        done = await self._fenced(
            "put_back", group, (self._now(),), calls.put_back_values, calls.was_put_back
        )
        return [call.lease in done for call in group]

    async def finish_jobs(self, group: Sequence[FinishJob]) -> Sequence[bool]:
        """End attempts and their jobs."""
        done = await self._fenced(
            "finish_job", group, (self._now(),), calls.finish_values, calls.has_finished
        )
        return [call.lease in done for call in group]

    async def _fenced(
        self,
        verb: str,
        group: Sequence[FencedCall],
        clocks: Sequence[int | None],
        columns: Callable[[Sequence[FencedCall]], list[list[Any]]],
        is_done: Callable[[FencedCall, Became], bool],
    ) -> set[Lease]:
        """Write under leases; those that were good. Raises StoreError.

        The calls of a group are all of those that something was reserved for, or none is.
        """
        # In one order everywhere: two groups that lock the same rows wait, and never in a circle.
        ordered = sorted(group, key=lambda call: call.lease)
        values = (*clocks, *columns(ordered))
        try:
            if group[0].ended.held:
                rows, again = await self.insist(lambda: self._settle(verb, ordered, values))
            else:
                rows, again = await self._insist(verb, *values)
        except ReplyLost:
            if len(self._unsure) < _MAX_UNSURE:
                self._unsure.update(call.lease for call in group)
            raise
        ids = {str(row[0]) for row in rows}
        done = {call.lease for call in group if call.lease.job_id in ids}
        if verb == "put_back" and rows:
            self._woken({row[1] for row in rows})
        doubtful = [
            call
            for call in group
            if call.lease not in done and (again or call.lease in self._unsure)
        ]
        if doubtful:
            became = await self._what_became(doubtful)
            done |= {call.lease for call in doubtful if is_done(call, became[call.lease])}
        self._unsure.difference_update(call.lease for call in group)
        return done

    async def _settle(
        self, verb: str, ordered: Sequence[Fenced], values: Sequence[Any]
    ) -> list[Row]:
        async def end(change: Change) -> list[Row]:
            estimates = await meters.settle(change, ordered)
            rows = await change.fetch(verb, *values)
            await meters.show(change, estimates)
            return rows

        return await self.transact(verb, end)

    async def _what_became(self, group: Sequence[Fenced]) -> dict[Lease, Became]:
        leases = [call.lease for call in group]
        ids, attempts, _ = calls.fence_values(leases)
        rows = await self.run("what_became", ids, attempts)
        found = {str(row[0]): Became(*tuple(row)[1:]) for row in rows}
        gone = Became("", 0, None, 0, "", None)
        return {lease: found.get(lease.job_id, gone) for lease in leases}


def _known(job_id: str) -> ValueError:
    return ValueError(f"there is a job {job_id} already")


def _lease(call: Submit) -> Lease | None:
    return None if call.claim is None else Lease(call.job.id, 1, call.claim.worker_id)
