"""The databases that the release before has left, small and real, in the hands of this release.

`make_0_4_0.py` made them. Some of the jobs had ended, the others were queued, waiting or running
when their release was killed, some of these with deadlines that have passed since.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final, NamedTuple

import httpx
import pytest

from hermod.domain.job import AttemptState, State
from hermod.store import postgres, sqlite
from hermod.store.sql import READABLE_FROM, load_migrations
from tests.acceptance.test_ordered_work import Predictions
from tests.faults.places import Place
from tests.support.postgres import Cluster
from tests.support.program import Gateway, client, submit, wait_done
from tests.support.upstream import Call, Upstream
from tests.support.waiting import wait_until
from tests.support.wire import KINDS
from tests.upgrade.maker import Upstreams, owner
from tests.upgrade.release_before import VERSION
from tests.upgrade.stored import (
    STORES,
    TOLD,
    Attempt,
    Job,
    Start,
    assert_counters_are_right,
    cost_of,
    new_place,
    secrets_of,
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
    upstreams: Upstreams
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
    replicate = Predictions()
    replicate.thread.start()
    replicate.ready.set()
    with (
        new_place(start.store, folder, start_cluster) as place,
        Upstream() as openai,
        closing(replicate),
    ):
        unpack(start, place)
        found = states_of(place)
        upstreams = Upstreams(openai, replicate)
        config = upstreams.config(upkeep_s=0.2, forward_unknown_fields=False)
        unfinished = "SELECT count(*) FROM job WHERE completed_at IS NULL"
        with place.start("today", config, environ=secrets_of(place)) as running:
            running.wait_ready()
            wait_until(lambda: place.rows(unfinished) == [(0,)], timeout_s=PATIENCE_S)
            yield Served(start, place, running, upstreams, found)
            assert "Traceback" not in running.output


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with client(served.gateway) as opened:
        yield opened


def poll(http: httpx.Client, job: Job) -> httpx.Response:
    return http.get(f"/v1/async/{job['path']}/{job['id']}", headers=owner(job))


def digest(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, hashlib.sha256(answer.content).hexdigest()


def the_call(served: Served, job: Job) -> Call:
    """What its upstream got of a job whose model is its own."""
    return served.upstreams.openai.the_call(job["model"].removeprefix("openai/"))


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
    assert {job["was"] for job in record if "key" in job} == {"queued", "running"}
    assert {job["was"] for job in record if "by" in job} == {"queued", "running", "waiting"}
    assert {job["was"] for job in record if "ordered" in job} == {"running"}
    assert any(job["cost"][2] for job in record if "cost" in job)


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


def test_what_a_job_has_used_and_cost_stays(served: Served) -> None:
    """Its answer, which says it too, is compared above."""
    before = {job["id"]: job["cost"] for job in served.ended}
    assert {job_id: cost_of(served.place, job_id) for job_id in before} == before


def test_the_attempts_of_a_job_go_on_where_they_were(served: Served) -> None:
    def now(job: Job) -> list[Any]:
        return [(n, state) for n, state, _ in served.place.attempts_of(job["id"])]

    jobs = served.ended + served.open
    assert {job["id"]: now(job) for job in jobs} == {job["id"]: attempts_after(job) for job in jobs}


def attempts_after(job: Job) -> list[tuple[int, str]]:
    """Number and state of each, once this release has carried the job on."""
    before: list[Attempt] = [(n, state, why) for n, state, why in job["attempts"]]
    after = [(n, "unknown" if state == "sending" else state) for n, state, _ in before]
    if job.get("refused_first"):
        after.append((len(after) + 1, "failed"))
    if job.get("becomes") == "completed":
        after.append((len(after) + 1, "succeeded"))
    return after


def test_a_job_on_its_way_elsewhere_goes_on_there(served: Served, http: httpx.Client) -> None:
    jobs = [job for job in served.open if "by" in job]
    fields = [poll(http, job).json()["result"]["extra_fields"] for job in jobs]
    assert [each["provider"] for each in fields] == [job["by"] for job in jobs]


def test_a_callers_key_that_is_encrypted_with_its_job_is_the_one_that_is_used(
    served: Served,
) -> None:
    """With the key that the release before made, or was told."""
    for job in served.open:
        if "key" in job:
            shown = the_call(served, job).headers["authorization"]
            assert shown == f"Bearer {job['key']}", job


def test_work_that_was_ordered_is_asked_for_and_not_ordered_again(
    served: Served, http: httpx.Client
) -> None:
    (job,) = (job for job in served.open if "ordered" in job)
    answer = poll(http, job).json()["result"]
    assert answer["choices"][0]["message"]["content"] == "hello"
    assert served.upstreams.replicate.asked > 0
    assert served.upstreams.replicate.ordered == []


@pytest.mark.parametrize("table", ["document", "audit", "meter", "hold"])
def test_nothing_is_made_up_that_the_release_before_did_not_know(
    served: Served, table: str
) -> None:
    assert served.place.rows(f"SELECT count(*) FROM {table}") == [(0,)]


@pytest.mark.parametrize("table", ["job", "attempt"])
def test_no_cost_is_said_to_be_an_estimate(served: Served, table: str) -> None:
    said = served.place.rows(f"SELECT DISTINCT estimated FROM {table}")
    assert [bool(estimated) for (estimated,) in said] == [False]


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
            assert ("unheard_of" in json.loads(the_call(served, job).body)) is job["forwards"], job


def test_what_a_header_asked_for_is_done(served: Served, http: httpx.Client) -> None:
    """As that release wrote it into the job."""
    (job,) = (job for job in served.start.record() if "told" in job)
    assert the_call(served, job).headers[TOLD] == job["told"]
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
