"""F9b: a task is cancelled at each await inside a store verb; the next user gets its own data.

tests/net/test_cancellation.py does the same to upstream calls.
"""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any

import pytest

from hermod.domain.job import State
from hermod.store.api import Store
from tests.faults.limited_verbs import EVERY
from tests.faults.places import Place, PostgresPlace
from tests.faults.verbs import OTHERS, VERBS, WHO, Start, Verb, check_job, opened

MOST_AWAITS = 60


@types.coroutine
def cancelled_at(work: Coroutine[Any, Any, Any], n: int) -> Generator[Any, Any, Any]:
    """Awaits `work` and cancels it as soon as it waits for the n-th time."""
    task = asyncio.current_task()
    assert task is not None
    cancelled: asyncio.CancelledError | None = None
    try:
        for suspension in range(1, 10_000):
            awaited = work.send(None) if cancelled is None else work.throw(cancelled)
            cancelled = None
            if suspension == n:
                task.cancel()
            try:
                yield awaited
            except asyncio.CancelledError as error:
                task.uncancel()
                cancelled = error
    except StopIteration as end:
        return end.value
    raise AssertionError("it never ends")


async def cut(verb: Verb, store: Store, start: Start, n: int) -> tuple[bool, Any]:
    """Whether the verb was cancelled at its n-th await, and its result if it was not."""

    async def work() -> Any:
        return await verb.act(store, start)

    try:
        return False, await cancelled_at(work(), n)
    except asyncio.CancelledError:
        return True, None


async def next_user_gets_its_own(store: Store, job_id: str) -> None:
    """Reads of several sorts, on whatever connection the cancelled verb has left."""
    read, attempts, counts = await asyncio.gather(
        store.read_job(job_id, WHO, None), store.read_attempts(job_id, WHO), store.counts()
    )
    assert read is not None
    assert (read.id, read.state, len(attempts)) == (job_id, State.COMPLETED, 1)
    assert counts["default", "openai", State.COMPLETED] >= 1


@pytest.mark.parametrize("name", EVERY)
async def test_a_verb_that_is_cancelled_anywhere_leaves_a_clean_connection(
    name: str, place: Place
) -> None:
    verb = EVERY[name]
    # One connection, which the next user has to share.
    unopened = place.store(1) if isinstance(place, PostgresPlace) else place.store()
    async with opened(unopened) as store:
        known = await VERBS["finish"].prepare(store)
        assert await VERBS["finish"].act(store, known)
        points = 0
        was_cut = True
        while was_cut:
            points += 1
            assert points < MOST_AWAITS
            start = await verb.begin(store, place)
            was_cut, result = await cut(verb, store, start, points)
            await next_user_gets_its_own(store, known.job.id)
            assert was_cut or verb.is_right(result, start)
            await check_job(place, start, verb, done=not was_cut)
            # Whatever is still queued must not be in the way of the next round's claim.
            await store.claim_jobs("openai", 100, OTHERS)
    assert points > 1
