"""Before and after every verb there is a place to fail at, and every backend passes it."""

import asyncio
import inspect
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import pytest

from hermod.domain import failpoint
from hermod.domain.document import Document, Put
from hermod.domain.errors import StoreError, StoreFull
from hermod.domain.failpoint import NAMES, OTHERS, READS, WRITES
from hermod.domain.job import Resealed
from hermod.store.api import Store
from tests.store.backends import SECOND, Database, PostgresDatabase, SqliteDatabase
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    FAILED,
    LANE,
    LEASE_S,
    OWNER,
    QUEUE_WAIT_S,
    TTL_S,
    finished_job,
    new_job,
    queued_job,
    running_job,
    suspect,
)
from tests.store.limits import BUDGET, overlooked
from tests.support.failpoints import armed, counted, steps
from tests.support.postgres import Cluster

VERBS: Final = {
    name
    for name, member in vars(Store).items()
    if inspect.iscoroutinefunction(member) and name not in {"open", "close"}
}
"""Every verb of the protocol. `open` has the points of the migration."""

PIECES: Final = {"put_chunk", "drop_chunk"}
"""What large bodies are written and freed by, a transaction each."""

SEALED: Final = '{"sealed":"text"}'
LARGE: Final = b"x" * (1024 * 1024 + 1)

Act = Callable[[], Awaitable[object]]
Prepare = Callable[[Store, Database], Awaitable[Act]]


async def submit_job(store: Store, database: Database) -> Act:
    job = new_job(database)
    return lambda: store.submit_job(job)


async def put_chunk(store: Store, database: Database) -> Act:
    job = new_job(database, body=LARGE)
    return lambda: store.submit_job(job)


async def drop_chunk(store: Store, database: Database) -> Act:
    job = new_job(database, body=LARGE)

    async def submit_to_a_full_disk() -> None:
        failpoint.enable("submit_job.before=full")
        with suppress(StoreFull):
            await store.submit_job(job)

    return submit_to_a_full_disk


async def read_job(store: Store, database: Database) -> Act:
    job_id = await finished_job(store, database)
    return lambda: store.read_job(job_id, OWNER, None)


async def read_attempts(store: Store, database: Database) -> Act:
    job_id = await finished_job(store, database)
    return lambda: store.read_attempts(job_id, OWNER)


async def claim_jobs(store: Store, database: Database) -> Act:
    await queued_job(store, database)
    return lambda: store.claim_jobs(LANE, 1, CLAIM)


async def claim_suspects(store: Store, database: Database) -> Act:
    await suspect(store, database, losses=2)
    return lambda: store.claim_suspects(2, 9, 1, CLAIM)


async def read_request(store: Store, database: Database) -> Act:
    lease = await running_job(store, database, body=LARGE)
    return lambda: store.read_request(lease)


async def renew_leases(store: Store, database: Database) -> Act:
    lease = await running_job(store, database)
    database.clock.advance(1)
    return lambda: store.renew_leases([lease], LEASE_S)


async def begin_attempt(store: Store, database: Database) -> Act:
    lease = await running_job(store, database)
    return lambda: store.begin_attempt(lease, FAILED, LEASE_S)


async def put_back(store: Store, database: Database) -> Act:
    lease = await running_job(store, database)
    return lambda: store.put_back(lease, FAILED, database.clock.now())


async def reserve(store: Store, database: Database) -> Act:
    lease = await running_job(store, database)
    return lambda: store.reserve(lease, [BUDGET])


async def settle_leftovers(store: Store, database: Database) -> Act:
    lease = await running_job(store, database)
    await store.reserve(lease, [BUDGET])
    with overlooked(database):
        await store.finish_job(lease, COMPLETED)
    return lambda: store.settle_leftovers(9)


async def read_meters(store: Store, database: Database) -> Act:
    return lambda: store.read_meters(["budget"])


async def documents_revision(store: Store, database: Database) -> Act:
    return store.documents_revision


async def read_documents(store: Store, database: Database) -> Act:
    return store.read_documents


async def change_documents(store: Store, database: Database) -> Act:
    new = Put(Document("team", "1", "team", None, b"{}"))
    return lambda: store.change_documents([new])


async def read_audit(store: Store, database: Database) -> Act:
    return lambda: store.read_audit(9)


async def read_sealed_jobs(store: Store, database: Database) -> Act:
    await queued_job(store, database, options=SEALED)
    return lambda: store.read_sealed_jobs(None, 9)


async def reseal_jobs(store: Store, database: Database) -> Act:
    job_id = await queued_job(store, database, options=SEALED)
    return lambda: store.reseal_jobs([Resealed(job_id, SEALED, '{"sealed":"anew"}')])


async def record_handle(store: Store, database: Database) -> Act:
    lease = await running_job(store, database)
    return lambda: store.record_handle(lease, "batch-1")


async def finish_job(store: Store, database: Database) -> Act:
    lease = await running_job(store, database)
    return lambda: store.finish_job(lease, COMPLETED)


