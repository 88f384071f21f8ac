"""Jobs whose workers keep dying run apart from the others, each in its turn."""

from pathlib import Path

from hermod.domain.job import AttemptView, Claim, State
from hermod.domain.suspicion import ALONE_FROM, SUSPECT_FROM
from hermod.store.sqlite import SqliteStore
from tests.support.database import raw_id, tamper
from tests.support.worker_bench import CLOCK, NEVER_S, Bench, bench, database_in, eventually


class Watched(SqliteStore):
    """The real store, and how often somebody looked for suspects."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, CLOCK)
        self.looks = 0

    async def suspects_due_at(self) -> int | None:
        due_at = await super().suspects_due_at()
        self.looks += 1
        return due_at


async def suspect(b: Bench, folder: Path, losses: int, model: str = "hello") -> str:
    """The id of a job that has just lost its worker, and not for the first time."""
    dead = Claim(f"dead of {losses}", NEVER_S, NEVER_S)
    job_id = await b.submit(model, claim=dead)
    tamper(folder, "UPDATE job SET suspicion = ? WHERE id = ?", losses - 1, raw_id(job_id))
    await b.store.release_worker(dead.worker_id, 1)
    return job_id


async def last_attempt(b: Bench, job_id: str) -> AttemptView:
    return (await b.attempts(job_id))[-1]


async def test_a_suspect_that_must_be_alone_is_not_overtaken_for_ever(tmp_path: Path) -> None:
    store = Watched(database_in(tmp_path))
    async with bench(tmp_path, store) as b:
        worker = await b.worker(renew_s=0.05)
        first = await suspect(b, tmp_path, SUSPECT_FROM, "slow?seconds=1000")
        await b.in_state(first, State.RUNNING)
        alone = await suspect(b, tmp_path, ALONE_FROM)
        later = await suspect(b, tmp_path, SUSPECT_FROM)
        # Whoever may start beside the first has started by the second of these looks.
        looks = store.looks
        await eventually(lambda: store.looks >= looks + 2)
        assert (await b.job(alone)).state is State.WAITING
        assert (await b.job(later)).state is State.WAITING
        tamper(tmp_path, "UPDATE job SET worker_id = 'thief' WHERE id = ?", raw_id(first))
        await b.ended(alone)
        await b.ended(later)
        await worker.drain(0)
        assert (await last_attempt(b, alone)).started_at < (await last_attempt(b, later)).started_at
