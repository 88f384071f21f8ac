"""A store with a past, written straight into its tables: an hour of submits would do the same.

Job `n` has the id `job_id(n)`. The first are finished, of which `expired` are past their TTL; then
come those that are queued, and last those that a dead worker left running, in a lane of their own.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from hermod.store.postgres.driver import connect

LANE: Final = "openai"
LOST_LANE: Final = "anthropic"
TENANT: Final = "default"
OWNER: Final = "vk:1"
REQUEST_BYTES: Final = 200
RESULT_BYTES: Final = 1400
_FAR: Final = 4_000_000_000_000_000
_CONNECT_TIMEOUT_S: Final = 5.0
_STEP: Final = 100_000
"""Jobs per statement."""


class Past(NamedTuple):
    """How many jobs of each kind."""

    finished: int
    expired: int
    queued: int
    lost: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.finished + self.queued + self.lost


def job_id(n: int) -> str:
    """The id of the n-th job: ordered by age, as real ones are."""
    return f"{n // 2**16:08x}-{n % 2**16:04x}-7000-8000-000000000000"


def _states(past: Past) -> str:
    queued_to = past.finished + past.queued
    return (
        f"CASE WHEN n <= {past.finished} THEN 'completed' "
        f"WHEN n <= {queued_to} THEN 'queued' ELSE 'running' END"
    )


_JOB_COLUMNS: Final = """tenant_id, owner, kind, mode, lane, model, state, priority, run_at,
    attempt, attempts_spent, suspicion, on_unknown, worker_id, lease_until, deadline_at, created_at,
    started_at, ttl_s, ttl_requested, completed_at, expires_at, status_code"""
_ATTEMPT_COLUMNS: Final = "n, state, lane, model, key_name, worker_id, started_at, ended_at"


def _job_values(past: Past, false: str) -> str:
    return f"""'{TENANT}', '{OWNER}', 'chat_completion', 'async',
    CASE state WHEN 'running' THEN '{LOST_LANE}' ELSE '{LANE}' END, 'gpt-4o-mini', state, 0, 0,
    CASE state WHEN 'queued' THEN 0 ELSE 1 END, 0, 0, 'retry',
    CASE state WHEN 'running' THEN 'gone' END, CASE state WHEN 'running' THEN 1 END, {_FAR}, n,
    CASE state WHEN 'queued' THEN NULL ELSE n END, 3600, {false},
    CASE state WHEN 'completed' THEN n END,
    CASE state WHEN 'completed' THEN CASE WHEN n <= {past.expired} THEN n ELSE {_FAR} END END,
    CASE state WHEN 'completed' THEN 200 END"""


_ATTEMPT_VALUES: Final = f"""1, CASE state WHEN 'running' THEN 'sending' ELSE 'succeeded' END,
    CASE state WHEN 'running' THEN '{LOST_LANE}' ELSE '{LANE}' END, 'gpt-4o-mini', 'bench', 'gone',
    n, CASE state WHEN 'running' THEN NULL ELSE n END"""


def _counts(past: Past) -> Sequence[tuple[str, str, int]]:
    return (
        (LANE, "completed", past.finished),
        (LANE, "queued", past.queued),
        (LOST_LANE, "running", past.lost),
    )


async def fill_postgres(url: str, past: Past) -> None:
    """Fill an empty, migrated database."""
    numbered = (
        f"(SELECT n, {_states(past)} AS state, (lpad(to_hex(n), 12, '0') || "
        "'70008000000000000000')::uuid AS id FROM generate_series($1::integer, $2) AS n) AS one"
    )
    statements = (
        f"INSERT INTO hermod.job (id, {_JOB_COLUMNS}) "
        f"SELECT id, {_job_values(past, 'false')} FROM {numbered} ORDER BY one.n",
        f"INSERT INTO hermod.request SELECT id, {REQUEST_BYTES}, "
        f"convert_to(repeat('x', {REQUEST_BYTES}), 'UTF8') FROM {numbered}",
        f"INSERT INTO hermod.result SELECT id, 1, {RESULT_BYTES}, "
        f"convert_to(repeat('x', {RESULT_BYTES}), 'UTF8') FROM {numbered} "
        "WHERE state = 'completed'",
        f"INSERT INTO hermod.attempt (job_id, {_ATTEMPT_COLUMNS}) "
        f"SELECT id, {_ATTEMPT_VALUES} FROM {numbered} WHERE state <> 'queued'",
    )
    connection = await connect(url, _CONNECT_TIMEOUT_S)
    try:
        for first in range(1, past.total + 1, _STEP):
            last = min(first + _STEP - 1, past.total)
            for statement in statements:
                await connection.execute(statement, first, last)
        for lane, state, n in _counts(past):
            await connection.execute(
                f"INSERT INTO hermod.job_count VALUES ('{TENANT}', $1, $2, 0, $3)", lane, state, n
            )
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def fill_sqlite(path: Path, past: Past) -> None:
    """Fill an empty, migrated file."""
    await asyncio.to_thread(_fill_sqlite, path, past)


def _fill_sqlite(path: Path, past: Past) -> None:
    numbered = (
        "(WITH RECURSIVE every (n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM every WHERE n < ?2) "
        f"SELECT n, {_states(past)} AS state FROM every)"
    )
    statements = (
        f"INSERT INTO job (seq, id, {_JOB_COLUMNS}) "
        f"SELECT n, unhex(printf('%012x', n) || '70008000000000000000'), {_job_values(past, '0')} "
        f"FROM {numbered}",
        f"INSERT INTO request SELECT n, {REQUEST_BYTES}, zeroblob({REQUEST_BYTES}) FROM {numbered}",
        f"INSERT INTO result SELECT n, 1, {RESULT_BYTES}, zeroblob({RESULT_BYTES}) "
        f"FROM {numbered} WHERE state = 'completed'",
        f"INSERT INTO attempt (seq, {_ATTEMPT_COLUMNS}) SELECT n, {_ATTEMPT_VALUES} "
        f"FROM {numbered} WHERE state <> 'queued'",
    )
    connection: Any = apsw.Connection(str(path))
    try:
        for first in range(1, past.total + 1, _STEP):
            last = min(first + _STEP - 1, past.total)
            with connection:
                for statement in statements:
                    connection.execute(statement, (first, last))
        for lane, state, n in _counts(past):
            connection.execute(
                f"INSERT INTO job_count VALUES ('{TENANT}', ?, ?, ?)", (lane, state, n)
            )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
