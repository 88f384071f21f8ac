"""No verb looks at more rows than it touches, however many there are."""

import re
from pathlib import Path
from typing import Any, cast

import pytest

from hermod.domain.ids import uuid7
from hermod.domain.job import Claim, Lease, State
from hermod.store.payloads import id_bytes
from hermod.store.sql import load_queries
from hermod.store.sqlite import SqliteStore, verbs
from hermod.store.sqlite.driver import Connection
from hermod.store.sqlite.schema import PACKAGE, connect, migrate
from hermod.store.sqlite.transaction import Transaction
from tests.store.backends import SECOND, SqliteDatabase
from tests.store.jobs import CLAIM, COMPLETED, LANE, OWNER, finished_job, new_job, running_job
from tests.store.sqlite.underneath import connection_of

QUERIES = load_queries(PACKAGE)
BY_ID = "SEARCH job USING INDEX sqlite_autoindex_job_1 (id=?)"
BY_SEQ = "SEARCH job USING INTEGER PRIMARY KEY (rowid=?)"
PLANS = {
    "next_seq": ["SEARCH job"],
    "claim_waiting": [BY_SEQ, "SEARCH job USING INDEX job_waiting (lane=? AND run_at<?)"],
    "claim_queued": [BY_SEQ, "SEARCH job USING COVERING INDEX job_queued (lane=?)"],
    "claim_suspects": [BY_SEQ, "SEARCH job USING INDEX job_suspect (run_at<?)"],
    "read_job": [BY_ID, "SEARCH result USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN"],
    "read_attempts": [BY_ID, "SEARCH attempt USING PRIMARY KEY (seq=?)"],
    "read_request": [BY_ID, "SEARCH request USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN"],
    "holds_lease": [BY_ID],
    "renew_lease": [BY_ID],
    "next_attempt": [BY_ID],
    "put_back": [BY_ID],
    "leased": [BY_ID],
    "holds": ["SEARCH hold USING PRIMARY KEY (seq=?)"],
    "read_audit": ["SEARCH audit USING INTEGER PRIMARY KEY (rowid<?)"],
    "read_sealed_jobs": ["SEARCH job USING INDEX sqlite_autoindex_job_1 (id>?)"],
    "reseal_job": [BY_ID],
    "finish_job": [BY_ID],
    "cancellable": [BY_ID],
    "record_handle": ["SEARCH attempt USING PRIMARY KEY (seq=? AND n=?)", BY_ID],
    "end_attempt": ["SEARCH attempt USING PRIMARY KEY (seq=? AND n=?)"],
    "leases_run_out": ["SEARCH job USING INDEX job_leased (lease_until<?)"],
    "leases_of_worker": ["SCAN job USING INDEX job_leased"],
    "overdue": ["SEARCH job USING INDEX job_overdue (deadline_at<?)"],
    "expired": ["SEARCH job USING INDEX job_expiring (expires_at>? AND expires_at<?)"],
    "waiting_due_at": ["SEARCH job USING INDEX job_waiting (lane=?)"],
    "suspects_due_at": ["SEARCH job USING INDEX job_suspect"],
    "delete_chunks": [
        "SEARCH payload_chunk USING INDEX sqlite_autoindex_payload_chunk_1 (job_id=?)"
    ],
}
SCANNED = {
    "leases_of_worker": "only what runs",
    "forget_leases": "only what runs",
    "queued_lanes": "only the counters",
    "waiting_lanes": "only the counters",
    "counts": "only the counters",
    "leftovers": "what is held, off the loop and not in the writer",
    "read_documents": "all of them is what is asked for",
}


def places_of(query: str) -> int:
    """How many values a query takes: a `?` is one after the last, and `?3` the third."""
    last = 0
    for number in re.findall(r"\?(\d*)", query):
        last = max(last, int(number)) if number else last + 1
    return last


def plan_of(connection: Connection, name: str) -> list[str]:
    """The steps of a query, without the headings of its parts."""
    query = QUERIES[name]
    names = re.findall(r"(?<!\w):(\w+)", query)
    values = dict.fromkeys(names) if names else (None,) * places_of(query)
    rows = connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
    return [row[3] for row in rows if not row[3].endswith(("SUBQUERY 1", "FOR DISTINCT"))]


@pytest.fixture
def empty(tmp_path: Path) -> Connection:
    """A new database, as the writer opens it."""
    connection = connect(tmp_path / "hermod.db")
    migrate(connection)
    return connection


