"""Meters and documents where only a server has it: lost replies, and many who wait."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import pytest

from hermod.domain.document import Audit, Changed, Delete, Document, Put
from hermod.domain.errors import LimitReached
from hermod.domain.job import Lease, NewJob
from hermod.domain.meter import Why
from hermod.store.api import Store
from hermod.store.postgres import PostgresStore
from tests.store.backends import PostgresDatabase
from tests.store.jobs import CLAIM, COMPLETED, FAILED, LANE, LEASE_S, OWNER, new_job, running_job
from tests.store.limits import (
    BUDGET,
    DONE,
    FAILED_HOLDING,
    PARALLEL,
    PENDING,
    UNKNOWN_HOLDING,
    UNSENT_HOLDING,
    counted,
)
from tests.support.fault_proxy import FaultProxy

MOST_ANSWERS: Final = 40
TEAM: Final = Document("team", "1", "one", "hash", b"{}")
AUDIT: Final = Audit(1, "cli", "team.create", "1")


@asynccontextmanager
async def proxied(database: PostgresDatabase) -> AsyncIterator[tuple[FaultProxy, PostgresStore]]:
    """A store whose way to the database can be cut."""
    parts = urlsplit(database.url)
    assert parts.port is not None
    async with FaultProxy("127.0.0.1", parts.port) as proxy:
        netloc = parts.netloc.replace(f":{parts.port}", f":{proxy.port}")
        store = PostgresStore(
            parts._replace(netloc=netloc).geturl(),
            database.clock,
            now=database.clock.now,
            lease_now=lambda: database.clock.lease,
        )
        await store.open()
        try:
            yield proxy, store
        finally:
            proxy.clear()
            await store.close()


# Lost replies


class Start(NamedTuple):
    job: NewJob
    lease: Lease


class Verb(NamedTuple):
    act: Callable[[Store, Start], Awaitable[object]]
    result: Callable[[Start], object]
    used: tuple[int, int, int]
    """What the budget then says."""
    is_held: bool = True
    """Whether something is reserved before."""


VERBS: Final = {
    "reserve": Verb(
        lambda store, start: store.reserve(start.lease, [BUDGET, PARALLEL]),
        lambda start: (),
        (0, 100, 0),
        is_held=False,
    ),
    "finish": Verb(
        lambda store, start: store.finish_job(start.lease, DONE), lambda start: True, (70, 0, 70)
    ),
    "put back": Verb(
        lambda store, start: store.put_back(start.lease, UNKNOWN_HOLDING, 0),
        lambda start: True,
        (100, 0, 100),
    ),
    "begin attempt": Verb(
        lambda store, start: store.begin_attempt(start.lease, FAILED_HOLDING, LEASE_S),
        lambda start: start.lease._replace(attempt=2),
        (0, 0, 0),
    ),
}


async def each_reply_lost(
    database: PostgresDatabase,
    prepare: Callable[[], Awaitable[None]],
    act: Callable[[Store], Awaitable[None]],
) -> None:
    """Have each reply of an act lost in turn, until it ends without losing one."""
    nth = 0
    async with proxied(database) as (proxy, store):
        for nth in range(1, MOST_ANSWERS):
            await prepare()
            proxy.cut_before_reply(nth)
            await act(store)
            if proxy.cuts < nth:
                break
    assert 1 < nth < MOST_ANSWERS - 1


@pytest.mark.parametrize("name", VERBS)
async def test_what_a_verb_does_to_a_meter_is_done_once_when_its_reply_is_lost(
    postgres: PostgresDatabase, name: str
) -> None:
    verb = VERBS[name]
    async with postgres.open() as direct:
        starts: list[Start] = []

        async def prepare() -> None:
            await direct.change_documents([], forget_meters=[BUDGET.meter_id])
            job = new_job(postgres)
            lease = await direct.submit_job(job, CLAIM)
            assert lease is not None
            if verb.is_held:
                assert await direct.reserve(lease, [BUDGET, PARALLEL]) == ()
            starts.append(Start(job, lease))

        async def act(store: Store) -> None:
            assert await verb.act(store, starts[-1]) == verb.result(starts[-1])
            assert await counted(direct) == verb.used
            if not verb.is_held:  # room for the next
                assert await direct.put_back(starts[-1].lease, UNSENT_HOLDING, 0)
            assert await counted(direct, PARALLEL) == (0, 0, 0)

        await each_reply_lost(postgres, prepare, act)


async def test_a_place_is_held_once_when_the_reply_to_the_submit_is_lost(
    postgres: PostgresDatabase,
) -> None:
    async with postgres.open() as direct:

        async def prepare() -> None:
            assert await counted(direct, PENDING) == (0, 0, 0)

        async def act(store: Store) -> None:
            job = new_job(postgres)
            only_one = PENDING._replace(limit=1)
            assert await store.submit_job(job, pending=only_one) is None
            assert await counted(direct, PENDING) == (0, 1, 0)
            with pytest.raises(LimitReached):
                await store.submit_job(new_job(postgres), pending=only_one)
            assert await direct.cancel_job(job.id, OWNER, None)

        await each_reply_lost(postgres, prepare, act)


async def test_documents_change_once_when_the_reply_is_lost(postgres: PostgresDatabase) -> None:
    async with postgres.open() as direct:
        versions = iter(range(MOST_ANSWERS))

        async def prepare() -> None:
            # The next version takes the place of the one before, in which another one goes.
            version = next(versions)
            other = Document("team", f"old {version}", f"old {version}", None, b"")
            await direct.change_documents([Put(other)])

        async def act(store: Store) -> None:
            (before, documents) = await direct.read_documents()
            old = [document for document in documents if document.id != TEAM.id]
            version = max((each.version for each in documents if each.id == TEAM.id), default=0)
            changes = [
                Put(TEAM._replace(version=version)),
                *(Delete(each.type, each.id, each.version) for each in old),
            ]
            assert await store.change_documents(changes, AUDIT) == Changed(before + 1)
            assert await direct.read_documents() == (
                before + 1,
                (TEAM._replace(version=version + 1),),
            )
            assert len(await direct.read_audit(99)) == version + 1

        await each_reply_lost(postgres, prepare, act)


# Many at once


async def test_what_one_of_a_group_is_refused_leaves_room_for_the_others(
    postgres: PostgresDatabase,
) -> None:
    async with postgres.open() as store:
        leases = [await running_job(store, postgres) for _ in range(2)]
        only_one = BUDGET._replace(limit=100)
        refused, passed = await asyncio.gather(
            store.reserve(leases[0], [only_one, PARALLEL._replace(limit=0)]),
            store.reserve(leases[1], [only_one]),
        )
        assert refused
        assert passed == ()


METERS: Final = tuple(BUDGET._replace(meter_id=f"budget {n}", limit=10**9) for n in range(3))


async def live(store: Store, database: PostgresDatabase, dice: random.Random) -> None:
    """A job's life, or two, over two of the same three meters, in any order."""
    lease = await running_job(store, database)
    holds = dice.sample(METERS, 2)
    assert await store.reserve(lease, holds) == ()
    if dice.random() < 0.3:
        following = await store.begin_attempt(lease, FAILED_HOLDING, LEASE_S)
        assert following is not None
        lease = following
        assert await store.reserve(lease, holds) == ()
    if dice.random() < 0.2:
        assert await store.cancel_job(lease.job_id, OWNER, None)
    elif dice.random() < 0.5:
        assert await store.put_back(lease, UNSENT_HOLDING, 0)
    else:
        assert await store.finish_job(lease, DONE)


