"""Verbs that are asked for together: each succeeds or fails by itself."""

import asyncio

import pytest

from hermod.domain.errors import StoreUnavailable
from hermod.domain.job import AttemptState, State
from tests.store.backends import Database
from tests.store.jobs import (
    CLAIM,
    COMPLETED,
    FAILED,
    LANE,
    LEASE_S,
    OWNER,
    new_job,
    queued_job,
    read,
    running_job,
    states,
)
from tests.store.limits import BUDGET


async def test_a_second_submit_of_an_id_fails_and_changes_nothing(database: Database) -> None:
    async with database.open() as store:
        job = new_job(database, body=b"x" * 100_000)
        await store.submit_job(job)
        before = database.dump()
        with pytest.raises(Exception):  # noqa: B017, PT011  whatever the engine says of it
            await store.submit_job(job._replace(body=b"y" * 100_000, model="other"), CLAIM)
        assert database.dump() == before


async def test_a_verb_that_fails_spoils_only_itself(database: Database) -> None:
    async with database.open() as store:
        taken = new_job(database)
        await store.submit_job(taken)
        lease = await running_job(store, database)
        good = [new_job(database) for _ in range(50)]
        asked = [store.submit_job(job) for job in good]
        asked.insert(25, store.submit_job(taken))
        *answers, finished = await asyncio.gather(
            *asked, store.finish_job(lease, COMPLETED), return_exceptions=True
        )
        assert isinstance(answers.pop(25), Exception)
        assert answers == [None] * 50
        assert finished is True
        assert await store.counts() == database.count_jobs()
        for job in good:
            assert (await read(store, job.id)).state is State.QUEUED


async def test_text_that_cannot_be_stored_spoils_only_its_own_submit(database: Database) -> None:
    async with database.open() as store:
        good = new_job(database)
        answers = await asyncio.gather(
            store.submit_job(new_job(database, model="\ud800")),
            store.submit_job(new_job(database, priority=2**70)),
            store.submit_job(good),
            return_exceptions=True,
        )
        assert [isinstance(answer, Exception) for answer in answers] == [True, True, False]
        assert await store.counts() == {("default", LANE, State.QUEUED): 1}


async def test_different_verbs_asked_for_at_once_all_happen(database: Database) -> None:
    async with database.open() as store:
        first, second, third, fourth = [await running_job(store, database) for _ in range(4)]
        answers = await asyncio.gather(
            store.finish_job(first, COMPLETED),
            store.begin_attempt(second, FAILED, LEASE_S),
            store.put_back(third, FAILED, 0),
            store.renew_leases([fourth], LEASE_S),
            store.submit_job(new_job(database)),
        )
        assert answers == [True, second._replace(attempt=2), True, {fourth.job_id}, None]
        assert await store.counts() == {
            ("default", LANE, State.COMPLETED): 1,
            ("default", LANE, State.RUNNING): 2,
            ("default", LANE, State.WAITING): 1,
            ("default", LANE, State.QUEUED): 1,
        }


async def test_thousands_of_submits_at_once_are_all_kept(database: Database) -> None:
    async with database.open() as store:
        jobs = [new_job(database) for _ in range(2_000)]
        await asyncio.gather(*map(store.submit_job, jobs))
        database.crash()
    async with database.open() as store:
        claimed = await store.claim_jobs(LANE, 3_000, CLAIM)
        assert {job.lease.job_id for job in claimed} == {job.id for job in jobs}


async def test_a_caller_that_leaves_harms_nobody(database: Database) -> None:
    async with database.open() as store:
        asked = [asyncio.ensure_future(queued_job(store, database)) for _ in range(20)]
        await asyncio.sleep(0)
        for task in asked[::2]:
            task.cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers[1::2]:
            assert isinstance(answer, str)
            assert (await read(store, answer)).state is State.QUEUED
        assert await store.counts() == database.count_jobs()


async def test_a_caller_may_leave_at_any_moment(database: Database) -> None:
    async with database.open() as store:
        for moment in range(12):
            job = new_job(database, body=b"x" * 100_000)
            submit = asyncio.ensure_future(store.submit_job(job, CLAIM))
            for _ in range(moment):
                await asyncio.sleep(0)
            submit.cancel()
            await asyncio.gather(submit, return_exceptions=True)
            await queued_job(store, database)  # what comes after is answered
            view = await store.read_job(job.id, OWNER, None)
            if view is not None:
                assert await states(store, job.id) == [AttemptState.SENDING]
        assert await store.counts() == database.count_jobs()


async def test_closing_commits_what_was_asked(database: Database) -> None:
    jobs = [new_job(database) for _ in range(1_000)]
    async with database.open() as store:
        asked = [asyncio.ensure_future(store.submit_job(job)) for job in jobs]
        await asyncio.sleep(0)
    assert await asyncio.gather(*asked) == [None] * len(jobs)
    async with database.open() as store:
        assert await store.counts() == {("default", LANE, State.QUEUED): len(jobs)}


async def test_a_closed_store_refuses_every_verb(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
    refused = (
        store.submit_job(new_job(database)),
        store.submit_job(new_job(database, body=b"x" * 100_000)),
        store.read_job(lease.job_id, OWNER, None),
        store.read_attempts(lease.job_id, OWNER),
        store.claim_jobs(LANE, 1, CLAIM),
        store.claim_suspects(2, 9, 1, CLAIM),
        store.read_request(lease),
        store.renew_leases([lease], LEASE_S),
        store.begin_attempt(lease, FAILED, LEASE_S),
        store.put_back(lease, FAILED, 0),
        store.cancel_job(lease.job_id, OWNER, None),
        store.record_handle(lease, "x"),
        store.finish_job(lease, COMPLETED),
        store.finish_job(lease, COMPLETED._replace(body=b"x" * 100_000)),
        store.release_worker("x", 1),
        store.recover_lost_leases(1),
        store.expire_overdue(1),
        store.delete_expired(1),
        store.delete_orphans(0, 1),
        store.reserve(lease, [BUDGET]),
        store.settle_leftovers(1),
        store.read_meters(["budget"]),
        store.documents_revision(),
        store.read_documents(),
        store.change_documents([]),
        store.read_audit(1),
        store.read_sealed_jobs(None, 1),
        store.reseal_jobs([]),
        store.due_lanes(),
        store.suspects_due_at(),
        store.counts(),
    )
    for verb in refused:
        with pytest.raises(StoreUnavailable):
            await verb


async def test_closing_twice_is_closing_once(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        await store.close()


async def test_a_large_submit_that_is_cut_by_closing_is_refused_and_no_job(
    database: Database,
) -> None:
    job = new_job(database, body=b"x" * 20_000_000)
    async with database.open() as store:
        submit = asyncio.ensure_future(store.submit_job(job))
        while not database.count_pieces():
            await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await submit
    async with database.open() as store:
        assert await store.counts() == {}
