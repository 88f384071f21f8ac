"""What somebody who only looks sees is what there is, the same on every backend."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hermod.clock import SystemClock
from hermod.domain.errors import StoreError
from hermod.domain.ids import uuid7
from hermod.domain.job import OnUnknown
from hermod.domain.meter import Meter
from hermod.store.inspection import (
    Dump,
    Glance,
    Leased,
    Overdue,
    StoredAttempt,
    StoredHold,
    StoredJob,
)
from hermod.store.postgres import inspect as on_postgres
from hermod.store.sqlite import inspect as on_sqlite
from tests.store.backends import SECOND, Database, PostgresDatabase, SqliteDatabase
from tests.store.jobs import (
    CLAIM,
    FAILED,
    LEASE_S,
    QUEUE_WAIT_S,
    UNKNOWN,
    claim_again,
    finished_job,
    new_job,
    queued_job,
    running_job,
    waiting_job,
)
from tests.store.limits import BUDGET, DONE
from tests.support.postgres import Cluster

ANY_ID = "00000000-0000-0000-0000-000000000000"


def tag_of(opening: bytes) -> str:
    """The start of a request."""
    return opening[:5].decode()


async def dump_of(database: Database, since_id: str = ANY_ID) -> Dump:
    """Everything."""
    if isinstance(database, PostgresDatabase):
        return await on_postgres.read_dump(database.url, tag_of, since_id)
    assert isinstance(database, SqliteDatabase)
    return on_sqlite.read_dump(database.path, tag_of)


async def glance_at(database: Database) -> Glance:
    """Leases and deadlines."""
    if isinstance(database, PostgresDatabase):
        return await on_postgres.read_glance(database.url, ANY_ID)
    assert isinstance(database, SqliteDatabase)
    return on_sqlite.read_glance(database.path, SystemClock())


async def test_a_dump_has_every_job_with_its_attempts(database: Database) -> None:
    now = database.clock.now()
    async with database.open() as store:
        queued = await queued_job(store, database, body=b"first", on_unknown=OnUnknown.FAIL)
        running = await running_job(store, database, body=b"other" * 30_000)
        done = await finished_job(store, database)
        dump = await dump_of(database)
    worker = CLAIM.worker_id
    assert {job.job_id: replace(job, owner="") for job in dump.jobs} == {
        queued: StoredJob(queued, "first", "queued", 0, "fail", "openai", 0, owner=""),
        running.job_id: StoredJob(
            running.job_id, "other", "running", 1, "retry", "openai", 0, worker, owner=""
        ),
        done: StoredJob(done, '{"mod', "completed", 1, "retry", "openai", 1, None, now, owner=""),
    }
    assert {job.owner for job in dump.jobs} == {"vk:1"}
    to: dict[str, Any] = {"lane": "openai", "model": "gpt-4o"}
    assert {attempt.job_id: attempt for attempt in dump.attempts} == {
        running.job_id: StoredAttempt(running.job_id, 1, "sending", now, None, None, worker, **to),
        done: StoredAttempt(done, 1, "succeeded", now, now, None, worker, **to),
    }
    assert dump.integrity == "ok"


async def test_a_dump_has_all_attempts_of_a_job(database: Database) -> None:
    async with database.open() as store:
        job_id = await waiting_job(store, database, ended=FAILED)
        await claim_again(store, job_id)
        dump = await dump_of(database)
    assert [(a.n, a.state, a.error_type) for a in dump.attempts] == [
        (1, "failed", FAILED.error_type),
        (2, "sending", None),
    ]


async def test_a_dump_has_the_counters_as_the_store_keeps_them(database: Database) -> None:
    async with database.open() as store:
        for tenant_id in ("one", "two"):
            await queued_job(store, database, tenant_id=tenant_id)
        await queued_job(store, database, lane="groq")
        dump = await dump_of(database)
    assert {key: n for key, n in dump.counters.items() if n} == {
        "openai/queued": 2,
        "groq/queued": 1,
    }


async def test_a_dump_has_what_jobs_and_attempts_cost_and_hold(database: Database) -> None:
    async with database.open() as store:
        done, lost, open_ = [await running_job(store, database) for _ in range(3)]
        for lease in (done, lost, open_):
            assert await store.reserve(lease, [BUDGET]) == ()
        await store.finish_job(done, DONE)
        await store.put_back(lost, UNKNOWN._replace(held=True), 0)
        dump = await dump_of(database)
    now = database.clock.now()
    assert dump.meters == {"budget": Meter(now, 170, 100, 170)}
    assert dump.holds == [StoredHold(open_.job_id, "budget", "usd_nanos", 100)]
    assert {job.job_id: job.cost_usd_nanos for job in dump.jobs} == {
        done.job_id: 70,
        lost.job_id: 100,
        open_.job_id: None,
    }
    assert {a.job_id: (a.cost_usd_nanos, a.estimated) for a in dump.attempts} == {
        done.job_id: (70, False),
        lost.job_id: (100, True),
        open_.job_id: (None, False),
    }


async def test_jobs_from_before_are_only_counted(postgres: PostgresDatabase) -> None:
    database = postgres
    async with database.open() as store:
        await finished_job(store, database)
        database.clock.advance(1)
        since_id = uuid7(database.clock.now())
        database.clock.advance(1)
        mine = await running_job(store, database)
        dump = await dump_of(database, since_id)
    assert [job.job_id for job in dump.jobs] == [mine.job_id]
    assert [attempt.job_id for attempt in dump.attempts] == [mine.job_id]
    assert dump.others == {"openai/completed": 1}


async def test_a_glance_shows_the_leases_that_end_first(database: Database) -> None:
    async with database.open() as store:
        first = await running_job(store, database)
        database.clock.advance(1)
        second = await running_job(store, database)
        seen = await glance_at(database)
        until = database.clock.lease + int(LEASE_S * SECOND)
    assert seen.leased == (
        Leased(first.job_id, 1, until - SECOND),
        Leased(second.job_id, 1, until),
    )


async def test_a_glance_shows_who_waits_past_the_deadline(database: Database) -> None:
    # The clock of these tests stands in the past: for whoever looks now, all deadlines are over.
    async with database.open() as store:
        job = new_job(database)
        await store.submit_job(job)
        await running_job(store, database)
        seen = await glance_at(database)
    due_at = job.created_at + int(QUEUE_WAIT_S * SECOND)
    assert seen.overdue == (Overdue(job.id, "queued", due_at),)


async def test_looking_changes_nothing(database: Database) -> None:
    async with database.open() as store:
        await running_job(store, database)
    before = database.dump()
    await dump_of(database)
    await glance_at(database)
    assert database.dump() == before


async def test_jobs_are_counted_in_a_database_of_any_age(
    postgres: PostgresDatabase, cluster: Cluster
) -> None:
    database = postgres
    async with database.open() as store:
        await finished_job(store, database)
        await queued_job(store, database)
        await running_job(store, database)
    assert await on_postgres.count_present(database.url) == (2, 3)
    assert await on_postgres.count_present(cluster.url()) == (0, 0)


async def test_a_database_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        await on_postgres.count_present("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(StoreError):
        on_sqlite.read_dump(tmp_path / "hermod.db", tag_of)


def test_a_copy_has_what_is_only_in_the_log(tmp_path: Path, sqlite: SqliteDatabase) -> None:
    connection = sqlite.connect()
    try:
        connection.pragma("journal_mode", "wal")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (7)")
        copy = on_sqlite.copy_database(sqlite.path, tmp_path / "copy")
    finally:
        connection.close()
    other = SqliteDatabase(copy.parent).connect()
    try:
        assert other.execute("SELECT x FROM t").fetchall() == [(7,)]
    finally:
        other.close()
