"""What is counted and what is due, without a look at every job."""

import random

from hermod.domain.job import Lease, OnUnknown, State
from tests.store.backends import SECOND, Database
from tests.store.jobs import (
    ADMIN,
    CLAIM,
    COMPLETED,
    FAILED,
    LANE,
    LEASE_S,
    QUEUE_WAIT_S,
    TTL_S,
    finished_job,
    lose_leases,
    new_job,
    queued_job,
    running_job,
    suspect,
    waiting_job,
)


async def test_an_empty_store_counts_nothing(database: Database) -> None:
    async with database.open() as store:
        assert await store.counts() == {}
        assert await store.due_lanes() == {}
        assert await store.suspects_due_at() is None


async def test_jobs_are_counted_by_tenant_lane_and_state(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        await queued_job(store, database)
        await queued_job(store, database, lane="groq")
        await queued_job(store, database, tenant_id="other")
        await running_job(store, database)
        await waiting_job(store, database)
        await finished_job(store, database)
        await finished_job(store, database, COMPLETED._replace(state=State.FAILED))
        await finished_job(store, database, COMPLETED._replace(state=State.CANCELLED))
        await finished_job(store, database, COMPLETED._replace(state=State.EXPIRED))
        assert await store.counts() == {
            ("default", LANE, State.QUEUED): 2,
            ("default", "groq", State.QUEUED): 1,
            ("other", LANE, State.QUEUED): 1,
            ("default", LANE, State.RUNNING): 1,
            ("default", LANE, State.WAITING): 1,
            ("default", LANE, State.COMPLETED): 1,
            ("default", LANE, State.FAILED): 1,
            ("default", LANE, State.CANCELLED): 1,
            ("default", LANE, State.EXPIRED): 1,
        }


async def test_counters_equal_a_real_count_after_random_verbs(database: Database) -> None:
    chance = random.Random(2026)
    async with database.open() as store:
        leases: list[Lease] = []
        seen: set[State] = set()
        for _ in range(300):
            verb = chance.randrange(12)
            lease = chance.choice(leases) if leases else Lease(new_job(database).id, 1, "x")
            changes = {
                "lane": chance.choice([LANE, "groq"]),
                "tenant_id": chance.choice(["default", "other"]),
                "on_unknown": chance.choice(list(OnUnknown)),
                "ttl_s": chance.choice([1, TTL_S]),
            }
            if verb == 0:
                await queued_job(store, database, **changes)
            elif verb == 1:
                leases.append(await running_job(store, database, **changes))
            elif verb == 2:
                claimed = await store.claim_jobs(LANE, 2, CLAIM)
                claimed += await store.claim_suspects(2, 9, 1, CLAIM)
                leases += [job.lease for job in claimed]
            elif verb == 3:
                await store.finish_job(lease, COMPLETED)
            elif verb == 4:
                await store.put_back(lease, FAILED, database.clock.now())
            elif verb == 5:
                begun = await store.begin_attempt(lease, FAILED, LEASE_S)
                leases += [begun] if begun else []
            elif verb == 6:
                await lose_leases(store, database)
            elif verb == 7:
                await store.release_worker(CLAIM.worker_id, 1)
            elif verb == 8:
                database.clock.advance(chance.choice([1, 1, 1, QUEUE_WAIT_S / 3]))
            elif verb == 10:
                await store.cancel_job(lease.job_id, ADMIN, None)
            else:
                await (store.expire_overdue if verb == 9 else store.delete_expired)(3)
            counts = await store.counts()
            assert counts == database.count_jobs()
            seen.update(state for _, _, state in counts)
        assert seen == set(State)


async def test_counters_survive_a_crash(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        await finished_job(store, database)
        counts = await store.counts()
        database.crash()
    async with database.open() as store:
        assert await store.counts() == counts == database.count_jobs()


# What is due


async def test_a_lane_with_a_queued_job_is_due_at_once(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        await queued_job(store, database, tenant_id="other")
        assert await store.due_lanes() == {LANE: 0}


async def test_a_lane_with_only_waiting_jobs_is_due_with_the_first(database: Database) -> None:
    async with database.open() as store:
        now = database.clock.now()
        for wait in (30, 10, 20):
            await waiting_job(store, database, in_s=wait)
        assert await store.due_lanes() == {LANE: now + 10 * SECOND}


async def test_every_lane_is_due_by_itself(database: Database) -> None:
    async with database.open() as store:
        now = database.clock.now()
        await queued_job(store, database, lane="groq")
        await waiting_job(store, database, in_s=10, lane="groq")
        await waiting_job(store, database, in_s=20)
        await running_job(store, database, lane="mistral")
        await finished_job(store, database, lane="cohere")
        assert await store.due_lanes() == {"groq": 0, LANE: now + 20 * SECOND}


async def test_a_lane_is_no_longer_due_once_all_is_claimed(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        await waiting_job(store, database)
        await store.claim_jobs(LANE, 9, CLAIM)
        assert await store.due_lanes() == {}


async def test_suspects_are_due_apart_from_their_lanes(database: Database) -> None:
    async with database.open() as store:
        await suspect(store, database, 2)
        assert await store.due_lanes() == {}
        assert await store.suspects_due_at() == database.clock.now()


async def test_suspects_are_due_with_the_first(database: Database) -> None:
    async with database.open() as store:
        await suspect(store, database, 2)
        first_due_at = database.clock.now()
        await suspect(store, database, 2, lane="groq")
        assert await store.suspects_due_at() == first_due_at
        assert len(await store.claim_suspects(2, 9, 9, CLAIM)) == 2
        assert await store.suspects_due_at() is None
