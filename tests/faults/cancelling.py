"""The process that dies in test_cancel_killed.py: it cancels a job, with failpoints armed."""

import asyncio
import sys
from pathlib import Path

from hermod.clock import SystemClock
from hermod.domain import failpoint
from hermod.store.choose import store_at
from tests.faults.verbs import WHO, opened


async def main(url: str, job_id: str, spec: str) -> None:
    """Say in which state the job is afterwards."""
    prefix = "sqlite:///"
    path = Path(url.removeprefix(prefix)) if url.startswith(prefix) else None
    store = store_at(url, path, SystemClock(), synchronous="FULL", watch_s=None)
    failpoint.enable(spec)
    async with opened(store):
        view = await store.cancel_job(job_id, WHO, None)
        sys.stdout.write(f"{view.state if view else 'gone'}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
