"""Jobs that go on after a failure: to other providers, after waits, on other workers."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hermod.domain.job import AttemptState, Claim, Lease, OnUnknown, Retry, State, Target
from hermod.domain.outcome import Answer
from hermod.domain.provider import ProviderSettings
from hermod.worker.running import Phase
from tests.support.upstream import Reply, Upstream
from tests.support.worker_bench import ME, NEVER_S, Bench, bench, eventually, phases, states
from tests.worker import test_unanswered
from tests.worker.test_live_runs import called

NOBODY = "http://127.0.0.1:1"
BROKEN = Reply(500, b'{"error":{"message":"broken"}}')
PATIENCE = Reply(429, b'{"error":{"message":"not now"}}', headers={"retry-after": "300"})


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Tells what it got, and answers as it is told."""
    with Upstream() as running:
        yield running


def provider(name: str, address: str, **more: object) -> ProviderSettings:
    """Quick to try again, and only once."""
    settings = test_unanswered.provider(address)
    return replace(settings, name=name, max_retries=1, **more)


def providers(*settings: ProviderSettings) -> dict[str, ProviderSettings]:
    return {each.name: each for each in settings}


def body(*fallbacks: str) -> bytes:
    messages = [{"role": "user", "content": "hi"}]
    return json.dumps({"model": "a/m", "messages": messages, "fallbacks": fallbacks}).encode()


async def places(b: Bench, job_id: str) -> list[tuple[str, str, str]]:
    """Provider, model and state of each attempt."""
    return [(each.lane, each.model, each.state) for each in await b.attempts(job_id)]


async def begun_elsewhere(b: Bench, progress: str, target: Target, **more: object) -> str:
    """A job that another worker has brought to a fallback and then given back."""
    before = Claim("before", NEVER_S, NEVER_S)
    job_id = await b.submit("m", lane="a", claim=before, **more)  # type: ignore[arg-type]
    ended = Retry(AttemptState.FAILED, spent=True, target=target, progress=progress)
    assert await b.store.put_back(Lease(job_id, 1, "before"), ended, b.clock.now())
    return job_id


@pytest.mark.parametrize("on_unknown", OnUnknown)
async def test_a_backlog_leaves_a_dead_provider_for_its_fallback(
    tmp_path: Path, upstream: Upstream, on_unknown: OnUnknown
) -> None:
    async with bench(tmp_path) as b:
        both = providers(provider("a", NOBODY), provider("b", upstream.url))
        job_ids = [
            await b.submit("m", lane="a", body=body("b/m"), on_unknown=on_unknown)
            for _ in range(120)
        ]
        worker = await b.worker(providers=both, holds_back=True, lane_slots={"a": 40})
        async with asyncio.timeout(60):
            ended = [await b.ended(job_id) for job_id in job_ids]
        assert Counter(job.state for job in ended) == {State.COMPLETED: 120}
        await worker.drain(5)


