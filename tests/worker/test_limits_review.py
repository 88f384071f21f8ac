"""Limits and the jobs behind them: who waits for how long, and who keeps which place."""

from dataclasses import replace
from pathlib import Path

from hermod.domain.governance import ModelLimits, ProviderLimits, RateLimit
from hermod.domain.ids import uuid7
from hermod.domain.job import Mode, NewJob, OnUnknown, State
from hermod.domain.live import Live
from hermod.domain.meter import Hold, Refusal, Unit, Why, Window
from hermod.domain.outcome import Fault, Outcome
from hermod.governance.holds import pending_hold
from hermod.jobs.intake import stored
from hermod.worker.waiting import WaitingLines
from hermod.worker.worker import Worker
from tests.support.worker_bench import BODY, CLOCK, ME, NEVER_S, Bench, bench
from tests.worker.test_limits import OWNER, key, meter, requests

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOW = 1_000 * MINUTE
DAY_S = 86_400.0
ECHO_TOO = BODY[:-1] + b',"fallbacks":["mock/echo"]}'


async def due_in_s(b: Bench) -> float:
    """When the next job that waits is looked at again."""
    return ((await b.store.due_lanes())["mock"] - CLOCK.now()) / SECOND


def named(limit: RateLimit, name: str) -> RateLimit:
    return replace(limit, id=name)


async def call(b: Bench, worker: Worker) -> Outcome:
    """What a caller hears who waits for the answer."""
    now = b.clock.now()
    later = now + int(NEVER_S * SECOND)
    job = NewJob(
        id=uuid7(now),
        tenant_id=ME.tenant_id,
        owner=ME.owner,
        kind="chat_completion",
        mode=Mode.SYNC,
        lane="mock",
        model="hello",
        created_at=now,
        queue_deadline_at=later,
        ttl_s=3600,
        ttl_requested=False,
        body=BODY,
        on_unknown=OnUnknown.FAIL,
    )
    claim = await worker.wait_for_slot("mock", NEVER_S)
    assert claim is not None
    live = Live()
    await worker.carry("mock", stored(b.store, job, claim), live)
    return await live.outcome()


async def test_callers_who_are_refused_take_no_period_from_jobs_that_wait(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        of_mock = ProviderLimits(id="mock", rate_limit=requests(1, "1h"))
        worker = await b.worker(governs=[of_mock], queue_wait_s=DAY_S)
        await b.ended(await b.submit("hello"))
        for _ in range(30):
            assert isinstance(await call(b, worker), Fault)
        job_id = await b.submit("hello")
        await b.until(job_id, lambda view: view.state in {State.WAITING, State.FAILED})
        assert (await b.job(job_id)).state is State.WAITING
        assert await due_in_s(b) <= 3600
        await worker.drain(0)


async def test_a_job_with_a_fallback_waits_for_whichever_has_room_first(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        limits = [
            ModelLimits(id="h", model_name="hello", rate_limit=named(requests(1, "1h"), "h")),
            ModelLimits(id="e", model_name="echo", rate_limit=named(requests(1, "1m"), "e")),
        ]
        worker = await b.worker(governs=limits, queue_wait_s=DAY_S)
        for model in ("hello", "echo"):
            await b.ended(await b.submit(model))
        job_id = await b.submit("hello", body=ECHO_TOO)
        await b.until(job_id, lambda view: view.state is State.WAITING)
        assert await due_in_s(b) <= 60
        await worker.drain(0)


async def test_a_job_keeps_its_place_until_it_is_admitted_somewhere(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        limits = [
            key(max_pending_jobs=1),
            ProviderLimits(id="mock", rate_limit=requests(1, "1h")),
        ]
        worker = await b.worker(governs=limits, queue_wait_s=DAY_S)
        await b.ended(await b.submit("hello"))
        now = b.clock.now()
        job = NewJob(
            id=uuid7(now),
            tenant_id=ME.tenant_id,
            owner=OWNER,
            kind="chat_completion",
            mode=Mode.ASYNC,
            lane="mock",
            model="hello",
            created_at=now,
            queue_deadline_at=now + int(NEVER_S * SECOND),
            ttl_s=3600,
            ttl_requested=False,
            body=ECHO_TOO,
        )
        await b.store.submit_job(job, pending=pending_hold(key(max_pending_jobs=1)))
        await b.until(job.id, lambda view: view.state is State.WAITING)
        assert (await meter(b, "k:pending")).reserved == 1
        await worker.drain(0)


def busy(unit: Unit, limit: int, reserved: int) -> Refusal:
    hold = Hold("m", unit, 1, limit, Window(), "VK")
    return Refusal(hold, Why.BUSY, 0, reserved, None)


def looks(unit: Unit, n_jobs: int, lasts_us: int) -> int:
    """How often so many jobs are looked at while one call takes all there is for so long."""
    lines = WaitingLines()
    due = [NOW] * n_jobs
    found = 0
    while (now := min(due)) < NOW + lasts_us:
        at = lines.comes_back_at(busy(unit, 1, 1), now)
        assert at is not None
        due[due.index(now)] = at
        found += 1
    return found


def test_the_longer_a_call_lasts_the_fewer_look_whether_it_has_ended() -> None:
    assert looks(Unit.PARALLEL, 20, 10 * MINUTE) < 300


def test_what_others_have_reserved_is_not_asked_for_all_the_time() -> None:
    assert looks(Unit.USD_NANOS, 20, 10 * MINUTE) < 3000


def test_as_many_are_told_the_next_period_as_this_one_had_room_for() -> None:
    lines = WaitingLines()
    hold = Hold("t", Unit.TOKENS, 50, 100, Window(None, MINUTE), "VK", "1m")
    lines.would_come_back_at(Refusal(hold, Why.BUSY, 0, 100, NOW + MINUTE), NOW)
    for _ in range(10):
        lines.ended("t", SECOND, NOW)  # with much less than they held
    spent = Refusal(hold, Why.SPENT, 90, 0, NOW + MINUTE)
    found = [lines.comes_back_at(spent, NOW) for _ in range(11)]
    assert found == [NOW + MINUTE] * 10 + [NOW + 2 * MINUTE]


def test_a_call_after_a_quiet_time_is_not_taken_for_a_long_one() -> None:
    lines = WaitingLines()
    lines.comes_back_at(busy(Unit.PARALLEL, 1, 1), NOW)
    lines.ended("m", SECOND // 10, NOW)
    later = NOW + 60 * MINUTE
    lines.began("m", later)
    at = lines.comes_back_at(busy(Unit.PARALLEL, 1, 1), later + SECOND // 10)
    assert at is not None
    assert at <= later + SECOND
