"""governance/governor.py: the book in force, on a real store."""

import asyncio
import contextlib
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from hermod.domain.document import Changed, Delete, Put
from hermod.domain.errors import StoreUnavailable
from hermod.domain.governance import Entity, Team
from hermod.governance.documents import to_document
from hermod.governance.governor import Governor
from hermod.store.api import Store
from tests.governance.entities import key
from tests.store.backends import SqliteDatabase

KEY = key(secret_hash="h1")
TEAM = Team(id="t", name="team")
BROKEN = to_document(TEAM)._replace(id="broken", name="broken", body=b'{"id":"broken"}')


async def put(store: Store, *entities: Entity) -> None:
    """Store these, which are new."""
    puts = [Put(to_document(entity)) for entity in entities]
    assert isinstance(await store.change_documents(puts), Changed)


async def test_what_is_stored_is_in_force_once_it_is_open(tmp_path: Path) -> None:
    async with SqliteDatabase(tmp_path).open() as store:
        await put(store, KEY, TEAM)
        governor = Governor(store)
        assert governor.book.key("k") is None
        await governor.open()
        assert governor.book.key_by_hash("h1") == KEY
        assert governor.book.revision == await store.documents_revision()


async def test_a_change_is_in_force_after_a_refresh(tmp_path: Path) -> None:
    async with SqliteDatabase(tmp_path).open() as store:
        governor = Governor(store)
        await governor.open()
        before = governor.book
        await put(store, KEY)
        assert governor.book is before
        assert await governor.refresh()
        assert before.key("k") is None
        assert governor.book.key("k") == KEY
        await store.change_documents([Delete("virtual_key", "k", 1)])
        assert await governor.refresh()
        assert governor.book.key("k") is None


async def test_where_nothing_has_changed_the_book_stays(tmp_path: Path) -> None:
    async with SqliteDatabase(tmp_path).open() as store:
        await put(store, KEY)
        governor = Governor(store)
        await governor.open()
        before = governor.book
        assert not await governor.refresh()
        assert governor.book is before


async def test_another_gateways_change_is_seen_by_watching(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path)
    async with database.open() as store, database.open() as elsewhere:
        governor = Governor(store)
        await governor.open()
        seen = asyncio.Event()
        governor.on_change(seen.set)
        watching = asyncio.ensure_future(governor.watch(0.01))
        await put(elsewhere, KEY)
        await seen.wait()
        assert governor.book.key("k") == KEY
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def test_listeners_see_the_new_book(tmp_path: Path) -> None:
    async with SqliteDatabase(tmp_path).open() as store:
        governor = Governor(store)
        seen: list[object] = []
        governor.on_change(lambda: seen.append(governor.book.key("k")))
        await governor.open()
        await put(store, KEY)
        await governor.refresh()
        await governor.refresh()
        assert seen == [None, KEY]


async def test_refreshes_at_once_read_once(tmp_path: Path) -> None:
    async with SqliteDatabase(tmp_path).open() as store:
        governor = Governor(store)
        await governor.open()
        await put(store, KEY)
        changed = await asyncio.gather(*(governor.refresh() for _ in range(5)))
        assert sorted(changed) == [False] * 4 + [True]


async def test_the_file_counts_before_the_store_is_read(tmp_path: Path) -> None:
    governor = Governor(SqliteDatabase(tmp_path).store(), [KEY])
    assert governor.book.key("k") is KEY


async def test_what_the_file_hides_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SqliteDatabase(tmp_path).open() as store:
        await put(store, key(id="stored"))
        governor = Governor(store, [KEY])
        await governor.open()
        await put(store, TEAM)
        await governor.refresh()
        assert dict(governor.book.keys) == {"k": KEY}
        assert governor.book.team("t") == TEAM
        told = "virtual_key 'first' (stored) does not count: the config file has another"
        assert caplog.messages == [told]


async def test_a_document_that_cannot_be_read_is_told_once_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SqliteDatabase(tmp_path).open() as store:
        await store.change_documents([Put(BROKEN)])
        governor = Governor(store)
        await governor.open()
        await put(store, KEY)
        await governor.refresh()
        assert governor.book.key("k") == KEY
        assert dict(governor.book.teams) == {}
        assert governor.book.document("team", "broken") == BROKEN._replace(version=1)
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert record.getMessage().startswith("team broken cannot be read and does not count: ")


@pytest.mark.parametrize("type_", ["team", "customer", "model_limits", "provider_limits"])
async def test_limits_that_cannot_be_read_are_an_error_at_each_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, type_: str
) -> None:
    async with SqliteDatabase(tmp_path).open() as store:
        await store.change_documents([Put(BROKEN._replace(type=type_, body=b"{}"))])
        for _ in range(2):
            caplog.clear()
            governor = Governor(store)
            await governor.open()
            (record,) = caplog.records
            assert record.levelno == logging.ERROR
            assert record.getMessage().startswith(f"{type_} broken cannot be read and does not co")
            assert not governor.book.limits_everybody


async def test_keys_of_a_team_that_cannot_be_read_are_told_once_and_marked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SqliteDatabase(tmp_path).open() as store:
        await put(store, replace(KEY, team_id="broken"))
        await store.change_documents([Put(BROKEN)])
        governor = Governor(store)
        await governor.open()
        await put(store, TEAM)
        await governor.refresh()
        assert governor.book.stranded == {"k"}
        team, told = caplog.messages
        assert team.startswith("team broken cannot be read")
        assert told == (
            "virtual_key 'first' (k) is refused: its team or customer cannot be found, so its "
            "limits are not known"
        )
        await store.change_documents([Put(to_document(Team(id="broken", name="mended"), 1))])
        await governor.refresh()
        assert governor.book.stranded == set()


async def test_documents_of_others_are_only_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SqliteDatabase(tmp_path).open() as store:
        session = BROKEN._replace(type="session", id="s", name="s", body=b"\x00")
        await store.change_documents([Put(session)])
        governor = Governor(store)
        await governor.open()
        assert governor.book.documents_of("session") == (session._replace(version=1),)
        assert caplog.messages == []


async def test_a_store_that_is_away_leaves_the_book_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = SqliteDatabase(tmp_path)
    async with database.open() as store:
        await put(store, KEY)
        governor = Governor(store)
        await governor.open()
        await store.close()
        before = governor.book
        caplog.clear()
        assert not await governor.refresh()
        assert not await governor.refresh()
        assert governor.book is before
        await store.open()
        assert not await governor.refresh()
        (away, back) = caplog.messages
        assert away.startswith("cannot see whether virtual keys have changed: ")
        assert back == "changes of virtual keys are seen again"


async def test_it_does_not_open_without_the_store(tmp_path: Path) -> None:
    governor = Governor(SqliteDatabase(tmp_path).store())
    with pytest.raises(StoreUnavailable):
        await governor.open()
