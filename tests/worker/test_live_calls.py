"""Calls whose callers wait, from the use case to the store: run once, ended always, slots back."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from hermod.domain.errors import Refused, StoreError
from hermod.domain.job import AttemptState, OnUnknown, State
from hermod.domain.live import Sink
from hermod.domain.outcome import Answer, Fault
from hermod.governance.identity import OPEN
from hermod.jobs.call_now import CallNow, LiveCall
from hermod.jobs.intake import Asked, Intake, JobHeaders, JobSettings
from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.worker.running import Phase
from hermod.worker.worker import Worker
from tests.support.failpoints import armed
from tests.support.worker_bench import ME, NEVER_S, Bench, bench, eventually, phases, states
from tests.worker.test_unanswered import deaf_upstream, provider


class Collected(Sink):
    """A caller who takes every piece, or is stuck with the first."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.got = b""
        self._stuck = stuck

    def begin(self, content_type: str) -> None:
        pass

    async def write(self, piece: bytes) -> None:
        self.got += piece
        if self._stuck:
            await asyncio.Event().wait()


async def call(
    b: Bench,
    worker: Worker,
    model: str = "mock/echo",
    *,
    on_unknown: OnUnknown = OnUnknown.RETRY,
    sink: Collected | None = None,
    patience_s: float = NEVER_S,
) -> LiveCall:
    """A call that has begun; it asks for a stream if there is a sink."""
    intake = Intake(b.clock, {"mock", "openai"}, JobSettings(3600, NEVER_S))
    stream = b"false" if sink is None else b"true"
    body = b'{"model":"%b","stream":%b,"messages":[{"role":"user","content":"hi"}]}'
    return await CallNow(b.store, intake, worker, patience_s).begin(
        CHAT_COMPLETION,
        Asked(body % (model.encode(), stream)),
        OPEN,
        JobHeaders(on_unknown=on_unknown),
        sink or Collected(),
    )


async def test_a_call_is_not_made_again_when_its_lease_ran_out_whatever_its_caller_wished(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        frozen = await b.worker(lease_s=0.1, upkeep_s=NEVER_S)
        begun = await call(b, frozen, "mock/slow?seconds=1000", on_unknown=OnUnknown.RETRY)
        other = await b.worker(lease_s=NEVER_S)
        view = await b.ended(begun.job_id)
        assert view.state is State.FAILED
        assert states(await b.attempts(begun.job_id)) == [AttemptState.UNKNOWN]
        await frozen.drain(0)
        await other.drain(0)


async def test_a_stream_that_broke_off_is_not_begun_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(max_retries=3)
        sink = Collected()
        begun = await call(b, worker, "mock/broken-stream", sink=sink)
        assert isinstance(await begun.live.outcome(), Fault)
        assert sink.got
        assert len(await b.attempts(begun.job_id)) == 1
        await worker.drain(1)


async def test_a_caller_who_takes_nothing_of_a_stream_does_not_hold_its_slot_for_ever(
    tmp_path: Path,
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        writer.write(head + b"data: [DONE]\n\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    hasty = replace(provider(address), attempt_timeout_s=0.2)
    async with server, bench(tmp_path) as b:
        worker = await b.worker(providers={"openai": hasty})
        begun = await call(b, worker, "openai/m", sink=Collected(stuck=True))
        async with asyncio.timeout(10):
            assert isinstance(await begun.live.outcome(), Fault)
        await worker.drain(1)


async def test_the_outcome_of_a_call_whose_caller_left_is_unknown(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        begun = await call(b, worker, "mock/slow?seconds=1000")
        await eventually(lambda: phases(worker) == [Phase.CALLING])
        worker.caller_gone(begun.job_id)
        assert (await b.ended(begun.job_id)).state is State.CANCELLED
        assert states(await b.attempts(begun.job_id)) == [AttemptState.UNKNOWN]
        await worker.drain(1)


async def test_a_caller_who_leaves_during_the_commit_ends_the_call(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        with armed("submit_job.before_commit=sleep:0.05") as hits:
            beginning = asyncio.create_task(call(b, worker, "mock/slow?seconds=1000"))
            await eventually(lambda: hits()["submit_job.before_commit"] or worker._reserved)
            beginning.cancel()
            with pytest.raises(asyncio.CancelledError):
                await beginning
            await eventually(lambda: not worker._reserved and not worker.running)
        counts = await b.store.counts()
        assert counts["default", "mock", State.CANCELLED] == 1
        assert worker._lanes["mock"].taken == 0
        await worker.drain(1)


async def test_a_call_that_could_not_be_stored_gives_its_slot_back(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker()
        with armed("submit_job.before=raise"), pytest.raises(StoreError):
            await call(b, worker)
        assert (worker._lanes["mock"].taken, worker._reserved) == (0, 0)
        await worker.drain(1)


async def test_a_caller_hears_of_a_job_that_ended_elsewhere(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, deaf_upstream() as (address, _):
        slow = replace(provider(address), retry_backoff_initial_ms=300, retry_backoff_max_ms=300)
        worker = await b.worker(providers={"openai": slow}, upkeep_s=NEVER_S)
        begun = await call(b, worker, "openai/m")
        await eventually(lambda: phases(worker) == [Phase.WAITING])
        await b.store.cancel_job(begun.job_id, ME, None)  # by another process
        async with asyncio.timeout(10):
            assert isinstance(await begun.live.outcome(), Fault)
        await worker.drain(1)


async def test_an_answer_reaches_its_caller_although_it_cannot_be_stored(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(lease_s=0.3, upkeep_s=NEVER_S)
        with armed("finish_job.before=raise"):
            begun = await call(b, worker)
            async with asyncio.timeout(10):
                assert isinstance(await begun.live.outcome(), Answer)
            await eventually(lambda: not worker.running)
        await worker.drain(1)


async def test_a_gateway_that_leaves_the_queue_to_others_starts_no_jobs_of_its_own(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(claims=False)
        assert worker.reserve("mock") is None
        await worker.drain(1)


async def test_a_busy_provider_refuses_with_503_and_a_time_to_come_back(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=1)
        begun = await call(b, worker, "mock/slow?seconds=1000")
        with pytest.raises(Refused) as refused:
            await call(b, worker, patience_s=0.01)
        assert refused.value.failure.status_code == 503
        assert refused.value.retry_after_s == 1
        assert sum((await b.store.counts()).values()) == 1
        worker.caller_gone(begun.job_id)
        await worker.drain(1)


async def test_nobody_new_waits_for_a_slot_during_a_drain(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        worker = await b.worker(slots=1)
        assert await worker.wait_for_slot("mock", 1)
        draining = asyncio.create_task(worker.drain(NEVER_S))
        await eventually(lambda: worker._draining)
        async with asyncio.timeout(5):
            assert await worker.wait_for_slot("mock", NEVER_S) is None
        worker.give_back("mock")
        await draining
