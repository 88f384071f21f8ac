"""F22 where it is the disk of PostgreSQL, as far as a server that says so proves it."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from tests.faults.places import PostgresPlace, config_for, state_of
from tests.faults.upstreams import Recorder
from tests.faults.workload import PATH, clients_of
from tests.support.program import chat
from tests.support.waiting import wait_until

OURS: dict[str, Any] = {"upkeep_s": 0.5, "drain_s": 10}
FULL = """CREATE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
    END $$"""


def fill_disk(place: PostgresPlace) -> None:
    """From now the server answers 53100 to every write of a job, a result or an attempt."""
    place.change(FULL)
    for table in ("job", "result", "attempt", "request"):
        place.change(
            f"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION disk_is_full()"
        )


def free_disk(place: PostgresPlace) -> None:
    place.change("DROP FUNCTION disk_is_full() CASCADE")


async def test_a_full_disk_of_the_database_refuses_keeps_and_recovers(
    server: PostgresPlace, tmp_path: Path
) -> None:
    with (
        Recorder(tmp_path / "calls", "--echo", "--latency-ms", "1000") as upstream,
        server.start("gateway", config_for(OURS, openai=upstream)) as gateway,
    ):
        async with clients_of(gateway.url) as clients:
            done = await clients.submit("mock/echo")
            before = await clients.end_of(done or "")
            held = await clients.submit_many(5, "openai/any")
            fill_disk(server)
            await asyncio.to_thread(
                wait_until, lambda: upstream.stats()["in_flight"] == 0, timeout_s=20
            )
            refused = await asyncio.to_thread(
                httpx.post, gateway.url + PATH, json=chat(), timeout=30, trust_env=False
            )
            assert refused.status_code == 507, refused.text
            assert int(refused.headers["retry-after"]) > 0
            read = await clients.read(before.job_id)
            assert read is not None
            assert read.digest == before.digest
            assert {state_of(server, job_id) for job_id in held} == {"running"}
            health = await asyncio.to_thread(httpx.get, gateway.url + "/health", trust_env=False)
            assert "storage_full" in health.text
            free_disk(server)
            await clients.settle()
            await clients.submit_many(5, "openai/any")
            await clients.settle()
            assert clients.ends() == {"completed": 11}
            history = clients.judge([upstream], await server.stored())
    # The answers were kept: nothing was asked for twice.
    assert len(history.calls) == 10


async def test_a_disk_that_is_full_while_migrating_is_told_and_leaves_no_half_schema(
    server: PostgresPlace, tmp_path: Path
) -> None:
    server.rows("DROP SCHEMA hermod CASCADE")
    server.rows(FULL.replace("disk_is_full", "public.disk_is_full").replace(
        "RETURNS trigger", "RETURNS event_trigger"))  # fmt: skip
    server.rows(
        "CREATE EVENT TRIGGER full_disk ON ddl_command_end WHEN TAG IN ('CREATE INDEX')"
        " EXECUTE FUNCTION public.disk_is_full()"
    )
    config = config_for(OURS | {"database_wait_s": 1})
    with server.start("gateway", config) as refused:
        assert await asyncio.to_thread(refused.wait_exit) == 2, refused.output
        assert "disk" in refused.output
        assert "Traceback" not in refused.output
    assert server.rows("SELECT 1 FROM pg_tables WHERE tablename = 'job'") == []
    server.rows("DROP EVENT TRIGGER full_disk")
    with server.start("gateway", config) as gateway:
        async with clients_of(gateway.url) as clients:
            await clients.submit_many(3, "mock/echo")
            await clients.settle()
            assert clients.ends() == {"completed": 3}


async def test_a_database_that_becomes_read_only_refuses_and_recovers(
    server: PostgresPlace, tmp_path: Path
) -> None:
    ((name,),) = server.rows("SELECT current_database()")
    with server.start("gateway", config_for(OURS)) as gateway:
        async with clients_of(gateway.url) as clients:
            done = await clients.submit("mock/echo")
            before = await clients.end_of(done or "")
            server.rows(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
            server.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            refused = await asyncio.to_thread(
                httpx.post, gateway.url + PATH, json=chat(), timeout=30, trust_env=False
            )
            assert refused.status_code == 503, refused.text
            read = await clients.read(before.job_id)
            assert read is not None
            assert read.digest == before.digest
            server.rows(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
            async with asyncio.timeout(30):
                while await clients.submit("mock/echo") is None:
                    await asyncio.sleep(0.1)
            await clients.settle()
            assert set(clients.ends()) == {"completed"}
