"""Connections that break, hang, are refused or run out, and stores that close meanwhile."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from hermod.clock import SystemClock
from hermod.domain.errors import StoreError, StoreMisconfigured, StoreUnavailable
from hermod.domain.job import Target
from hermod.store.postgres.connections import WHO, Connections
from hermod.store.postgres.errors import ReplyLost
from hermod.store.postgres.store import PostgresStore
from tests.store.backends import ManualClock, PostgresDatabase
from tests.store.jobs import CLAIM, FAILED, LANE, new_job, queued_job, waiting_job
from tests.support.fault_proxy import FaultProxy
from tests.support.postgres import Cluster

LARGE = b"x" * 300_000


def through(url: str, port: int) -> str:
    """The same database, by another port."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")).geturl()


@asynccontextmanager
async def proxy_to(database: PostgresDatabase) -> AsyncIterator[tuple[FaultProxy, str]]:
    """A way to the database that can fail, and its URL."""
    port = urlsplit(database.url).port
    assert port is not None
    async with FaultProxy("127.0.0.1", port) as proxy:
        yield proxy, through(database.url, proxy.port)


def freeze(proxy: FaultProxy) -> None:
    """Connections stay, nothing answers."""
    proxy.upstream.timeout()
    proxy.downstream.timeout()


@pytest.fixture
def role(cluster: Cluster, postgres: PostgresDatabase) -> Iterator[str]:
    """A user who may do everything in the database, and is gone at the end."""
    name = f"role_{postgres.name}"
    cluster.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'first'")
    postgres.rows(f"GRANT USAGE ON SCHEMA hermod TO {name}")
    postgres.rows(f"GRANT ALL ON ALL TABLES IN SCHEMA hermod TO {name}")
    yield name
    end_sessions(postgres, name)
    postgres.rows(f"DROP OWNED BY {name}")
    cluster.execute(f"DROP ROLE {name}")


def as_role(database: PostgresDatabase, role: str) -> str:
    parts = urlsplit(database.url)
    return parts._replace(netloc=f"{role}:first@127.0.0.1:{parts.port}").geturl()


def sessions_of(database: PostgresDatabase, role: str) -> int:
    count = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
    return database.rows(count, role)[0][0]


def end_sessions(database: PostgresDatabase, role: str) -> None:
    end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1"
    database.rows(end, role)


async def fill(connections: Connections, n: int) -> None:
    """Have it keep n idle connections."""
    await asyncio.gather(*(connections.run("SELECT pg_sleep(0.1)") for _ in range(n)))


# Logins


async def test_an_opening_that_fails_leaves_no_session(
    postgres: PostgresDatabase, role: str
) -> None:
    postgres.rows(f"ALTER ROLE {role} CONNECTION LIMIT 1")
    store = PostgresStore(as_role(postgres, role), ManualClock())
    with pytest.raises(StoreUnavailable) as refused:
        await store.open()
    assert "too many connections" in refused.value.detail
    async with asyncio.timeout(10):
        while sessions_of(postgres, role):
            await asyncio.sleep(0.01)
    await store.close()


async def test_a_server_without_room_for_all_of_ours_serves_them_by_turns(
    postgres: PostgresDatabase, role: str
) -> None:
    postgres.rows(f"ALTER ROLE {role} CONNECTION LIMIT 2")
    connections = Connections(as_role(postgres, role), 6)
    await connections.run(WHO)
    answers = await asyncio.gather(
        *(connections.run("SELECT pg_backend_pid(), pg_sleep(0.05)") for _ in range(12))
    )
    assert len({rows[0][0] for rows in answers}) == 2
    await connections.close()


async def test_a_server_that_refuses_is_not_asked_without_a_pause(
    postgres: PostgresDatabase,
) -> None:
    async with proxy_to(postgres) as (proxy, url):
        store = PostgresStore(url, SystemClock())
        await store.open()
        await proxy.down(refuse=False)
        before = proxy.accepted
        for _ in range(200):
            with pytest.raises(StoreUnavailable):
                await store.counts()
        assert proxy.accepted < before + 50
        await proxy.up()
        async with asyncio.timeout(20):
            await until_it_answers(store)
        await store.close()


async def until_it_answers(store: PostgresStore) -> None:
    while True:
        try:
            await store.counts()
        except StoreError:
            await asyncio.sleep(0.02)
        else:
            return


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://127.0.0.1:1/x?sslmode=bogus",
        "postgresql://127.0.0.1:1/x?target_session_attrs=bogus",
        "postgresql://127.0.0.1:x/x",
    ],
)
async def test_an_address_that_cannot_be_one_is_for_a_person_to_change(address: str) -> None:
    with pytest.raises(StoreMisconfigured):
        await PostgresStore(address, ManualClock()).open()


async def test_a_setting_that_the_server_does_not_know_is_for_a_person_to_change(
    postgres: PostgresDatabase,
) -> None:
    with pytest.raises(StoreMisconfigured) as refused:
        await PostgresStore(postgres.url + "?bogus=1", ManualClock()).open()
    assert "bogus" in refused.value.detail