async def wait_and_be_claimed(
    store: Store, database: PostgresDatabase, dice: random.Random
) -> None:
    """A place in the queue, that is given up for a place among those that run."""
    place = PENDING._replace(meter_id=f"pending {dice.randrange(3)}", limit=10**9)
    await store.submit_job(new_job(database), pending=place)
    for job in await store.claim_jobs(LANE, 3, CLAIM):
        # It is as likely another one's, so nobody counts on it.
        assert await store.reserve(job.lease, [dice.choice(METERS)._replace(amount=0)]) == ()
        assert await store.finish_job(job.lease, COMPLETED._replace(held=True))


async def test_nobody_waits_in_a_circle_for_meters(postgres: PostgresDatabase) -> None:
    dice = random.Random(7)
    async with postgres.open() as one, postgres.open() as other:
        await asyncio.gather(
            *(
                act(store, postgres, dice)
                for _ in range(60)
                for store in (one, other)
                for act in (live, wait_and_be_claimed)
            )
        )
        held = postgres.rows(
            "SELECT meter_id, sum(amount)::bigint FROM hermod.hold GROUP BY 1 ORDER BY 1"
        )
        reserved = postgres.rows(
            "SELECT id, reserved FROM hermod.meter WHERE reserved > 0 ORDER BY id"
        )
        assert held == reserved
        ((cost,),) = postgres.rows("SELECT sum(cost_usd_nanos)::bigint FROM hermod.job")
        meters = await one.read_meters([hold.meter_id for hold in METERS])
        assert sum(meter.total for meter in meters.values()) == 2 * cost
        assert await one.counts() == postgres.count_jobs()
    ((deadlocks,),) = postgres.rows(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert deadlocks == 0


# Whoever has the job meanwhile

WAITS: Final = """SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'"""
TAKES: Final = """
    UPDATE hermod.job SET state = 'waiting', worker_id = NULL, lease_until = NULL WHERE id = $1"""


async def test_who_reserves_waits_for_who_has_the_job_and_then_sees_what_it_did(
    postgres: PostgresDatabase,
) -> None:
    async with postgres.open() as store:
        lease = await running_job(store, postgres)
        postgres.rows("BEGIN")
        postgres.rows(TAKES, lease.job_id)
        reserve = asyncio.ensure_future(store.reserve(lease, [BUDGET]))
        while not await asyncio.to_thread(postgres.rows, WAITS):
            assert not reserve.done()
        postgres.rows("COMMIT")
        assert await reserve is None
        assert await counted(store) == (0, 0, 0)
        assert postgres.rows("SELECT * FROM hermod.hold") == []


async def test_who_reserves_waits_for_who_has_the_meter_and_then_judges_it(
    postgres: PostgresDatabase,
) -> None:
    async with postgres.open() as store:
        lease = await running_job(store, postgres)
        assert await store.reserve(await running_job(store, postgres), [BUDGET]) == ()
        postgres.rows("BEGIN")
        postgres.rows("UPDATE hermod.meter SET reserved = 1000")
        reserve = asyncio.ensure_future(store.reserve(lease, [BUDGET]))
        while not await asyncio.to_thread(postgres.rows, WAITS):
            assert not reserve.done()
        postgres.rows("COMMIT")
        refusals = await reserve
        assert refusals
        assert (refusals[0].why, refusals[0].reserved) == (Why.BUSY, 1000)


async def test_a_finish_without_its_lease_settles_nothing_of_the_attempt_that_has_it(
    postgres: PostgresDatabase,
) -> None:
    async with postgres.open() as store:
        lease = await running_job(store, postgres)
        following = await store.begin_attempt(lease, FAILED, LEASE_S)
        assert following is not None
        assert await store.reserve(following, [BUDGET]) == ()
        assert not await store.finish_job(lease, DONE)
        assert await counted(store) == (0, 100, 0)
