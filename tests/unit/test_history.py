"""The checker of histories catches every planted break of a promise, and by the right rule."""

from dataclasses import replace

import pytest

from tests.support.history import (
    Attempt,
    Call,
    History,
    Job,
    Kill,
    Read,
    Stored,
    Submit,
    check,
    extra_calls,
    failures,
    recoveries,
)


def read(
    job_id: str, at_s: float, state: str, *, nonce: str | None = None, digest: str = "d"
) -> Read:
    """A poll of 0.1 s."""
    status = 200 if state in {"completed", "failed"} else 202
    nonces = frozenset({nonce}) if nonce else frozenset[str]()
    return Read(job_id, at_s, at_s + 0.1, status, state, digest, nonces)


GOOD = History(
    submits=(
        Submit("one", 0.0, 0.1, 202, "a"),
        Submit("two", 0.2, 0.3, 202, "b"),
        Submit("cut", 0.9, 1.0, None, None),
        Submit("gone", 0.9, 1.0, None, None),
        Submit("busy", 3.0, 3.1, 503, None),
    ),
    reads=(
        read("a", 0.5, "processing"),
        read("a", 2.0, "completed", nonce="one"),
        read("a", 3.0, "completed", nonce="one"),
        read("b", 0.5, "pending"),
        read("b", 2.4, "failed"),
    ),
    calls=(
        Call(0.1, "one", "a", 1),
        Call(1.6, "one", "a", 2),
        Call(0.5, "two", "b", 1),
        Call(1.7, "cut", "c", 1),
    ),
    final=Stored(
        jobs=(
            Job("a", "one", "completed", 2, "retry", "openai", 1),
            Job("b", "two", "failed", 1, "fail", "openai", 1),
            Job("c", "cut", "completed", 1, "retry", "openai", 1),
        ),
        attempts=(
            Attempt("a", 1, "unknown", 100, 200),
            Attempt("a", 2, "succeeded", 200, 300),
            Attempt("b", 1, "unknown", 100, 200),
            Attempt("c", 1, "succeeded", 200, 300),
        ),
        counters={("openai", "completed"): 2, ("openai", "failed"): 1, ("openai", "queued"): 0},
        integrity="ok",
    ),
    kills=(
        Kill(
            killed_s=1.0,
            restarted_s=1.2,
            stored=Stored(
                jobs=(
                    Job("a", "one", "running", 1, "retry", "openai", 0),
                    Job("b", "two", "running", 1, "fail", "openai", 0),
                    Job("c", "cut", "queued", 0, "retry", "openai", 0),
                ),
                attempts=(
                    Attempt("a", 1, "sending", 100, None),
                    Attempt("b", 1, "sending", 100, None),
                ),
                counters={("openai", "running"): 2, ("openai", "queued"): 1},
                integrity="ok",
            ),
        ),
    ),
)


def with_jobs(*jobs: Job) -> History:
    """The good history with other rows for some of its jobs, and counters that fit."""
    kept = [job for job in GOOD.final.jobs if job.job_id not in {each.job_id for each in jobs}]
    rows = (*kept, *jobs)
    counters: dict[tuple[str, str], int] = {}
    for job in rows:
        counters[job.lane, job.state] = counters.get((job.lane, job.state), 0) + 1
    return replace(GOOD, final=replace(GOOD.final, jobs=rows, counters=counters))


def with_attempts(*attempts: Attempt) -> History:
    """The good history with other rows for some of its attempts."""
    keys = {(each.job_id, each.n) for each in attempts}
    kept = [each for each in GOOD.final.attempts if (each.job_id, each.n) not in keys]
    return replace(GOOD, final=replace(GOOD.final, attempts=(*kept, *attempts)))


def with_kill(stored: Stored) -> History:
    """The good history with another state of the disk at its kill."""
    return replace(GOOD, kills=(replace(GOOD.kills[0], stored=stored),))


