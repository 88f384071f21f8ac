"""The other process of test_processes.py: `work`, `submit` or `hold`, on a database file."""

import asyncio
import sys
from pathlib import Path

from hermod.domain.job import Claim
from tests.store.backends import SqliteDatabase
from tests.store.jobs import COMPLETED, LANE, new_job

CLAIM = Claim("child", 30.0, 3_600.0)


def say(text: str) -> None:
    """A line to whoever started us."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def main(what: str, path: Path) -> None:
    """Say `ready`, then the id of every job that was acknowledged to us."""
    database = SqliteDatabase(path.parent)
    if what == "hold":
        connection = database.connect()
        connection.execute("BEGIN IMMEDIATE")
        say("ready")
        await asyncio.Event().wait()
    async with database.open() as store:
        say("ready")
        if what == "work":
            while claimed := await store.claim_jobs(LANE, 2, CLAIM):
                for job in claimed:
                    assert await store.finish_job(job.lease, COMPLETED)
                    say(job.lease.job_id)
        while what == "submit":
            jobs = [new_job(database) for _ in range(5)]
            await asyncio.gather(*(store.submit_job(job, CLAIM) for job in jobs))
            for job in jobs:
                say(job.id)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
