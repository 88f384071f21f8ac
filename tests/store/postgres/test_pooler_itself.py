"""The connection pooler of the tests, before it is used to judge the store."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.store.backends import PostgresDatabase
from tests.support.pooler import Pooler


async def pid(connection: Any) -> int:
    return await connection.fetchval("SELECT pg_backend_pid()")


async def close(*connections: Any) -> None:
    await asyncio.gather(*(connection.close() for connection in connections))


async def test_two_clients_share_a_session(postgres: PostgresDatabase) -> None:
    async with Pooler(postgres.url) as pooler:
        one, two = await asyncpg.connect(pooler.url), await asyncpg.connect(pooler.url)
        assert await pid(one) == await pid(two) != one.get_server_pid()
        await close(one, two)


async def test_a_transaction_stays_in_its_session(postgres: PostgresDatabase) -> None:
    async with Pooler(postgres.url) as pooler:
        one, two = await asyncpg.connect(pooler.url), await asyncpg.connect(pooler.url)
        async with one.transaction():
            own = await pid(one)
            others = await pid(two)
            assert others != own == await pid(one)
        await close(one, two)


async def test_a_transaction_of_a_client_that_leaves_is_rolled_back(
    postgres: PostgresDatabase,
) -> None:
    async with Pooler(postgres.url, size=1) as pooler:
        one, two = await asyncpg.connect(pooler.url), await asyncpg.connect(pooler.url)
        await one.execute("BEGIN; CREATE TABLE t (n int)")
        one.terminate()
        assert await two.fetchval("SELECT to_regclass('t')") is None
        await close(two)


async def test_a_full_pool_lets_clients_wait(postgres: PostgresDatabase) -> None:
    async with Pooler(postgres.url, size=1) as pooler:
        one, two = await asyncpg.connect(pooler.url), await asyncpg.connect(pooler.url)
        async with one.transaction():
            waiting = asyncio.ensure_future(pid(two))
            own = await pid(one)
            assert not waiting.done()
        assert await waiting == own
        await close(one, two)


@pytest.mark.parametrize("round_robin", [False, True])
async def test_prepared_statements_are_carried_over(
    round_robin: bool, postgres: PostgresDatabase
) -> None:
    async with Pooler(postgres.url, prepared=True, round_robin=round_robin) as pooler:
        one, two = await asyncpg.connect(pooler.url), await asyncpg.connect(pooler.url)
        mine = await one.prepare("SELECT $1::int + 1", name="same")
        theirs = await two.prepare("SELECT $1::int + 2", name="same")
        assert await mine.fetchval(1) == 2
        async with two.transaction():
            assert await theirs.fetchval(1) == 3
            assert await mine.fetchval(2) == 3
            with pytest.raises(asyncpg.DivisionByZeroError):
                await one.fetchval("SELECT 1 / $1::int", 0)
        for n in range(5):
            assert (await mine.fetchval(n), await theirs.fetchval(n)) == (n + 1, n + 2)
        await close(one, two)


async def test_prepared_statements_are_lost(postgres: PostgresDatabase) -> None:
    async with Pooler(postgres.url, prepared=False) as pooler:
        one, two = await asyncpg.connect(pooler.url), await asyncpg.connect(pooler.url)
        mine = await one.prepare("SELECT 1", name="same")
        assert await mine.fetchval() == 1  # only now its session is anybody's
        with pytest.raises(asyncpg.DuplicatePreparedStatementError):
            await two.prepare("SELECT 2", name="same")
        async with two.transaction():
            with pytest.raises(asyncpg.InvalidSQLStatementNameError):
                await mine.fetchval()
        await close(one, two)


async def test_settings_leak(postgres: PostgresDatabase) -> None:
    async with Pooler(postgres.url, size=1) as pooler:
        one, two = await asyncpg.connect(pooler.url), await asyncpg.connect(pooler.url)
        await one.execute("SET jit = off")
        assert await two.fetchval("SHOW jit") == "off"
        await close(one, two)


async def test_in_session_mode_nothing_leaks(postgres: PostgresDatabase) -> None:
    async with Pooler(postgres.url, size=1, session_mode=True, prepared=False) as pooler:
        before: list[str] = []
        for _ in range(2):
            connection = await asyncpg.connect(pooler.url)
            before.append(await connection.fetchval("SHOW jit"))
            await connection.execute("SET jit = off; BEGIN")
            await connection.prepare("SELECT 1", name="same")
            await close(connection)
        assert before == ["on", "on"]


async def test_a_client_is_told_why_the_server_refuses(postgres: PostgresDatabase) -> None:
    wrong = postgres.url.replace("postgres:", "postgres:not")
    async with Pooler(wrong) as pooler:
        with pytest.raises(asyncpg.ProtocolViolationError, match="password authentication"):
            await asyncpg.connect(pooler.url)
