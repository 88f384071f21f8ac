"""No verb looks at more rows than it touches, however many there are."""

import re
from collections.abc import Iterator
from typing import Final

import pytest

from hermod.store.postgres.connections import SESSION_SETTINGS
from hermod.store.postgres.schema import PACKAGE
from hermod.store.sql import load_queries
from tests.store.backends import PostgresDatabase

QUERIES: Final = load_queries(PACKAGE)

FILL: Final = (
    """
    INSERT INTO hermod.job (id, tenant_id, owner, kind, mode, lane, model, state, priority, run_at,
        attempt, attempts_spent, suspicion, on_unknown, worker_id, lease_until, deadline_at,
        created_at, ttl_s, ttl_requested, completed_at, expires_at, status_code)
    SELECT gen_random_uuid(), 'default', 'vk:1', 'chat_completion', 'async', 'openai', 'm', state,
        0, n, CASE state WHEN 'queued' THEN 0 ELSE 1 END, 0, n % 3, 'retry',
        CASE state WHEN 'running' THEN 'worker-1' END, CASE state WHEN 'running' THEN n END,
        4e15, n, 3600, false, CASE state WHEN 'completed' THEN n END,
        CASE state WHEN 'completed' THEN 4e15 END, CASE state WHEN 'completed' THEN 200 END
    FROM generate_series(1, 40000) AS n, LATERAL (SELECT CASE n % 8 WHEN 0 THEN 'queued'
        WHEN 1 THEN 'waiting' WHEN 2 THEN 'running' ELSE 'completed' END) AS one (state)
    """,
    "INSERT INTO hermod.request SELECT id, 3, 'abc' FROM hermod.job",
    "INSERT INTO hermod.result SELECT id, 1, 3, 'abc' FROM hermod.job WHERE state = 'completed'",
    """
    INSERT INTO hermod.attempt (job_id, n, state, lane, model, worker_id, started_at, ended_at)
    SELECT id, 1, 'succeeded', 'openai', 'm', 'w', 1, 2 FROM hermod.job WHERE state <> 'queued'
    """,
    """
    INSERT INTO hermod.payload_chunk (job_id, part, n, data)
    SELECT id, 0, n, 'abc' FROM hermod.job, generate_series(0, 1) AS n WHERE state = 'queued'
    """,
    "INSERT INTO hermod.meter SELECT 'budget ' || n, 1, n, 0, n FROM generate_series(1, 5000) AS n",
    """
    INSERT INTO hermod.hold (job_id, meter_id, attempt, unit, amount)
    SELECT id, 'budget ' || n, 1, 'usd_nanos', 1 FROM hermod.job, generate_series(1, 2) AS n
    WHERE state = 'running'
    """,
    """
    INSERT INTO hermod.document (type, id, name, secret_hash, body, version)
    SELECT 'virtual_key', n, n, n, '{}', 1 FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO hermod.audit (at, subject, action, target, detail)
    SELECT n, 'cli', 'team.update', n, '' FROM generate_series(1, 5000) AS n
    """,
    "ANALYZE",
)
BY_ID: Final = "job by job_pkey (id)"
ATTEMPT: Final = "attempt by attempt_pkey (job_id, n)"
CHUNKS: Final = "payload_chunk by payload_chunk_pkey (job_id, part, n)"
REQUEST: Final = "request by request_pkey (job_id)"
HOLDS: Final = "hold by hold_pkey (job_id)"
METER: Final = "meter by meter_pkey (id)"
PLANS: Final = {
    "read_job": {BY_ID, "result by result_pkey (job_id)"},
    "read_attempts": {BY_ID, "attempt by attempt_pkey (job_id)"},
    "read_chunks": {CHUNKS},
    "read_request": {BY_ID, REQUEST},
    "drop_chunk": {CHUNKS},
    "claim_jobs": {
        "job by job_waiting (lane, run_at)",
        "job by job_queued (lane)",
        BY_ID,
        REQUEST,
    },
    "claim_suspects": {"job by job_suspect (run_at)", BY_ID, REQUEST},
    "claimed_before": {"job by job_leased (worker_id)", REQUEST},
    "renew_leases": {BY_ID},
    "begin_attempt": {BY_ID, ATTEMPT},
    "put_back": {BY_ID, ATTEMPT},
    "record_handle": {BY_ID, ATTEMPT},
    "finish_job": {BY_ID, ATTEMPT},
    "holds_lease": {BY_ID},
    "cancellable": {BY_ID},
    "what_became": {BY_ID, ATTEMPT},
    "leases_of_worker": {"job by job_leased (worker_id)"},
    "leases_run_out": {"job by job_leased ()"},
    "lose_leases": {BY_ID},
    "overdue": {"job by job_overdue (deadline_at)"},
    "lost_attempts": {ATTEMPT},
    "ordered": {ATTEMPT},
    "end_unleased": {BY_ID},
    "delete_expired": {
        "job by job_expiring (expires_at)",
        BY_ID,
        "payload_chunk by payload_chunk_pkey (job_id)",
        "attempt by attempt_pkey (job_id)",
        REQUEST,
        "result by result_pkey (job_id)",
    },
    "delete_orphans": {
        "payload_chunk by payload_chunk_pkey (job_id)",
        BY_ID,
        "result by result_pkey (job_id)",
        CHUNKS,
    },
    "due_lanes": {
        "job by job_queued ()",
        "job by job_waiting ()",
        "job by job_waiting (lane)",
    },
    "suspects_due_at": {"job by job_suspect ()"},
    "lock_leases": {BY_ID},
    "known_jobs": {BY_ID},
    "lock_meters": {METER},
    "held_by": {HOLDS},
    "give_places_up": {HOLDS, BY_ID},
    "hold": {METER},
    "take_holds": {HOLDS},
    "settle_meters": {METER},
    "outcomes": {ATTEMPT},
    "show_estimates": {BY_ID, ATTEMPT},
    "leftovers": {"hold by hold_pkey ()", BY_ID},
    "read_meters": {METER},
    "empty_meters": {METER},
    "documents_revision": {"meta by meta_pkey (name)"},
    "count_change": {"meta by meta_pkey (name)"},
    "rivals": {
        "document by document_pkey (id)",
        "document by document_name_type_key (name)",
        "document by document_secret_hash_key (secret_hash)",
    },
    "delete_document": {"document by document_pkey (id)"},
    "read_sealed_jobs": {"job by job_pkey (id)"},
    "reseal_jobs": {"job by job_pkey (id)"},
    "read_audit": {"audit by audit_pkey (n)"},
}
OTHERS: Final = {
    "now": "no table",
    "notify": "no table",
    "submit_job": "inserts only",
    "put_chunk": "inserts only",
    "insert_results": "inserts only",
    "add_counts": "inserts only",
    "counts": "only the counters",
    "read_documents": "all of them",
    "put_document": "inserts only",
    "insert_audit": "inserts only",
}
"""Queries without a plan worth a word, and why."""


