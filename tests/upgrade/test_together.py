"""The release before and this one on one database, as during an upgrade one by one."""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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

        def give_jobs(gateway: Gateway, model: str) -> list[str]:
            """While it is alone: another one could take some of them."""
            upstream.plan(model, *[Reply(held=never)] * JOBS, Reply())
            with client(gateway) as http:
                body = chat(model=f"openai/{model}")
                job_ids = [submit(http, body) for _ in range(JOBS)]
            wait_until(lambda: len(upstream.calls(model)) == JOBS)
            return job_ids

        def assert_finished_by(gateway: Gateway, job_ids: list[str]) -> None:
            with client(gateway) as http:
                assert {wait_done(http, job_id)["status"] for job_id in job_ids} == {"completed"}
            expected = [(1, "unknown", "worker_died"), (2, "succeeded", None)]
            assert [place.attempts_of(job_id) for job_id in job_ids] == [expected] * JOBS

        with running(place, before.hermod, upstream) as old:
            job_ids = give_jobs(old, "of-the-old")
            with running(place, HERMOD, upstream) as new:
                old.kill()
                assert_finished_by(new, job_ids)
                job_ids = give_jobs(new, "of-the-new")
                with running(place, before.hermod, upstream) as another_old:
                    new.kill()
                    assert_finished_by(another_old, job_ids)
        assert place.rows("SELECT state, count(*) FROM job GROUP BY 1") == [("completed", 2 * JOBS)]
        assert_counters_are_right(place)
        never.set()
