"""The file: how it is made, brought up to date, and refused."""

import os
import re
import stat
import threading
from pathlib import Path

import pytest

from hermod.domain.errors import StoreMisconfigured, StoreUnavailable
from hermod.domain.job import TERMINAL, AttemptState, Mode, OnUnknown, State
from hermod.store.sql import READABLE_FROM, load_migrations, load_queries
from hermod.store.sqlite.schema import PACKAGE, boot_id, connect, migrate
from tests.store.backends import SqliteDatabase, wal_of
from tests.store.jobs import (
    CLAIM,
    LANE,
    UNSENT,
    finished_job,
    lose_leases,
    queued_job,
    read,
    running_job,
)


def schema_of(database: SqliteDatabase) -> list[tuple[str, ...]]:
    """Every table and index, as SQL."""
    connection = database.connect()
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
    connection.close()
    return rows


def alone_readable(path: Path) -> bool:
    """Whether only its owner may touch a file."""
    return stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_the_migrations_one_by_one_make_the_schema(sqlite: SqliteDatabase) -> None:
    async with sqlite.open():
        made = schema_of(sqlite)
    by_hand = SqliteDatabase(sqlite.path.parent)
    by_hand.path = sqlite.path.with_name("by-hand.db")
    connection = by_hand.connect()
    for migration in load_migrations(PACKAGE):
        connection.execute(migration.sql)
    connection.close()
    assert schema_of(by_hand) == made