def accesses(plan: str) -> Iterator[str]:
    """How a plan gets at each of our tables: `job by job_pkey (id)`."""
    steps = re.split(r"\n(?=[^\n]*(?:->|^\S))", plan)
    for step in steps:
        found = re.search(
            r"(Seq Scan|Index (?:Only )?Scan (?:Backward )?using (\w+)|Bitmap Heap Scan) on (\w+)",
            step,
        )
        if found is None or found[3] == "job_count":
            continue
        condition = re.search(r"Index Cond: (.*)", step)
        columns = re.findall(
            r"(?<![\w.)])\(*(\w+) (?:=|<|>|<=|>=|IS) ", condition[1] if condition else ""
        )
        yield f"{found[3]} by {found[2] or found[1]} ({', '.join(dict.fromkeys(columns))})"


HISTORIES: Final = {
    "made": (),
    "analyzed while empty": ("VACUUM ANALYZE",),
    "filled since it was analyzed": ("VACUUM ANALYZE", *FILL[:-1]),
    "filled": FILL,
    "emptied": (
        *FILL,
        "TRUNCATE hermod.job, hermod.request, hermod.result, hermod.attempt, hermod.payload_chunk, "
        "hermod.meter, hermod.hold, hermod.document, hermod.audit",
        "VACUUM ANALYZE",
    ),
}
"""What may have happened to a database before a plan is made."""


@pytest.mark.parametrize("history", HISTORIES)
async def test_every_query_uses_its_index(postgres: PostgresDatabase, history: str) -> None:
    # One plan for all values is made, and kept: it must not depend on what the tables hold now.
    for statement in (*HISTORIES[history], *SESSION_SETTINGS):
        postgres.rows(statement)
    plans: dict[str, set[str]] = {}
    for name in PLANS:
        query = QUERIES[name]
        values = max((int(n) for n in re.findall(r"\$(\d+)", query)), default=0)
        postgres.rows(f"PREPARE {name} AS {query}")
        call = f"({', '.join(['NULL'] * values)})" if values else ""
        rows = postgres.rows(f"EXPLAIN (COSTS OFF) EXECUTE {name}{call}")
        plans[name] = set(accesses("\n".join(line for (line,) in rows)))
    assert plans == PLANS


def test_every_query_is_on_one_of_the_lists() -> None:
    assert PLANS.keys() | OTHERS.keys() == QUERIES.keys()


async def test_no_index_but_the_queues_own_can_lead_to_its_front(
    postgres: PostgresDatabase,
) -> None:
    # Among many old jobs, reading all that is queued through another index, and sorting it, looks
    # cheap to the planner: there must be no such index.
    for statement in (*SESSION_SETTINGS, "DROP INDEX hermod.job_queued, hermod.job_waiting"):
        postgres.rows(statement)
    found = {"claim_jobs": {BY_ID, REQUEST}, "due_lanes": set[str]()}
    for name, others in found.items():
        values = (None, None, "openai", 9, "w", 1, 1, 1) if name == "claim_jobs" else ()
        rows = postgres.rows(f"EXPLAIN (COSTS OFF) {QUERIES[name]}", *values)
        used = set(accesses("\n".join(line for (line,) in rows)))
        assert used - others == {"job by Seq Scan ()"}
