"""The release before and this one on one app dir, as during an upgrade one by one."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.database import attempts_of, rows
from tests.support.program import HERMOD, Gateway, chat, client, submit, wait_done
from tests.support.waiting import wait_until
from tests.upgrade.release_before import Release
from tests.upgrade.stored import assert_sound

JOBS = 20
"""Per gateway."""
SETTINGS: dict[str, Any] = {"upkeep_s": 0.2, "lease_s": 3600, "renew_s": 1000}
"""A lease of an hour: a job whose worker died is found by that alone."""


@pytest.fixture(params=["before-first", "today-first"])
def programs(request: pytest.FixtureRequest, before: Release) -> tuple[Path, Path]:
    """The two, in the order in which they start."""
    if request.param == "before-first":
        return before.hermod, HERMOD
    return HERMOD, before.hermod


@contextmanager
def together(app_dir: Path, programs: tuple[Path, Path]) -> Generator[tuple[Gateway, Gateway]]:
    """Both, ready."""
    config = {"hermod": SETTINGS}
    with Gateway(app_dir, config=config, program=programs[0]) as first:
        first.wait_ready()
        with Gateway(app_dir, program=programs[1]) as second:
            second.wait_ready()
            yield first, second


def submit_all(http: httpx.Client, model: str) -> list[str]:
    return [submit(http, chat(f"job {n}", model)) for n in range(JOBS)]


def assert_nothing_is_left(app_dir: Path, jobs: int) -> None:
    """Every job has completed, and the counters know it."""
    assert rows(app_dir, "SELECT state, count(*) FROM job GROUP BY 1") == [("completed", jobs)]
    assert_sound(app_dir)


def test_both_take_jobs_run_jobs_and_show_each_others(
    tmp_path: Path, programs: tuple[Path, Path]
) -> None:
    app_dir = tmp_path / "app"
    with together(app_dir, programs) as both:
        with client(both[0]) as one, client(both[1]) as other:
            taken = (
                submit_all(one, "mock/slow?seconds=0.2"),
                submit_all(other, "mock/slow?seconds=0.2"),
            )
            for http, job_ids in zip((other, one), taken, strict=True):
                assert {wait_done(http, job_id)["status"] for job_id in job_ids} == {"completed"}
        assert rows(app_dir, "SELECT count(DISTINCT worker_id) FROM attempt") == [(2,)]
        assert rows(app_dir, "SELECT count(*) FROM attempt") == [(2 * JOBS,)]
        assert_nothing_is_left(app_dir, 2 * JOBS)


def test_the_second_finishes_what_the_first_was_killed_with(
    tmp_path: Path, programs: tuple[Path, Path]
) -> None:
    app_dir = tmp_path / "app"
    with together(app_dir, programs) as (first, second):
        with client(first) as http:
            job_ids = submit_all(http, "mock/slow?seconds=1.5")
        sending = "SELECT count(*) FROM attempt WHERE state = 'sending'"
        wait_until(lambda: rows(app_dir, sending) == [(JOBS,)])
        first.kill()
        with client(second) as http:
            assert {wait_done(http, job_id)["status"] for job_id in job_ids} == {"completed"}
        for job_id in job_ids:
            assert attempts_of(app_dir, job_id) == [
                (1, "unknown", "worker_died"),
                (2, "succeeded", None),
            ]
        assert_nothing_is_left(app_dir, JOBS)
