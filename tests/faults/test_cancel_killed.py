"""F1, F5: a process dies in the middle of a cancel. It has happened whole, or not at all."""

import asyncio
import signal
import sys

import pytest

from hermod.domain.job import State
from tests.faults.places import Place, state_of
from tests.faults.verbs import OTHERS, SMALL_END, VERBS, Verb, check_job, opened

DYING = ("cancel_job.before", "cancel_job.before_commit", "cancel_job.after_commit")


async def cancel_elsewhere(place: Place, job_id: str, spec: str) -> tuple[int | None, str]:
    """Exit code and last word of a process of its own that cancels the job."""
    _, url = place.home("cancelling")
    arguments = ("-m", "tests.faults.cancelling", url, job_id, spec)
    child = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    return child.returncode, said.decode().strip()


@pytest.mark.parametrize("name", [name for name in VERBS if name.startswith("cancel")])
@pytest.mark.parametrize("point", DYING)
async def test_a_cancel_that_is_killed_has_happened_whole_or_not_at_all(
    place: Place, name: str, point: str
) -> None:
    verb: Verb = VERBS[name]
    async with opened(place.store()) as store:
        start = await verb.prepare(store)
    before = await place.dump()
    code, _ = await cancel_elsewhere(place, start.job.id, f"{point}=kill")
    assert code == -signal.SIGKILL
    if point == "cancel_job.after_commit":
        assert state_of(place, start.job.id) == State.CANCELLED
    else:
        assert await place.dump() == before
    await check_job(place, start, verb, done=False)

    assert await cancel_elsewhere(place, start.job.id, "") == (0, State.CANCELLED)
    await check_job(place, start, verb, done=True)
    async with opened(place.store()) as store:
        assert not await store.finish_job(start.lease, SMALL_END)
        assert await store.claim_jobs("openai", 1, OTHERS) == []
    await check_job(place, start, verb, done=True)