def without_job(stored: Stored, job_id: str) -> Stored:
    """A job that vanished together with its attempts, counters and all."""
    gone = next(job for job in stored.jobs if job.job_id == job_id)
    key = (gone.lane, gone.state)
    return replace(
        stored,
        jobs=tuple(job for job in stored.jobs if job is not gone),
        attempts=tuple(each for each in stored.attempts if each.job_id != job_id),
        counters={**stored.counters, key: stored.counters[key] - 1},
    )


AT_KILL = GOOD.kills[0].stored

PLANTED = {
    "an accepted job is not in the store": (
        "lost",
        replace(GOOD, final=without_job(GOOD.final, "b"), calls=(*GOOD.calls[:2], GOOD.calls[3])),
    ),
    "an accepted job has another's request": (
        "lost",
        with_jobs(Job("b", "other", "failed", 1, "fail", "openai", 1)),
    ),
    "a poll finds nothing": (
        "lost",
        replace(GOOD, reads=(*GOOD.reads, Read("a", 4, 4.1, 404, None, "d", frozenset()))),
    ),
    "an accepted job was not on the disk at a kill": (
        "lost",
        with_kill(without_job(AT_KILL, "b")),
    ),
    "a submit whose connection broke made two jobs": (
        "two jobs",
        with_jobs(Job("d", "cut", "failed", 0, "retry", "openai", 1)),
    ),
    "a job is left running": (
        "stuck",
        with_jobs(Job("c", "cut", "running", 1, "retry", "openai", 0)),
    ),
    "a job is left waiting": (
        "stuck",
        with_jobs(Job("c", "cut", "waiting", 1, "retry", "openai", 0)),
    ),
    "nobody ever read the end of an accepted job": ("stuck", replace(GOOD, reads=GOOD.reads[:3])),
    "a completed job has no result": (
        "stuck",
        with_jobs(Job("c", "cut", "completed", 1, "retry", "openai", 0)),
    ),
    "a job completed and then failed": (
        "two ends",
        replace(GOOD, reads=(*GOOD.reads, read("a", 4, "failed"))),
    ),
    "a result changed between two reads": (
        "two ends",
        replace(GOOD, reads=(*GOOD.reads, read("a", 4, "completed", nonce="one", digest="e"))),
    ),
    "a job reads completed and is stored failed": (
        "two ends",
        with_jobs(Job("a", "one", "failed", 2, "retry", "openai", 1)),
    ),
    "a job is processing, then pending": (
        "backwards",
        replace(GOOD, reads=(*GOOD.reads, read("a", 0.7, "pending"))),
    ),
    "a job has ended, then is processing": (
        "backwards",
        replace(GOOD, reads=(*GOOD.reads, read("a", 2.2, "processing"))),
    ),
    "a poll answers 500": (
        "status",
        replace(GOOD, reads=(*GOOD.reads, Read("a", 4, 4.1, 500, None, "d", frozenset()))),
    ),
    "a submit answers 500": (
        "status",
        replace(GOOD, submits=(*GOOD.submits, Submit("odd", 4, 4.1, 500, None))),
    ),
    "a job that has not ended answers 200": (
        "status",
        replace(
            GOOD, reads=(*GOOD.reads, Read("a", 0.6, 0.7, 200, "processing", "d", frozenset()))
        ),
    ),
    "a job has another's answer": (
        "swapped",
        replace(GOOD, reads=(*GOOD.reads, read("a", 4, "completed", nonce="two"))),
    ),
    "an answer has two prompts in it": (
        "swapped",
        replace(
            GOOD,
            reads=(
                *GOOD.reads,
                Read("a", 4, 4.1, 200, "completed", "d", frozenset({"one", "two"})),
            ),
        ),
    ),
    "an upstream call has no attempt": (
        "call",
        replace(GOOD, calls=(*GOOD.calls, Call(2.0, "cut", "c", 2))),
    ),
    "an attempt was sent twice": (
        "call",
        replace(GOOD, calls=(*GOOD.calls, Call(2.0, "cut", "c", 1))),
    ),
    "an attempt that says unsent was sent": (
        "call",
        with_attempts(Attempt("a", 1, "unsent", 100, 200)),
    ),
    "a call carried another job's prompt": (
        "call",
        replace(GOOD, calls=(*GOOD.calls[:3], Call(1.7, "one", "c", 1))),
    ),
    "a call was out before its attempt was on the disk": (
        "call",
        with_kill(replace(AT_KILL, attempts=AT_KILL.attempts[:1])),
    ),
    "an extra call whose attempt says it failed, though the upstream answered": (
        "unexplained",
        with_attempts(Attempt("a", 1, "failed", 100, 200)),
    ),
    "an extra call on no record": (
        "unexplained",
        replace(GOOD, calls=(*GOOD.calls, Call(2.0, "cut", "c", 2))),
    ),
    "an attempt is still sending": (
        "attempts",
        with_attempts(Attempt("b", 1, "sending", 100, None)),
    ),
    "two attempts overlap": ("attempts", with_attempts(Attempt("a", 1, "unknown", 100, 250))),
    "an attempt is missing": (
        "attempts",
        with_jobs(Job("c", "cut", "completed", 2, "retry", "openai", 1)),
    ),
    "two attempts succeeded": ("attempts", with_attempts(Attempt("a", 1, "succeeded", 100, 200))),
    "a failed job has an attempt that succeeded": (
        "attempts",
        with_attempts(Attempt("b", 1, "succeeded", 100, 200)),
    ),
    "a job that must not be sent twice was": (
        "attempts",
        with_jobs(Job("a", "one", "completed", 2, "fail", "openai", 1)),
    ),
    "attempts without a job": ("attempts", with_attempts(Attempt("z", 1, "unknown", 100, 200))),
    "a drain left a job running": (
        "drain",
        replace(GOOD, kills=(replace(GOOD.kills[0], drained=True),)),
    ),
    "a counter drifted": (
        "counter",
        replace(
            GOOD,
            final=replace(GOOD.final, counters={**GOOD.final.counters, ("openai", "completed"): 3}),
        ),
    ),
    "a counter counts what is not there": (
        "counter",
        replace(
            GOOD,
            final=replace(GOOD.final, counters={**GOOD.final.counters, ("openai", "waiting"): 1}),
        ),
    ),
    "a counter was wrong at a kill": (
        "counter",
        with_kill(replace(AT_KILL, counters={("openai", "running"): 3})),
    ),
    "the database is corrupt": (
        "integrity",
        replace(GOOD, final=replace(GOOD.final, integrity="row 3 missing from index")),
    ),
}


def test_a_good_history_has_no_violation() -> None:
    assert check(GOOD) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_caught_by_its_rule(name: str) -> None:
    rule, history = PLANTED[name]
    assert rule in {violation.rule for violation in check(history)}


def test_reads_that_overlap_are_in_no_order() -> None:
    late = read("a", 1.95, "processing")  # called before the read that saw the end had returned
    assert check(replace(GOOD, reads=(*GOOD.reads, late))) == []


def test_a_refused_call_explains_its_repetition() -> None:
    history = with_attempts(Attempt("a", 1, "failed", 100, 200))
    refused = replace(history, calls=(Call(0.1, "one", "a", 1, 500), *history.calls[1:]))
    assert check(refused) == []


def test_the_calls_beyond_the_answering_one_are_extra() -> None:
    assert extra_calls(GOOD) == [Call(0.1, "one", "a", 1)]


def test_recovery_is_the_time_from_the_restart_to_the_next_call() -> None:
    (found,) = recoveries(GOOD)
    assert (found.running, found.first_s, found.last_s) == (
        1,
        pytest.approx(0.4),
        pytest.approx(0.4),
    )


def test_failures_are_counted_by_type() -> None:
    assert failures(GOOD) == {"?": 1}
