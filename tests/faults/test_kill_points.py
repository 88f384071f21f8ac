"""F1, F2, F5: `kill -9` at every failpoint in turn, and an error at every one of the store's.

`make test` takes a sample of the points, `make faults` all of them.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import httpx
import pytest

import hermod
from hermod.domain.failpoint import NAMES, READS, WRITES
from tests.faults.governed import judge_books, judge_documents
from tests.faults.points import (
    ORDERED,
    ROTATES,
    UNUSED,
    Clients,
    JobRow,
    Kept,
    PostgresKept,
    SqliteKept,
    attempts_of,
    ended,
    jobs_of,
    leave_behind,
    lock_of_the_dead,
    miscounted,
    start,
    tidy,
    url_of,
)
from tests.faults.upstreams import Recorder
from tests.support.program import Gateway, chat, client, submit
from tests.support.waiting import wait_until

SOURCE = Path(hermod.__file__).parent
SAMPLE = 6
SEED = 1
"""Of the sample."""

ALWAYS = ("reserve.after_commit",)
"""Part of every sample."""

POINTS = tuple(name for name in NAMES if name not in UNUSED)

AT_THE_START = (
    "claim_suspects.",
    "release_worker.",
    "recover_lost_leases.",
    "expire_overdue.",
    "delete_expired.",
    "delete_orphans.",
    "settle_leftovers.",
    "drop_chunk.",
    "upkeep.before_bury",
)
"""Points passed because of what others left behind: reached before any client comes."""

ONCE_OR_TWICE = (
    "migration.",
    "put_chunk.",
    "read_request.",
    "begin_attempt.",
    "put_back.",
    "cancel_job.",
    "counts.",
    "net.request_half_sent",
)
"""Points that a start or a round of clients passes only so often: the first time kills."""

LATE = ("net.waiting",)
"""Points whose step takes time: the kill comes a moment after."""

EXPECTED_CALLS = {"succeeded", "failed", "unknown"}
"""How attempts may have ended whose call the upstream has seen."""


def spec_of(point: str) -> str:
    """Kill there; where it is passed again and again, not before other jobs are under way."""
    first = point.startswith(AT_THE_START + ONCE_OR_TWICE)
    spec = f"{point}{'' if first else '@3'}=kill{':0.01' if point in LATE else ''}"
    # Not every store frees pieces one by one but when it is full.
    return f"{spec};submit_job.before=full" if point.startswith("drop_chunk.") else spec


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All points, or a few that differ from release to release only by the seed."""
    if "point" in metafunc.fixturenames:
        chosen = POINTS
        if not metafunc.config.getoption("--all-points", default=False):
            chosen = sorted({*random.Random(SEED).sample(POINTS, SAMPLE), *ALWAYS})
        metafunc.parametrize("point", chosen)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Generator[Recorder]:
    """Repeats the prompt, after a moment in which it can be waited for."""
    record = tmp_path_factory.mktemp("upstream") / "calls"
    with Recorder(record, "--echo", "--latency-ms", "30") as running:
        yield running


