"""A second process on the same database, and its end."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.store.backends import SqliteDatabase
from tests.store.jobs import CLAIM, COMPLETED, LANE, queued_job

CHILD = "tests.store.sqlite.second_process"
ROOT = Path(__file__).parents[3]
JOBS = 150


@asynccontextmanager
async def child(sqlite: SqliteDatabase, what: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The second process, once it is at work; gone at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        CHILD,
        what,
        str(sqlite.path),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert await line_of(process) == "ready"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line_of(process: asyncio.subprocess.Process) -> str:
    """What it says next; nothing when it has ended."""
    assert process.stdout
    return (await process.stdout.readline()).decode().strip()


async def test_two_processes_share_a_backlog_and_no_job(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        queued = {await queued_job(store, sqlite) for _ in range(JOBS)}
        mine: list[str] = []
        theirs: list[str] = []
        async with child(sqlite, "work") as process:
            while claimed := await store.claim_jobs(LANE, 2, CLAIM):
                for job in claimed:
                    assert await store.finish_job(job.lease, COMPLETED)
                    mine.append(job.lease.job_id)
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
        async with child(sqlite, "submit") as process:
            acknowledged = [await line_of(process) for _ in range(50)]
            process.kill()
            while line := await line_of(process):
                acknowledged.append(line)
        assert await store.counts() == sqlite.count_jobs()
        await store.release_worker("child", 10_000)
        claimed = await store.claim_jobs(LANE, 10_000, CLAIM)
        assert set(acknowledged) <= {job.lease.job_id for job in claimed}
        for job in claimed:
            assert await store.finish_job(job.lease, COMPLETED)


async def test_a_process_that_dies_in_a_transaction_holds_nobody_up_for_ever(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        async with child(sqlite, "hold"):
            asked = asyncio.ensure_future(queued_job(store, sqlite))
            await asyncio.sleep(0)
        await asked
