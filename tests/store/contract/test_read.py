"""Who may read a job, and what it looks like over time."""

import pytest

from hermod.domain.ids import uuid7
from hermod.domain.job import Principal, State
from hermod.store.api import Store
from tests.store.backends import SECOND, Database
from tests.store.jobs import (
    ADMIN,
    CLAIM,
    COMPLETED,
    OWNER,
    TTL_S,
    attempts,
    finished_job,
    new_job,
    queued_job,
    read,
    running_job,
)

STRANGERS = {
    "another owner": Principal("default", "vk:2"),
    "the open owner": Principal("default", "open"),
    "another owner who sees what is open": Principal("default", "vk:2", sees_open=True),
    "another tenant": Principal("other", "vk:1"),
    "another tenant's admin": Principal("other", "admin:token", is_admin=True),
}


async def sees(store: Store, job_id: str, principal: Principal, kind: str | None = None) -> bool:
    """Whether a principal can read a job."""
    return await store.read_job(job_id, principal, kind) is not None


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
async def test_a_stranger_sees_no_job(database: Database, stranger: Principal) -> None:
    async with database.open() as store:
        job_id = await finished_job(store, database)
        assert not await sees(store, job_id, stranger)


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
async def test_a_stranger_sees_no_attempt(database: Database, stranger: Principal) -> None:
    async with database.open() as store:
        job_id = await finished_job(store, database)
        assert await store.read_attempts(job_id, stranger) == ()


SEES_OPEN = Principal("default", "vk:2", sees_open=True)


async def test_who_sees_what_is_open_sees_jobs_of_nobody(database: Database) -> None:
    async with database.open() as store:
        job_id = await finished_job(store, database, owner="open")
        assert await sees(store, job_id, SEES_OPEN)
        assert await store.read_attempts(job_id, SEES_OPEN) != ()


async def test_an_admin_sees_every_job_of_its_tenant(database: Database) -> None:
    async with database.open() as store:
        job_id = await finished_job(store, database)
        assert await store.read_job(job_id, ADMIN, None) == await read(store, job_id)


async def test_an_admin_sees_every_attempt_of_its_tenant(database: Database) -> None:
    async with database.open() as store:
        job_id = await finished_job(store, database)
        assert await store.read_attempts(job_id, ADMIN) == await attempts(store, job_id) != ()


async def test_an_unknown_id_is_no_job(database: Database) -> None:
    async with database.open() as store:
        await queued_job(store, database)
        unknown = uuid7(database.clock.now())
        assert not await sees(store, unknown, ADMIN)
        assert await store.read_attempts(unknown, ADMIN) == ()


async def test_a_job_of_another_kind_is_no_job(database: Database) -> None:
    async with database.open() as store:
        job_id = await queued_job(store, database)
        assert await sees(store, job_id, OWNER, "chat_completion")
        assert not await sees(store, job_id, OWNER, "embedding")


async def test_without_a_kind_every_kind_is_seen(database: Database) -> None:
    async with database.open() as store:
        assert await sees(store, await queued_job(store, database, kind="embedding"), OWNER)


MALFORMED = {
    "empty": lambda good: "",
    "upper case": lambda good: good.upper(),
    "no hyphens": lambda good: good.replace("-", ""),
    "hyphens elsewhere": lambda good: good.replace("-", "")[:30] + "-" + good[-2:],
    "braces": lambda good: "{" + good + "}",
    "a urn": lambda good: "urn:uuid:" + good,
    "space before": lambda good: " " + good,
    "space after": lambda good: good + " ",
    "space inside": lambda good: good[:8] + " " + good[9:],
    "newline": lambda good: good + "\n",
    "nul": lambda good: good + "\0",
    "too short": lambda good: good[:-1],
    "too long": lambda good: good + "0",
    "not hex": lambda good: "g" + good[1:],
    "other digits": lambda good: "٠" + good[1:],
    "full-width": lambda good: "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in good),
    "unicode hyphens": lambda good: good.replace("-", "\u2010"),
    "a surrogate": lambda good: good[:-1] + "\udc00",
    "sql": lambda good: good + "' OR '1'='1",
    "long": lambda good: "0" * 100_000,
}


@pytest.mark.parametrize("spell", MALFORMED.values(), ids=MALFORMED)
async def test_an_id_spelled_otherwise_is_no_job(database: Database, spell: object) -> None:
    assert callable(spell)
    async with database.open() as store:
        job_id = str(
            spell(await queued_job(store, database, id="0199c2cc-9a10-7abc-8def-0123456789ab"))
        )
        assert await store.read_job(job_id, ADMIN, None) is None
        assert await store.read_attempts(job_id, ADMIN) == ()


async def test_a_finished_job_shows_its_end(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        created_at = database.clock.now()
        database.clock.advance(5)
        assert await store.finish_job(lease, COMPLETED)
        view = await read(store, lease.job_id)
        assert view.state is State.COMPLETED
        assert view.status_code == COMPLETED.status_code
        assert view.body == COMPLETED.body
        assert (view.created_at, view.completed_at) == (created_at, created_at + 5 * SECOND)


async def test_the_ttl_counts_from_completion_to_the_microsecond(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database, ttl_s=90)
        database.clock.advance(12.345678)
        await store.finish_job(lease, COMPLETED)
        view = await read(store, lease.job_id)
        assert view.expires_at == database.clock.now() + 90 * SECOND


async def test_the_longest_ttl_can_be_added_to_an_instant(database: Database) -> None:
    async with database.open() as store:
        century_s = 100 * 365 * 86_400
        view = await read(store, await finished_job(store, database, ttl_s=century_s))
        assert view.expires_at == database.clock.now() + century_s * SECOND


async def test_a_job_is_gone_at_the_instant_it_expires(database: Database) -> None:
    async with database.open() as store:
        job_id = await finished_job(store, database)
        database.clock.wall += TTL_S * SECOND - 1
        assert await sees(store, job_id, OWNER)
        assert await store.read_attempts(job_id, OWNER) != ()
        database.clock.wall += 1
        assert not await sees(store, job_id, OWNER)
        assert await store.read_attempts(job_id, OWNER) == ()


async def test_a_job_that_has_not_ended_never_expires(database: Database) -> None:
    async with database.open() as store:
        job_id = await queued_job(store, database, ttl_s=1)
        database.clock.advance(10 * TTL_S)
        assert (await read(store, job_id)).expires_at is None


async def test_a_finished_job_reads_the_same_until_it_expires(database: Database) -> None:
    async with database.open() as store:
        job_id = await finished_job(store, database)
        first = await read(store, job_id)
        for _ in range(3):
            database.clock.advance(TTL_S / 4)
            assert await read(store, job_id) == first
        database.crash()
    async with database.open() as store:
        assert await read(store, job_id) == first


async def test_its_instants_do_not_move_while_a_job_is_worked_on(database: Database) -> None:
    async with database.open() as store:
        job = new_job(database)
        await store.submit_job(job)
        for _ in range(3):
            database.clock.advance(1)
            await store.claim_jobs(job.lane, 1, CLAIM)
            view = await read(store, job.id)
            assert (view.created_at, view.completed_at) == (job.created_at, None)
            await store.release_worker(CLAIM.worker_id, 1)
