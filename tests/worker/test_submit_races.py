"""A submit that is cancelled while its job, already leased to this process, is being committed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hermod.domain.errors import StoreUnavailable
from hermod.domain.job import Claim, Lease, NewJob, State
from hermod.domain.meter import Hold
from hermod.governance.identity import OPEN
from hermod.jobs.intake import Asked, Intake, JobSettings
from hermod.jobs.submit import SubmitJob
from hermod.kinds.registry import KINDS
from hermod.providers.registry import KNOWN_PROVIDERS
from hermod.store.sqlite import SqliteStore
from hermod.worker.worker import Worker
from tests.support.worker_bench import (
    BODY,
    CLOCK,
    NEVER_S,
    Bench,
    bench,
    database_in,
    eventually,
)

(CHAT,) = (kind for kind in KINDS if kind.request_type == "chat_completion")


class Slow(SqliteStore):
    """The real store, whose submits return when the test lets them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, CLOCK)
        self.job_id = ""
        self.committed = asyncio.Event()
        self.may_return = asyncio.Event()
        self.fails = False

    async def submit_job(
        self, job: NewJob, claim: Claim | None = None, pending: Hold | None = None
    ) -> Lease | None:
        assert claim is not None
        self.job_id = job.id
        lease = None if self.fails else await super().submit_job(job, claim, pending)
        self.committed.set()
        await self.may_return.wait()
        if self.fails:
            raise StoreUnavailable("not today")
        return lease


@dataclass
class Cancelled:
    """A submit that was cancelled at its commit, which has not returned yet."""

    bench: Bench
    store: Slow
    worker: Worker


@asynccontextmanager
async def cancelled_submit(folder: Path, *, fails: bool = False) -> AsyncGenerator[Cancelled]:
    store = Slow(database_in(folder))
    store.fails = fails
    async with bench(folder, store) as b:
        worker = await b.worker(upkeep_s=NEVER_S)
        async with asyncio.timeout(20):
            while worker._lanes["mock"].backlog:  # its first look at the store
                await asyncio.sleep(0.005)
        intake = Intake(CLOCK, KNOWN_PROVIDERS, JobSettings(3600, NEVER_S))
        submit = SubmitJob(store, intake, worker)
        submitting = asyncio.ensure_future(submit(CHAT, Asked(BODY), OPEN))
        await store.committed.wait()
        submitting.cancel()
        with suppress(asyncio.CancelledError):
            await submitting
        assert submitting.cancelled()
        yield Cancelled(b, store, worker)


async def test_its_job_runs(tmp_path: Path) -> None:
    async with cancelled_submit(tmp_path) as c:
        c.store.may_return.set()
        assert (await c.bench.ended(c.store.job_id)).state is State.COMPLETED
        await c.worker.drain(5)


async def test_a_drain_that_is_over_waits_for_it_and_gives_its_job_back(tmp_path: Path) -> None:
    async with cancelled_submit(tmp_path) as c:
        draining = asyncio.create_task(c.worker.drain(0, 20))
        await eventually(lambda: c.worker._leaving)
        c.store.may_return.set()
        await draining
        assert (await c.bench.job(c.store.job_id)).state is State.WAITING


async def test_its_slot_is_free_again_when_the_commit_fails(tmp_path: Path) -> None:
    async with cancelled_submit(tmp_path, fails=True) as c:
        assert c.worker._lanes["mock"].taken == 1
        c.store.may_return.set()
        await c.worker.drain(5)
        assert c.worker._lanes["mock"].taken == 0
