"""governance/resealing.py: everything that is sealed, sealed anew."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from hermod.domain.document import Audit, Changed, Conflict, Delete, Document, Put
from hermod.domain.errors import StoreError
from hermod.domain.ids import uuid7
from hermod.domain.options import Options
from hermod.domain.provider import Secret
from hermod.governance.resealing import Resealing, Tally
from hermod.store.api import Store
from hermod.store.sqlite import SqliteStore
from hermod.vault import Sealing, Vault
from tests.store.backends import SqliteDatabase
from tests.store.jobs import CLAIM, COMPLETED, LANE, finished_job, queued_job, running_job
from tests.support.failpoints import armed

OLD, NEW, LOST = Secret("the key before"), Secret("the key in force"), Secret("nobody's")
PLAIN: Final = b"a secret"
PROVIDER: Final = ("provider", "azure")
SIGNING: Final = ("signing_key", "kid-1")
BY: Final = "cli"


@pytest.fixture
def database(tmp_path: Path) -> SqliteDatabase:
    """An empty one."""
    return SqliteDatabase(tmp_path)


def vault(key: Secret = NEW, *previous: Secret) -> Vault:
    """As cheap as can be."""
    return Vault(key, previous=previous, cost=2)


def resealing(store: Store) -> Resealing:
    """From the old key to the new one."""
    return Resealing(store, vault(NEW, OLD), store.clock)


async def put(
    store: Store, key: Secret, place: tuple[str, str] = PROVIDER, version: int = 0
) -> None:
    """Store a document with a secret, and with members that a newer release may have written."""
    sealed = await vault(key).seal(PLAIN, ":".join(place))
    body = json.dumps({"sealed": sealed, "newer": {"é": [1, None]}}).encode()
    stored = Document(*place, place[1], None, body, version)
    assert isinstance(await store.change_documents([Put(stored)]), Changed)


async def options(database: SqliteDatabase, key: Secret) -> dict[str, Any]:
    """Of a job with a secret, and its id."""
    job_id = uuid7(database.clock.now())
    sealed = await vault(key).seal(PLAIN, job_id)
    return {"id": job_id, "options": Options(labels={"a": "ü"}, sealed=sealed).encode()}


async def bodies(store: Store) -> dict[str, dict[str, Any]]:
    """What is stored of every document, by its type."""
    _, documents = await store.read_documents()
    return {each.type: json.loads(each.body) for each in documents}


def counts(tally: Tally) -> dict[str, int]:
    """By what and by key, without what there is none of."""
    return {f"{what} {which}": n for (what, which), n in tally.secrets.items() if n}


async def test_documents_are_sealed_anew_and_keep_all_else(database: SqliteDatabase) -> None:
    async with database.open() as store:
        for place in (PROVIDER, SIGNING):
            await put(store, OLD, place)
        assert (await resealing(store).reseal(BY)).resealed == 2
        for place in (PROVIDER, SIGNING):
            body = (await bodies(store))[place[0]]
            assert await vault(NEW).open(body["sealed"], ":".join(place)) == PLAIN
            assert body["newer"] == {"é": [1, None]}


async def test_jobs_are_sealed_anew_and_keep_all_else(database: SqliteDatabase) -> None:
    async with database.open() as store:
        ids = {await queued_job(store, database, **await options(database, OLD)) for _ in range(3)}
        assert (await resealing(store).reseal(BY)).resealed == 3
        claimed = await store.claim_jobs(LANE, 9, CLAIM)
        assert {each.lease.job_id for each in claimed} == ids
        for each in claimed:
            read = Options.decode(each.options)
            assert read.sealed is not None
            assert await vault(NEW).open(read.sealed, each.lease.job_id) == PLAIN
            assert read.labels == {"a": "ü"}


async def test_a_job_that_runs_ends_as_usual(database: SqliteDatabase) -> None:
    async with database.open() as store:
        lease = await running_job(store, database, **await options(database, OLD))
        assert (await resealing(store).reseal(BY)).resealed == 1
        assert await store.finish_job(lease, COMPLETED)


async def test_nothing_but_secrets_is_touched(database: SqliteDatabase) -> None:
    async with database.open() as store:
        await put(store, NEW)
        await store.change_documents([Put(Document("setting", "1", "1", None, b"not JSON"))])
        await store.change_documents([Put(Document("team", "1", "1", None, b'{"sealed":7}'))])
        await queued_job(store, database, **await options(database, NEW))
        await queued_job(store, database, options='{"labels":{"sealed":"x"}}')
        await finished_job(store, database, **await options(database, OLD))
        before = database.dump()
        assert (await resealing(store).reseal(BY)).resealed == 0
        assert database.dump() == before


async def test_the_second_time_there_is_nothing_to_do(database: SqliteDatabase) -> None:
    async with database.open() as store:
        await put(store, OLD)
        await queued_job(store, database, **await options(database, OLD))
        first = await resealing(store).reseal(BY)
        before = database.dump()
        second = await resealing(store).reseal(BY)
        assert (first.resealed, second.resealed) == (2, 0)
        assert counts(first) == counts(second) == {"provider current": 1, "job current": 1}
        assert database.dump() == before


async def test_what_there_is_can_be_counted(database: SqliteDatabase) -> None:
    async with database.open() as store:
        await put(store, NEW)
        await put(store, LOST, SIGNING)
        for key in (OLD, OLD, NEW):
            await queued_job(store, database, **await options(database, key))
        before = database.dump()
        tally = await resealing(store).look()
        assert counts(tally) == {
            "provider current": 1,
            "signing_key unknown": 1,
            "job older": 2,
            "job current": 1,
        }
        assert tally.of(Sealing.OLDER) == 2
        assert database.dump() == before


async def test_what_no_key_opens_is_named_and_stays(database: SqliteDatabase) -> None:
    async with database.open() as store:
        await put(store, LOST)
        job_id = await queued_job(store, database, **await options(database, LOST))
        before = database.dump()
        tally = await resealing(store).reseal(BY)
        assert tally.unreadable == ("provider azure", f"job {job_id}")
        assert counts(tally) == {"provider unknown": 1, "job unknown": 1}
        assert database.dump() == before


async def test_each_document_and_the_whole_leave_a_trace(database: SqliteDatabase) -> None:
    async with database.open() as store:
        await put(store, OLD)
        ours = resealing(store)
        await ours.note(BY, await ours.reseal(BY))
        whole, one = (entry for _, entry in await store.read_audit(9))
        assert (one.subject, one.action, one.target) == (BY, "provider.reseal", "azure")
        assert (whole.subject, whole.action) == (BY, "secrets.rotate")
        assert json.loads(whole.detail) == {"resealed": 1, "unreadable": 0}


class Interfering(SqliteStore):
    """Somebody else changes a provider just before its secret is replaced, once."""

    is_done = False

    async def change_documents(
        self,
        changes: Sequence[Put | Delete],
        audit: Audit | None = None,
        forget_meters: Sequence[str] = (),
    ) -> Changed | Conflict:
        if audit is not None and not self.is_done:
            self.is_done = True
            await put(self, OLD, version=1)
        return await super().change_documents(changes, audit, forget_meters)


async def test_a_change_of_somebody_else_is_not_lost(database: SqliteDatabase) -> None:
    store = Interfering(database.path, database.clock)
    await store.open()
    try:
        await put(store, OLD)
        assert counts(await resealing(store).reseal(BY)) == {"provider current": 1}
        _, (stored,) = await store.read_documents()
        assert stored.version == 3
        assert await vault(NEW).open(json.loads(stored.body)["sealed"], "provider:azure") == PLAIN
    finally:
        await store.close()


@pytest.mark.parametrize("verb", ["change_documents", "reseal_jobs"])
async def test_what_was_broken_off_is_finished_the_next_time(
    database: SqliteDatabase, verb: str
) -> None:
    async with database.open() as store:
        for place in (PROVIDER, SIGNING):
            await put(store, OLD, place)
        await queued_job(store, database, **await options(database, OLD))
        with armed(f"{verb}.after_commit@1=raise"), pytest.raises(StoreError):
            await resealing(store).reseal(BY)
        database.crash()
    async with database.open() as store:
        tally = await resealing(store).reseal(BY)
        assert tally.of(Sealing.OLDER) == tally.of(Sealing.UNKNOWN) == 0
        assert tally.of(Sealing.CURRENT) == 3
