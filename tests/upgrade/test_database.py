"""A database that release 0.1.0 has left, small and real, in the hands of this release.

`make_0_1_0.py` made it. Some of its jobs had ended, the others were queued, waiting or running when
that release was killed, half of these with deadlines that have passed since.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from hermod.store.sql import READABLE_FROM, load_migrations
from hermod.store.sqlite.schema import PACKAGE
from tests.support.database import attempts_of, rows, state_of
from tests.support.program import Gateway, client, submit, wait_done
from tests.support.waiting import wait_until
from tests.upgrade.stored import assert_sound, copy_database, states_in

Job = dict[str, Any]

LEFT: Final = Path(__file__).parent / "0.1.0"
RECORD: Final[list[Job]] = json.loads((LEFT / "record.json").read_text("utf-8"))
ENDED: Final = [job for job in RECORD if "becomes" not in job]
OPEN: Final = [job for job in RECORD if "becomes" in job]
WIRE: Final = {"expired": "failed"}
PATIENCE_S: Final = 60
"""A lease of the release before may have to run out first, when it ran on this very machine."""


@pytest.fixture(scope="module", params=["killed", "at-rest"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """This release on a copy of what that one left, with nothing left to do."""
    app_dir = copy_database(LEFT / request.param, tmp_path_factory.mktemp("upgrade") / "app")
    unfinished = "SELECT count(*) FROM job WHERE completed_at IS NULL"
    with Gateway(app_dir, config={"hermod": {"upkeep_s": 0.2}}) as running:
        running.wait_ready()
        wait_until(lambda: rows(app_dir, unfinished) == [(0,)], timeout_s=PATIENCE_S)
        yield running
        assert "Traceback" not in running.output


@pytest.fixture
def http(served: Gateway) -> Iterator[httpx.Client]:
    with client(served) as opened:
        yield opened


def called(job: Job) -> str:
    """For a test's name."""
    return f"{job['path']}-{job['was']}-{job.get('becomes', 'ended')}"


@pytest.mark.parametrize("left", ["killed", "at-rest"])
def test_the_record_speaks_of_every_job_and_of_every_state(left: str, tmp_path: Path) -> None:
    found = states_in(copy_database(LEFT / left, tmp_path / "copy"))
    assert found == {job["id"].replace("-", ""): job["was"] for job in RECORD}
    assert {job["was"] for job in ENDED} == {"completed", "failed"}
    expected = {"queued", "waiting", "running"}
    assert {job["was"] for job in OPEN if job["becomes"] == "completed"} == expected
    assert {job["was"] for job in OPEN if job["becomes"] == "expired"} == expected


@pytest.mark.parametrize("job", ENDED, ids=called)
def test_a_job_that_had_ended_is_answered_byte_for_byte(http: httpx.Client, job: Job) -> None:
    response = http.get(f"/v1/async/{job['path']}/{job['id']}")
    assert response.status_code == 200
    assert response.text == job.get("answer", response.text)
    assert hashlib.sha256(response.content).hexdigest() == job["sha256"]


@pytest.mark.parametrize("job", OPEN, ids=called)
def test_a_job_that_had_not_ended_ends(served: Gateway, http: httpx.Client, job: Job) -> None:
    answer = http.get(f"/v1/async/{job['path']}/{job['id']}").json()
    assert state_of(served.app_dir, job["id"]) == job["becomes"]
    assert answer["status"] == WIRE.get(job["becomes"], job["becomes"])
    if "says" in job:
        assert answer["result"]["choices"][0]["message"]["content"] == job["says"]
    if "error_type" in job:
        assert answer["error"]["error"]["type"] == job["error_type"]


@pytest.mark.parametrize("job", RECORD, ids=called)
def test_the_attempts_of_a_job_go_on_where_they_were(served: Gateway, job: Job) -> None:
    before = [(n, state) for n, state, _ in job["attempts"]]
    expected = [(n, "unknown" if state == "sending" else state) for n, state in before]
    if job.get("becomes") == "completed":
        expected.append((len(before) + 1, "succeeded"))
    now = [(n, state) for n, state, _ in attempts_of(served.app_dir, job["id"])]
    assert now == expected


def test_the_counters_are_right(served: Gateway) -> None:
    assert_sound(served.app_dir)


def test_new_jobs_are_served(http: httpx.Client) -> None:
    body = {"model": "mock/hello", "messages": [{"role": "user", "content": "hi"}]}
    assert wait_done(http, submit(http, body))["status"] == "completed"


def test_the_schema_is_todays_and_says_who_can_read_it(served: Gateway) -> None:
    migrations = load_migrations(PACKAGE)
    assert rows(served.app_dir, "PRAGMA user_version") == [(migrations[-1].number,)]
    oldest = max(migration.readable_from for migration in migrations)
    said = rows(served.app_dir, "SELECT value FROM meta WHERE name = ?", READABLE_FROM)
    assert said == [(str(oldest),)]