async def test_a_password_that_was_changed_is_an_outage(
    postgres: PostgresDatabase, role: str
) -> None:
    heard = asyncio.Event()
    store = PostgresStore(as_role(postgres, role), ManualClock())
    await store.open()
    postgres.rows(f"ALTER ROLE {role} PASSWORD 'second'")
    end_sessions(postgres, role)
    failed: StoreError | None = None
    for _ in range(3):  # the first may meet a connection that is only now found to be closed
        with suppress(ReplyLost):
            with pytest.raises(StoreError) as caught:
                await store.counts()
            failed = caught.value
    assert isinstance(failed, StoreMisconfigured)
    postgres.rows(f"ALTER ROLE {role} PASSWORD 'first'")
    store.on_work(lambda _: heard.set())
    async with asyncio.timeout(20), postgres.open() as other:
        await until_it_answers(store)
        while not heard.is_set():  # it listens again, too
            await queued_job(other, postgres)
            await asyncio.sleep(0.05)
    await store.close()


async def test_a_database_that_becomes_read_only_has_stored_nothing(
    cluster: Cluster, postgres: PostgresDatabase
) -> None:
    read_only = f'ALTER DATABASE "{postgres.name}" SET default_transaction_read_only ='
    store = PostgresStore(postgres.url, SystemClock())
    await store.open()
    try:
        cluster.execute(f"{read_only} on")
        with cluster.session() as session:
            session.rows(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1",
                postgres.name,
            )
        async with asyncio.timeout(20):
            await until_it_answers(store)
        with pytest.raises(StoreUnavailable) as caught:
            await queued_job(store, postgres)
        assert "read-only" in caught.value.detail
        assert not isinstance(caught.value, ReplyLost)
        cluster.execute(f"{read_only} off")
        await queued_job(store, postgres)
    finally:
        await store.close()
        postgres.close()  # its session was ended as well


# Silence


async def test_after_a_silence_no_other_idle_connection_is_tried(
    postgres: PostgresDatabase,
) -> None:
    async with proxy_to(postgres) as (proxy, url):
        connections = Connections(url, 4)
        await fill(connections, 4)
        freeze(proxy)
        with pytest.raises(ReplyLost):
            await connections.run(WHO, timeout_s=0.2)
        proxy.clear()
        before = proxy.accepted
        await connections.run(WHO, timeout_s=5)
        assert proxy.accepted == before + 1
        await connections.close()


async def test_a_connection_that_was_idle_for_long_is_not_trusted(
    postgres: PostgresDatabase,
) -> None:
    connections = Connections(postgres.url, 1, stale_s=0.0)
    assert await connections.run(WHO) != await connections.run(WHO)
    await connections.close()


async def test_a_caller_does_not_wait_for_ever_until_a_connection_is_free(
    postgres: PostgresDatabase,
) -> None:
    connections = Connections(postgres.url, 1, patience_s=0.1)
    async with connections.session(10):
        with pytest.raises(StoreUnavailable, match="in use"):
            await connections.run(WHO)
    await connections.run(WHO)
    await connections.close()


async def test_a_transaction_that_is_cancelled_during_a_silence_ends_at_once(
    postgres: PostgresDatabase,
) -> None:
    async with proxy_to(postgres) as (proxy, url):
        connections = Connections(url, 1)
        began = asyncio.Event()

        async def work() -> None:
            async with connections.transaction() as connection:
                freeze(proxy)
                began.set()
                await connection.fetch(WHO)

        task = asyncio.ensure_future(work())
        await began.wait()
        await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        proxy.clear()
        await connections.run(WHO)
        await connections.close()