async def cancel_job(store: Store, database: Database) -> Act:
    lease = await running_job(store, database)
    return lambda: store.cancel_job(lease.job_id, OWNER, None)


async def release_worker(store: Store, database: Database) -> Act:
    await running_job(store, database)
    return lambda: store.release_worker(CLAIM.worker_id, 9)


async def recover_lost_leases(store: Store, database: Database) -> Act:
    await running_job(store, database)
    database.clock.advance(LEASE_S + 1)
    return lambda: store.recover_lost_leases(9)


async def expire_overdue(store: Store, database: Database) -> Act:
    await queued_job(store, database)
    database.clock.advance(QUEUE_WAIT_S + 1)
    return lambda: store.expire_overdue(9)


async def delete_expired(store: Store, database: Database) -> Act:
    await finished_job(store, database)
    database.clock.advance(TTL_S + 1)
    return lambda: store.delete_expired(9)


async def delete_orphans(store: Store, database: Database) -> Act:
    # Without its lease a finish leaves what it wrote, if the lease is lost in between.
    job = new_job(database, body=LARGE)
    with armed("submit_job.before=raise"), pytest.raises(StoreError):
        await store.submit_job(job)
    too_old_at = database.clock.now() + SECOND
    return lambda: store.delete_orphans(too_old_at, 9)


async def due_lanes(store: Store, database: Database) -> Act:
    await queued_job(store, database)
    return store.due_lanes


async def suspects_due_at(store: Store, database: Database) -> Act:
    return store.suspects_due_at


async def counts(store: Store, database: Database) -> Act:
    await queued_job(store, database)
    return store.counts


SCENES: Final[dict[str, Prepare]] = {
    scene.__name__: scene
    for scene in (
        submit_job,
        put_chunk,
        drop_chunk,
        read_job,
        read_attempts,
        claim_jobs,
        claim_suspects,
        read_request,
        renew_leases,
        begin_attempt,
        put_back,
        reserve,
        settle_leftovers,
        read_meters,
        documents_revision,
        read_documents,
        change_documents,
        read_audit,
        read_sealed_jobs,
        reseal_jobs,
        record_handle,
        finish_job,
        cancel_job,
        release_worker,
        recover_lost_leases,
        expire_overdue,
        delete_expired,
        delete_orphans,
        due_lanes,
        suspects_due_at,
        counts,
    )
}
"""For each verb, what it needs to have something to do."""


def test_every_verb_of_the_store_has_its_failpoints() -> None:
    assert {*WRITES, *READS} == VERBS | PIECES


@pytest.mark.parametrize("verb", sorted(VERBS | PIECES))
async def test_a_verb_passes_each_of_its_failpoints(database: Database, verb: str) -> None:
    async with database.open() as store:
        act = await SCENES[verb](store, database)
        with armed(counted()) as hits:
            await act()
            reached = {name for name, n in hits().items() if n}
        assert reached >= steps(verb)


async def reached_by_opening(database: Database) -> set[str]:
    with armed(counted(OTHERS)) as hits:
        async with database.open():
            return {name for name, n in hits().items() if n}


async def test_making_a_database_passes_the_failpoints_of_the_migration_on_sqlite(
    sqlite: SqliteDatabase,
) -> None:
    assert await reached_by_opening(sqlite) == steps("migration")


async def test_making_a_database_passes_the_failpoints_of_the_migration_on_postgresql(
    cluster: Cluster,
) -> None:
    name = f"test_{uuid.uuid4().hex}"
    cluster.create_database(name)
    try:
        assert await reached_by_opening(PostgresDatabase(cluster, name)) == steps("migration")
    finally:
        cluster.drop_database(name)


@pytest.mark.parametrize("verb", sorted(set(WRITES) - PIECES))
async def test_a_verb_that_fails_has_happened_only_if_it_fails_after_its_commit(
    database: Database, verb: str
) -> None:
    async with database.open() as store:
        act = await SCENES[verb](store, database)
        before = database.dump()
        for step in ("before", "before_commit"):
            with armed(f"{verb}.{step}=raise"), pytest.raises(StoreError):
                await act()
            assert database.dump() == before
        with armed(f"{verb}.after_commit@1=raise") as hits:
            with suppress(StoreError):  # a backend may also find out by itself
                await act()
            assert hits()[f"{verb}.after_commit"]
        assert database.dump() != before


async def test_a_group_whose_commit_is_not_known_is_not_run_again(database: Database) -> None:
    async with database.open() as store:
        jobs = [new_job(database) for _ in range(4)]
        with armed("submit_job.after_commit@1=raise"):
            submits = [store.submit_job(job) for job in jobs]
            results = await asyncio.gather(*submits, return_exceptions=True)
        assert all(result is None or isinstance(result, StoreError) for result in results)
        assert sum(database.count_jobs().values()) == len(jobs)


def test_every_point_belongs_to_a_verb_a_network_step_or_a_named_place() -> None:
    verbs = {name for verb in (*WRITES, *READS) for name in steps(verb)}
    assert {name for name in NAMES if not name.startswith("net.")} - verbs == set(OTHERS)
