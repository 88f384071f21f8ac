"""Calls that went out and were not answered: sent again, or never twice, as the job says."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hermod.domain.job import AttemptState, OnUnknown, State
from hermod.domain.provider import KeySettings, ProviderSettings, Secret
from hermod.providers.registry import load_rows
from tests.support.failpoints import armed
from tests.support.worker_bench import NEVER_S, bench, states


@asynccontextmanager
async def deaf_upstream() -> AsyncGenerator[tuple[str, list[bytes]]]:
    """Reads a request and hangs up. Yields its address and what it has read."""
    calls: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", calls
    finally:
        server.close()


def provider(address: str) -> ProviderSettings:
    return ProviderSettings(
        name="openai",
        origin="test",
        row=load_rows()["openai"],
        base_url=address,
        keys=(KeySettings("main", "main", Secret("sk")),),
        attempt_timeout_s=NEVER_S,
        max_retries=2,
        retry_backoff_initial_ms=1,
        retry_backoff_max_ms=1,
        concurrency=10,
    )


@pytest.mark.parametrize(("on_unknown", "sent"), [(OnUnknown.RETRY, 3), (OnUnknown.FAIL, 1)])
async def test_a_job_is_sent_again_only_if_it_may_be(
    tmp_path: Path, on_unknown: OnUnknown, sent: int
) -> None:
    async with bench(tmp_path) as b, deaf_upstream() as (address, calls):
        worker = await b.worker(providers={"openai": provider(address)})
        job_id = await b.submit("m", lane="openai", on_unknown=on_unknown)
        view = await b.ended(job_id)
        await worker.drain(5)
        attempts = await b.attempts(job_id)
        assert (view.state, view.status_code) == (State.FAILED, 500)
        assert states(attempts) == [AttemptState.UNKNOWN] * sent
        assert [attempt.key_name for attempt in attempts] == ["main"] * sent
        assert len(calls) == sent


async def test_a_defect_of_ours_while_a_call_is_out_leaves_its_outcome_unknown(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b, deaf_upstream() as (address, _):
        worker = await b.worker(providers={"openai": provider(address)})
        with armed("net.request_sent=raise"):
            job_id = await b.submit("m", lane="openai")
            view = await b.ended(job_id)
        await worker.drain(5)
        assert (view.state, view.status_code) == (State.FAILED, 500)
        assert states(await b.attempts(job_id)) == [AttemptState.UNKNOWN]
