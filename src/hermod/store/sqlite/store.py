"""The `Store` on SQLite: writes go to the writer's thread, reads run on the loop."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import apsw

from hermod.domain.clock import Clock
from hermod.domain.document import Audit, Changed, Conflict, Delete, Document, Put
from hermod.domain.errors import LimitReached, StoreError, StoreFull, StoreUnavailable
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
    ChunkKey,
    chunk_count,
    chunks,
    id_bytes,
    id_text,
    with_small_body_in_hand,
)
from hermod.store.sql import load_queries
from hermod.store.sqlite import documents, meters, verbs
from hermod.store.sqlite.driver import Connection, Row
from hermod.store.sqlite.reader import Reader
from hermod.store.sqlite.schema import PACKAGE, boot_id, connect, migrate
from hermod.store.sqlite.transaction import Transaction, fence
from hermod.store.sqlite.watch import Watch
from hermod.store.sqlite.writer import Call, Result, Verb, Writer

log = logging.getLogger(__name__)

_STATES: Final = {state.value: state for state in State}
_MOST: Final = 2**63 - 1
_BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_clock() -> int:
    """Microseconds since this machine started, sleep included where the system counts it."""
    return time.clock_gettime_ns(_BOOT_CLOCK) // 1000


class SqliteStore:
    """See `hermod.store.api.Store` for what each verb promises."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        synchronous: str = "FULL",
        watch_s: float | None = None,
        boot_now: Callable[[], int] = boot_clock,
        this_boot: str | None = None,
    ) -> None:
        """`watch_s`: how often to look for commits of other processes, so that callers of `on_work`
        hear of those, too; None for never."""
        self._path = path
        self._clock = clock
        self._synchronous = synchronous
        self._boot_now = boot_now
        self._this_boot = this_boot
        self._sql = load_queries(PACKAGE)
        self._callbacks: list[Callable[[str], None]] = []
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._watch_s = watch_s
        self._watch: Watch | None = None

    @property
    def name(self) -> str:
        return f"sqlite {apsw.sqlite_lib_version()}"

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def storage_full(self) -> bool:
        return self._writer is not None and self._writer.storage_full

    async def open(self) -> None:
        try:
            opened = await asyncio.to_thread(self._prepare)
        except (apsw.Error, OSError) as error:
            raise StoreUnavailable(
                f"cannot open the database {self._path}: {error}. "
                "Check that the directory exists, is writable and is not full."
            ) from error
        connection, reader, beside = opened
        self._reader = Reader(reader, beside, self._sql)
        self._writer = Writer(connection, self._transaction, self._wake)
        if self._watch_s is not None:
            self._watch = Watch(reader, self._watch_s, self._lanes_with_work, self._wake)

    def _prepare(self) -> tuple[Connection, Connection, Connection]:
        """The connections: the writer's, the loop's, and that of reads beside the loop."""
        with ExitStack() as stack:
            writer = connect(self._path, synchronous=self._synchronous)
            stack.callback(writer.close)
            migrate(writer)
            self._greet_boot(writer)
            reader = connect(self._path, query_only=True)
            stack.callback(reader.close)
            beside = connect(self._path, query_only=True)
            stack.pop_all()
        return writer, reader, beside

    def _greet_boot(self, connection: Connection) -> None:
        boot = self._this_boot or boot_id()
        connection.execute("BEGIN IMMEDIATE")
        known = connection.execute(self._sql["get_meta"], ("boot_id",)).fetchall()
        if known != [(boot,)]:
            connection.execute(self._sql["forget_leases"])
            connection.execute(self._sql["set_meta"], ("boot_id", boot))
        connection.execute("COMMIT")

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if self._watch is not None:
            self._watch.stop()
        if writer is not None:
            await writer.close()
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()
        if writer is not None:
            writer.connection.close()  # last, because whoever closes last checkpoints

    def on_work(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    def _wake(self, lanes: Iterable[str]) -> None:
        loop = asyncio.get_running_loop()
        for lane in lanes:
            for callback in self._callbacks:
                loop.call_soon(callback, lane)

    def _lanes_with_work(self) -> list[str]:
        now = self._clock.now()
        return [lane for lane, run_at in self._due().items() if run_at <= now]

    def _transaction(self, connection: Connection) -> Transaction:
        return Transaction(connection, self._sql, self._clock.now(), self._boot_now())

    def _write(
        self, verb: Verb[Call, Result], call: Call, size: int = 0
    ) -> "asyncio.Future[Result]":
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        return self._writer.run(verb, call, size)

    @property
    def _reads(self) -> Reader:
        if self._reader is None:
            raise StoreUnavailable("the store is not open")
        return self._reader

    # Large bodies

    async def _read_chunks(self, raw_id: bytes, part: int, size: int) -> bytes | None:
        """A body; None when a piece of it is gone."""
        values = (raw_id, part, chunk_count(size))
        body = await self._reads.beside("read_chunks", values, _joined)
        return body if len(body) == size else None

    async def _write_chunks(self, raw_id: bytes, part: int, body: bytes | Spooled) -> None:
        for chunk in chunks(raw_id, part, body):
            await self._write(verbs.put_chunk, chunk, len(chunk.data))

    async def _drop_chunks(self, keys: Iterable[ChunkKey]) -> None:
        """One by one: freeing a large body takes as long as writing it."""
        for key in keys:
            await self._write(verbs.drop_chunk, key, CHUNK_BYTES)

    async def _give_room_back(self, raw_id: bytes, part: int, size: int) -> None:
        """Nothing refers to these pieces: they would take what room is left until they are
        orphans."""
        with suppress(StoreError):
            await self._drop_chunks(ChunkKey(raw_id, part, n) for n in range(chunk_count(size)))

    # Clients

    async def submit_job(
        self, job: NewJob, claim: Claim | None = None, pending: Hold | None = None
    ) -> Lease | None:
        raw_id = id_bytes(job.id)
        job = with_small_body_in_hand(job)
        call = verbs.Submit(job, raw_id, claim, pending)
        size = size_of(job.body)
        if size <= INLINE_BYTES:
            return await self._submit(call)
        try:
            await self._write_chunks(raw_id, REQUEST_PART, job.body)
            return await self._submit(call)
        except (StoreFull, LimitReached):
            await self._give_room_back(raw_id, REQUEST_PART, size)
            raise

    async def _submit(self, call: verbs.Submit) -> Lease | None:
        answer = await self._write(verbs.submit_job, call)
        if isinstance(answer, Refusal):
            raise LimitReached(answer)
        return answer

    async def read_job(self, job_id: str, principal: Principal, kind: str | None) -> JobView | None:
        raw_id = _known_id(job_id)
        if raw_id is None:
            return None
        failpoint("read_job.before")
        row = self._visible(raw_id, principal, kind)
        if row is None:
            return None
        part, size, body = row[11:14]
        if body is None and size is not None:
            body = await self._read_chunks(raw_id, part, size)
            if body is None and self._visible(raw_id, principal, kind) is None:
                return None  # deleted between the two reads
        failpoint("read_job.after")
        view = _view(job_id, row, body)
        if view.state in TERMINAL and body is None:
            log.error("job %s: its result is damaged", job_id)
            failure = result_lost_failure()
            return view._replace(state=State.FAILED, status_code=500, body=failure.to_json())
        return view

    async def cancel_job(
        self, job_id: str, principal: Principal, kind: str | None
    ) -> JobView | None:
        raw_id = _known_id(job_id)
        if raw_id is None:
            return None
        await self._write(verbs.cancel_job, verbs.Cancel(raw_id, principal, kind))
        return await self.read_job(job_id, principal, kind)

    def _visible(self, raw_id: bytes, principal: Principal, kind: str | None) -> Row | None:
        rows = self._reads.rows("read_job", (raw_id, *principal, self._clock.now(), kind))
        return rows[0] if rows else None

    async def read_attempts(self, job_id: str, principal: Principal) -> tuple[AttemptView, ...]:
        raw_id = _known_id(job_id)
        if raw_id is None:
            return ()
        values = {"id": raw_id, **principal._asdict(), "now": self._clock.now()}
        failpoint("read_attempts.before")
        rows = self._reads.rows("read_attempts", values)
        failpoint("read_attempts.after")
        return tuple(
            AttemptView(row[0], AttemptState(row[1]), *row[2:-1], estimated=bool(row[-1]))
            for row in rows
        )

    # Workers

    async def claim_jobs(self, lane: str, limit: int, claim: Claim) -> list[ClaimedJob]:
        return await self._write(verbs.claim_jobs, verbs.ClaimLane(lane, limit, claim))

    async def claim_suspects(
        self, min_suspicion: int, max_suspicion: int, limit: int, claim: Claim
    ) -> list[ClaimedJob]:
        call = verbs.ClaimSuspects(min_suspicion, max_suspicion, limit, claim)
        return await self._write(verbs.claim_suspects, call)

    async def read_request(self, lease: Lease) -> bytes | None:
        held = fence(lease)
        failpoint("read_request.before")
        rows = self._reads.rows("read_request", held)
        if not rows:
            return None
        size, body = rows[0]
        if body is None and size is not None:
            body = await self._read_chunks(held[0], REQUEST_PART, size)
        failpoint("read_request.after")
        if body is None:
            log.error("job %s: its request is damaged", lease.job_id)
            await self.finish_job(lease, request_lost_finish())
        return body

    async def renew_leases(self, leases: Sequence[Lease], lease_s: float) -> frozenset[str]:
        return await self._write(verbs.renew_leases, verbs.Renew(tuple(leases), lease_s))

    async def begin_attempt(self, lease: Lease, ended: Retry, lease_s: float) -> Lease | None:
        return await self._write(verbs.begin_attempt, verbs.NextAttempt(lease, ended, lease_s))

    async def put_back(
        self, lease: Lease, ended: Retry, run_at: int, deadline_at: int | None = None
    ) -> bool:
        return await self._write(verbs.put_back, verbs.PutBack(lease, ended, run_at, deadline_at))

    async def reserve(self, lease: Lease, holds: Sequence[Hold]) -> tuple[Refusal, ...] | None:
        return await self._write(meters.reserve, meters.Reserve(lease, tuple(holds)))

    async def record_handle(self, lease: Lease, handle: str) -> bool:
        return await self._write(verbs.record_handle, verbs.Handle(lease, handle))

    async def finish_job(self, lease: Lease, finish: Finish) -> bool:
        if len(finish.body) > INLINE_BYTES:
            held = fence(lease)
            if not self._reads.rows("holds_lease", held):
                return False  # before anything is written for nothing
            try:
                await self._write_chunks(held[0], lease.attempt, finish.body)
                return await self._write(verbs.finish_job, verbs.FinishJob(lease, finish))
            except StoreFull:
                await self._give_room_back(held[0], lease.attempt, len(finish.body))
                raise
        return await self._write(verbs.finish_job, verbs.FinishJob(lease, finish))

    # Upkeep

    async def release_worker(self, worker_id: str, limit: int) -> int:
        return await self._write(verbs.release_worker, (worker_id, limit))

    async def recover_lost_leases(self, limit: int) -> int:
        return await self._write(verbs.recover_lost_leases, limit)

    async def expire_overdue(self, limit: int) -> int:
        return await self._write(verbs.expire_overdue, limit)

    async def delete_expired(self, limit: int) -> int:
        values = (self._clock.now(), limit)
        await self._drop_chunks(await self._reads.beside("expired_chunks", values, _keys))
        return await self._write(verbs.delete_expired, limit)

    async def delete_orphans(self, older_than_at: int, limit: int) -> int:
        values = (id_bytes(uuid7(older_than_at)), limit)
        failpoint("delete_orphans.before")
        keys = await self._reads.beside("orphans", values, _keys)
        failpoint("delete_orphans.before_commit")  # of the first of many
        await self._drop_chunks(keys)
        failpoint("delete_orphans.after_commit")
        return len(keys)

    async def settle_leftovers(self, limit: int) -> int:
        found = await self._reads.beside("leftovers", (limit,), _jobs_of)
        return await self._write(meters.settle_leftovers, found) if found else 0

    # What governs

    async def read_meters(self, meter_ids: Sequence[str]) -> Mapping[str, Meter]:
        failpoint("read_meters.before")
        found = {id_: self._reads.rows("read_meter", (id_,)) for id_ in meter_ids}
        failpoint("read_meters.after")
        return {id_: Meter(*rows[0]) for id_, rows in found.items() if rows}

    async def documents_revision(self) -> int:
        failpoint("documents_revision.before")
        ((revision,),) = self._reads.rows("get_meta", (documents.REVISION,))
        failpoint("documents_revision.after")
        return int(revision)

    async def read_documents(self) -> tuple[int, tuple[Document, ...]]:
        failpoint("read_documents.before")
        found = await self._reads.beside("read_documents", (documents.REVISION,), _documents)
        failpoint("read_documents.after")
        return found

    async def change_documents(
        self,
        changes: Sequence[Put | Delete],
        audit: Audit | None = None,
        forget_meters: Sequence[str] = (),
    ) -> Changed | Conflict:
        call = documents.Change(tuple(changes), audit, tuple(forget_meters))
        return await self._write(documents.change_documents, call)

    async def read_audit(
        self, limit: int, before: int | None = None
    ) -> tuple[tuple[int, Audit], ...]:
        failpoint("read_audit.before")
        rows = self._reads.rows("read_audit", (_MOST if before is None else before, limit))
        failpoint("read_audit.after")
        return tuple((n, Audit(*rest)) for n, *rest in rows)

    # Secrets

    async def read_sealed_jobs(self, after: str | None, limit: int) -> SealedJobs:
        failpoint("read_sealed_jobs.before")
        values = (b"" if after is None else id_bytes(after), max(limit, 0))
        rows = await self._reads.beside("read_sealed_jobs", values, list)
        failpoint("read_sealed_jobs.after")
        found = (SealedJob(id_text(raw_id), options) for raw_id, options in rows if options)
        return SealedJobs(tuple(found), id_text(rows[-1][0]) if rows else None)

    async def reseal_jobs(self, changes: Sequence[Resealed]) -> int:
        return await self._write(verbs.reseal_jobs, tuple(changes))

    # What there is to do

    async def due_lanes(self) -> Mapping[str, int]:
        failpoint("due_lanes.before")
        due = self._due()
        failpoint("due_lanes.after")
        return due

    def _due(self) -> dict[str, int]:
        due: dict[str, int] = {}
        for (lane,) in self._reads.rows("waiting_lanes"):
            ((run_at,),) = self._reads.rows("waiting_due_at", (lane,))
            if run_at is not None:
                due[lane] = run_at
        due.update((lane, 0) for (lane,) in self._reads.rows("queued_lanes"))
        return due

    async def suspects_due_at(self) -> int | None:
        failpoint("suspects_due_at.before")
        ((run_at,),) = self._reads.rows("suspects_due_at")
        failpoint("suspects_due_at.after")
        return run_at

    async def counts(self) -> Mapping[tuple[str, str, State], int]:
        failpoint("counts.before")
        rows = self._reads.rows("counts")
        failpoint("counts.after")
        return {(tenant_id, lane, State(state)): n for tenant_id, lane, state, n in rows}


def _known_id(job_id: str) -> bytes | None:
    """None for whatever cannot be the id of a job."""
    try:
        return id_bytes(job_id)
    except ValueError:
        return None


def _view(job_id: str, row: Row, body: bytes | None) -> JobView:
    # In the order of the members: named, they would take twice the time.
    return JobView(
        job_id,
        row[0],
        _STATES[row[1]],
        row[2],
        row[3],
        row[4],
        row[5],
        bool(row[6]),
        row[7],
        row[8],
        row[9],
        row[10],
        body,
        row[14],
        row[15],
        row[16],
        bool(row[17]),
    )


def _joined(rows: list[Row]) -> bytes:
    return b"".join(row[0] for row in rows)


def _keys(rows: list[Row]) -> list[ChunkKey]:
    return [ChunkKey(*row) for row in rows]


def _jobs_of(rows: list[Row]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(seq for (seq,) in rows))


def _documents(rows: list[Row]) -> tuple[int, tuple[Document, ...]]:
    """The revision stands in every row; without documents there is one row."""
    return int(rows[0][0]), tuple(Document(*row[1:]) for row in rows if row[1] is not None)
