"""Jobs of virtual keys: what they may call, and what they may spend."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from hermod.domain.document import Changed, Put
from hermod.domain.governance import (
    Budget,
    Entity,
    ProviderConfig,
    ProviderLimits,
    RateLimit,
    VirtualKey,
)
from hermod.domain.job import AttemptState, State
from hermod.domain.meter import EMPTY, Meter
from hermod.domain.price import OwnPrice
from hermod.governance.book import Rules
from hermod.governance.documents import to_document
from hermod.prices.data import Data
from hermod.prices.prices import Prices
from hermod.worker.running import Phase
from tests.support.worker_bench import BODY, CLOCK, Bench, bench, eventually, phases, states

CENT: Final = 10_000_000
OWNER: Final = "vk:k"
ASKED: Final = BODY[:-1] + b',"max_tokens":1}'


@asynccontextmanager
async def priced(folder: Path) -> AsyncGenerator[Bench]:
    """A bench where a call of a model of `mock` costs a cent."""
    async with bench(folder) as b:
        own = {"mock/*": OwnPrice(0, 0, request_usd_nanos=CENT)}
        b.prices = Prices(lambda: Data(b"[]", "nowhere"), CLOCK, own)
        yield b


def key(config: ProviderConfig | None = None, **limits: Any) -> VirtualKey:
    """A key for everything of `mock`, with these limits."""
    usual = ProviderConfig(id="p", provider="mock", allowed_models=("*",), key_ids=("*",))
    return VirtualKey(id="k", name="k", provider_configs=(config or usual,), **limits)


def budget(cents: int, period: str = "1d") -> Budget:
    return Budget(id="b", max_limit_nanos=cents * CENT, reset_duration=period)


def requests(limit: int, period: str) -> RateLimit:
    return RateLimit(id="r", request_max_limit=limit, request_reset_duration=period)


async def meter(b: Bench, name: str) -> Meter:
    return (await b.store.read_meters([name])).get(name, EMPTY)


async def submitted(b: Bench, n: int, model: str = "hello") -> list[str]:
    return [await b.submit(model, owner=OWNER, body=ASKED) for _ in range(n)]


async def test_a_budget_for_ten_pays_for_ten_of_many_at_once(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        job_ids = await submitted(b, 200, "slow?seconds=0.2")
        worker = await b.worker(slots=500, governs=[key(budget=budget(10))])
        jobs = [await b.ended(job_id) for job_id in job_ids]
        found = [job.state for job in jobs]
        assert (found.count(State.COMPLETED), found.count(State.FAILED)) == (10, 190)
        refused = next(job for job in jobs if job.state is State.FAILED)
        assert refused.status_code == 402
        assert b'"type":"budget_exceeded"' in (refused.body or b"")
        spent = await meter(b, "b")
        assert (spent.used, spent.reserved, spent.total) == (10 * CENT, 0, 10 * CENT)
        assert sum(job.cost_usd_nanos or 0 for job in jobs) == spent.total
        await worker.drain(5)


async def test_a_job_waits_for_the_next_period_of_its_limit(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        job_ids = await submitted(b, 5)
        worker = await b.worker(governs=[key(rate_limit=requests(2, "1s"))])
        jobs = [await b.ended(job_id) for job_id in job_ids]
        assert {job.state for job in jobs} == {State.COMPLETED}
        ends = sorted(job.completed_at or 0 for job in jobs)
        assert ends[4] - ends[0] >= 1_900_000
        await worker.drain(5)


async def test_a_job_that_shall_not_wait_fails_at_its_limit(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        job_ids = await submitted(b, 2)
        limited = key(rate_limit=requests(1, "1h"), on_limit="reject")
        worker = await b.worker(governs=[limited])
        jobs = [await b.ended(job_id) for job_id in job_ids]
        assert sorted(job.status_code or 0 for job in jobs) == [200, 429]
        refused = next(job.body or b"" for job in jobs if job.status_code == 429)
        assert b'"type":"request_limited"' in refused
        assert b"request limit exceeded (1/1, resets every 1h)" in refused
        await worker.drain(5)


async def test_what_could_only_be_called_too_late_fails_at_once(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        job_ids = await submitted(b, 2)
        limited = [key(rate_limit=requests(1, "1h"))]
        worker = await b.worker(governs=limited, queue_wait_s=60.0)
        jobs = [await b.ended(job_id) for job_id in job_ids]
        assert sorted(job.status_code or 0 for job in jobs) == [200, 429]
        await worker.drain(5)


async def test_no_more_calls_are_out_than_a_key_may_have_and_all_are_made(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        job_ids = await submitted(b, 20, "slow?seconds=0.1")
        worker = await b.worker(governs=[key(max_parallel_jobs=2)])
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, phases(worker).count(Phase.CALLING))
                await asyncio.sleep(0.005)

        watching = asyncio.ensure_future(watch())
        jobs = [await b.ended(job_id) for job_id in job_ids]
        watching.cancel()
        assert {job.state for job in jobs} == {State.COMPLETED}
        assert most == 2
        assert (await meter(b, "k:parallel")).reserved == 0
        await worker.drain(5)


async def test_a_provider_that_is_not_allowed_is_not_called(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        other = ProviderConfig(id="p", provider="groq", allowed_models=("*",), key_ids=("*",))
        worker = await b.worker(governs=[key(other)])
        job = await b.ended(await b.submit(owner=OWNER))
        assert job.status_code == 403
        assert b'"type":"provider_blocked"' in (job.body or b"")
        assert b"Provider 'mock' is not allowed for this virtual key" in (job.body or b"")
        await worker.drain(5)


async def test_a_fallback_is_called_where_the_first_provider_is_not_allowed(
    tmp_path: Path,
) -> None:
    async with priced(tmp_path) as b:
        worker = await b.worker(governs=[key()])
        body = b'{"model":"groq/x","messages":[{"role":"user","content":"hi"}],'
        body += b'"fallbacks":["mock/hello"]}'
        job = await b.ended(await b.submit("x", lane="groq", body=body, owner=OWNER))
        assert job.state is State.COMPLETED
        await worker.drain(5)


async def test_a_key_that_was_deleted_calls_nothing(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        worker = await b.worker(governs=())
        job = await b.ended(await b.submit(owner=OWNER))
        assert job.status_code == 403
        assert b'"type":"virtual_key_not_found"' in (job.body or b"")
        await worker.drain(5)


async def test_a_key_whose_team_is_gone_calls_nothing(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        worker = await b.worker(governs=[key(team_id="gone")])
        job = await b.ended(await b.submit(owner=OWNER))
        assert job.status_code == 403
        assert b'"type":"virtual_key_blocked"' in (job.body or b"")
        await worker.drain(5)


async def test_what_is_given_back_at_a_shutdown_costs_its_estimate_and_holds_nothing(
    tmp_path: Path,
) -> None:
    async with priced(tmp_path) as b:
        governs: list[Entity] = [key(budget=budget(10))]
        job_id = await b.submit("slow?seconds=1000", owner=OWNER, body=ASKED)
        worker = await b.worker(governs=governs)
        await eventually(lambda: phases(worker) == [Phase.CALLING])
        assert (await meter(b, "b")).reserved == CENT
        await worker.drain(0)
        spent = await meter(b, "b")
        assert (spent.used, spent.reserved) == (CENT, 0)
        job = await b.job(job_id)
        assert (job.state, job.cost_usd_nanos, job.estimated) == (State.WAITING, CENT, True)


async def test_a_call_that_failed_costs_nothing_and_each_try_reserves_anew(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        limited = key(budget=budget(1), rate_limit=requests(1, "1h"))
        worker = await b.worker(governs=[limited])
        job_id = await b.submit("429?retry_after=0&times=2", owner=OWNER, body=ASKED)
        job = await b.ended(job_id)
        assert job.state is State.COMPLETED
        attempts = await b.attempts(job_id)
        assert states(attempts) == [AttemptState.FAILED] * 2 + [AttemptState.SUCCEEDED]
        spent = await meter(b, "b")
        assert (spent.used, spent.reserved) == (CENT, 0)
        assert (await meter(b, "r:requests")).used == 1
        await worker.drain(5)


async def test_a_job_that_is_delayed_counts_as_not_begun(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        first, second = await submitted(b, 2)
        limited = [key(rate_limit=requests(1, "2s"))]
        worker = await b.worker(governs=limited, job_deadline_s=1.0)
        jobs = [await b.ended(first), await b.ended(second)]
        assert {job.state for job in jobs} == {State.COMPLETED}
        await worker.drain(5)


async def test_limits_of_everybody_count_for_callers_without_a_key(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        job_ids = [await b.submit("hello") for _ in range(2)]
        of_mock = ProviderLimits(id="mock", rate_limit=requests(1, "1h"))
        worker = await b.worker(governs=[of_mock], rules=Rules(on_limit="reject"))
        jobs = [await b.ended(job_id) for job_id in job_ids]
        assert sorted(job.status_code or 0 for job in jobs) == [200, 429]
        await worker.drain(5)


async def test_a_key_that_is_newer_than_what_the_worker_knows_may_call(tmp_path: Path) -> None:
    async with priced(tmp_path) as b:
        worker = await b.worker(governs=())
        made = await b.store.change_documents([Put(to_document(key()))])
        assert isinstance(made, Changed)
        job = await b.ended(await b.submit("hello", owner=OWNER))
        assert job.state is State.COMPLETED
        await worker.drain(5)