@pytest.mark.parametrize(("name", "plan"), PLANS.items(), ids=PLANS)
def test_a_query_uses_its_index(empty: Connection, name: str, plan: list[str]) -> None:
    assert plan_of(empty, name) == plan
    empty.close()


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_scans_nothing_that_grows(empty: Connection, name: str) -> None:
    scans = [step for step in plan_of(empty, name) if step.startswith("SCAN")]
    assert scans == [] or name in SCANNED
    assert not any("TEMP B-TREE" in step for step in plan_of(empty, name))
    empty.close()


# 100,000 queued jobs

BACKLOG = 100_000
MAY_GROW = 2.0
"""How much more work a verb may do above an empty queue: its trees are deeper, not more."""


def submit_backlog(store: SqliteStore, sqlite: SqliteDatabase, n: int) -> None:
    """Queue that many jobs in one transaction."""
    template = new_job(sqlite)
    raw_ids = [id_bytes(uuid7(sqlite.clock.now() + 1_000 * n)) for n in range(n)]
    connection = connection_of(store)
    connection.execute("BEGIN IMMEDIATE")
    tx = Transaction(connection, QUERIES, sqlite.clock.now(), sqlite.clock.lease)
    verbs.submit_job(tx, [verbs.Submit(template, raw_id, None) for raw_id in raw_ids])
    tx.flush_counts()
    connection.execute("COMMIT")


class Steps:
    """Counts the instructions that SQLite's machine executes, in tens."""

    def __init__(self, connection: Connection) -> None:
        self._n = 0
        cast("Any", connection).set_progress_handler(self._step, 10)

    def _step(self) -> bool:
        self._n += 1
        return False

    def taken(self) -> int:
        """How many since this was last asked."""
        n, self._n = self._n, 0
        return n


async def work_of_every_verb(store: SqliteStore, sqlite: SqliteDatabase) -> dict[str, int]:
    """How much work each verb is: of the writer, and of the reads."""
    writing, reading = Steps(connection_of(store)), Steps(store._reads.connection)
    work: dict[str, int] = {}

    def note(verb: str) -> None:
        work[verb] = writing.taken() + reading.taken()

    lease = await running_job(store, sqlite)
    note("submit with claim")
    await store.submit_job(new_job(sqlite))
    note("submit")
    claimed = await store.claim_jobs(LANE, 10, CLAIM)
    note("claim")
    await store.claim_suspects(2, 9, 10, CLAIM)
    note("claim suspects")
    await store.renew_leases([job.lease for job in claimed], 30)
    note("renew")
    await store.read_job(lease.job_id, OWNER, None)
    note("poll")
    await store.finish_job(lease, COMPLETED)
    note("finish")
    await store.cancel_job(claimed[0].lease.job_id, OWNER, None)
    note("cancel")
    await store.due_lanes()
    note("due lanes")
    await store.counts()
    note("counts")
    await store.expire_overdue(10)
    note("expire")
    await store.recover_lost_leases(10)
    note("recover")
    await store.release_worker("nobody", 10)
    note("release")
    await store.delete_expired(10)
    note("delete")
    await store.delete_orphans(sqlite.clock.now(), 10)
    note("delete orphans")
    return work


async def test_no_verb_does_more_above_a_backlog(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        submit_backlog(store, sqlite, 20)
        alone = await work_of_every_verb(store, sqlite)
        submit_backlog(store, sqlite, BACKLOG)
        above = await work_of_every_verb(store, sqlite)
        assert {verb: n for verb, n in above.items() if n > MAY_GROW * alone[verb] + 10} == {}


async def test_counters_are_right_above_a_backlog(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        submit_backlog(store, sqlite, BACKLOG)
        await running_job(store, sqlite)
        await finished_job(store, sqlite)
        await store.claim_jobs(LANE, 100, CLAIM)
        assert (
            await store.counts()
            == sqlite.count_jobs()
            == {
                ("default", LANE, State.QUEUED): BACKLOG - 100,
                ("default", LANE, State.RUNNING): 101,
                ("default", LANE, State.COMPLETED): 1,
            }
        )


async def test_plans_are_the_same_above_a_backlog_that_was_analysed(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        submit_backlog(store, sqlite, BACKLOG)
        connection_of(store).execute("ANALYZE")
    connection = connect(sqlite.path)
    assert {name: plan_of(connection, name) for name in PLANS} == PLANS
    connection.close()


async def test_a_claim_passes_over_the_overdue_in_the_index_alone(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        submit_backlog(store, sqlite, 10_000)
        sqlite.clock.wall += 86_400 * SECOND + 1
        job = new_job(sqlite)
        await store.submit_job(job)
        (claimed,) = await store.claim_jobs(LANE, 10, Claim("worker-1", 30, 60))
        assert claimed.lease == Lease(job.id, 1, "worker-1")
