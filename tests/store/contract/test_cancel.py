"""A job that its owner no longer wants ends as cancelled, and stays so."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from hermod.domain.cancellation import cancelled_failure
from hermod.domain.ids import uuid7
from hermod.domain.job import TERMINAL, AttemptState, JobView, Principal, State
from hermod.store.api import Store
from tests.store.backends import SECOND, Database
from tests.store.jobs import (
    ADMIN,
    CLAIM,
    COMPLETED,
    FAILED,
    LANE,
    LEASE_S,
    OTHER_CLAIM,
    OWNER,
    TTL_S,
    attempts,
    finished_job,
    new_job,
    queued_job,
    read,
    running_job,
    states,
    suspect,
    waiting_job,
)

MIB = 1024 * 1024
HOUR = 3_600 * SECOND
LARGE = COMPLETED._replace(body=b"y" * (2 * MIB + 1))


async def running(store: Store, database: Database) -> str:
    return (await running_job(store, database)).job_id


async def running_again(store: Store, database: Database) -> str:
    lease = await running_job(store, database)
    assert await store.begin_attempt(lease, FAILED, LEASE_S)
    return lease.job_id


async def suspected(store: Store, database: Database) -> str:
    return await suspect(store, database, losses=2)


UNDONE: dict[str, tuple[Callable[[Store, Database], Awaitable[str]], list[AttemptState]]] = {
    "queued": (queued_job, []),
    "running": (running, [AttemptState.UNKNOWN]),
    "running again": (running_again, [AttemptState.FAILED, AttemptState.UNKNOWN]),
    "waiting": (waiting_job, [AttemptState.FAILED]),
    "a suspect": (suspected, [AttemptState.UNKNOWN] * 2),
}
"""Jobs that have not ended, and how their attempts stand once they are cancelled."""

undone = pytest.mark.parametrize(("prepare", "ends"), UNDONE.values(), ids=UNDONE)


async def cancel(store: Store, job_id: str) -> JobView:
    """What the owner of a job is told who cancels it."""
    view = await store.cancel_job(job_id, OWNER, None)
    assert view is not None
    return view


# Jobs that have not ended


@undone
async def test_a_job_that_has_not_ended_is_cancelled(
    database: Database,
    prepare: Callable[[Store, Database], Awaitable[str]],
    ends: list[AttemptState],
) -> None:
    async with database.open() as store:
        job_id = await prepare(store, database)
        database.clock.advance(5)
        view = await cancel(store, job_id)
        assert (view.state, view.status_code) == (State.CANCELLED, 499)
        assert view.completed_at == database.clock.now()
        assert view.expires_at == database.clock.now() + TTL_S * SECOND
        database.crash()
    async with database.open() as store:
        assert await read(store, job_id) == view
        assert await states(store, job_id) == ends


async def test_a_cancelled_job_says_what_it_was_and_why_it_ended(database: Database) -> None:
    async with database.open() as store:
        view = await cancel(store, await running(store, database))
        expected = cancelled_failure().of(
            provider=LANE, model="gpt-4o", request_type="chat_completion"
        )
        assert view.body == expected.to_json()
        said = json.loads(view.body or b"")
        assert (said["is_bifrost_error"], said["status_code"]) == (True, 499)
        assert said["error"]["type"] == "request_cancelled"
        assert said["error"]["message"].startswith("Request cancelled by context: ")


async def test_the_outcome_of_the_call_that_is_out_is_unknown(database: Database) -> None:
    async with database.open() as store:
        job_id = await running(store, database)
        database.clock.advance(5)
        await cancel(store, job_id)
        (attempt,) = await attempts(store, job_id)
        assert (attempt.state, attempt.error_type) == (AttemptState.UNKNOWN, "request_cancelled")
        assert attempt.ended_at == database.clock.now()


@undone
async def test_nobody_runs_ends_or_recovers_a_cancelled_job(
    database: Database,
    prepare: Callable[[Store, Database], Awaitable[str]],
    ends: list[AttemptState],
) -> None:
    del ends
    async with database.open() as store:
        job_id = await prepare(store, database)
        view = await cancel(store, job_id)
        before = database.dump()
        assert await store.due_lanes() == {}
        assert await store.suspects_due_at() is None
        assert await store.claim_jobs(LANE, 9, CLAIM) == []
        assert await store.claim_suspects(0, 9, 9, CLAIM) == []
        assert await store.release_worker(CLAIM.worker_id, 9) == 0
        database.clock.advance(TTL_S - 1)
        assert await store.recover_lost_leases(9) == 0
        assert await store.expire_overdue(9) == 0
        assert database.dump() == before
        assert await read(store, job_id) == view


@undone
async def test_a_cancelled_job_is_counted_as_one(
    database: Database,
    prepare: Callable[[Store, Database], Awaitable[str]],
    ends: list[AttemptState],
) -> None:
    del ends
    async with database.open() as store:
        await cancel(store, await prepare(store, database))
        assert await store.counts() == {("default", LANE, State.CANCELLED): 1}


async def test_a_cancelled_job_leaves_no_row_once_its_ttl_is_over(database: Database) -> None:
    async with database.open() as store:
        body = b"x" * (2 * MIB + 1)
        queued = await queued_job(store, database, body=body)
        lease = await running_job(store, database, body=body)
        for job_id in (queued, lease.job_id):
            await cancel(store, job_id)
        assert database.count_pieces() == 6
        database.clock.advance(TTL_S)
        assert await store.cancel_job(queued, OWNER, None) is None
        assert await store.delete_expired(9) == 2
        left = {table: rows for table, rows in database.dump().items() if rows}
        assert left.keys() <= {"job_count", "meta", "migration"}


# Jobs that have ended


@pytest.mark.parametrize("state", sorted(TERMINAL))
async def test_a_job_that_has_ended_is_left_as_it_is(database: Database, state: State) -> None:
    async with database.open() as store:
        job_id = await finished_job(store, database, COMPLETED._replace(state=state))
        view = await read(store, job_id)
        database.clock.advance(5)
        before = database.dump()
        assert await cancel(store, job_id) == view
        assert database.dump() == before


async def test_the_cancel_of_a_completed_job_shows_its_result_however_large(
    database: Database,
) -> None:
    async with database.open() as store:
        job_id = await finished_job(store, database, LARGE)
        view = await cancel(store, job_id)
        assert (view.state, view.body) == (State.COMPLETED, LARGE.body)


async def test_a_cancel_that_is_repeated_changes_nothing_more(database: Database) -> None:
    async with database.open() as store:
        job_id = await running(store, database)
        view = await cancel(store, job_id)
        database.clock.advance(5)
        before = database.dump()
        assert await cancel(store, job_id) == view
        assert database.dump() == before


# Whose job it is

OTHERS = {
    "another owner": (Principal("default", "vk:2"), None),
    "another owner who sees what is open": (Principal("default", "vk:2", sees_open=True), None),
    "another tenant": (Principal("other", "vk:1"), None),
    "another tenant's admin": (Principal("other", "admin:token", is_admin=True), None),
    "another kind": (OWNER, "embedding"),
    "an admin, of another kind": (ADMIN, "embedding"),
}


async def test_who_sees_what_is_open_cancels_jobs_of_nobody(database: Database) -> None:
    async with database.open() as store:
        job_id = await queued_job(store, database, owner="open")
        sees_open = Principal("default", "vk:2", sees_open=True)
        view = await store.cancel_job(job_id, sees_open, None)
        assert view
        assert view.state is State.CANCELLED


@pytest.mark.parametrize(("principal", "kind"), OTHERS.values(), ids=OTHERS)
async def test_a_job_that_is_not_to_be_seen_is_not_cancelled(
    database: Database, principal: Principal, kind: str | None
) -> None:
    async with database.open() as store:
        job_id = await running(store, database)
        before = database.dump()
        assert await store.cancel_job(job_id, principal, kind) is None
        assert database.dump() == before


@pytest.mark.parametrize("principal", [OWNER, ADMIN], ids=["its owner", "an admin"])
@pytest.mark.parametrize("kind", [None, "chat_completion"])
async def test_a_job_that_is_to_be_seen_can_be_cancelled(
    database: Database, principal: Principal, kind: str | None
) -> None:
    async with database.open() as store:
        view = await store.cancel_job(await running(store, database), principal, kind)
        assert view is not None
        assert view.state is State.CANCELLED


@pytest.mark.parametrize("spelled", ["", "x", "' OR '1'='1", "\ud800", "0" * 100_000])
async def test_what_is_no_id_is_no_job(database: Database, spelled: str) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        before = database.dump()
        assert await store.cancel_job(spelled, ADMIN, None) is None
        assert await store.cancel_job(uuid7(database.clock.now()), ADMIN, None) is None
        assert database.dump() == before


# Others at the same moment


async def test_of_a_cancel_and_a_finish_one_counts(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        for n in range(20):
            lease = await running_job(one, database)
            ways = [one.finish_job(lease, COMPLETED), other.cancel_job(lease.job_id, OWNER, None)]
            answers = await asyncio.gather(*(ways if n % 2 else ways[::-1]))
            won, view = answers if n % 2 else answers[::-1]
            assert isinstance(view, JobView)
            assert view.state is (State.COMPLETED if won else State.CANCELLED)
            assert await read(one, lease.job_id) == view
            assert await states(one, lease.job_id) == [
                AttemptState.SUCCEEDED if won else AttemptState.UNKNOWN
            ]
        assert await one.counts() == database.count_jobs()


async def test_a_job_that_is_claimed_and_cancelled_at_once_is_cancelled(
    database: Database,
) -> None:
    async with database.open() as one, database.open() as other:
        for _ in range(20):
            job_id = await queued_job(one, database)
            claimed, view = await asyncio.gather(
                one.claim_jobs(LANE, 1, CLAIM), other.cancel_job(job_id, OWNER, None)
            )
            assert view is not None
            assert view.state is State.CANCELLED
            assert await states(one, job_id) == [AttemptState.UNKNOWN] * len(claimed)
            for job in claimed:
                assert not await one.finish_job(job.lease, COMPLETED)
            assert await read(other, job_id) == view
        assert await one.counts() == database.count_jobs()


async def test_of_two_cancels_at_once_one_counts_and_both_know(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        for _ in range(10):
            lease = await running_job(one, database)
            answers = await asyncio.gather(
                *(store.cancel_job(lease.job_id, OWNER, None) for store in (one, other, one))
            )
            assert answers == [await read(one, lease.job_id)] * 3
        assert await one.counts() == {("default", LANE, State.CANCELLED): 10}


async def test_many_cancels_at_once_end_each_its_own_job(database: Database) -> None:
    async with database.open() as store:
        jobs = [new_job(database) for _ in range(60)]
        kept, *gone = jobs
        await asyncio.gather(*map(store.submit_job, jobs))
        assert len(await store.claim_jobs(LANE, 30, OTHER_CLAIM)) == 30
        views = await asyncio.gather(*(cancel(store, job.id) for job in gone))
        assert [view.id for view in views] == [job.id for job in gone]
        assert {view.state for view in views} == {State.CANCELLED}
        assert (await read(store, kept.id)).state is State.RUNNING
        assert await store.counts() == database.count_jobs()


async def test_pieces_of_a_result_that_came_too_late_are_orphans(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        finish = asyncio.ensure_future(store.finish_job(lease, LARGE))
        while not database.count_pieces():
            await asyncio.sleep(0)
        view = await cancel(store, lease.job_id)
        won = await finish
        assert view.state is (State.COMPLETED if won else State.CANCELLED)
        left = database.count_pieces()
        assert await store.delete_orphans(database.clock.now() + HOUR, 99) == (0 if won else left)
        assert await read(store, lease.job_id) == view


async def test_pieces_of_a_result_whose_worker_gave_up_are_orphans(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        cut = asyncio.ensure_future(store.finish_job(lease, LARGE))
        while not database.count_pieces():
            await asyncio.sleep(0)
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
        await cancel(store, lease.job_id)
        left = database.count_pieces()
        assert await store.delete_orphans(database.clock.now() + HOUR, 99) == left > 0
        assert (await read(store, lease.job_id)).state is State.CANCELLED
