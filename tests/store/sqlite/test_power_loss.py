"""The disk as a power cut leaves it, at any moment under load (reliability.md, F4)."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermod.domain.job import NewJob, State
from hermod.store.sqlite import SqliteStore
from tests.store.backends import SqliteDatabase
from tests.store.jobs import CLAIM, COMPLETED, LANE, OWNER, new_job
from tests.store.sqlite.disk import Fate, RecordingDisk

SEED = 4
CUTS = 25
CHECKPOINT_PAGES = 30
"""So few that the log is copied into the database many times during the load."""


class Acknowledged:
    """What the store said was done, before a cut."""

    def __init__(self, disk: RecordingDisk, until: int) -> None:
        notes = [what for event in disk.events[:until] for what in _noted(event)]
        self.submitted = {job.id: job for what, job in notes if what == "submitted"}
        self.finished = {job.id: job for what, job in notes if what == "finished"}


def _noted(event: object) -> Iterator[tuple[str, NewJob]]:
    what = getattr(event, "what", None)
    if what is not None:
        yield what


def result_of(job: NewJob) -> bytes:
    """A body of its own, for some jobs a large one."""
    return job.id.encode() * (3_000 if job.id[-1] in "01" else 20)


async def whole_job(store: SqliteStore, database: SqliteDatabase, disk: RecordingDisk) -> None:
    """A job from submit to finish, noting what is acknowledged."""
    job = new_job(database)
    job = job._replace(body=result_of(job))
    lease = await store.submit_job(job, CLAIM)
    disk.note(("submitted", job))
    assert lease
    assert await store.finish_job(lease, COMPLETED._replace(body=result_of(job)))
    disk.note(("finished", job))


async def load(database: SqliteDatabase, disk: RecordingDisk) -> None:
    """Eight clients, ten jobs each, while the log is checkpointed again and again."""

    async def client(store: SqliteStore) -> None:
        for _ in range(10):
            await whole_job(store, database, disk)

    with disk.recording():
        async with database.open() as store:
            assert store._writer
            store._writer.connection.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            await asyncio.gather(*(client(store) for _ in range(8)))


async def lost_after_a_cut(database: SqliteDatabase, acknowledged: Acknowledged) -> set[str]:
    """Open what a cut left; it must be sound. Which acknowledged jobs are not as they were."""
    connection = database.connect()
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    lost: set[str] = set()
    async with database.open() as store:
        assert await store.counts() == database.count_jobs()
        for job in acknowledged.submitted.values():
            view = await store.read_job(job.id, OWNER, None)
            if view is None:
                lost.add(job.id)
            elif view.state is State.COMPLETED:
                assert view.body == result_of(job)
            elif job.id in acknowledged.finished:
                lost.add(job.id)
        await store.release_worker(CLAIM.worker_id, 1_000)
        for claimed in await store.claim_jobs(LANE, 1_000, CLAIM):
            job = acknowledged.submitted.get(claimed.lease.job_id)
            assert job is None or await store.read_request(claimed.lease) == job.body
    return lost


async def losses(folder: Path, synchronous: str, fate: Fate) -> int:
    """How many acknowledged steps are gone, over many cuts of one run."""
    chance = random.Random(SEED)
    disk = RecordingDisk()
    database = SqliteDatabase(folder, synchronous)
    await load(database, disk)
    started = next(n for n, event in enumerate(disk.events) if list(_noted(event)))
    checkpointed = [getattr(event, "file", None) for event in disk.events[started:]]
    assert checkpointed.count(database.path) > CUTS
    lost = 0
    for n in range(CUTS):
        until = chance.randrange(started, len(disk.events))
        after = SqliteDatabase(folder, synchronous)
        after.path = folder / f"cut-{n}.db"
        disk.cut(until, fate, chance, database.path, after.path)
        lost += len(await lost_after_a_cut(after, Acknowledged(disk, until)))
    return lost


@pytest.mark.parametrize("fate", ["kept", "lost", "mixed"])
async def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path, fate: Fate) -> None:
    assert await losses(tmp_path, "FULL", fate) == 0


async def test_a_kill_loses_nothing_without_full_synchronisation_either(tmp_path: Path) -> None:
    assert await losses(tmp_path, "NORMAL", "kept") == 0


async def test_a_power_cut_does_lose_jobs_without_full_synchronisation(tmp_path: Path) -> None:
    """Shows that the cuts of these tests cut deep enough."""
    assert await losses(tmp_path, "NORMAL", "lost") > 0
