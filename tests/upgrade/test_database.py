"""The databases that the release before has left, small and real, in the hands of this release.

`make_0_3_0.py` made them. Some of the jobs had ended, the others were queued, waiting or running
when their release was killed, some of these with deadlines that have passed since.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import httpx
import pytest

from hermod.domain.job import AttemptState, State
from hermod.store import postgres, sqlite
from hermod.store.sql import READABLE_FROM, load_migrations
from tests.faults.places import Place, config_for
from tests.support.postgres import Cluster
from tests.support.program import Gateway, client, submit, wait_done
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until
from tests.support.wire import KINDS
from tests.upgrade.make_0_3_0 import TOLD, owner
from tests.upgrade.release_before import VERSION
from tests.upgrade.stored import (
    STORES,
    TOKEN,
    Attempt,
    Job,
    Start,
    assert_counters_are_right,
    new_place,
    states_of,
    unpack,
)

STARTS: Final = tuple(Start(VERSION, store) for store in STORES)
SCHEMAS: Final = {"sqlite": sqlite.__name__, "postgres": postgres.__name__}
WIRE: Final = {"expired": "failed"}
PATIENCE_S: Final = 60
"""A lease of the release before may have to run out first, when it ran on this very machine."""


class Served(NamedTuple):
    """This release on what another has left, with nothing left to do."""

    start: Start
    place: Place
    gateway: Gateway
    upstream: Upstream
    found: dict[str, str]
    """The state of each job before this release came."""

    @property
    def ended(self) -> list[Job]:
        return [job for job in self.start.record() if "becomes" not in job]

    @property
    def open(self) -> list[Job]:
        return [job for job in self.start.record() if job.get("becomes", "gone") != "gone"]

    @property
    def gone(self) -> list[Job]:
        return [job for job in self.start.record() if job.get("becomes") == "gone"]


@pytest.fixture(scope="module", params=STARTS, ids="-".join)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    start: Start = request.param

    def start_cluster() -> Cluster:
        return request.getfixturevalue("cluster")

    folder = tmp_path_factory.mktemp("upgrade")
    with new_place(start.store, folder, start_cluster) as place, Upstream() as upstream:
        unpack(start, place)
        found = states_of(place)
        config = config_for({"upkeep_s": 0.2, "forward_unknown_fields": False}, openai=upstream.url)
        unfinished = "SELECT count(*) FROM job WHERE completed_at IS NULL"
        environ = {"HERMOD_ADMIN_TOKEN": TOKEN}
        with place.start("today", config, environ=environ) as running:
            running.wait_ready()
            wait_until(lambda: place.rows(unfinished) == [(0,)], timeout_s=PATIENCE_S)
            yield Served(start, place, running, upstream, found)
            assert "Traceback" not in running.output


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with client(served.gateway) as opened:
        yield opened


def poll(http: httpx.Client, job: Job) -> httpx.Response:
    return http.get(f"/v1/async/{job['path']}/{job['id']}", headers=owner(job))


def digest(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, hashlib.sha256(answer.content).hexdigest()


def test_the_record_speaks_of_every_job_and_of_every_state(served: Served) -> None:
    assert served.found == {job["id"]: job["was"] for job in served.start.record()}
    assert {job["was"] for job in served.ended} >= {"completed", "failed"}
    for ending in ("completed", "expired"):
        found = {job["was"] for job in served.open if job["becomes"] == ending}
        assert found == {"queued", "waiting", "running"}


@pytest.mark.parametrize("store", STORES)
def test_what_the_release_before_has_left_has_something_of_everything(store: str) -> None:
    record = Start(VERSION, store).record()
    assert {job["was"] for job in record} == set(State)
    assert {job["path"] for job in record} == {kind.path for kind in KINDS}
    assert {state for job in record for _, state, _ in job["attempts"]} == set(AttemptState)
    assert {job.get("becomes") for job in record} >= {None, "gone", "failed"}
    assert {job.get("owner") for job in record} == {None, "admin"}
    assert {job.get("forwards") for job in record} == {None, True, False}


def test_a_job_that_had_ended_is_answered_byte_for_byte(served: Served, http: httpx.Client) -> None:
    answers = {job["id"]: poll(http, job) for job in served.ended}
    shown = {job["id"]: job["answer"] for job in served.ended if "answer" in job}
    assert {job_id: answers[job_id].text for job_id in shown} == shown
    assert {job_id: digest(answer) for job_id, answer in answers.items()} == {
        job["id"]: (200, job["sha256"]) for job in served.ended
    }


def test_a_job_that_had_not_ended_ends(served: Served, http: httpx.Client) -> None:
    expected = {job["id"]: job["becomes"] for job in served.open}
    now = states_of(served.place)
    assert {job_id: now[job_id] for job_id in expected} == expected
    for job in served.open:
        answer = poll(http, job).json()
        assert answer["status"] == WIRE.get(job["becomes"], job["becomes"]), answer
        if "says" in job:
            assert answer["result"]["choices"][0]["message"]["content"] == job["says"]
        if "hears" in job:
            assert answer["result"]["text"] == job["hears"]
        if "error_type" in job:
            assert answer["error"]["error"]["type"] == job["error_type"]


def test_the_attempts_of_a_job_go_on_where_they_were(served: Served) -> None:
    def now(job: Job) -> list[Any]:
        return [(n, state) for n, state, _ in served.place.attempts_of(job["id"])]

    jobs = served.ended + served.open
    assert {job["id"]: now(job) for job in jobs} == {job["id"]: attempts_after(job) for job in jobs}


def attempts_after(job: Job) -> list[tuple[int, str]]:
    """Number and state of each, once this release has carried the job on."""
    before: list[Attempt] = [(n, state, why) for n, state, why in job["attempts"]]
    after = [(n, "unknown" if state == "sending" else state) for n, state, _ in before]
    if job.get("becomes") == "completed":
        after.append((len(before) + 1, "succeeded"))
    return after


def test_a_result_whose_time_is_over_is_gone(served: Served, http: httpx.Client) -> None:
    for job in served.gone:
        assert poll(http, job).status_code == 404
        wait_until(lambda job=job: job["id"] not in states_of(served.place))


def test_a_job_of_the_operator_is_shown_to_nobody_else(served: Served, http: httpx.Client) -> None:
    for job in served.start.record():
        if job.get("owner") == "admin":
            shown = http.get(f"/v1/async/{job['path']}/{job['id']}")
            assert shown.status_code == 404


def test_an_unknown_field_reaches_the_upstream_if_the_job_was_accepted_so(served: Served) -> None:
    """`x-bf-passthrough-extra-params`, as that release wrote it into the job."""
    for job in served.start.record():
        if "forwards" in job:
            call = served.upstream.the_call(job["model"].removeprefix("openai/"))
            assert ("unheard_of" in json.loads(call.body)) is job["forwards"], job


def test_what_a_header_asked_for_is_done(served: Served, http: httpx.Client) -> None:
    """As that release wrote it into the job."""
    (job,) = (job for job in served.start.record() if "told" in job)
    call = served.upstream.the_call(job["model"].removeprefix("openai/"))
    assert call.headers[TOLD] == job["told"]
    assert "raw_response" in poll(http, job).json()["result"]["extra_fields"]


def test_the_counters_are_right(served: Served) -> None:
    assert_counters_are_right(served.place)


def test_new_jobs_are_served(http: httpx.Client) -> None:
    body = {"model": "mock/hello", "messages": [{"role": "user", "content": "hi"}]}
    assert wait_done(http, submit(http, body))["status"] == "completed"


def test_the_schema_is_todays_and_says_who_can_read_it(served: Served) -> None:
    migrations = load_migrations(SCHEMAS[served.start.store])
    number, oldest = (
        str(migrations[-1].number),
        str(max(migration.readable_from for migration in migrations)),
    )
    said = dict(served.place.rows("SELECT name, value FROM meta"))
    assert said[READABLE_FROM] == oldest
    if served.start.store == "sqlite":
        assert served.place.rows("PRAGMA user_version") == [(int(number),)]
    else:
        assert said["schema"] == number
