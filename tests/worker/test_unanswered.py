"""Calls that went out and were not answered: sent again, or never twice, as the job says."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hermod.calls.call import Caller, CallSettings
from hermod.clock import SystemClock
from hermod.domain.ids import uuid7
from hermod.domain.job import AttemptState, Mode, NewJob, OnUnknown, Principal, State
from hermod.domain.provider import KeySettings, ProviderSettings, Secret
from hermod.domain.retry import RetryPolicy
from hermod.net.client import HttpClient
from hermod.providers.registry import load_rows
from hermod.store.sqlite import SqliteStore
from hermod.worker.identity import Identity
from hermod.worker.run import Runner
from hermod.worker.settings import WorkerSettings
from hermod.worker.worker import Worker

CLOCK = SystemClock()
ME = Principal("default", "open")
NEVER_S = 3600.0


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
    store = SqliteStore(tmp_path / "hermod.db", CLOCK)
    await store.open()
    client = HttpClient()
    async with deaf_upstream() as (address, calls):
        settings = CallSettings(True, NEVER_S, RetryPolicy(0, 1, 1), mock=False)
        caller = Caller({"openai": provider(address)}, client, CLOCK, settings)
        worker = Worker(
            store,
            Runner(store, caller, CLOCK, NEVER_S, 2**20),
            CLOCK,
            Identity(tmp_path / "workers"),
            WorkerSettings(NEVER_S, NEVER_S, 0.05, NEVER_S, 10),
        )
        await worker.open()
        now = CLOCK.now()
        job = NewJob(
            id=uuid7(now),
            tenant_id=ME.tenant_id,
            owner=ME.owner,
            kind="chat_completion",
            mode=Mode.ASYNC,
            lane="openai",
            model="m",
            created_at=now,
            queue_deadline_at=now + 10**12,
            ttl_s=60,
            ttl_requested=False,
            body=b'{"model":"openai/m","messages":[{"role":"user"}]}',
            on_unknown=on_unknown,
        )
        await store.submit_job(job)
        async with asyncio.timeout(20):
            while (view := await store.read_job(job.id, ME, None)) and view.completed_at is None:
                await asyncio.sleep(0.005)
        await worker.drain(5)
        attempts = await store.read_attempts(job.id, ME)
        assert view is not None
        assert (view.state, view.status_code) == (State.FAILED, 500)
        assert [attempt.state for attempt in attempts] == [AttemptState.UNKNOWN] * sent
        assert [attempt.key_name for attempt in attempts] == ["main"] * sent
        assert len(calls) == sent
    await client.close()
    await store.close()
