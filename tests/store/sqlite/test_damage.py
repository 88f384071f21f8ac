"""Rows as no verb writes them (reliability.md, F26), and guards that only such rows can prove."""

import json
from collections.abc import Awaitable, Callable

import pytest

from hermod.domain.job import AttemptState, Finish, JobView, Lease, State
from hermod.store.api import Store
from tests.store.backends import SqliteDatabase
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    FAILED,
    LANE,
    LEASE_S,
    finished_job,
    queued_job,
    read,
    running_job,
    states,
)

LARGE = b"x" * 2_000_000


def change(database: SqliteDatabase, statement: str) -> None:
    """Change rows behind the store's back, against their CHECKs if need be."""
    connection = database.connect()
    connection.pragma("ignore_check_constraints", 1)
    connection.execute(statement)
    connection.close()


def error_type(view: JobView) -> str:
    """The type of a failed job's error."""
    assert view.state is State.FAILED
    assert view.status_code == 500
    assert view.body is not None
    return json.loads(view.body)["type"]


# A result that is gone

RESULT_LOSSES = {
    "row": (COMPLETED, "DELETE FROM result"),
    "body": (COMPLETED, "UPDATE result SET body = NULL"),
    "last piece": (COMPLETED._replace(body=LARGE), "DELETE FROM payload_chunk WHERE n = 1"),
    "every piece": (COMPLETED._replace(body=LARGE), "DELETE FROM payload_chunk"),
    "half a piece": (
        COMPLETED._replace(body=LARGE),
        "UPDATE payload_chunk SET data = x'00' WHERE n = 0",
    ),
}


@pytest.mark.parametrize(("finish", "loss"), RESULT_LOSSES.values(), ids=RESULT_LOSSES)
async def test_a_job_whose_result_is_gone_reads_as_failed(
    sqlite: SqliteDatabase, finish: Finish, loss: str
) -> None:
    async with sqlite.open() as store:
        damaged = await finished_job(store, sqlite, finish)
        change(sqlite, loss)
        whole = await finished_job(store, sqlite)
        assert error_type(await read(store, damaged)) == "result_lost"
        assert (await read(store, whole)).body == COMPLETED.body


async def test_a_job_whose_result_is_gone_keeps_its_instants(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        job_id = await finished_job(store, sqlite)
        before = await read(store, job_id)
        change(sqlite, "DELETE FROM result")
        after = await read(store, job_id)
        assert after.completed_at == before.completed_at
        assert after.expires_at == before.expires_at


# A request that is gone

REQUEST_LOSSES = {
    "row": (b"{}", "DELETE FROM request"),
    "body": (b"{}", "UPDATE request SET body = NULL"),
    "pieces": (LARGE, "DELETE FROM payload_chunk"),
}


@pytest.mark.parametrize(("body", "loss"), REQUEST_LOSSES.values(), ids=REQUEST_LOSSES)
async def test_a_job_whose_request_is_gone_fails_when_it_is_fetched(
    sqlite: SqliteDatabase, body: bytes, loss: str
) -> None:
    async with sqlite.open() as store:
        damaged = await queued_job(store, sqlite, body=body)
        change(sqlite, loss)
        whole = await queued_job(store, sqlite)
        first, second = await store.claim_jobs(LANE, 2, CLAIM)
        assert first.body is None
        assert await store.read_request(first.lease) is None
        assert error_type(await read(store, damaged)) == "request_lost"
        assert await states(store, damaged) == [AttemptState.UNSENT]
        assert (second.lease.job_id, second.body) == (whole, b'{"model":"openai/gpt-4o"}')


# Guards on the state. The worker's name is gone from every row that does not run, which alone
# refuses a stale lease; these rows have kept it.

WRITES: dict[str, Callable[[Store, Lease], Awaitable[object]]] = {
    "finish_job": lambda store, lease: store.finish_job(lease, COMPLETED),
    "put_back": lambda store, lease: store.put_back(lease, FAILED, 0),
    "begin_attempt": lambda store, lease: store.begin_attempt(lease, FAILED, LEASE_S),
    "renew_leases": lambda store, lease: store.renew_leases([lease], LEASE_S),
    "record_handle": lambda store, lease: store.record_handle(lease, "upstream-1"),
    "read_request": lambda store, lease: store.read_request(lease),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_job_that_does_not_run_takes_no_writes_whatever_its_lease(
    sqlite: SqliteDatabase, write: Callable[[Store, Lease], Awaitable[object]]
) -> None:
    async with sqlite.open() as store:
        lease = await running_job(store, sqlite)
        change(sqlite, "UPDATE job SET state = 'waiting'")
        before = sqlite.dump()
        assert not await write(store, lease)
        assert sqlite.dump() == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE job SET state = 'done'",
        "UPDATE job SET state = 'waiting'",
        "UPDATE job SET state = 'completed'",
        "UPDATE job SET state = 'queued'",
        "UPDATE job SET worker_id = NULL",
        "UPDATE job SET lease_until = NULL",
        "UPDATE job SET completed_at = 1",
        "UPDATE job SET expires_at = 1",
        "UPDATE job SET status_code = 1",
        "UPDATE job SET attempt = -1",
        "UPDATE job SET state = 'queued', worker_id = NULL, lease_until = NULL",
        "UPDATE job SET tenant_id = NULL",
        "UPDATE job SET owner = NULL",
        "UPDATE job SET attempt = 'one'",
        "UPDATE job SET id = x'00'",
        "UPDATE job SET mode = 'later'",
        "UPDATE job SET ttl_s = 0",
        "UPDATE job SET ttl_s = 1e30",
        "UPDATE attempt SET state = 'failed'",
        "UPDATE attempt SET ended_at = 1",
        "UPDATE attempt SET state = 'gone', ended_at = 1",
        "UPDATE job_count SET n = -1",
    ],
)
async def test_the_schema_refuses_rows_that_mean_nothing(
    sqlite: SqliteDatabase, statement: str
) -> None:
    async with sqlite.open() as store:
        await running_job(store, sqlite)
        connection = sqlite.connect()
        with pytest.raises(Exception, match=r"constraint failed|cannot store"):
            connection.execute(statement)
        connection.close()
