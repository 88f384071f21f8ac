"""The release before and this one on one database, as during an upgrade one by one."""

import asyncio
import json
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hermod.domain.ids import uuid7
from hermod.domain.job import AttemptState, Claim, Metered, Mode, NewJob, Retry, Target
from tests.faults.places import Place, config_for
from tests.support.postgres import Cluster
from tests.support.program import HERMOD, Gateway, chat, client, submit, wait_done
from tests.support.upstream import Reply, Upstream
from tests.support.waiting import wait_until
from tests.upgrade.release_before import Release
from tests.upgrade.stored import STORES, assert_counters_are_right, new_place

JOBS = 10
"""Of each that is killed."""
SETTINGS: dict[str, Any] = {"upkeep_s": 0.2, "lease_s": 3600, "renew_s": 1000}
"""A lease of an hour: a job whose worker died is found by that alone."""
HOUR_US = 3_600_000_000
ON_ITS_WAY = Retry(
    AttemptState.FAILED,
    spent=True,
    metered=Metered(10, 5, None),
    target=Target("anthropic", "claude"),
    progress="{}",
)


@pytest.fixture(params=STORES)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, start_cluster: Callable[[], Cluster]
) -> Iterator[Place]:
    """A new database, once for each store."""
    with new_place(request.param, tmp_path, start_cluster) as new:
        yield new


@contextmanager
def running(place: Place, program: Path, upstream: Upstream) -> Generator[Gateway]:
    """A gateway, ready; on PostgreSQL too they all share one app dir."""
    config = config_for(SETTINGS, openai=upstream.url)
    with place.start("node", config, program=program) as started:
        started.wait_ready()
        yield started


def test_each_finishes_what_the_other_was_killed_with(place: Place, before: Release) -> None:
    never = threading.Event()
    with Upstream() as upstream:

        def kill_with_jobs(gateway: Gateway, model: str) -> list[str]:
            upstream.plan(model, *[Reply(held=never)] * JOBS, Reply())
            with client(gateway) as http:
                body = chat(model=f"openai/{model}")
                job_ids = [submit(http, body) for _ in range(JOBS)]
            wait_until(lambda: len(upstream.calls(model)) == JOBS)
            gateway.kill()
            return job_ids

        def assert_finished_by(gateway: Gateway, job_ids: list[str]) -> None:
            with client(gateway) as http:
                assert {wait_done(http, job_id)["status"] for job_id in job_ids} == {"completed"}
            expected = [(1, "unknown", "worker_died"), (2, "succeeded", None)]
            assert [place.attempts_of(job_id) for job_id in job_ids] == [expected] * JOBS

        with (
            running(place, before.hermod, upstream) as old,
            running(place, HERMOD, upstream) as new,
        ):
            assert_finished_by(new, kill_with_jobs(old, "of-the-old"))
            with running(place, before.hermod, upstream) as another_old:
                assert_finished_by(another_old, kill_with_jobs(new, "of-the-new"))
        assert place.rows("SELECT state, count(*) FROM job GROUP BY 1") == [("completed", 2 * JOBS)]
        assert_counters_are_right(place)
        never.set()


async def leave_on_its_way(place: Place) -> str:
    """The id of a job whose next attempt is to go elsewhere, and that has used something."""
    store = place.store()
    await store.open()
    now = store.clock.now()
    body = chat(model="mock/hello")
    job = NewJob(
        id=uuid7(now),
        tenant_id="default",
        owner="open",
        kind="chat_completion",
        mode=Mode.ASYNC,
        lane="mock",
        model="hello",
        created_at=now,
        queue_deadline_at=now + HOUR_US,
        ttl_s=3600,
        ttl_requested=False,
        body=json.dumps(body).encode(),
    )
    lease = await store.submit_job(job, Claim("today's", 3600, 3600))
    assert lease
    assert await store.put_back(lease, ON_ITS_WAY, now)
    await store.close()
    return job.id


async def test_a_job_on_its_way_elsewhere_is_run_by_the_release_before_at_its_own_provider(
    place: Place, before: Release
) -> None:
    """It knows no other: the columns that say so are not there for it."""
    job_id = await leave_on_its_way(place)
    with Upstream() as upstream, running(place, before.hermod, upstream) as old:

        def ended() -> str:
            with client(old) as http:
                return wait_done(http, job_id)["status"]

        assert await asyncio.to_thread(ended) == "completed"
    sql = "SELECT n, lane, model, input_tokens FROM attempt ORDER BY n"
    assert place.rows(sql) == [(1, "mock", "hello", 10), (2, "mock", "hello", None)]
    sql = "SELECT target_provider, input_tokens, output_tokens, cost_usd_nanos FROM job"
    assert place.rows(sql) == [("anthropic", 10, 5, None)]
