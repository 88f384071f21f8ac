"""What an operator made: documents that change all together or not at all."""

import asyncio

import pytest

from hermod.domain.document import Audit, Changed, Conflict, Delete, Document, Put
from hermod.domain.meter import EMPTY
from hermod.store.api import Store
from tests.store.backends import Database
from tests.store.jobs import running_job
from tests.store.limits import BUDGET, DONE, REQUESTS, counted, meter

KEY = Document("virtual_key", "1", "alice", "hash-1", b'{"a":1}')
OTHER = Document("virtual_key", "2", "bob", "hash-2", b"{}")
TEAM = Document("team", "1", "alice", None, b"\x00\xff")
CREATED = Audit(1_000, "admin:token", "virtual_key.create", "1", '{"name":"alice"}')


async def put(store: Store, *documents: Document) -> None:
    """Store these, which nothing is in the way of."""
    assert isinstance(await store.change_documents([Put(each) for each in documents]), Changed)


async def stored(store: Store) -> tuple[Document, ...]:
    """All there are."""
    _, documents = await store.read_documents()
    return documents


def first(document: Document) -> Document:
    """As it reads once it is stored."""
    return document._replace(version=1)


async def test_a_new_database_has_no_documents(database: Database) -> None:
    async with database.open() as store:
        assert await store.read_documents() == (0, ())
        assert await store.documents_revision() == 0


async def test_a_document_reads_as_it_was_put(database: Database) -> None:
    async with database.open() as store:
        await put(store, KEY, TEAM)
        database.crash()
    async with database.open() as store:
        assert await stored(store) == (first(TEAM), first(KEY))


async def test_documents_read_by_type_and_age(database: Database) -> None:
    async with database.open() as store:
        await put(store, OTHER._replace(id="z"), TEAM)
        await put(store, KEY._replace(id="a"))
        await put(store, OTHER._replace(id="z", version=1, body=b"newer"))
        read = [(each.type, each.id) for each in await stored(store)]
        assert read == [("team", "1"), ("virtual_key", "z"), ("virtual_key", "a")]


async def test_a_document_is_replaced_by_a_newer_one(database: Database) -> None:
    async with database.open() as store:
        await put(store, KEY)
        newer = Document("virtual_key", "1", "carol", "hash-3", b"[]", version=1)
        await put(store, newer)
        assert await stored(store) == (newer._replace(version=2),)


async def test_a_document_is_deleted(database: Database) -> None:
    async with database.open() as store:
        await put(store, KEY, OTHER)
        assert await store.change_documents([Delete("virtual_key", "1", 1)]) == Changed(2)
        assert await stored(store) == (first(OTHER),)


async def test_what_a_deleted_document_had_can_be_given_again(database: Database) -> None:
    async with database.open() as store:
        await put(store, KEY)
        again = KEY._replace(body=b"again")
        changed = await store.change_documents([Delete("virtual_key", "1", 1), Put(again)])
        assert changed == Changed(2)
        assert await stored(store) == (first(again),)


async def test_documents_without_a_secret_do_not_share_one(database: Database) -> None:
    async with database.open() as store:
        await put(store, KEY._replace(secret_hash=None), OTHER._replace(secret_hash=None))
        assert len(await stored(store)) == 2


CONFLICTS: dict[str, tuple[Put | Delete, str]] = {
    "a version that is no more": (Put(KEY._replace(version=1)), "version"),
    "a version to come": (Put(KEY._replace(version=3)), "version"),
    "a document that is not there": (Put(KEY._replace(id="9", version=1)), "version"),
    "an id that is taken": (Put(KEY._replace(name="x", secret_hash="x")), "id"),
    "a name that is taken": (Put(OTHER._replace(name="alice")), "name"),
    "another's name": (Put(OTHER._replace(id="3", version=1, name="alice")), "name"),
    "a secret that is taken": (Put(OTHER._replace(secret_hash="hash-1")), "secret"),
    "another's secret": (Put(OTHER._replace(id="3", version=1, secret_hash="hash-1")), "secret"),
    "a secret of another type": (Put(TEAM._replace(secret_hash="hash-1")), "secret"),
    "deleting an old version": (Delete("virtual_key", "1", 1), "version"),
    "deleting what is not there": (Delete("virtual_key", "9", 1), "version"),
    "deleting a version there never was": (Delete("virtual_key", "9", 0), "version"),
}