async def test_words_about_an_outage_are_few(
    postgres: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    connections = Connections(postgres.url, 2)
    for _ in range(20):
        with pytest.raises(ReplyLost):
            await connections.run("SELECT pg_terminate_backend(pg_backend_pid())")
        await connections.run(WHO)
    await connections.close()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 4


# Replies


async def test_a_submit_whose_reply_was_lost_keeps_its_body_whatever_comes_next(
    postgres: PostgresDatabase, role: str
) -> None:
    """The first try is committed; from then on the password is wrong."""
    async with proxy_to(postgres) as (proxy, _):
        url = through(as_role(postgres, role), proxy.port)
        store = PostgresStore(url, postgres.clock, connections=1)
        await store.open()
        job = new_job(postgres, body=LARGE, lane="the-lane-to-watch")
        postgres.rows(f"ALTER ROLE {role} PASSWORD 'second'")
        proxy.cut_after(b"the-lane-to-watch")
        asyncio.get_running_loop().call_later(0.3, postgres.clock.advance, 60)
        with pytest.raises(ReplyLost):
            await store.submit_job(job)
        assert proxy.cuts == 1
        await store.close()
    async with postgres.open() as store:
        found = {
            claimed.lease.job_id: await store.read_request(claimed.lease)
            for claimed in await store.claim_jobs(job.lane, 5, CLAIM)
        }
    assert found == {job.id: LARGE}


async def test_what_a_claim_took_unheard_is_given_to_one_caller(
    postgres: PostgresDatabase,
) -> None:
    async with proxy_to(postgres) as (proxy, url), postgres.open() as direct:
        job_id = await queued_job(direct, postgres, lane="the-lane-to-watch")
        store = PostgresStore(
            url, postgres.clock, now=postgres.clock.now, lease_now=lambda: postgres.clock.lease
        )
        await store.open()
        proxy.cut_after(b"the-lane-to-watch")
        with pytest.raises(ReplyLost):
            await store.claim_jobs("the-lane-to-watch", 1, CLAIM)
        claims = [store.claim_jobs("the-lane-to-watch", 1, CLAIM) for _ in range(2)]
        found = [job.lease.job_id for jobs in await asyncio.gather(*claims) for job in jobs]
        assert found == [job_id]
        await store.close()


async def test_what_a_claim_took_unheard_is_still_on_its_way(postgres: PostgresDatabase) -> None:
    ended = FAILED._replace(target=Target("groq", "m"), progress='{"dead":[]}')
    async with proxy_to(postgres) as (proxy, url), postgres.open() as direct:
        await waiting_job(direct, postgres, ended=ended, lane="the-lane-to-watch")
        store = PostgresStore(
            url, postgres.clock, now=postgres.clock.now, lease_now=lambda: postgres.clock.lease
        )
        await store.open()
        proxy.cut_after(b"the-lane-to-watch")
        with pytest.raises(ReplyLost):
            await store.claim_jobs("the-lane-to-watch", 1, CLAIM)
        (job,) = await store.claim_jobs("the-lane-to-watch", 1, CLAIM)
        assert (job.lease.attempt, job.target, job.progress) == (2, ended.target, ended.progress)
        await store.close()


# Closing


async def outcome(call: "asyncio.Future[Any]") -> BaseException | None:
    async with asyncio.timeout(1):
        (result,) = await asyncio.gather(call, return_exceptions=True)
    return result if isinstance(result, BaseException) else None


@pytest.mark.parametrize("how", ["frozen", "gone"])
async def test_closing_does_not_wait_for_a_database_that_is_away(
    how: str, postgres: PostgresDatabase
) -> None:
    async with proxy_to(postgres) as (proxy, url):
        store = PostgresStore(url, ManualClock())
        await store.open()
        await asyncio.gather(*(store.counts() for _ in range(8)))
        if how == "frozen":
            freeze(proxy)
        out = [
            asyncio.ensure_future(call)
            for _ in range(3)
            for call in (
                store.submit_job(new_job(postgres)),
                store.submit_job(new_job(postgres, body=LARGE)),
                store.counts(),
                store.claim_jobs(LANE, 1, CLAIM),
                store.recover_lost_leases(10),
            )
        ]
        await asyncio.sleep(0)
        if how == "gone":
            await proxy.down()
        # It would take the statements 10 s, and 5 s more to give up.
        async with asyncio.timeout(6):
            await store.close()
        for call in out:
            assert isinstance(await outcome(call), StoreUnavailable)


async def test_closing_carries_out_what_was_asked_for(postgres: PostgresDatabase) -> None:
    async with postgres.open() as store:
        jobs = [new_job(postgres) for _ in range(300)]
        submits = [asyncio.ensure_future(store.submit_job(job)) for job in jobs]
        await asyncio.sleep(0)
    assert await asyncio.gather(*submits) == [None] * 300
    assert postgres.rows("SELECT count(*) FROM hermod.job") == [(300,)]


async def test_what_was_stored_last_is_told_before_the_end(postgres: PostgresDatabase) -> None:
    heard = asyncio.Event()
    async with postgres.open() as there:
        there.on_work(lambda _: heard.set())
        async with postgres.open() as here:
            await queued_job(here, postgres)
        async with asyncio.timeout(20):
            await heard.wait()


async def test_what_was_not_told_because_a_connection_broke_is_told_on_the_next(
    postgres: PostgresDatabase,
) -> None:
    heard = asyncio.Event()
    async with proxy_to(postgres) as (proxy, url), postgres.open() as there:
        there.on_work(lambda _: heard.set())
        here = PostgresStore(url, ManualClock())
        await here.open()
        breaks = iter((proxy.upstream.reset_peer,))
        here.on_work(lambda _: next(breaks, lambda: None)())  # stored, and not told yet
        await queued_job(here, postgres)
        asyncio.get_running_loop().call_later(0.2, proxy.clear)
        async with asyncio.timeout(20):
            await heard.wait()
        await here.close()


async def test_a_store_that_was_closed_says_so(postgres: PostgresDatabase) -> None:
    store = postgres.store()
    await store.open()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.open()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.counts()
    await store.close()
