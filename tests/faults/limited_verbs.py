"""The verbs that limits, documents and secrets have a part in: nothing is reserved or charged
twice, and no change is half made."""

from collections.abc import Mapping
from typing import Final

from hermod.domain.document import Audit, Changed, Conflict, Delete, Document, Put
from hermod.domain.job import AttemptState, Lease, Metered, Resealed, Retry
from hermod.domain.meter import Hold, Unit, Window
from hermod.store.api import Store
from tests.faults.places import Place
from tests.faults.verbs import (
    COMPLETED,
    LEASE_S,
    NOTHING,
    QUEUED,
    RUNNING,
    SMALL_END,
    US,
    VERBS,
    WAITING,
    Held,
    Start,
    Verb,
    new_job,
)

ENOUGH: Final = 10**9
BUDGET: Final = Hold("budget", Unit.USD_NANOS, 100, ENOUGH, Window(), "VK")
PARALLEL: Final = Hold("parallel", Unit.PARALLEL, 1, ENOUGH, Window(), "VK")
PLACE: Final = Hold("pending", Unit.PENDING, 1, ENOUGH, Window(), "VK")
HOLDS: Final = (BUDGET, PARALLEL)
LEFTOVER: Final = ("leftover", 7)
METERED_END: Final = SMALL_END._replace(held=True, metered=Metered(30, 5, 70))
UNKNOWN: Final = Retry(AttemptState.UNKNOWN, spent=True, error_type="broken", held=True)


def held(*holds: Hold) -> Held:
    """What is stored of these."""
    return frozenset((hold.meter_id, hold.amount) for hold in holds)


async def _running(store: Store, lease_s: float = LEASE_S) -> Start:
    job = new_job()
    lease = await store.submit_job(job, US._replace(lease_s=lease_s))
    assert lease is not None
    return Start(job, lease)


async def _holding(store: Store, lease_s: float = LEASE_S) -> Start:
    start = await _running(store, lease_s)
    assert await store.reserve(start.lease, HOLDS) == ()
    return start


async def _lost_holding(store: Store) -> Start:
    return await _holding(store, lease_s=-1.0)


async def _claimed_with_a_place(store: Store) -> Start:
    job = new_job()
    await store.submit_job(job, pending=PLACE)
    (mine,) = (
        each for each in await store.claim_jobs("openai", 100, US) if each.lease.job_id == job.id
    )
    return Start(job, mine.lease)


async def _nothing(store: Store) -> Start:
    del store
    job = new_job()
    return Start(job, Lease(job.id, 1, US.worker_id))


async def _ended(store: Store) -> Start:
    start = await _running(store)
    assert await store.finish_job(start.lease, SMALL_END)
    return start


def _leave(place: Place, start: Start) -> None:
    place.leave(start.job.id, *LEFTOVER)


# Documents: one is replaced, one made, one deleted, and somebody's name kept with it

BEFORE: Final = [("setting", 1), ("team", 1)]
AFTER: Final = [("customer", 1), ("team", 2)]


def _document(type_: str, start: Start, version: int = 0) -> Put:
    return Put(Document(type_, start.job.id, start.job.id, None, b"{}", version))


async def _with_documents(store: Store) -> Start:
    job = new_job()
    await store.submit_job(job)
    start = Start(job, Lease(job.id, 1, US.worker_id))
    made = await store.change_documents([_document("setting", start), _document("team", start)])
    assert isinstance(made, Changed)
    return start


async def _change(store: Store, start: Start) -> Changed | Conflict:
    changes = (
        _document("customer", start),
        _document("team", start, 1),
        Delete("setting", start.job.id, 1),
    )
    return await store.change_documents(changes, Audit(1, "cli", "team.update", start.job.id))


def _check_documents(place: Place, start: Start, done: bool) -> None:
    mine = place.rows("SELECT type, version FROM document WHERE id = ? ORDER BY type", start.job.id)
    traces = place.rows("SELECT action FROM audit WHERE target = ?", start.job.id)
    found = [tuple(row) for row in mine], len(traces)
    assert found == (AFTER, 1) or (found == (BEFORE, 0) and not done)
    ((changes,),) = place.rows(
        """SELECT (SELECT count(*) FROM document WHERE type = 'team')
            + (SELECT count(*) FROM audit)"""
    )
    ((revision,),) = place.rows("SELECT value FROM meta WHERE name = 'documents_revision'")
    assert int(revision) == changes


# Secrets

WAS: Final = '{"sealed":"before"}'
BECOMES: Final = '{"sealed":"anew"}'


async def _sealed(store: Store) -> Start:
    job = new_job()._replace(options=WAS)
    await store.submit_job(job)
    return Start(job, Lease(job.id, 1, US.worker_id))


def _check_sealed(place: Place, start: Start, done: bool) -> None:
    ((options,),) = place.rows("SELECT options FROM job WHERE id = ?", place.key(start.job.id))
    assert options == BECOMES or (options == WAS and not done)


LIMITED: Final[Mapping[str, Verb]] = {
    "submit with a place": Verb(
        _nothing,
        lambda store, start: store.submit_job(start.job, pending=PLACE),
        lambda result, start: result is None,
        QUEUED,
        makes_job=True,
        held=(NOTHING, held(PLACE)),
    ),
    "reserve": Verb(
        _running,
        lambda store, start: store.reserve(start.lease, HOLDS),
        lambda result, start: result == (),
        RUNNING,
        held=(NOTHING, held(*HOLDS)),
    ),
    "reserve for a job with a place": Verb(
        _claimed_with_a_place,
        lambda store, start: store.reserve(start.lease, HOLDS),
        lambda result, start: result == (),
        RUNNING,
        held=(held(PLACE), held(*HOLDS)),
    ),
    "finish of what is reserved": Verb(
        _holding,
        lambda store, start: store.finish_job(start.lease, METERED_END),
        lambda result, start: result is True,
        COMPLETED,
        held=(held(*HOLDS), NOTHING),
    ),
    "put back of what is reserved": Verb(
        _holding,
        lambda store, start: store.put_back(start.lease, UNKNOWN, 0),
        lambda result, start: result is True,
        WAITING,
        held=(held(*HOLDS), NOTHING),
    ),
    "recover what is reserved": Verb(
        _lost_holding,
        lambda store, start: store.recover_lost_leases(100),
        lambda result, start: result >= 0,
        WAITING,
        held=(held(*HOLDS), NOTHING),
    ),
    "settle leftovers": Verb(
        _ended,
        lambda store, start: store.settle_leftovers(100),
        lambda result, start: result >= 0,
        COMPLETED,
        held=(frozenset({LEFTOVER}), NOTHING),
        stage=_leave,
    ),
    "change documents": Verb(
        _with_documents,
        _change,
        lambda result, start: isinstance(result, Changed),
        QUEUED,
        check=_check_documents,
    ),
    "reseal jobs": Verb(
        _sealed,
        lambda store, start: store.reseal_jobs([Resealed(start.job.id, WAS, BECOMES)]),
        # Where it was not heard of, the second time finds that it is done.
        lambda result, start: result in (0, 1),
        QUEUED,
        check=_check_sealed,
    ),
}

EVERY: Final[Mapping[str, Verb]] = {**VERBS, **LIMITED}