@pytest.mark.parametrize(("change", "what"), CONFLICTS.values(), ids=CONFLICTS)
async def test_a_conflict_changes_nothing(
    database: Database, change: Put | Delete, what: str
) -> None:
    async with database.open() as store:
        await put(store, KEY, Document("virtual_key", "3", "carol", "hash-3", b"{}"))
        await put(store, KEY._replace(version=1))
        before = database.dump()
        asked = [Put(TEAM._replace(id="2", name="new")), change]
        answer = await store.change_documents(asked, CREATED, ["budget"])
        document = change if isinstance(change, Delete) else change.document
        assert answer == Conflict(document.type, document.id, what)
        assert database.dump() == before


async def test_of_two_changes_of_one_version_at_once_one_counts(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        await put(one, KEY)
        bodies = [b"one", b"other", b"third"]
        stores = [one, other, one]
        answers = await asyncio.gather(
            *(
                store.change_documents([Put(KEY._replace(version=1, body=body))])
                for store, body in zip(stores, bodies, strict=True)
            )
        )
        assert answers.count(Conflict("virtual_key", "1", "version")) == 2
        won = answers.index(Changed(2))
        assert await stored(one) == (KEY._replace(version=2, body=bodies[won]),)


async def test_of_two_new_documents_with_one_secret_at_once_one_is_made(
    database: Database,
) -> None:
    async with database.open() as one, database.open() as other:
        answers = await asyncio.gather(
            *(
                store.change_documents([Put(KEY._replace(id=str(n), name=str(n)))])
                for n, store in enumerate([one, other] * 3)
            )
        )
        assert sum(isinstance(answer, Changed) for answer in answers) == 1
        assert {answer.what for answer in answers if isinstance(answer, Conflict)} == {"secret"}
        assert len(await stored(one)) == 1


async def test_every_change_is_counted_and_all_see_the_count(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        assert await one.change_documents([Put(KEY), Put(TEAM)]) == Changed(1)
        assert await other.change_documents([Put(OTHER)]) == Changed(2)
        assert await one.documents_revision() == await other.documents_revision() == 2
        revision, documents = await one.read_documents()
        assert (revision, len(documents)) == (2, 3)


async def test_the_count_goes_on_when_all_documents_are_gone(database: Database) -> None:
    async with database.open() as store:
        await put(store, KEY)
        await store.change_documents([Delete("virtual_key", "1", 1)])
        assert await store.read_documents() == (2, ())


# Who did it


async def test_who_changed_something_is_kept_with_the_change(database: Database) -> None:
    async with database.open() as store:
        await store.change_documents([Put(KEY)], CREATED)
        database.crash()
    async with database.open() as store:
        ((_, entry),) = await store.read_audit(9)
        assert entry == CREATED


async def test_the_newest_entries_come_first_a_page_at_a_time(database: Database) -> None:
    async with database.open() as store:
        entries = [CREATED._replace(at=n) for n in range(5)]
        for n, entry in enumerate(entries):
            await store.change_documents([Put(TEAM._replace(id=str(n), name=str(n)))], entry)
        newest = await store.read_audit(2)
        assert [entry.at for _, entry in newest] == [4, 3]
        older = await store.read_audit(9, before=newest[-1][0])
        assert [entry.at for _, entry in older] == [2, 1, 0]
        assert await store.read_audit(9, before=older[-1][0]) == ()


async def test_an_entry_needs_no_change(database: Database) -> None:
    async with database.open() as store:
        assert isinstance(await store.change_documents([], CREATED), Changed)
        assert len(await store.read_audit(9)) == 1
        assert await stored(store) == ()


# Meters of what is gone


async def test_meters_that_are_forgotten_begin_anew(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        await store.reserve(lease, [BUDGET, REQUESTS])
        await store.finish_job(lease, DONE)
        await store.change_documents([Put(TEAM)], None, ["budget", "no meter"])
        assert await meter(store) == EMPTY
        assert await counted(store, REQUESTS) == (1, 0, 1)


async def test_meters_that_are_forgotten_keep_what_is_reserved(database: Database) -> None:
    async with database.open() as store:
        done, open_ = [await running_job(store, database) for _ in range(2)]
        for lease in (done, open_):
            assert await store.reserve(lease, [BUDGET]) == ()
        await store.finish_job(done, DONE)
        await store.change_documents([], None, ["budget"])
        assert await counted(store) == (0, 100, 0)
        await store.finish_job(open_, DONE)
        assert await counted(store) == (70, 0, 70)
