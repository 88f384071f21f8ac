"""The `Store` on PostgreSQL: a statement per group of calls, and the database's own clock."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from hermod.domain.clock import Clock
from hermod.domain.document import Audit, Changed, Conflict, Delete, Document, Put
from hermod.domain.errors import LimitReached, StoreError, StoreUnavailable
from hermod.domain.failpoint import failpoint
from hermod.domain.ids import uuid7
from hermod.domain.job import (
    TERMINAL,
    AttemptState,
    AttemptView,
    Claim,
    ClaimedJob,
    Finish,
    JobView,
    Lease,
    NewJob,
    Principal,
    Resealed,
    Retry,
    SealedJob,
    SealedJobs,
    Spooled,
    State,
    size_of,
)
from hermod.domain.meter import Hold, Meter, Refusal
from hermod.store.damage import request_lost_finish, result_lost_failure
from hermod.store.payloads import (
    CHUNK_BYTES,
    INLINE_BYTES,
    REQUEST_PART,
    Chunk,
    chunk_count,
    chunks,
    id_bytes,
    id_text,
    with_small_body_in_hand,
)
from hermod.store.postgres import calls, documents, meters, upkeep
from hermod.store.postgres.batcher import Batcher
from hermod.store.postgres.calls import FinishJob, NextAttempt, PutBack, Read, Stored, Submit
from hermod.store.postgres.clock import DatabaseClock
from hermod.store.postgres.connections import Connections
from hermod.store.postgres.meters import Reserve
from hermod.store.postgres.schema import PACKAGE, examine, migrate, see_that_we_may_write
from hermod.store.postgres.statements import Statements
from hermod.store.postgres.wake import Wake
from hermod.store.sql import load_queries

log = logging.getLogger(__name__)

_IN_FLIGHT: Final = 2
"""Statements of one hot verb at a time: one on its way while another one waits for the disk."""

_CLOSE_S: Final = 1.5
"""For what is out when the store closes. Whoever waits for us to leave does not wait for ever."""

_FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"
"""Before any other."""

_READ_CHUNKS: Final = 2
"""Of a large body in one statement: all of them at once would hold everybody up."""

Found = TypeVar("Found")


def _database_clock() -> int | None:
    """Leave the time to the database."""
    return None


class PostgresStore:
    """See `hermod.store.api.Store` for what each verb promises."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        connections: int = 8,
        now: Callable[[], int] | None = None,
        lease_now: Callable[[], int] | None = None,
    ) -> None:
        """`now` and `lease_now` stand in for the database's clock in tests, microseconds."""
        self._ours = clock
        self._clock = DatabaseClock(clock)
        self._now: Callable[[], int | None] = now or _database_clock
        self._lease_now: Callable[[], int | None] = lease_now or _database_clock
        self._sql = load_queries(PACKAGE)
        self._name = "postgresql"
        self._connections = Connections(url, connections)
        self._wake = Wake(self._connections, self._clock, self._sql, self.due_lanes)
        self._ask = Statements(
            self._connections, self._sql, clock, self._now, self._lease_now, self._wake.tell
        )
        self._submits = Batcher[Submit, Lease | None](self._ask.submit_jobs, _IN_FLIGHT)
        self._reads = Batcher[Read, Stored | None](self._ask.read_jobs, _IN_FLIGHT)
        # By whether something is held that has to be settled: where not, one statement does.
        self._finishes = {
            held: Batcher[FinishJob, bool](self._ask.finish_jobs, _IN_FLIGHT)
            for held in (False, True)
        }
        self._next_attempts = {
            held: Batcher[NextAttempt, Lease | None](self._ask.begin_attempts)
            for held in (False, True)
        }
        self._put_backs = {
            held: Batcher[PutBack, bool](self._ask.put_back) for held in (False, True)
        }
        self._pending_submits = Batcher[Submit, None](self._ask.submit_pending)
        self._reserves = Batcher[Reserve, tuple[Refusal, ...] | None](self._ask.reserve)
        self._chunks = Batcher[Chunk, None](self._put_chunk)
        self._open = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def clock(self) -> Clock:
        return self._ours if self._now is not _database_clock else self._clock

    @property
    def storage_full(self) -> bool:
        return self._ask.storage_full

    async def open(self) -> None:
        self._name = await examine(self._connections)
        await migrate(self._connections)
        await see_that_we_may_write(self._connections)
        asked_s = self._clock.monotonic()
        ((now,),) = await self._ask.run("now")
        self._clock.heard(asked_s, now)
        await self._wake.start()
        self._open = True

    async def close(self) -> None:
        self._open = False
        batchers = (
            self._chunks,
            self._submits,
            self._pending_submits,
            self._reserves,
            *self._next_attempts.values(),
            *self._put_backs.values(),
            *self._finishes.values(),
            self._reads,
        )
        try:
            async with asyncio.timeout(_CLOSE_S):
                for batcher in batchers:
                    await batcher.close()
        except TimeoutError:
            log.warning("the database does not answer: what is out there is left to itself")
            await asyncio.gather(*(batcher.abandon() for batcher in batchers))
        await self._wake.close()
        await self._connections.close()

    def on_work(self, callback: Callable[[str], None]) -> None:
        self._wake.on_work(callback)

    # Large bodies

    async def _put_chunk(self, group: Sequence[Chunk]) -> Sequence[None]:
        for raw_id, part, n, data in group:
            await self._ask.write("put_chunk", id_text(raw_id), part, n, data)
        return [None] * len(group)

    async def _write_chunks(self, job_id: str, part: int, body: bytes | Spooled) -> None:
        # One after the other, in one queue: a write that was cut off is over before the next.
        for chunk in chunks(id_bytes(job_id), part, body):
            await self._chunks.ask(chunk, chunk[:3], CHUNK_BYTES)

    async def _drop_chunks(self, job_id: str, part: int, size: int) -> None:
        """Nothing refers to these pieces: they would take room until they are orphans."""
        n = chunk_count(size)
        with suppress(StoreError):
            await self._ask.write("drop_chunk", [job_id] * n, [part] * n, list(range(n)))

    async def _read_chunks(self, job_id: str, part: int, size: int) -> bytes | None:
        """A body; None when a piece of it is gone."""
        pieces: list[bytes] = []
        count = chunk_count(size)
        for n in range(0, count, _READ_CHUNKS):
            end = min(n + _READ_CHUNKS, count)
            rows = await self._ask.run("read_chunks", job_id, part, n, end)
            pieces += (row[0] for row in rows)
        whole = b"".join
        body = await asyncio.to_thread(whole, pieces) if len(pieces) > 1 else whole(pieces)
        return body if len(body) == size else None

    async def _with_chunks(
        self, job_id: str, part: int, body: bytes | Spooled, write: Callable[[], Awaitable[Found]]
    ) -> Found:
        """Store a body apart, then what refers to it."""
        try:
            await self._write_chunks(job_id, part, body)
            return await write()
        except (StoreError, LimitReached) as error:
            if not isinstance(error, StoreUnavailable):
                await self._drop_chunks(job_id, part, size_of(body))
            raise

    # Clients

    async def submit_job(
        self, job: NewJob, claim: Claim | None = None, pending: Hold | None = None
    ) -> Lease | None:
        self._check_open()
        job = with_small_body_in_hand(job)
        call = Submit(job, claim, pending if claim is None else None)
        size = size_of(job.body)
        batcher = self._submits if call.pending is None else self._pending_submits
        if size <= INLINE_BYTES:
            return await batcher.ask(call, job.id, size)

        async def submit() -> Lease | None:
            return await batcher.ask(call, job.id)

        return await self._with_chunks(job.id, REQUEST_PART, job.body, submit)

    async def read_job(self, job_id: str, principal: Principal, kind: str | None) -> JobView | None:
        self._check_open()
        if not _is_id(job_id):
            return None
        # Two reads may share a group, so the key is the call's own.
        stored = await self._reads.ask(Read(job_id, principal, kind), object())
        if stored is None:
            return None
        view, part, size = stored
        if view.body is None and size is not None and part is not None:
            body = await self._read_chunks(job_id, part, size)
            if body is None and await self._is_gone(job_id, principal, kind):
                return None  # deleted between the two reads
            view = view._replace(body=body)
        if view.state in TERMINAL and view.body is None:
            log.error("job %s: its result is damaged", job_id)
            failure = result_lost_failure()
            return view._replace(state=State.FAILED, status_code=500, body=failure.to_json())
        return view

    async def cancel_job(
        self, job_id: str, principal: Principal, kind: str | None
    ) -> JobView | None:
        self._check_open()
        if not _is_id(job_id):
            return None
        asked = Read(job_id, principal, kind)

        async def cancel() -> JobView | None:
            await self._change("cancel_job", upkeep.cancel, asked)
            return await self.read_job(job_id, principal, kind)

        # Whatever was lost on the way, a job that has ended is only read the second time.
        view, _ = await self._ask.insist(cancel)
        return view

    async def _is_gone(self, job_id: str, principal: Principal, kind: str | None) -> bool:
        return await self._reads.ask(Read(job_id, principal, kind), object()) is None

    async def read_attempts(self, job_id: str, principal: Principal) -> tuple[AttemptView, ...]:
        if not _is_id(job_id):
            return ()
        rows = await self._read("read_attempts", self._now(), job_id, *principal)
        return tuple(AttemptView(row[0], AttemptState(row[1]), *tuple(row)[2:]) for row in rows)

    # Workers

    async def claim_jobs(self, lane: str, limit: int, claim: Claim) -> list[ClaimedJob]:
        self._check_open()
        deadline_us = calls.microseconds(claim.job_deadline_s)
        return await self._ask.claim("claim_jobs", claim, lane, max(limit, 0), deadline_us)

    async def claim_suspects(
        self, min_suspicion: int, max_suspicion: int, limit: int, claim: Claim
    ) -> list[ClaimedJob]:
        self._check_open()
        deadline_us = calls.microseconds(claim.job_deadline_s)
        return await self._ask.claim(
            "claim_suspects", claim, min_suspicion, max(limit, 0), max_suspicion, deadline_us
        )

    async def read_request(self, lease: Lease) -> bytes | None:
        rows = await self._read("read_request", *lease)
        if not rows:
            return None
        size, body = rows[0]
        if body is None and size is not None:
            body = await self._read_chunks(lease.job_id, REQUEST_PART, size)
        if body is None:
            log.error("job %s: its request is damaged", lease.job_id)
            await self.finish_job(lease, request_lost_finish()._replace(held=True))
        return body

    async def renew_leases(self, leases: Sequence[Lease], lease_s: float) -> frozenset[str]:
        self._check_open()
        held = calls.fence_values(sorted(leases))
        lease_us = calls.microseconds(lease_s)
        rows = await self._ask.write("renew_leases", self._lease_now(), lease_us, *held)
        return frozenset(str(row[0]) for row in rows)

    async def begin_attempt(self, lease: Lease, ended: Retry, lease_s: float) -> Lease | None:
        self._check_open()
        call = NextAttempt(lease, ended, lease_s)
        return await self._next_attempts[ended.held].ask(call, lease.job_id)

    async def put_back(
        self, lease: Lease, ended: Retry, run_at: int, deadline_at: int | None = None
    ) -> bool:
        self._check_open()
        call = PutBack(lease, ended, run_at, deadline_at)
        return await self._put_backs[ended.held].ask(call, lease.job_id)

    async def reserve(self, lease: Lease, holds: Sequence[Hold]) -> tuple[Refusal, ...] | None:
        self._check_open()
        by_meter = {hold.meter_id: hold for hold in holds}
        return await self._reserves.ask(Reserve(lease, tuple(by_meter.values())), lease.job_id)

    async def record_handle(self, lease: Lease, handle: str) -> bool:
        self._check_open()
        return bool(await self._ask.write("record_handle", *lease, calls.text(handle)))

    async def finish_job(self, lease: Lease, finish: Finish) -> bool:
        self._check_open()
        call, size = FinishJob(lease, finish), len(finish.body)
        batcher = self._finishes[finish.held]
        if size <= INLINE_BYTES:
            return await batcher.ask(call, lease.job_id, size)
        if not await self._ask.run("holds_lease", *lease):
            # Before anything is written for nothing; but it may be this very finish that took it.
            return await batcher.ask(call, lease.job_id)

        async def end() -> bool:
            return await batcher.ask(call, lease.job_id)

        return await self._with_chunks(lease.job_id, lease.attempt, finish.body, end)

    # Upkeep

    async def release_worker(self, worker_id: str, limit: int) -> int:
        return await self._change("release_worker", upkeep.release_worker, worker_id, limit)

    async def recover_lost_leases(self, limit: int) -> int:
        return await self._change("recover_lost_leases", upkeep.recover, self._lease_now(), limit)

    async def expire_overdue(self, limit: int) -> int:
        return await self._change("expire_overdue", upkeep.expire_overdue, limit)

    async def _change(
        self, verb: str, change: Callable[..., Awaitable[upkeep.Changed]], *values: Any
    ) -> int:
        """A verb of several statements. Raises StoreError."""
        self._check_open()
        changed = await self._ask.transact(verb, lambda open_: change(open_, *values))
        if changed.lanes:
            self._wake.tell(changed.lanes)
        return changed.jobs

    async def delete_expired(self, limit: int) -> int:
        self._check_open()
        ((n,),) = await self._ask.write("delete_expired", self._now(), max(limit, 0))
        return n

    async def delete_orphans(self, older_than_at: int, limit: int) -> int:
        self._check_open()
        ((n,),) = await self._ask.write("delete_orphans", uuid7(older_than_at), max(limit, 0))
        return n

    async def settle_leftovers(self, limit: int) -> int:
        return await self._change("settle_leftovers", upkeep.settle_leftovers, limit)

    # What governs

    async def read_meters(self, meter_ids: Sequence[str]) -> Mapping[str, Meter]:
        return meters.read(await self._read("read_meters", meter_ids))

    async def documents_revision(self) -> int:
        ((revision,),) = await self._read("documents_revision")
        return revision

    async def read_documents(self) -> tuple[int, tuple[Document, ...]]:
        return documents.read(await self._read("read_documents"))

    async def change_documents(
        self,
        changes: Sequence[Put | Delete],
        audit: Audit | None = None,
        forget_meters: Sequence[str] = (),
    ) -> Changed | Conflict:
        self._check_open()
        wanted = documents.Wanted(changes, audit, forget_meters)

        async def change() -> Changed | Conflict:
            try:
                return await self._ask.transact(
                    "change_documents", lambda open_: documents.change_documents(open_, wanted)
                )
            except documents.Unchanged as unchanged:
                return unchanged.conflict

        changed, again = await self._ask.insist(change)
        if again and isinstance(changed, Conflict):
            # It may be this very change that is in the way.
            revision, there = await self.read_documents()
            if documents.are_made(changes, there):
                return Changed(revision)
        return changed

    async def read_audit(
        self, limit: int, before: int | None = None
    ) -> tuple[tuple[int, Audit], ...]:
        rows = await self._read("read_audit", max(limit, 0), before)
        return tuple((row[0], Audit(*tuple(row)[1:])) for row in rows)

    # Secrets

    async def read_sealed_jobs(self, after: str | None, limit: int) -> SealedJobs:
        rows = await self._read("read_sealed_jobs", after or _FIRST_ID, max(limit, 0))
        found = (SealedJob(job_id, options) for job_id, options in rows if options)
        return SealedJobs(tuple(found), rows[-1][0] if rows else None)

    async def reseal_jobs(self, changes: Sequence[Resealed]) -> int:
        self._check_open()
        if not changes:
            return 0
        # In order: two that lock the same rows wait, and never in a circle.
        columns = [list(column) for column in zip(*sorted(changes), strict=True)]
        return len(await self._ask.write("reseal_jobs", *columns))

    # What there is to do

    async def due_lanes(self) -> Mapping[str, int]:
        rows = await self._read("due_lanes")
        due = {lane: run_at for lane, run_at in rows if run_at is not None}
        return due | dict.fromkeys(self._ask.unheard("claim_jobs"), 0)

    async def suspects_due_at(self) -> int | None:
        ((run_at,),) = await self._read("suspects_due_at")
        return 0 if self._ask.unheard("claim_suspects") else run_at

    async def counts(self) -> Mapping[tuple[str, str, State], int]:
        rows = await self._read("counts")
        return {(tenant_id, lane, State(state)): n for tenant_id, lane, state, n in rows}

    async def _read(self, verb: str, *values: Any) -> list[Any]:
        self._check_open()
        failpoint(f"{verb}.before")
        rows = await self._ask.run(verb, *values)
        failpoint(f"{verb}.after")
        return rows

    def _check_open(self) -> None:
        if not self._open:
            raise StoreUnavailable("the store is not open")


def _is_id(job_id: str) -> bool:
    """Whether it can be the id of a job at all."""
    with suppress(ValueError):
        return id_text(id_bytes(job_id)) == job_id
    return False
