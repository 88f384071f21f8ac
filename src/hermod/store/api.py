"""The verbs of the store. Each is one transaction, and each is a place where we may crash.

A backend implements `Store`; the suite in tests/store/contract says what every verb means, for all
backends alike. Verbs that write to a running job take its `Lease` and change nothing when the
lease is no longer the current one (the fencing token in the `WHERE`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from hermod.domain.clock import Clock
from hermod.domain.document import Audit, Changed, Conflict, Delete, Document, Put
from hermod.domain.job import (
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
    SealedJobs,
    State,
)
from hermod.domain.meter import Hold, Meter, Refusal


class Store(Protocol):
    """Everything the gateway keeps. Every verb may raise `StoreError`."""

    @property
    def name(self) -> str:
        """The engine and its version, for people."""
        ...

    @property
    def clock(self) -> Clock:
        """What all instants are measured by, so that everybody on this store agrees on them."""
        ...

    @property
    def storage_full(self) -> bool:
        """Whether the last write failed because the disk is full (reliability.md F22)."""
        ...

    async def open(self) -> None:
        """Create or migrate the schema and start; may be called again after it failed.

        Raises StoreUnavailable when the store is not there, StoreMisconfigured when waiting for it
        is of no use; both with the remedy.
        """
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of everything."""
        ...

    def on_work(self, callback: Callable[[str], None]) -> None:
        """Have `callback(lane)` called after a commit that made a job claimable."""
        ...

    # Clients

    async def submit_job(
        self, job: NewJob, claim: Claim | None = None, pending: Hold | None = None
    ) -> Lease | None:
        """Commit a job. With a claim it is born running, with its first attempt recorded.

        `pending` is held until the job's first `reserve` succeeds, or it ends; only for a job
        without a claim. Raises LimitReached, having stored nothing, when its meter has no room.

        A spooled body is read a piece at a time. Raises StoreUnavailable when it cannot be read
        back whole; pieces that were written by then are orphans.
        """
        ...

    async def read_job(self, job_id: str, principal: Principal, kind: str | None) -> JobView | None:
        """The job as this principal may see it, now.

        None for an id that is unknown, expired, another owner's, or (unless `kind` is None) of
        another request type: the four are one answer (wire-contract 3.6).
        """
        ...

    async def cancel_job(
        self, job_id: str, principal: Principal, kind: str | None
    ) -> JobView | None:
        """End a job that has not ended as `cancelled`; what `read_job` then says of it.

        None, with nothing changed, for what `read_job` does not show. A job that has ended is left
        as it is, so a cancel that is repeated gives the same answer. Whoever runs the job loses its
        lease; the outcome of the call that is out is unknown.
        """
        ...

    async def read_attempts(self, job_id: str, principal: Principal) -> tuple[AttemptView, ...]:
        """Every upstream call of the job, oldest first; empty when the job is not to be seen."""
        ...

    # Workers

    async def claim_jobs(self, lane: str, limit: int, claim: Claim) -> list[ClaimedJob]:
        """Lease up to `limit` due jobs of a lane, each with a new attempt already recorded.

        The attempt goes to the job's target; its lane is still the one that was asked for.

        Waiting jobs that are due come first, then queued ones by priority and age. Suspects are
        left to `claim_suspects`, jobs past their deadline to `expire_overdue`.
        """
        ...

    async def claim_suspects(
        self, min_suspicion: int, max_suspicion: int, limit: int, claim: Claim
    ) -> list[ClaimedJob]:
        """Lease up to `limit` due jobs, of any lane, whose suspicion lies in the range."""
        ...

    async def read_request(self, lease: Lease) -> bytes | None:
        """The body of a leased job; None when the lease is lost.

        A job whose stored body is damaged is ended as failed, which ends its lease too.
        """
        ...

    async def renew_leases(self, leases: Sequence[Lease], lease_s: float) -> frozenset[str]:
        """Extend these leases; the ids of those that are still ours."""
        ...

    async def begin_attempt(self, lease: Lease, ended: Retry, lease_s: float) -> Lease | None:
        """End an attempt and record the next one, same worker; None if the lease is lost.

        The next one goes to `ended.target`. Wherever an attempt goes, the job's lane stays.
        """
        ...

    async def put_back(
        self, lease: Lease, ended: Retry, run_at: int, deadline_at: int | None = None
    ) -> bool:
        """End an attempt and give the job up until `run_at`; False if the lease is lost.

        `ended.target` and `ended.progress` are kept for whoever claims the job next. With a
        `deadline_at` the job counts as not begun: that is its deadline until it is claimed again,
        and its job deadline runs from then. Unless `ended.held`, it keeps its place among the
        pending jobs of its key.
        """
        ...

    async def reserve(self, lease: Lease, holds: Sequence[Hold]) -> tuple[Refusal, ...] | None:
        """Reserve all of it for the attempt that is leased, or nothing.

        It ends the hold of a job that was pending. Empty when it is reserved, the refusals of every
        meter that has no room, None when the lease is lost. Meters are rolled to the store's
        present first (`domain.meter.rolled`).

        What is reserved is settled in whichever transaction ends the attempt: `begin_attempt`,
        `put_back`, `finish_job`, `cancel_job`, the loss of its lease. Each hold counts as
        `domain.meter.settled` says, `reserved` goes down by the whole of it, `used` and `total` go
        up. Where an estimate was charged, the attempt and its job show it as their cost, flagged
        `estimated`. Reserving again for the same attempt changes nothing (a lost reply).

        Work that is known by a handle outlives its attempt: when that is lost, or ends with `held`
        false, what is reserved stays until an attempt ends with `held` true, or the job ends.
        """
        ...

    async def record_handle(self, lease: Lease, handle: str) -> bool:
        """Remember what the upstream calls this attempt, to ask for it again after a crash."""
        ...

    async def finish_job(self, lease: Lease, finish: Finish) -> bool:
        """End the attempt and the job; False, with nothing changed, if the lease is lost."""
        ...

    # Upkeep

    async def release_worker(self, worker_id: str, limit: int) -> int:
        """Take up to `limit` leases of a worker that is known to be dead; how many there were."""
        ...

    async def recover_lost_leases(self, limit: int) -> int:
        """Take up to `limit` leases that have run out; how many there were."""
        ...

    async def expire_overdue(self, limit: int) -> int:
        """End up to `limit` jobs that nobody runs and whose deadline has passed; how many."""
        ...

    async def delete_expired(self, limit: int) -> int:
        """Delete up to `limit` terminal jobs past their TTL, with their payloads; how many."""
        ...

    async def delete_orphans(self, older_than_at: int, limit: int) -> int:
        """Delete payload chunks whose submit or finish never happened; how many."""
        ...

    async def settle_leftovers(self, limit: int) -> int:
        """Settle up to `limit` holds whose job has ended without them; how many there were.

        A release from before there were any may end such jobs.
        """
        ...

    # What governs

    async def read_meters(self, meter_ids: Sequence[str]) -> Mapping[str, Meter]:
        """Those of them that were ever used, as they are stored, not rolled."""
        ...

    async def documents_revision(self) -> int:
        """Counts the changes of documents: cheap, to be asked every second."""
        ...

    async def read_documents(self) -> tuple[int, tuple[Document, ...]]:
        """All of them, by type and age, and the revision they are of."""
        ...

    async def change_documents(
        self,
        changes: Sequence[Put | Delete],
        audit: Audit | None = None,
        forget_meters: Sequence[str] = (),
    ) -> Changed | Conflict:
        """Make all changes, or none: a version that is no longer current, or a name or a secret
        that is taken, is a conflict. `forget_meters` begin anew, but for what is reserved."""
        ...

    async def read_audit(
        self, limit: int, before: int | None = None
    ) -> tuple[tuple[int, Audit], ...]:
        """The newest entries with their numbers, newest first; only those below `before`."""
        ...

    # Secrets

    async def read_sealed_jobs(self, after: str | None, limit: int) -> SealedJobs:
        """Of the next `limit` jobs by id, beginning after one of them: those that may have a sealed
        secret that is still needed, and by another process than the one that sealed it."""
        ...

    async def reseal_jobs(self, changes: Sequence[Resealed]) -> int:
        """Replace the options of jobs that have not ended, and have the options that were read;
        how many those were. Nothing else of a job changes, and no lease is lost."""
        ...

    async def due_lanes(self) -> Mapping[str, int]:
        """Each lane with claimable jobs, and the instant its earliest is due (0 = at once)."""
        ...

    async def suspects_due_at(self) -> int | None:
        """When the earliest suspect is due; None when there is none."""
        ...

    async def counts(self) -> Mapping[tuple[str, str, State], int]:
        """How many jobs there are per tenant, lane and state, from maintained counters."""
        ...