async def test_a_synchronous_call_is_not_refused_because_others_failed(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.plan("tired", PATIENCE)
    async with bench(tmp_path) as b:
        both = providers(provider("a", upstream.url))
        worker = await b.worker(providers=both, holds_back=True)
        waits = await b.submit("tired", lane="a")
        await b.in_state(waits, State.WAITING)
        async with called(b, worker, "m", "a") as (job_id, live):
            assert isinstance(await live.outcome(), Answer)
            assert states(await b.attempts(job_id)) == [
                AttemptState.UNSENT,
                AttemptState.SUCCEEDED,
            ]


async def test_a_job_that_is_held_back_past_its_deadline_expires(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.plan("tired", PATIENCE)
    async with bench(tmp_path) as b:
        tired = providers(provider("a", upstream.url))
        worker = await b.worker(providers=tired, job_deadline_s=NEVER_S)
        first = await b.submit("tired", lane="a")
        await b.in_state(first, State.WAITING)
        late = await b.submit("m", lane="a", claim=Claim("before", NEVER_S, 0.5))
        held = Retry(AttemptState.UNSENT, spent=False)
        assert await b.store.put_back(Lease(late, 1, "before"), held, b.clock.now())
        job = await b.ended(late)
        assert (job.state, job.status_code) == (State.EXPIRED, 504)
        await worker.drain(5)


async def test_a_drain_leaves_a_job_that_is_held_back_and_goes_out_once_as_it_is(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.plan("tired", replace(PATIENCE, headers={"retry-after": "3"}))
    async with bench(tmp_path) as b:
        both = providers(provider("a", upstream.url))
        worker = await b.worker(providers=both)
        first = await b.submit("tired", lane="a")
        await eventually(lambda: phases(worker) == [Phase.WAITING])
        once = await b.submit("m", lane="a", on_unknown=OnUnknown.FAIL)
        await b.until(once, lambda view: view.state is not State.QUEUED)
        await worker.drain(0)
        assert (await b.job(once)).state is State.WAITING
        assert set(states(await b.attempts(once))) == {AttemptState.UNSENT}
        assert (await b.job(first)).state is State.WAITING


async def test_a_drain_leaves_a_fallback_where_it_is(tmp_path: Path, upstream: Upstream) -> None:
    async with bench(tmp_path) as b:
        upstream.plan("m", Reply(400))
        both = providers(provider("a", upstream.url))
        worker = await b.worker(providers=both)
        job_id = await b.submit("m", lane="a", body=body("mock/slow?seconds=1000", "mock/echo"))
        await eventually(lambda: [run.is_elsewhere for run in worker._runs.values()] == [True])
        await eventually(lambda: phases(worker) == [Phase.CALLING])
        await worker.drain(0)
        (job,) = await b.store.claim_jobs("a", 1, Claim("next", NEVER_S, NEVER_S))
        assert job.target == Target("mock", "slow?seconds=1000")
        assert json.loads(job.progress or "")["seen"] == [0]
        assert len(upstream.calls("m")) == 1
        assert job_id == job.lease.job_id


@pytest.mark.parametrize("gone", ["b", "c"])
async def test_a_job_goes_on_although_a_fallback_is_no_longer_configured(
    tmp_path: Path, upstream: Upstream, gone: str
) -> None:
    every = providers(*[provider(name, upstream.url) for name in "abcd"])
    del every[gone]
    upstream.plan("m-b", Reply(400))
    upstream.plan("m-c", Reply(400))
    async with bench(tmp_path) as b:
        asked = body("b/m-b", "c/m-c", "d/m-d")
        progress = '{"at":1,"seen":[0]}'
        job_id = await begun_elsewhere(b, progress, Target("b", "m-b"), body=asked)
        worker = await b.worker(providers=every)
        assert (await b.ended(job_id)).state is State.COMPLETED
        await worker.drain(5)
        expected = ["a", "b", "d"] if gone == "c" else ["a", "b", "c", "d"]
        assert [lane for lane, _, _ in await places(b, job_id)] == expected


@pytest.mark.parametrize("progress", ["[]", '{"at":"x"}', '{"at":7,"seen":[0]}', "nonsense"])
async def test_a_job_whose_progress_cannot_be_read_goes_on(
    tmp_path: Path, upstream: Upstream, progress: str
) -> None:
    async with bench(tmp_path) as b:
        both = providers(provider("a", upstream.url), provider("b", upstream.url))
        job_id = await begun_elsewhere(b, progress, Target("b", "m"), body=body("b/m"))
        worker = await b.worker(providers=both)
        assert (await b.ended(job_id)).state is State.COMPLETED
        await worker.drain(5)


async def test_a_job_that_goes_out_once_says_that_its_last_fallback_may_have_taken_effect(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.plan("m", Reply(400, b'{"error":{"message":"no"}}'))
    async with bench(tmp_path) as b, test_unanswered.deaf_upstream() as (deaf, calls):
        both = providers(provider("a", upstream.url), replace(provider("b", deaf), max_retries=0))
        job_id = await b.submit("m", lane="a", body=body("b/m"), on_unknown=OnUnknown.FAIL)
        worker = await b.worker(providers=both)
        job = await b.ended(job_id)
        await worker.drain(5)
        assert len(calls) == 1
        error = json.loads(job.body or b"")
        assert error["error"]["type"] == "network_error"
        assert error["extra_fields"]["provider"] == "b"


async def test_a_job_that_is_cancelled_at_a_fallback_ends_and_its_call_with_it(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.plan("m", Reply(400))
    async with bench(tmp_path) as b:
        worker = await b.worker(providers=providers(provider("a", upstream.url)))
        job_id = await b.submit("m", lane="a", body=body("mock/slow?seconds=1000"))
        await eventually(lambda: [run.is_elsewhere for run in worker._runs.values()] == [True])
        await b.store.cancel_job(job_id, ME, None)
        worker.cancelled(job_id)
        await eventually(lambda: not worker.running)
        assert (await b.job(job_id)).state is State.CANCELLED
        assert states(await b.attempts(job_id)) == [AttemptState.FAILED, AttemptState.UNKNOWN]
        await worker.drain(5)