def test_the_migrations_are_numbered_without_gaps() -> None:
    numbers = [migration.number for migration in load_migrations(PACKAGE)]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_migrating_again_changes_nothing(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        await queued_job(store, sqlite)
        before = sqlite.dump(), schema_of(sqlite)
        connection = sqlite.connect()
        migrate(connection)
        connection.close()
        assert (sqlite.dump(), schema_of(sqlite)) == before


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(sqlite: SqliteDatabase) -> None:
    connection = sqlite.connect()
    connection.execute("CREATE TABLE result (x)")  # in the way of the first migration
    connection.close()
    before = schema_of(sqlite)
    with pytest.raises(StoreUnavailable):
        async with sqlite.open():
            pass
    assert schema_of(sqlite) == before


def as_of_a_newer_release(sqlite: SqliteDatabase, version: int, readable_from: int) -> None:
    """As if a later release had migrated it."""
    connection = sqlite.connect()
    connection.pragma("user_version", version)
    values = (str(readable_from), READABLE_FROM)
    connection.execute("UPDATE meta SET value = ? WHERE name = ?", values)
    connection.close()


async def test_a_database_that_only_newer_releases_can_read_is_refused_and_left_alone(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        await queued_job(store, sqlite)
    newest = load_migrations(PACKAGE)[-1].number
    as_of_a_newer_release(sqlite, version=999, readable_from=newest + 1)
    before = sqlite.dump()
    with pytest.raises(StoreMisconfigured, match=r"schema 999.*newer Hermod"):
        async with sqlite.open():
            pass
    assert sqlite.dump() == before


async def test_a_newer_database_that_this_release_can_read_is_served_and_stays_newer(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        job_id = await queued_job(store, sqlite)
    newest = load_migrations(PACKAGE)[-1].number
    as_of_a_newer_release(sqlite, version=999, readable_from=newest)
    before = sqlite.dump(), schema_of(sqlite)
    async with sqlite.open() as store:
        assert (sqlite.dump(), schema_of(sqlite)) == before
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert claimed.lease.job_id == job_id
    connection = sqlite.connect()
    assert connection.pragma("user_version") == 999
    connection.close()


async def test_a_database_from_before_it_said_who_can_read_it_is_told(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open():
        before = sqlite.dump()
    connection = sqlite.connect()
    connection.execute("DELETE FROM meta WHERE name = ?", (READABLE_FROM,))
    connection.close()
    async with sqlite.open():
        assert sqlite.dump() == before


async def test_the_states_of_the_schema_are_those_of_the_domain(sqlite: SqliteDatabase) -> None:
    async with sqlite.open():
        sql = {name: text for kind, name, text in schema_of(sqlite) if kind == "table"}

    def checked(table: str, column: str) -> set[str]:
        found = re.search(rf"CHECK \({column} IN \(([^)]*)\)", sql[table])
        assert found
        return set(re.findall(r"'(\w+)'", found[1]))

    assert checked("job", "state") == set(State)
    assert checked("job", "mode") == set(Mode)
    assert checked("job", "on_unknown") == set(OnUnknown)
    assert checked("attempt", "state") == set(AttemptState)
    ended = re.search(r"CHECK \(\(state IN \(([^)]*)\)\) = \(completed_at", sql["job"])
    assert ended
    assert set(re.findall(r"'(\w+)'", ended[1])) == TERMINAL


async def test_every_table_is_strict(sqlite: SqliteDatabase) -> None:
    async with sqlite.open():
        for kind, name, text in schema_of(sqlite):
            if kind == "table":
                assert "STRICT" in text, name


def test_every_query_is_used() -> None:
    folder = Path(__file__).parents[3] / "src/hermod/store/sqlite"
    code = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    unused = [name for name in load_queries(PACKAGE) if f'"{name}"' not in code]
    assert unused == []


# The file


async def test_only_its_owner_may_touch_the_database_and_its_log(sqlite: SqliteDatabase) -> None:
    before = os.umask(0)
    try:
        async with sqlite.open() as store:
            await queued_job(store, sqlite)
            assert alone_readable(sqlite.path)
            assert alone_readable(wal_of(sqlite.path))
            assert alone_readable(sqlite.path.with_name(sqlite.path.name + "-shm"))
    finally:
        os.umask(before)


async def test_folders_that_are_missing_are_made(sqlite: SqliteDatabase) -> None:
    sqlite.path = sqlite.path.parent / "a" / "b" / "hermod.db"
    async with sqlite.open() as store:
        await queued_job(store, sqlite)
        assert stat.S_IMODE(sqlite.path.parent.stat().st_mode) == 0o700


async def test_a_path_that_cannot_be_opened_is_refused_with_the_remedy(
    sqlite: SqliteDatabase,
) -> None:
    (sqlite.path.parent / "file").write_text("not a folder")
    sqlite.path = sqlite.path.parent / "file" / "hermod.db"
    with pytest.raises(StoreUnavailable, match="Check that the directory"):
        async with sqlite.open():
            pass


async def test_a_file_that_is_no_database_is_refused_and_left_alone(sqlite: SqliteDatabase) -> None:
    sqlite.path.write_bytes(b"my thesis " * 1_000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        async with sqlite.open():
            pass
    assert sqlite.path.read_bytes() == b"my thesis " * 1_000


async def test_a_store_that_was_closed_leaves_one_file(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        await queued_job(store, sqlite)
    assert [path.name for path in sqlite.path.parent.iterdir()] == [sqlite.path.name]


def test_a_new_file_that_another_process_is_making_is_waited_for(sqlite: SqliteDatabase) -> None:
    maker = sqlite.connect()
    maker.execute("BEGIN IMMEDIATE")
    maker.execute("CREATE TABLE made (x)")
    timer = threading.Timer(0.2, maker.execute, ["COMMIT"])
    timer.start()
    connection = connect(sqlite.path)
    assert connection.pragma("journal_mode") == "wal"
    timer.join()
    connection.close()
    maker.close()


async def test_only_the_writer_checkpoints(sqlite: SqliteDatabase) -> None:
    async with sqlite.open():
        reader = connect(sqlite.path, query_only=True)
        assert reader.pragma("wal_autocheckpoint") == 0
        reader.close()


# Leases are of the boot clock


async def test_after_a_reboot_every_lease_is_lost(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        lease = await running_job(store, sqlite)
    sqlite.boot = "the next boot"
    sqlite.clock.lease = 0
    async with sqlite.open() as store:
        assert await store.recover_lost_leases(9) == 1
        (claimed,) = await store.claim_jobs(LANE, 9, CLAIM)
        assert (claimed.lease.job_id, claimed.lease.attempt) == (lease.job_id, 2)


async def test_a_lease_lost_by_a_reboot_still_fences(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        lease = await running_job(store, sqlite)
    sqlite.boot = "the next boot"
    async with sqlite.open() as store:
        await store.recover_lost_leases(9)
        assert await store.put_back(lease, UNSENT, 0) is False


async def test_in_the_same_boot_leases_outlive_the_process(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        lease = await running_job(store, sqlite)
    async with sqlite.open() as store:
        assert await store.recover_lost_leases(9) == 0
        assert (await read(store, lease.job_id)).state is State.RUNNING
        assert await lose_leases(store, sqlite) == 1


async def test_a_reboot_is_noticed_once(sqlite: SqliteDatabase) -> None:
    async with sqlite.open():
        pass
    sqlite.boot = "the next boot"
    async with sqlite.open() as store:
        await running_job(store, sqlite)
        await finished_job(store, sqlite)
    async with sqlite.open() as store:
        assert await store.recover_lost_leases(9) == 0


def test_the_boot_has_a_name_that_stays() -> None:
    assert boot_id() == boot_id() != ""
