"""A bench for workers: a real store, the mock provider, and jobs to run."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hermod.calls.call import Caller
from hermod.calls.spec import CallSettings
from hermod.clock import SystemClock
from hermod.domain.clock import Clock
from hermod.domain.governance import Entity
from hermod.domain.ids import uuid7
from hermod.domain.job import (
    IN_HAND_BYTES,
    AttemptState,
    AttemptView,
    Claim,
    JobView,
    Mode,
    NewJob,
    OnUnknown,
    Principal,
    State,
)
from hermod.domain.provider import ProviderSettings
from hermod.domain.retry import RetryPolicy
from hermod.governance.book import Rules
from hermod.governance.governor import Governor
from hermod.net.client import HttpClient
from hermod.prices.prices import Prices
from hermod.store.sqlite import SqliteStore
from hermod.worker.identity import Identity
from hermod.worker.lanes import Room
from hermod.worker.run import Runner
from hermod.worker.running import Phase
from hermod.worker.settings import WorkerSettings
from hermod.worker.steward import Steward
from hermod.worker.worker import Worker

ME: Final = Principal("default", "open")
ALL: Final = Principal("default", "admin:test", is_admin=True)
CLOCK: Final = SystemClock()
NEVER_S: Final = 3600.0
BODY: Final = b'{"model":"mock/echo","messages":[{"role":"user","content":"hi"}]}'
LARGE_BODY: Final = BODY[:-1] + b',"x":"' + b"x" * IN_HAND_BYTES + b'"}'
"""Too large to be handed over with the claim."""
_ROOM_BYTES: Final = len(LARGE_BODY) * 3 // 2
"""Room for one large body, and not for two."""


@dataclass
class Bench:
    """A store, and whatever workers a test starts on it."""

    store: SqliteStore
    folder: Path
    client: HttpClient
    clock: Clock
    prices: Prices | None = None

    async def worker(
        self,
        *,
        max_retries: int = 3,
        backoff_s: float = 0.01,
        slots: int = 100,
        lane_slots: dict[str, int] | None = None,
        lease_s: float = NEVER_S,
        renew_s: float = NEVER_S,
        upkeep_s: float = 0.05,
        job_deadline_s: float = NEVER_S,
        claims: bool = True,
        callers_max: int = 1000,
        providers: Mapping[str, ProviderSettings] | None = None,
        room: Room | None = None,
        holds_back: bool = False,
        governs: Sequence[Entity] | None = None,
        rules: Rules | None = None,
        queue_wait_s: float = NEVER_S,
    ) -> Worker:
        """A worker that has begun; `holds_back`: it heeds what its calls learn of upstreams.

        `governs`: the keys and limits that its calls are judged by.
        """
        policy = RetryPolicy(max_retries, backoff_s, 5.0)
        settings = CallSettings(True, NEVER_S, policy, mock=True)
        caller = Caller(providers or {}, self.client, self.clock, settings, prices=self.prices)
        admission = None
        if governs is not None:
            governor = Governor(self.store, governs, rules)
            await governor.open()
            admission = Steward(self.store, governor, caller, self.clock, queue_wait_s)
        made = Worker(
            self.store,
            Runner(self.store, caller, self.clock, lease_s, _ROOM_BYTES, admission=admission),
            self.clock,
            Identity(self.folder),
            WorkerSettings(
                lease_s=lease_s,
                renew_s=renew_s,
                upkeep_s=upkeep_s,
                job_deadline_s=job_deadline_s,
                slots=slots,
                lane_slots=lane_slots or {},
                claims=claims,
                callers_max=callers_max,
            ),
            room=caller if holds_back else room,
        )
        await made.open()
        return made

    async def submit(
        self,
        model: str = "echo",
        *,
        lane: str = "mock",
        body: bytes = BODY,
        on_unknown: OnUnknown = OnUnknown.RETRY,
        claim: Claim | None = None,
        queue_wait_s: float = NEVER_S,
        owner: str = ME.owner,
    ) -> str:
        """The id of a job that is queued, or running on whoever claims it."""
        now = self.clock.now()
        job = NewJob(
            id=uuid7(now),
            tenant_id=ME.tenant_id,
            owner=owner,
            kind="chat_completion",
            mode=Mode.ASYNC,
            lane=lane,
            model=model,
            created_at=now,
            queue_deadline_at=now + int(queue_wait_s * 1_000_000),
            ttl_s=3600,
            ttl_requested=False,
            body=body,
            on_unknown=on_unknown,
        )
        await self.store.submit_job(job, claim)
        return job.id

    async def job(self, job_id: str) -> JobView:
        view = await self.store.read_job(job_id, ALL, None)
        assert view is not None
        return view

    async def attempts(self, job_id: str) -> tuple[AttemptView, ...]:
        return await self.store.read_attempts(job_id, ALL)

    async def until(self, job_id: str, holds: Callable[[JobView], bool]) -> JobView:
        async with asyncio.timeout(20):
            while not holds(view := await self.job(job_id)):
                await asyncio.sleep(0.005)
        return view

    async def ended(self, job_id: str) -> JobView:
        return await self.until(job_id, lambda view: view.completed_at is not None)

    async def in_state(self, job_id: str, state: State) -> JobView:
        return await self.until(job_id, lambda view: view.state is state)


@asynccontextmanager
async def bench(
    folder: Path, store: SqliteStore | None = None, clock: Clock = CLOCK
) -> AsyncGenerator[Bench]:
    """A bench on `store`, or on a new one; both are of `database_in(folder)`."""
    store = store or SqliteStore(database_in(folder), CLOCK)
    await store.open()
    client = HttpClient()
    try:
        yield Bench(store, folder / "workers", client, clock)
    finally:
        await client.close()
        await store.close()


def database_in(folder: Path) -> Path:
    """Where a bench has its database."""
    return folder / "hermod.db"


async def eventually(holds: Callable[[], object]) -> None:
    """Returns as soon as it holds. Raises TimeoutError when it does not for long."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


def phases(worker: Worker) -> list[Phase]:
    """What its runs are doing, in the order in which they began."""
    return [run.phase for run in worker._runs.values()]


def states(attempts: tuple[AttemptView, ...]) -> list[AttemptState]:
    return [attempt.state for attempt in attempts]
