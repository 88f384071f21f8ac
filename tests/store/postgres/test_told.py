"""A commit is heard of by every process on the database."""

import asyncio

from tests.store.backends import PostgresDatabase
from tests.store.jobs import LANE, queued_job


async def test_work_of_one_process_is_heard_of_by_another(postgres: PostgresDatabase) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with postgres.open() as here, postgres.open() as there:
        there.on_work(heard.put_nowait)
        await queued_job(here, postgres)
        async with asyncio.timeout(20):
            assert await heard.get() == LANE
