"""A second process on the same database, and its end."""

import asyncio
import signal
import sys
from pathlib import Path

from tests.store.backends import SqliteDatabase
from tests.store.jobs import CLAIM, COMPLETED, LANE, queued_job

CHILD = "tests.store.sqlite.second_process"
ROOT = Path(__file__).parents[3]
JOBS = 150


async def child(sqlite: SqliteDatabase, what: str) -> asyncio.subprocess.Process:
    """Start the second process, and wait until it is at work."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        CHILD,
        what,
        str(sqlite.path),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert await line_of(process) == "ready"
    return process


async def line_of(process: asyncio.subprocess.Process) -> str:
    """What it says next; nothing when it has ended."""
    assert process.stdout
    return (await process.stdout.readline()).decode().strip()


async def test_two_processes_share_a_backlog_and_no_job(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        queued = {await queued_job(store, sqlite) for _ in range(JOBS)}
        process = await child(sqlite, "work")
        mine: list[str] = []
        while claimed := await store.claim_jobs(LANE, 2, CLAIM):
            for job in claimed:
                assert await store.finish_job(job.lease, COMPLETED)
                mine.append(job.lease.job_id)
        theirs: list[str] = []
        while line := await line_of(process):
            theirs.append(line)
        assert await process.wait() == 0
        assert len(mine) + len(theirs) == JOBS
        assert set(mine) | set(theirs) == queued
        assert await store.counts() == sqlite.count_jobs()


async def test_a_process_that_is_killed_while_it_writes_leaves_every_job_whole(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        process = await child(sqlite, "submit")
        acknowledged = [await line_of(process) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        while line := await line_of(process):
            acknowledged.append(line)
        await process.wait()
        assert await store.counts() == sqlite.count_jobs()
        await store.release_worker("child", 10_000)
        claimed = await store.claim_jobs(LANE, 10_000, CLAIM)
        assert set(acknowledged) <= {job.lease.job_id for job in claimed}
        for job in claimed:
            assert await store.finish_job(job.lease, COMPLETED)


async def test_a_process_that_is_stopped_in_a_transaction_holds_nobody_up_for_ever(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        process = await child(sqlite, "hold")
        asked = asyncio.ensure_future(queued_job(store, sqlite))
        await asyncio.sleep(0)
        process.kill()
        await process.wait()
        await asked
