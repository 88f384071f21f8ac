"""The writer's thread: it never dies, and no caller waits for ever."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import apsw
import pytest

from hermod.domain.errors import StoreUnavailable
from hermod.store.sqlite import SqliteStore
from hermod.store.sqlite.schema import connect
from hermod.store.sqlite.transaction import Transaction
from hermod.store.sqlite.writer import MAX_BATCH, MAX_BATCH_BYTES
from tests.store.backends import SqliteDatabase
from tests.store.jobs import COMPLETED, new_job, queued_job, read, running_job
from tests.store.sqlite.underneath import connection_of, writer_of

MIB = 1024 * 1024


def raising(error: BaseException) -> Callable[[Transaction, Sequence[Any]], list[Any]]:
    """A verb that fails."""

    def verb(tx: Transaction, calls: Sequence[Any]) -> list[Any]:
        raise error

    return verb


class Groups:
    """Notes the size of every group that is committed."""

    def __init__(self, store: SqliteStore) -> None:
        self.sizes: list[int] = []
        writer = writer_of(store)
        transact = writer._transact

        def noting(batch: list[Any]) -> Any:
            self.sizes.append(len(batch))
            return transact(batch)

        writer._transact = noting


@pytest.mark.parametrize(
    "error",
    [ValueError("a defect"), apsw.SQLError("no such table"), MemoryError(), RecursionError()],
    ids=lambda error: type(error).__name__,
)
async def test_what_a_verb_raises_goes_to_its_caller_alone(
    sqlite: SqliteDatabase, error: Exception
) -> None:
    async with sqlite.open() as store:
        bad = store._write(raising(error), None)
        good = asyncio.ensure_future(queued_job(store, sqlite))
        with pytest.raises(type(error)):
            await bad
        await read(store, await good)
        await read(store, await queued_job(store, sqlite))


async def test_a_verb_that_gives_too_few_results_is_an_error(sqlite: SqliteDatabase) -> None:
    def forgetful(tx: Transaction, calls: Sequence[Any]) -> list[Any]:
        return []

    async with sqlite.open() as store:
        with pytest.raises(ValueError, match="shorter"):
            await store._write(forgetful, None)
        await queued_job(store, sqlite)


async def test_a_transaction_that_was_left_open_is_ended_first(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        connection_of(store).execute("BEGIN IMMEDIATE")
        await queued_job(store, sqlite)
        assert await store.counts() == sqlite.count_jobs()


async def test_a_verb_that_rolls_back_by_itself_fails_and_harms_nobody(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:

        def reckless(tx: Transaction, calls: Sequence[Any]) -> list[Any]:
            connection_of(store).execute("ROLLBACK")
            return [None] * len(calls)

        bad = store._write(reckless, None)
        good = asyncio.ensure_future(queued_job(store, sqlite))
        with pytest.raises(apsw.SQLError):
            await bad
        await read(store, await good)


async def test_a_clock_that_fails_is_an_error_of_the_verb(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        job = new_job(sqlite)
        writer = writer_of(store)
        new_transaction = writer._new_transaction

        def broken(connection: object) -> Transaction:
            raise OSError("no clock")

        writer._new_transaction = broken
        with pytest.raises(OSError, match="no clock"):
            await store.submit_job(job)
        writer._new_transaction = new_transaction
        await store.submit_job(job)


async def test_a_locked_database_is_waited_for_once_by_a_whole_group(
    sqlite: SqliteDatabase,
) -> None:
    waits: list[int] = []

    def waited(tries: int) -> bool:
        waits.append(tries)
        return False

    async with sqlite.open() as store:
        other = connect(sqlite.path)
        other.execute("BEGIN IMMEDIATE")
        cast("Any", connection_of(store)).set_busy_handler(waited)
        jobs = [new_job(sqlite) for _ in range(50)]
        answers = await asyncio.gather(*map(store.submit_job, jobs), return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreUnavailable] * 50
        assert len(waits) == 1
        other.execute("ROLLBACK")
        assert await asyncio.gather(*map(store.submit_job, jobs)) == [None] * 50
        other.close()


async def test_a_lock_met_while_a_group_is_taken_apart_is_waited_for_once(
    sqlite: SqliteDatabase,
) -> None:
    errors = [ValueError("a defect"), apsw.BusyError("database is locked")]

    def unlucky(tx: Transaction, calls: Sequence[Any]) -> list[Any]:
        raise errors.pop(0)

    async with sqlite.open() as store:
        groups = Groups(store)
        asked = [asyncio.ensure_future(queued_job(store, sqlite)) for _ in range(63)]
        bad = store._write(unlucky, None)
        answers = await asyncio.gather(bad, *asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreUnavailable] * 64
        assert len({id(answer) for answer in answers}) == 64
        assert groups.sizes == [64, 32]


async def test_one_verb_that_fails_costs_its_group_few_transactions(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        groups = Groups(store)
        asked = [asyncio.ensure_future(queued_job(store, sqlite)) for _ in range(63)]
        bad = store._write(raising(ValueError("a defect")), None)
        with pytest.raises(ValueError, match="a defect"):
            await bad
        for good in asked:
            await read(store, await good)
        assert len(groups.sizes) == 1 + 2 * 6


async def test_a_lock_that_is_let_go_in_time_is_not_noticed(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        other = connect(sqlite.path)
        other.execute("BEGIN IMMEDIATE")
        asked = asyncio.ensure_future(queued_job(store, sqlite))
        timer = threading.Timer(0.2, other.execute, ["COMMIT"])
        timer.start()
        await read(store, await asked)
        timer.join()
        other.close()


async def test_reads_are_answered_while_the_writer_waits_for_a_lock(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        job_id = await queued_job(store, sqlite)
        other = connect(sqlite.path)
        other.execute("BEGIN IMMEDIATE")
        asked = asyncio.ensure_future(queued_job(store, sqlite))
        await asyncio.sleep(0)
        assert await read(store, job_id)
        assert not asked.done()
        other.execute("ROLLBACK")
        await asked
        other.close()


async def test_what_is_asked_for_together_is_committed_together(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        groups = Groups(store)
        await asyncio.gather(*(queued_job(store, sqlite) for _ in range(MAX_BATCH + 5)))
        assert groups.sizes == [MAX_BATCH, 5]


async def test_large_bodies_do_not_fill_a_group(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        groups = Groups(store)
        large = [
            asyncio.ensure_future(queued_job(store, sqlite, body=b"x" * MIB)) for _ in range(20)
        ]
        small = [asyncio.ensure_future(queued_job(store, sqlite)) for _ in range(10)]
        await asyncio.gather(*small)
        assert groups.sizes[0] == MAX_BATCH_BYTES // MIB + len(small)
        await asyncio.gather(*large)


async def test_a_claim_whose_caller_left_before_the_group_began_does_not_happen(
    sqlite: SqliteDatabase,
) -> None:
    async with sqlite.open() as store:
        groups = Groups(store)
        first = asyncio.ensure_future(queued_job(store, sqlite))
        second = asyncio.ensure_future(queued_job(store, sqlite))
        await asyncio.sleep(0)
        second.cancel()
        await first
        assert groups.sizes == [1]


async def test_closing_is_possible_when_every_caller_has_left(sqlite: SqliteDatabase) -> None:
    async with sqlite.open() as store:
        asked = [asyncio.ensure_future(queued_job(store, sqlite)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in asked:
            task.cancel()
    assert sum(sqlite.count_jobs().values()) == 0


async def test_closing_ends_the_threads(sqlite: SqliteDatabase) -> None:
    before = set(threading.enumerate())
    async with sqlite.open() as store:
        lease = await running_job(store, sqlite, body=b"x" * MIB)
        await store.finish_job(lease, COMPLETED._replace(body=b"x" * MIB))
        await read(store, lease.job_id)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith("hermod")}


def test_the_thread_ends_in_peace_when_its_loop_is_gone(sqlite: SqliteDatabase) -> None:
    closed = threading.Event()

    def slow(tx: Transaction, calls: Sequence[Any]) -> list[Any]:
        assert closed.wait(10)
        return [None] * len(calls)

    store = sqlite.store()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.open())
    writer = writer_of(store)

    async def ask() -> None:
        writer.run(slow, None)
        await asyncio.sleep(0)

    loop.run_until_complete(ask())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    closed.set()
    writer._thread.join(10)
    assert not writer._thread.is_alive()
    for connection in (store._reads.connection, store._reads._beside, writer.connection):
        connection.close()


async def test_an_open_that_fails_leaves_nothing_behind(sqlite: SqliteDatabase) -> None:
    before = set(threading.enumerate())
    sqlite.path.mkdir()
    store = sqlite.store()
    with pytest.raises(StoreUnavailable):
        await store.open()
    await store.close()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith("hermod")}
