"""How long the verbs of a store take: `python -m bench.verbs`, a task as JSON on stdin.

One call after the other, in a process with nothing else to do. Prints milliseconds by verb.
"""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec
import uvloop

from bench.fill import LANE, OWNER, TENANT, Past, fill_postgres, fill_sqlite, job_id
from hermod.clock import SystemClock
from hermod.domain.ids import uuid7
from hermod.domain.job import (
    AttemptState,
    Claim,
    Finish,
    Lease,
    Mode,
    NewJob,
    Principal,
    State,
)
from hermod.store.api import Store
from hermod.store.choose import store_at

BATCH: Final = 200
"""As the upkeep does it."""
CLAIM: Final = 100
"""As the worker does it."""
_ASKER: Final = Principal(TENANT, OWNER)
_HOUR_S: Final = 3600
_OPENED: Final = 5


class Task(msgspec.Struct, forbid_unknown_fields=True):
    """What to do."""

    what: Literal["fill", "measure"]
    store: str
    """An address of PostgreSQL, or the path of a file."""
    past: Past
    calls: int
    """Of each verb."""
    batches: int
    """Of each verb that takes a batch."""
    last: bool = True
    """Whether nobody needs what is left of the lost and the expired."""


Measured = dict[str, list[float]]


async def run(task: Task) -> Measured:
    """Carry out a task; milliseconds by verb."""
    path = None if task.store.startswith("postgresql://") else Path(task.store)
    store = store_at(task.store, path, SystemClock(), synchronous="FULL", watch_s=None)
    measured: Measured = {}
    if task.what == "fill":
        await store.open()
        await store.close()
        await (
            fill_postgres(task.store, task.past) if path is None else fill_sqlite(path, task.past)
        )
        return measured
    for _ in range(_OPENED):
        store = store_at(task.store, path, SystemClock(), synchronous="FULL", watch_s=None)
        await _timed(measured, "open", store.open)
        if len(measured["open"]) < _OPENED:
            await store.close()
    try:
        await _verbs(store, task, measured)
    finally:
        await store.close()
    return measured


async def _timed(measured: Measured, verb: str, call: Callable[[], Awaitable[object]]) -> object:
    begun = time.perf_counter()
    result = await call()
    measured.setdefault(verb, []).append((time.perf_counter() - begun) * 1000)
    return result


async def _verbs(store: Store, task: Task, measured: Measured) -> None:
    past, claim = task.past, Claim("bench", _HOUR_S, _HOUR_S)
    dice = random.Random(1)

    async def time_it(verb: str, call: Callable[[], Awaitable[object]], times: int) -> None:
        for _ in range(times):
            await _timed(measured, verb, call)

    def poll(first: int, last: int) -> Callable[[], Awaitable[object]]:
        return lambda: store.read_job(job_id(dice.randint(first, last)), _ASKER, "chat_completion")

    for verb, call in {
        "poll_finished": poll(past.expired + 1, past.finished),
        # The last of those that are queued: the first are claimed below.
        "poll_queued": poll(past.finished + past.queued - 100, past.finished + past.queued),
        "due_lanes": store.due_lanes,
        "counts": store.counts,
        "submit": lambda: store.submit_job(_new_job(store)),
    }.items():
        await time_it(verb, call, task.calls)
    leases: list[Lease] = []
    for _ in range(task.calls):
        begun = time.perf_counter()
        (job,) = await store.claim_jobs(LANE, 1, claim)
        measured.setdefault("claim_1", []).append((time.perf_counter() - begun) * 1000)
        leases.append(job.lease)
    for lease in leases:
        await _timed(measured, "finish", lambda lease=lease: store.finish_job(lease, _FINISH))
    await time_it("claim_100", lambda: store.claim_jobs(LANE, CLAIM, claim), task.batches)
    await time_it("expire_overdue_none", lambda: store.expire_overdue(BATCH), task.calls)
    for verb, call in {
        "recover": store.recover_lost_leases,
        "delete_expired": store.delete_expired,
    }.items():
        batch = partial(call, BATCH)
        await time_it(f"{verb}_200", batch, task.batches)
        if task.last:
            while await batch():
                pass
            # Nothing left to do, as in most rounds of the upkeep.
            await time_it(f"{verb}_none", batch, task.calls)


_FINISH: Final = Finish(State.COMPLETED, 200, b"{}".ljust(1400), AttemptState.SUCCEEDED)


def _new_job(store: Store) -> NewJob:
    now = store.clock.now()
    return NewJob(
        id=uuid7(now),
        tenant_id=TENANT,
        owner=OWNER,
        kind="chat_completion",
        mode=Mode.ASYNC,
        lane=LANE,
        model="gpt-4o-mini",
        created_at=now,
        queue_deadline_at=now + 86_400_000_000,
        ttl_s=_HOUR_S,
        ttl_requested=False,
        body=b"{}".ljust(200),
    )


def main() -> None:
    """Read the task, do it, print the figures."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.buffer.write(msgspec.json.encode(runner.run(run(task))) + b"\n")


if __name__ == "__main__":
    main()
