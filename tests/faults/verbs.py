"""Every verb that writes, from a fresh start, and what must be true whatever interrupts it."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from hermod.clock import SystemClock
from hermod.domain.ids import uuid7
from hermod.domain.job import (
    AttemptState,
    Claim,
    Finish,
    JobView,
    Lease,
    Mode,
    NewJob,
    Principal,
    Retry,
    State,
)
from hermod.store.api import Store
from tests.faults.checking import Dump
from tests.faults.places import Place

WHO: Final = Principal("default", "open")
LEASE_S: Final = 30.0
US: Final = Claim("a" * 32, LEASE_S, 3_600)
OTHERS: Final = Claim("b" * 32, LEASE_S, 3_600)
LARGE: Final = b"x" * 2_500_000
SMALL_END: Final = Finish(State.COMPLETED, 200, b'{"answer":42}', AttemptState.SUCCEEDED)
LARGE_END: Final = SMALL_END._replace(body=LARGE)
MONEY: Final = frozenset({"budget", "leftover"})
"""The meters that jobs are paid from."""
FAILED: Final = Retry(AttemptState.FAILED, spent=True, error_type="server_error")


def new_job(body: bytes = b'{"model":"openai/any"}', *, overdue: bool = False) -> NewJob:
    """A job of now."""
    now = SystemClock().now()
    return NewJob(
        id=uuid7(now),
        tenant_id=WHO.tenant_id,
        owner=WHO.owner,
        kind="chat_completion",
        mode=Mode.ASYNC,
        lane="openai",
        model="any",
        created_at=now,
        queue_deadline_at=now - 1 if overdue else now + 3_600_000_000,
        ttl_s=600,
        ttl_requested=False,
        body=body,
    )


@asynccontextmanager
async def opened(store: Store) -> AsyncGenerator[Store]:
    """A store that is closed at the end, whatever happens."""
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Start(NamedTuple):
    """What a verb is about to work on."""

    job: NewJob
    lease: Lease


Prepare = Callable[[Store], Awaitable[Start]]
Act = Callable[[Store, Start], Awaitable[Any]]
Proof = Callable[[Any, Start], bool]
Change = Callable[[Place, Start], None]
Check = Callable[[Place, Start, bool], None]
Held = frozenset[tuple[str, int]]
"""Of which meters a job holds how much."""
NOTHING: Final[Held] = frozenset()


def no_change(place: Place, start: Start) -> None:
    """Nothing."""
    del place, start


def no_check(place: Place, start: Start, done: bool) -> None:
    """Nothing beyond what is looked at for every verb."""
    del place, start, done


class Verb(NamedTuple):
    """A verb, what it needs, and the only results that may come of it."""

    prepare: Prepare
    act: Act
    is_right: Proof
    states: frozenset[State]
    """In which the job may be once the verb has said that it is done."""
    makes_job: bool = False
    held: tuple[Held, Held] = (NOTHING, NOTHING)
    """What the job holds before it and after it."""
    stage: Change = no_change
    """What no verb can prepare."""
    check: Check = no_check

    async def begin(self, store: Store, place: Place) -> Start:
        """Everything that it needs."""
        start = await self.prepare(store)
        self.stage(place, start)
        return start


def _nothing(body: bytes = b'{"model":"openai/any"}') -> Prepare:
    async def prepare(store: Store) -> Start:
        del store
        job = new_job(body)
        return Start(job, Lease(job.id, 1, US.worker_id))

    return prepare


async def _queued(store: Store) -> Start:
    job = new_job()
    await store.submit_job(job)
    return Start(job, Lease(job.id, 1, US.worker_id))


async def _overdue(store: Store) -> Start:
    job = new_job(overdue=True)
    await store.submit_job(job)
    return Start(job, Lease(job.id, 0, US.worker_id))


async def _running(store: Store, lease_s: float = LEASE_S) -> Start:
    job = new_job()
    lease = await store.submit_job(job, US._replace(lease_s=lease_s))
    assert lease is not None
    return Start(job, lease)


async def _lost(store: Store) -> Start:
    return await _running(store, lease_s=-1.0)


async def _cancel(store: Store, start: Start) -> JobView | None:
    return await store.cancel_job(start.job.id, WHO, start.job.kind)


def _cancelled(result: Any, start: Start) -> bool:
    return (result.id, result.state) == (start.job.id, State.CANCELLED)


def _claimed(result: Any, start: Start) -> bool:
    return [job.lease for job in result] == [start.lease]


def _next(lease: Lease) -> Lease:
    return lease._replace(attempt=lease.attempt + 1)


QUEUED: Final = frozenset({State.QUEUED})
RUNNING: Final = frozenset({State.RUNNING})
COMPLETED: Final = frozenset({State.COMPLETED})
WAITING: Final = frozenset({State.WAITING})
CANCELLED: Final = frozenset({State.CANCELLED})

VERBS: Final[Mapping[str, Verb]] = {
    "submit": Verb(
        _nothing(),
        lambda store, start: store.submit_job(start.job),
        lambda result, start: result is None,
        QUEUED,
        makes_job=True,
    ),
    "submit with claim": Verb(
        _nothing(),
        lambda store, start: store.submit_job(start.job, US),
        lambda result, start: result == start.lease,
        RUNNING,
        makes_job=True,
    ),
    "submit of a large body": Verb(
        _nothing(LARGE),
        lambda store, start: store.submit_job(start.job),
        lambda result, start: result is None,
        QUEUED,
        makes_job=True,
    ),
    "claim": Verb(
        _queued, lambda store, start: store.claim_jobs("openai", 10, US), _claimed, RUNNING
    ),
    "renew": Verb(
        _running,
        lambda store, start: store.renew_leases([start.lease], LEASE_S),
        lambda result, start: result == {start.job.id},
        RUNNING,
    ),
    "begin attempt": Verb(
        _running,
        lambda store, start: store.begin_attempt(start.lease, FAILED, LEASE_S),
        lambda result, start: result == _next(start.lease),
        RUNNING,
    ),
    "put back": Verb(
        _running,
        lambda store, start: store.put_back(start.lease, FAILED, 0),
        lambda result, start: result is True,
        WAITING,
    ),
    "finish": Verb(
        _running,
        lambda store, start: store.finish_job(start.lease, SMALL_END),
        lambda result, start: result is True,
        COMPLETED,
    ),
    "finish with a large body": Verb(
        _running,
        lambda store, start: store.finish_job(start.lease, LARGE_END),
        lambda result, start: result is True,
        COMPLETED,
    ),
    "cancel of a queued job": Verb(_queued, _cancel, _cancelled, CANCELLED),
    "cancel of a running job": Verb(_running, _cancel, _cancelled, CANCELLED),
    "release worker": Verb(
        _running,
        lambda store, start: store.release_worker(US.worker_id, 10),
        lambda result, start: result >= 0,
        WAITING,
    ),
    "recover": Verb(
        _lost,
        lambda store, start: store.recover_lost_leases(10),
        lambda result, start: result >= 0,
        WAITING,
    ),
    "expire": Verb(
        _overdue,
        lambda store, start: store.expire_overdue(10),
        lambda result, start: result >= 0,
        frozenset({State.EXPIRED}),
    ),
}


async def check_job(place: Place, start: Start, verb: Verb, *, done: bool) -> None:
    """One job at most, in a state that the verb may have left, with everything that belongs to it.

    `done`: the verb has said that it did what it was asked for.
    """
    stored = await place.stored()
    mine = [job for job in stored.jobs if job.job_id == start.job.id]
    assert len(mine) == 1 or (not mine and not done and verb.makes_job)
    for job in mine:
        attempts = [a.n for a in stored.attempts if a.job_id == job.job_id]
        assert sorted(attempts) == list(range(1, job.attempt + 1))
        assert not done or State(job.state) in verb.states
        assert job.results == (1 if job.completed_at is not None else 0)
    counted: dict[str, int] = {}
    for job in stored.jobs:
        counted[f"{job.lane}/{job.state}"] = counted.get(f"{job.lane}/{job.state}", 0) + 1
    assert {key: n for key, n in stored.counters.items() if n} == counted
    before, after = verb.held
    held = frozenset(
        (each.meter_id, each.amount) for each in stored.holds if each.job_id == start.job.id
    )
    made = bool(mine) and verb.makes_job
    assert held == after or (held == before and not done and not made)
    check_books(stored)
    verb.check(place, start, done)


def check_books(stored: Dump) -> None:
    """What is reserved is what jobs hold, and what was paid is what they cost."""
    held: Counter[str] = Counter()
    for each in stored.holds:
        held[each.meter_id] += each.amount
    assert {id_: meter.reserved for id_, meter in stored.meters.items() if meter.reserved} == held
    paid = sum(meter.total for id_, meter in stored.meters.items() if id_ in MONEY)
    assert paid == sum(job.cost_usd_nanos or 0 for job in stored.jobs)
