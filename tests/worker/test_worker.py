"""The worker on a real store, with the mock provider: a job between its claim and its end."""

import asyncio
import json
from pathlib import Path

from hermod.domain.job import AttemptState, Claim, OnUnknown, State
from hermod.worker.identity import Identity
from hermod.worker.running import Phase
from tests.support.worker_bench import NEVER_S, bench, eventually, phases, states


async def test_a_queued_job_is_claimed_and_completed(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        job_id = await b.submit()
        worker = await b.worker()
        done = await b.ended(job_id)
        await worker.drain(5)
        assert done.state is State.COMPLETED
        assert json.loads(done.body or b"")["choices"][0]["message"]["content"] == "hi"
        assert states(await b.attempts(job_id)) == [AttemptState.SUCCEEDED]


async def test_a_failing_call_is_repeated_within_its_tries_and_every_attempt_is_kept(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(max_retries=2)
        job_id = await b.submit("error?code=503")
        done = await b.ended(job_id)
        await worker.drain(5)
        assert (done.state, done.status_code) == (State.FAILED, 503)
        attempts = await b.attempts(job_id)
        assert states(attempts) == [AttemptState.FAILED] * 3
        assert [attempt.status_code for attempt in attempts] == [503] * 3


async def test_a_call_that_a_retry_cannot_help_is_made_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        job_id = await b.submit("error?code=400")
        assert (await b.ended(job_id)).status_code == 400
        await worker.drain(5)
        assert len(await b.attempts(job_id)) == 1


async def test_a_long_wait_gives_the_slot_back_and_the_job_runs_again_when_it_is_over(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=1, backoff_s=5.0)
        waits = await b.submit("429?retry_after=6&times=1")
        await b.in_state(waits, State.WAITING)
        other = await b.submit()
        assert (await b.ended(other)).state is State.COMPLETED
        assert (await b.job(waits)).state is State.WAITING
        await worker.drain(5)


async def test_waits_that_the_upstream_asked_for_cost_no_try(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(max_retries=1)
        job_id = await b.submit("429?retry_after=0&times=4")
        assert (await b.ended(job_id)).state is State.COMPLETED
        await worker.drain(5)
        assert states(await b.attempts(job_id)) == [AttemptState.FAILED] * 4 + [
            AttemptState.SUCCEEDED
        ]


async def test_a_lane_that_hangs_holds_no_other_lane_up(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=2)
        hanging = [await b.submit("slow?seconds=1000") for _ in range(5)]
        await b.in_state(hanging[0], State.RUNNING)
        elsewhere = await b.submit(lane="groq")
        assert (await b.ended(elsewhere)).state is State.FAILED  # groq is not configured
        counts = await b.store.counts()
        assert counts["default", "mock", State.RUNNING] == 2
        assert counts["default", "mock", State.QUEUED] == 3
        await worker.drain(0)


async def test_a_freed_slot_takes_the_next_queued_job(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(lane_slots={"mock": 1}, upkeep_s=NEVER_S)
        job_ids = [await b.submit("slow?seconds=0.01") for _ in range(5)]
        for job_id in job_ids:
            assert (await b.ended(job_id)).state is State.COMPLETED
        await worker.drain(5)


async def test_a_drain_lets_a_short_call_finish(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        job_id = await b.submit("slow?seconds=0.3")
        await b.in_state(job_id, State.RUNNING)
        await worker.drain(20)
        assert (await b.job(job_id)).state is State.COMPLETED


async def test_a_drain_gives_a_long_call_back_without_spending_a_try(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(max_retries=1)
        job_id = await b.submit("slow?seconds=1000")
        await b.in_state(job_id, State.RUNNING)
        await worker.drain(0.05)
        assert (await b.job(job_id)).state is State.WAITING
        assert states(await b.attempts(job_id)) == [AttemptState.UNKNOWN]
        (claimed,) = await b.store.claim_jobs("mock", 10, Claim("next", 30, NEVER_S))
        assert (claimed.attempts_spent, claimed.suspicion) == (0, 0)


async def test_a_drain_does_not_wait_out_a_backoff(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(backoff_s=4.0)
        job_id = await b.submit("error?code=500")
        await eventually(lambda: phases(worker) == [Phase.WAITING])
        await worker.drain(600)
        assert (await b.job(job_id)).state is State.WAITING
        assert states(await b.attempts(job_id)) == [AttemptState.FAILED]


async def test_hurrying_cuts_a_drain_short(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        job_id = await b.submit("slow?seconds=1000")
        await b.in_state(job_id, State.RUNNING)
        draining = asyncio.create_task(worker.drain(600))
        await asyncio.sleep(0)
        worker.hurry()
        async with asyncio.timeout(20):
            await draining
        assert (await b.job(job_id)).state is State.WAITING


async def test_a_drained_job_that_must_not_be_sent_twice_ends(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        job_id = await b.submit("slow?seconds=1000", on_unknown=OnUnknown.FAIL)
        await b.in_state(job_id, State.RUNNING)
        await worker.drain(0.05)
        view = await b.job(job_id)
        assert view.state is State.FAILED
        assert json.loads(view.body or b"")["type"] == "outcome_unknown"
        assert states(await b.attempts(job_id)) == [AttemptState.UNKNOWN]


async def test_a_draining_worker_reserves_no_slot(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        await worker.drain(0)
        assert worker.reserve("mock") is None


async def test_a_job_past_its_deadline_expires_with_504(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(job_deadline_s=0.2)
        job_id = await b.submit("slow?seconds=1000")
        view = await b.ended(job_id)
        await worker.drain(5)
        assert (view.state, view.status_code) == (State.EXPIRED, 504)
        assert json.loads(view.body or b"")["error"]["type"] == "request_timed_out"


async def test_a_job_that_waits_too_long_for_a_slot_expires(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=1)
        first = await b.submit("slow?seconds=1000")
        await b.in_state(first, State.RUNNING)
        job_id = await b.submit(queue_wait_s=0.1)
        view = await b.ended(job_id)
        await worker.drain(0)
        assert (view.state, view.status_code) == (State.EXPIRED, 504)
        assert await b.attempts(job_id) == ()


async def test_a_worker_that_lost_a_lease_stops_the_call_and_writes_nothing(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(renew_s=0.05)
        job_id = await b.submit("slow?seconds=1000")
        await b.in_state(job_id, State.RUNNING)
        (attempt,) = await b.attempts(job_id)
        # Somebody takes the lease behind the worker's back.
        await b.store.release_worker(attempt.worker_id, 10)
        (theirs,) = await b.store.claim_jobs("mock", 1, Claim("thief", NEVER_S, NEVER_S))
        await eventually(lambda: not worker.running)
        assert theirs.lease.attempt == 2
        assert (await b.job(job_id)).state is State.RUNNING
        assert states(await b.attempts(job_id)) == [AttemptState.UNKNOWN, AttemptState.SENDING]
        await worker.drain(0)


async def test_a_worker_takes_over_from_a_dead_one_without_waiting_for_its_leases(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        dead = Identity(b.folder)
        job_id = await b.submit("echo", claim=Claim(dead.worker_id, NEVER_S, NEVER_S))
        dead.release()
        worker = await b.worker()
        assert (await b.ended(job_id)).state is State.COMPLETED
        await worker.drain(5)
        assert states(await b.attempts(job_id)) == [AttemptState.UNKNOWN, AttemptState.SUCCEEDED]


async def test_a_living_worker_is_left_alone(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        alive = Identity(b.folder)
        job_id = await b.submit("echo", claim=Claim(alive.worker_id, NEVER_S, NEVER_S))
        worker = await b.worker()
        other = await b.submit()
        await b.ended(other)
        assert (await b.job(job_id)).state is State.RUNNING
        await worker.drain(5)
        alive.release()


async def test_a_lease_that_ran_out_is_recovered_while_running(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        alive = Identity(b.folder)
        job_id = await b.submit("echo", claim=Claim(alive.worker_id, 0.1, NEVER_S))
        worker = await b.worker()
        assert (await b.ended(job_id)).state is State.COMPLETED
        await worker.drain(5)
        alive.release()


async def test_a_job_that_kills_every_worker_fails_as_poison_and_its_neighbour_does_not(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        first = Identity(b.folder)
        poison = await b.submit("slow?seconds=1000", claim=Claim(first.worker_id, NEVER_S, NEVER_S))
        other = await b.submit("echo", claim=Claim(first.worker_id, NEVER_S, NEVER_S))
        first.release()
        for _ in range(3):
            worker = await b.worker()
            await b.in_state(poison, State.RUNNING)
            await b.ended(other)
            # What kill -9 leaves behind: the leases, and a lock that nobody holds.
            (running,) = [a for a in await b.attempts(poison) if a.state is AttemptState.SENDING]
            await b.store.release_worker(running.worker_id, 10)
            await worker.drain(0)
        view = await b.job(poison)
        assert view.state is State.FAILED
        assert json.loads(view.body or b"")["type"] == "poison"
        assert states(await b.attempts(poison)) == [AttemptState.UNKNOWN] * 4
        assert (await b.job(other)).state is State.COMPLETED