class Maker(Protocol):
    """Makes a database: an empty one, or one with the leftovers of the dead."""

    def __call__(self, folder: Path, *, leftovers: bool = False) -> Kept: ...


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def seeded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Kept]:
    """The leftovers of the dead, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    kept: Kept
    if request.param == "sqlite":
        kept = SqliteKept(folder)
    else:
        kept = PostgresKept(folder, request.getfixturevalue("cluster"))
    asyncio.run(leave_behind(kept))
    yield kept
    kept.close()


@pytest.fixture
def kept_in(seeded: Kept) -> Generator[Maker]:
    made: list[Kept] = []

    def make(folder: Path, *, leftovers: bool = False) -> Kept:
        made.append(seeded.copy(folder) if leftovers else seeded.empty(folder))
        return made[-1]

    yield make
    for kept in made:
        kept.close()


def kill_at(point: str, kept: Kept, upstream: Recorder, clients: Clients) -> None:
    """Have a gateway die there while clients are at work."""
    with start(kept, upstream, spec_of(point)) as gateway:
        url = url_of(gateway)
        for _ in range(6):
            if url is None or gateway.process.poll() is not None:
                break
            clients.work(url, huge=point == "net.request_half_sent")
        wait_until(lambda: gateway.process.poll() is not None, timeout_s=10)
        assert gateway.wait_exit() == -signal.SIGKILL, gateway.output
        assert f"failpoint {point}: kill" in gateway.output


def recover(kept: Kept, upstream: Recorder, clients: Clients | None = None) -> None:
    """Have the next gateway end every job that is left, and clear everything away.

    Clients that came to nothing before come again.
    """
    with start(kept, upstream) as gateway:
        url = url_of(gateway)
        assert url is not None, gateway.output
        if clients is not None and not clients.accepted:
            clients.work(url)
        wait_until(lambda: ended(kept) and tidy(kept), timeout_s=40, every_s=0.1)
        if clients is not None:
            clients.see_keys(url)
        gateway.send(signal.SIGTERM)
        assert gateway.wait_exit() == 0, gateway.output
        assert "Traceback" not in gateway.output


def judge(kept: Kept, upstream: Recorder, clients: Clients) -> None:
    """What holds however the gateway died."""
    jobs = {job.job_id: job for job in jobs_of(kept)}
    attempts = attempts_of(kept)
    assert jobs.keys() >= set(clients.accepted), "an accepted job is lost"
    assert len(set(clients.accepted)) == len(clients.accepted)
    assert [job for job in jobs.values() if job.results != 1] == []
    assert miscounted(kept) == []

    ends = {(attempt.job_id, attempt.n): attempt.state for attempt in attempts}
    seen = [
        call
        for call in upstream.calls()
        # Leftovers have the same ids in every case.
        if call.job_id in jobs and call.at_s > clients.began_s
    ]
    calls = Counter((call.job_id, call.attempt) for call in seen)
    assert [call for call, times in calls.items() if times > 1] == [], "called twice under one row"
    assert [call for call in calls if ends.get(call) not in EXPECTED_CALLS] == [], ends
    for job in jobs.values():
        states = [ends[job.job_id, n] for n in range(1, job.attempt + 1)]
        check_job(job, states)
    limited = set(clients.limited)
    judge_books(kept, sum(call.job_id in limited and call.status < 400 for call in seen))
    judge_documents(kept, clients.made)


def check_job(job: JobRow, states: list[str]) -> None:
    """That the attempts of an ended job explain its end, and each other."""
    story = f"{job}: {states}"
    assert "sending" not in states, story
    assert "succeeded" not in states[:-1], story
    if job.state == "completed":
        assert states[-1] == "succeeded", story
        # What may have happened unseen is not done again for those who said so.
        assert job.on_unknown == "retry" or "unknown" not in states, story
    elif job.state == "cancelled":
        assert "succeeded" not in states, story
    elif job.state == "failed":
        assert (job.on_unknown, states[-1]) == ("fail", "unknown"), story
    else:
        assert (job.state, job.attempt) == ("expired", 0), story


def test_a_gateway_killed_at_any_point_loses_nothing_and_does_nothing_unrecorded(
    point: str, tmp_path: Path, upstream: Recorder, kept_in: Maker
) -> None:
    kept = kept_in(tmp_path, leftovers=point.startswith(AT_THE_START))
    clients = Clients()
    kill_at(point, kept, upstream, clients)
    recover(kept, upstream, clients)
    assert clients.accepted
    judge(kept, upstream, clients)


def test_a_submit_killed_before_its_commit_leaves_no_job(
    tmp_path: Path, upstream: Recorder, kept_in: Maker
) -> None:
    kept = kept_in(tmp_path)
    with start(kept, upstream, "submit_job.before_commit=kill") as gateway:
        assert submit_to_death(gateway) is None
    recover(kept, upstream)
    assert jobs_of(kept) == []


@pytest.mark.parametrize("killed_at", ["submit_job.after_commit", "http.reply_before"])
def test_a_submit_killed_after_its_commit_runs_although_nobody_was_told(
    killed_at: str, tmp_path: Path, upstream: Recorder, kept_in: Maker
) -> None:
    kept = kept_in(tmp_path)
    with start(kept, upstream, f"{killed_at}=kill") as gateway:
        assert submit_to_death(gateway) is None
    recover(kept, upstream)
    (job,) = jobs_of(kept)
    assert job.state == "completed"


def test_a_call_that_was_out_when_its_gateway_died_is_unknown_and_one_that_ended_is_not(
    tmp_path: Path, upstream: Recorder, kept_in: Maker
) -> None:
    for point, states in {
        "net.waiting": ["unknown", "succeeded"],
        "finish_job.before_commit": ["unknown", "succeeded"],
        "finish_job.after_commit": ["succeeded"],
    }.items():
        kept = kept_in(tmp_path / point)
        # Late enough to be out, and long before there is an answer.
        delay, model = (":0.015", "slow?seconds=0.5") if point == "net.waiting" else ("", "any")
        with start(kept, upstream, f"{point}=kill{delay}") as gateway:
            job_id = submit_to_death(gateway, f"openai/{model}")
        recover(kept, upstream)
        assert [attempt.state for attempt in attempts_of(kept)] == states
        calls = [call.attempt for call in upstream.calls() if call.job_id == job_id]
        assert calls == list(range(1, len(states) + 1))


def submit_to_death(gateway: Gateway, model: str = "openai/any") -> str | None:
    """The id of a job, if it was accepted before the gateway died."""
    job_id = None
    with client(gateway) as http, suppress(httpx.TransportError):
        job_id = submit(http, chat("hi", model))
        wait_until(lambda: gateway.process.poll() is not None)
    assert gateway.wait_exit() == -signal.SIGKILL, gateway.output
    return job_id


# Errors instead of death


def points_at(step: str, kept: Kept) -> list[str]:
    """Of each verb that has such a step and is made use of without a full disk."""
    verbs = [verb for verb in (*WRITES, *READS) if verb != "drop_chunk" or kept.drops_pieces]
    return [f"{verb}.{step}" for verb in verbs if f"{verb}.{step}" in POINTS]


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("before", marks=pytest.mark.long_form),
        "before_commit",
        "after_commit",
        pytest.param("after", marks=pytest.mark.long_form),
    ],
)
def test_a_store_that_fails_once_at_every_verb_costs_nothing_but_a_503(
    step: str, tmp_path: Path, upstream: Recorder, kept_in: Maker
) -> None:
    kept = kept_in(tmp_path, leftovers=True)
    lock = lock_of_the_dead(kept)
    lock.rename(tmp_path / lock.name)  # it is found dead once everything runs
    # Whoever cannot read at the start what governs does not start.
    points = points_at(step, kept)
    nth = {f"read_documents.{step}": 2}
    clients = Clients()
    # What was committed in silence comes back when its lease runs out.
    with start(
        kept,
        upstream,
        ";".join(f"{point}@{nth.get(point, 1)}=raise" for point in points),
        lease_s=2,
    ) as gateway:
        url = url_of(gateway)
        assert url is not None, gateway.output
        (tmp_path / lock.name).rename(lock)
        for _ in range(6):
            clients.work(url)
            if all(f"failpoint {point}: raise" in gateway.output for point in points):
                break
        wait_until(lambda: ended(kept) and tidy(kept), timeout_s=40, every_s=0.1)
        gateway.send(signal.SIGTERM)
        assert gateway.wait_exit() == 0, gateway.output
        assert "Traceback" not in gateway.output
        missed = [name for name in points if f"failpoint {name}: raise" not in gateway.output]
    assert missed == []
    judge(kept, upstream, clients)


@pytest.mark.parametrize("failing", ["migration.before", "migration.before_commit"])
def test_a_migration_that_fails_is_a_sentence_and_is_made_up_for_at_the_next_start(
    failing: str, tmp_path: Path, upstream: Recorder, kept_in: Maker
) -> None:
    kept = kept_in(tmp_path)
    with start(kept, upstream, f"{failing}=raise", database_wait_s=0.1) as gateway:
        assert url_of(gateway) is None
        assert gateway.wait_exit() == 2
        assert "Traceback" not in gateway.output
    recover(kept, upstream)


def test_a_failpoint_that_does_not_exist_keeps_the_gateway_from_starting(
    tmp_path: Path, upstream: Recorder, kept_in: Maker
) -> None:
    with start(kept_in(tmp_path), upstream, "submit_jobs.before=kill") as gateway:
        assert url_of(gateway) is None
        assert gateway.wait_exit() == 1
        assert "there is no point 'submit_jobs.before'" in gateway.output


def test_a_gateway_with_failpoints_says_so_in_its_log(
    tmp_path: Path, upstream: Recorder, kept_in: Maker
) -> None:
    with start(kept_in(tmp_path), upstream, "submit_job.before=count") as gateway:
        assert url_of(gateway) is not None
        assert "FAILPOINTS ARE ENABLED" in gateway.output
    with start(kept_in(tmp_path / "other"), upstream) as gateway:
        assert url_of(gateway) is not None
        assert "FAILPOINTS" not in gateway.output


def test_the_points_left_out_are_those_of_ordered_work_and_of_a_change_of_keys() -> None:
    """They have tests of their own: `tests/acceptance/test_ordered_work.py`, and
    `test_rotation_killed.py`."""
    assert {name.partition(".")[0] for name in UNUSED} == {*ORDERED, *ROTATES}
    assert set(ORDERED) == {"read_attempts", "record_handle"}
    assert set(ROTATES) == {"read_sealed_jobs", "reseal_jobs"}
