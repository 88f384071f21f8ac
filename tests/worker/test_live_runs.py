"""Jobs whose callers wait: what is recorded when the caller leaves or the store fails."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from hermod.domain.ids import uuid7
from hermod.domain.job import AttemptState, Mode, NewJob, OnUnknown, State
from hermod.domain.live import Live
from hermod.domain.outcome import Answer, Fault
from hermod.jobs.intake import stored
from hermod.worker.running import Phase
from hermod.worker.worker import Worker
from tests.support.failpoints import armed
from tests.support.worker_bench import BODY, ME, NEVER_S, Bench, bench, eventually, phases
from tests.worker.test_unanswered import deaf_upstream, provider


@asynccontextmanager
async def called(
    b: Bench, worker: Worker, model: str = "echo", lane: str = "mock"
) -> AsyncGenerator[tuple[str, Live]]:
    """A call whose caller waits, begun on this worker."""
    now = b.clock.now()
    job = NewJob(
        id=uuid7(now),
        tenant_id=ME.tenant_id,
        owner=ME.owner,
        kind="chat_completion",
        mode=Mode.SYNC,
        lane=lane,
        model=model,
        created_at=now,
        queue_deadline_at=now + int(NEVER_S * 1_000_000),
        ttl_s=3600,
        ttl_requested=False,
        body=BODY,
        on_unknown=OnUnknown.FAIL,
    )
    claim = await worker.wait_for_slot(lane, NEVER_S)
    assert claim is not None
    live = Live()
    await worker.carry(lane, stored(b.store, job, claim), live)
    yield job.id, live
    await worker.drain(0)


async def test_a_caller_who_leaves_between_two_attempts_leaves_the_first_as_it_ended(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b, deaf_upstream() as (address, _):
        patient = replace(
            provider(address), retry_backoff_initial_ms=4000, retry_backoff_max_ms=4000
        )
        worker = await b.worker(providers={"openai": patient})
        async with called(b, worker, "m", "openai") as (job_id, live):
            await eventually(lambda: phases(worker) == [Phase.WAITING])
            worker.caller_gone(job_id)
            assert isinstance(await live.outcome(), Fault)
            assert (await b.ended(job_id)).state is State.CANCELLED
            (attempt,) = await b.attempts(job_id)
            assert (attempt.state, attempt.key_name) == (AttemptState.UNKNOWN, "main")
            assert attempt.status_code != 499


async def test_an_answer_is_recorded_although_its_caller_leaves_while_the_store_fails(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        async with called(b, worker) as (job_id, live):
            with armed("finish_job.before=raise") as hits:
                await eventually(lambda: hits()["finish_job.before"])
                worker.caller_gone(job_id)
                await eventually(lambda: hits()["finish_job.before"] > 1)
            assert isinstance(await live.outcome(), Answer)
            assert (await b.ended(job_id)).state is State.COMPLETED


async def test_a_job_that_was_cancelled_before_its_call_began_makes_none(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, deaf_upstream() as (address, calls):
        worker = await b.worker(providers={"openai": provider(address)})
        async with called(b, worker, "m", "openai") as (job_id, live):
            worker.cancelled(job_id)  # its task has not run yet
            outcome = await live.outcome()
            assert isinstance(outcome, Fault)
            assert outcome.failure.status_code == 499
        assert not calls
