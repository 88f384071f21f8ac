"""The checker of histories catches every planted break of a promise, and by the right rule."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hermod.store.inspection import Dump, Glance, Leased, Overdue, StoredAttempt, StoredJob
from hermod.torture.history import (
    Blow,
    Call,
    History,
    Life,
    Look,
    Read,
    Reply,
    Scrape,
    Submit,
)
from hermod.torture.journal import NoHistory, read_history, write_history
from hermod.torture.rules import check
from hermod.torture.rules_calls import duplicates
from hermod.torture.verdict import Spread, judge

WALL_S = 1_000_000
"""The store's clock is so far ahead of the monotonic one."""


def at(second: float) -> int:
    """An instant of the store's clock."""
    return int((WALL_S + second) * 1_000_000)


def read(job_id: str, at_s: float, state: str, *nonces: str, digest: str = "d") -> Read:
    """A poll of 0.1 s."""
    answer = f"answer to {job_id}" if state == "completed" else None
    status = 200 if state in {"completed", "failed"} else 202
    error_type = "outcome_unknown" if state == "failed" else None
    return Read(job_id, at_s, at_s + 0.1, status, state, digest, nonces, answer, error_type)


def job(job_id: str, nonce: str, state: str, attempt: int, **more: object) -> StoredJob:
    """A row; a terminal one ended at second 9."""
    ended = state in {"completed", "failed", "cancelled", "expired"}
    row = StoredJob(
        job_id,
        nonce,
        state,
        attempt,
        "retry",
        "openai",
        results=int(ended),
        completed_at=at(9) if ended else None,
    )
    return replace(row, **more)


def attempt(
    job_id: str, n: int, state: str, from_s: float, to_s: float | None, why: str | None = None
) -> StoredAttempt:
    """A row; the first worker dies at second 1."""
    worker_id = "w2" if from_s >= 1.2 else "w1"
    ended_at = None if to_s is None else at(to_s)
    return StoredAttempt(job_id, n, state, at(from_s), ended_at, why, worker_id)


def look(second: float, *leased: Leased, overdue: tuple[Overdue, ...] = ()) -> Look:
    """A glance whose lease clock is the monotonic one, in microseconds."""
    seen = Glance(at(second), int(second * 1_000_000), leased, overdue)
    return Look(second, second, seen)


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
        Read("a", 1.3, 1.4, 503),
        read("a", 2.0, "completed", "one"),
        read("a", 3.0, "completed", "one"),
        read("b", 0.5, "pending"),
        read("b", 2.4, "failed"),
    ),
    calls=(
        Call(0.1, "one", "a", 1),
        Call(1.6, "one", "a", 2),
        Call(0.5, "two", "b", 1),
        Call(1.7, "cut", "c", 1),
    ),
    replies=(
        Reply(1.0, "a", 1, None),
        Reply(1.8, "a", 2, "answer to a"),
        Reply(1.0, "b", 1, None),
        Reply(1.9, "c", 1, "answer to c"),
    ),
    final=Dump(
        jobs=(
            job("a", "one", "completed", 2),
            job("b", "two", "failed", 1, on_unknown="fail"),
            job("c", "cut", "completed", 1),
        ),
        attempts=(
            attempt("a", 1, "unknown", 0.05, 1.3, "worker_died"),
            attempt("a", 2, "succeeded", 1.5, 1.8),
            attempt("b", 1, "unknown", 0.4, 1.3, "worker_died"),
            attempt("c", 1, "succeeded", 1.6, 1.9),
        ),
        counters={"openai/completed": 2, "openai/failed": 1, "openai/queued": 0},
        integrity="ok",
    ),
    blows=(
        Blow(
            "kill",
            "all-1",
            "all",
            at_s=1.0,
            back_s=1.2,
            dump=Dump(
                jobs=(
                    job("a", "one", "running", 1),
                    job("b", "two", "running", 1, on_unknown="fail"),
                    job("c", "cut", "queued", 0),
                ),
                attempts=(
                    attempt("a", 1, "sending", 0.05, None),
                    attempt("b", 1, "sending", 0.4, None),
                ),
                counters={"openai/running": 2, "openai/queued": 1},
                integrity="ok",
            ),
        ),
    ),
    lives=(
        Life("all-1", "all", -1.0, -0.5, 1.0, "kill", -9),
        Life("all-1", "all", 1.2, 1.5, 100.0, "term", 0),
    ),
    looks=(
        look(0.6, Leased("a", 1, 30_000_000), Leased("b", 1, 30_000_000)),
        look(20.0),
    ),
    scrapes=(Scrape("all-1", {"openai/completed": 2, "openai/failed": 1}),),
)
AT_KILL = GOOD.blows[0].dump
assert AT_KILL is not None


def with_jobs(*jobs: StoredJob) -> History:
    """The good history with other rows for some of its jobs, and counters that fit."""
    kept = [each for each in GOOD.final.jobs if each.job_id not in {j.job_id for j in jobs}]
    rows = (*kept, *jobs)
    counters: dict[str, int] = {}
    for each in rows:
        key = f"{each.lane}/{each.state}"
        counters[key] = counters.get(key, 0) + 1
    final = replace(GOOD.final, jobs=rows, counters=counters)
    return replace(GOOD, final=final, scrapes=(Scrape("all-1", counters),))


def with_attempts(*attempts: StoredAttempt) -> History:
    """The good history with other rows for some of its attempts."""
    keys = {(each.job_id, each.n) for each in attempts}
    kept = [each for each in GOOD.final.attempts if (each.job_id, each.n) not in keys]
    return replace(GOOD, final=replace(GOOD.final, attempts=(*kept, *attempts)))


def with_reads(*reads: Read) -> History:
    """The good history and more reads."""
    return replace(GOOD, reads=(*GOOD.reads, *reads))


def with_calls(*calls: Call) -> History:
    """The good history and more calls."""
    return replace(GOOD, calls=(*GOOD.calls, *calls))


def with_kill(dump: Dump) -> History:
    """The good history with another state of the store at its kill."""
    return replace(GOOD, blows=(replace(GOOD.blows[0], dump=dump),))


def without_job(dump: Dump, job_id: str) -> Dump:
    """A job that vanished together with its attempts, counters and all."""
    gone = next(each for each in dump.jobs if each.job_id == job_id)
    key = f"{gone.lane}/{gone.state}"
    return replace(
        dump,
        jobs=tuple(each for each in dump.jobs if each is not gone),
        attempts=tuple(each for each in dump.attempts if each.job_id != job_id),
        counters={**dump.counters, key: dump.counters[key] - 1},
    )


def lost() -> History:
    """An accepted job has vanished, with everything that spoke of it but its acceptance."""
    whole = replace(
        GOOD,
        final=without_job(GOOD.final, "b"),
        reads=GOOD.reads[:4],
        calls=(*GOOD.calls[:2], GOOD.calls[3]),
        scrapes=(Scrape("all-1", {"openai/completed": 2}),),
    )
    return replace(whole, blows=(replace(GOOD.blows[0], dump=None),))


def twice() -> History:
    """A job of a second submit that nobody made."""
    extra = job("d", "cut", "completed", 1)
    whole = with_jobs(extra)
    return replace(
        whole,
        calls=(*GOOD.calls, Call(1.7, "cut", "d", 1)),
        final=replace(
            whole.final,
            attempts=(*GOOD.final.attempts, attempt("d", 1, "succeeded", 1.6, 1.9)),
        ),
    )


def stuck(state: str, **more: object) -> History:
    """The job of the broken connection never ends."""
    last = attempt("c", 1, "unknown", 1.6, 1.9, "drained")
    whole = with_jobs(job("c", "cut", state, 1, **more))
    attempts = (*GOOD.final.attempts[:3], last)
    return replace(whole, final=replace(whole.final, attempts=attempts))


def grown(count: int, state: str, why: str) -> History:
    """Job `a` with so many attempts before the one that succeeded."""
    rows = [attempt("a", n, state, 1.21 + n / 100, 1.21 + n / 100, why) for n in range(1, count)]
    rows.append(attempt("a", count, "succeeded", 1.5, 1.8))
    whole = with_jobs(job("a", "one", "completed", count))
    calls = (*GOOD.calls[2:], Call(1.6, "one", "a", count))
    replies = (*GOOD.replies[2:], Reply(1.8, "a", count, "answer to a"))
    final = replace(whole.final, attempts=(*rows, *GOOD.final.attempts[2:]))
    # The dump at the kill knows of the first attempt; the process died in between.
    life = Life("all-1", "all", 1.0, None, 1.3, "kill", -9)
    return replace(whole, final=final, calls=calls, replies=replies, lives=(*GOOD.lives, life))


ENDED = attempt("a", 1, "unknown", 0.05, 1.3, "lease_lost")

PLANTED = {
    "an accepted job is not in the store": ("H1", lost()),
    "an accepted job has another's request": (
        "H1",
        replace(
            with_jobs(job("b", "other", "failed", 1, on_unknown="fail")),
            calls=(*GOOD.calls[:2], Call(0.5, "other", "b", 1), GOOD.calls[3]),
        ),
    ),
    "a read finds nothing": ("H1", with_reads(Read("a", 4, 4.1, 404))),
    "an accepted job was not in the store at a kill": (
        "H1",
        replace(with_kill(without_job(AT_KILL, "b")), calls=(*GOOD.calls[:2], GOOD.calls[3])),
    ),
    "a submit whose connection broke made two jobs": ("H1", twice()),
    "a job is left running": ("H2", stuck("running")),
    "a job is left waiting": ("H2", stuck("waiting")),
    "nobody ever read the end of an accepted job": ("H2", replace(GOOD, reads=GOOD.reads[:5])),
    "a completed job has no result": ("H2", with_jobs(job("c", "cut", "completed", 1, results=0))),
    "a job has two results": ("H2", with_jobs(job("c", "cut", "completed", 1, results=2))),
    "a job completed and then failed": ("H2", with_reads(read("a", 4, "failed"))),
    "a job reads completed and is stored failed": (
        "H2",
        replace(
            with_jobs(job("a", "one", "failed", 2)),
            final=replace(
                with_jobs(job("a", "one", "failed", 2)).final,
                attempts=(
                    GOOD.final.attempts[0],
                    attempt("a", 2, "unknown", 1.5, 1.8),
                    *GOOD.final.attempts[2:],
                ),
            ),
        ),
    ),
    "a job that had ended ended again": (
        "H2",
        with_kill(
            replace(
                AT_KILL,
                jobs=(*AT_KILL.jobs[:2], job("c", "cut", "failed", 0)),
                counters={"openai/running": 2, "openai/failed": 1},
            )
        ),
    ),
    "a job is processing, then pending": ("H3", with_reads(read("a", 0.7, "pending"))),
    "a job has ended, then is processing": ("H3", with_reads(read("a", 2.2, "processing"))),
    "a result changed between two reads": (
        "H3",
        with_reads(read("a", 4, "completed", "one", digest="e")),
    ),
    "an attempt was uncounted": (
        "H3",
        with_kill(
            replace(
                AT_KILL,
                jobs=(job("a", "one", "running", 3), *AT_KILL.jobs[1:]),
            )
        ),
    ),
    "a job that ran is queued again": (
        "H3",
        replace(
            GOOD,
            blows=(
                GOOD.blows[0],
                replace(
                    GOOD.blows[0],
                    at_s=1.01,
                    dump=replace(
                        AT_KILL,
                        jobs=(*AT_KILL.jobs[1:], job("a", "one", "queued", 1)),
                        counters={"openai/running": 1, "openai/queued": 2},
                    ),
                ),
            ),
        ),
    ),
    "a job has the answer to its earlier attempt": (
        "H4",
        replace(
            GOOD,
            replies=(
                Reply(1.0, "a", 1, "answer to a"),
                Reply(1.8, "a", 2, "another answer to a"),
                *GOOD.replies[2:],
            ),
        ),
    ),
    "a job has an answer that nobody gave": (
        "H4",
        with_reads(replace(read("a", 4, "completed", "one"), answer="made up")),
    ),
    "an upstream call has no attempt": ("H5", with_calls(Call(2.0, "cut", "c", 2))),
    "an attempt was sent twice": ("H5", with_calls(Call(2.0, "cut", "c", 1))),
    "an attempt that says unsent was sent": (
        "H5",
        with_attempts(attempt("a", 1, "unsent", 0.05, 1.3)),
    ),
    "a call carried another job's prompt": (
        "H5",
        replace(GOOD, calls=(*GOOD.calls[:3], Call(1.7, "one", "c", 1))),
    ),
    "a call was out before its attempt was in the store": (
        "H5",
        with_kill(replace(AT_KILL, attempts=AT_KILL.attempts[:1])),
    ),
    "a call was out before its attempt had started": (
        "H5",
        with_attempts(attempt("c", 1, "succeeded", 2.4, 2.5)),
    ),
    "a repeated call whose attempt says it failed, though the upstream answered": (
        "H5",
        with_attempts(attempt("a", 1, "failed", 0.05, 1.3)),
    ),
    "an attempt is still sending": ("H5", with_attempts(attempt("b", 1, "sending", 0.4, None))),
    "an attempt is missing": (
        "H5",
        replace(
            GOOD,
            final=replace(
                with_jobs(job("b", "two", "failed", 2, on_unknown="fail")).final,
            ),
        ),
    ),
    "attempts without a job": ("H5", with_attempts(attempt("", 1, "unknown", 0.1, 0.2))),
    "a job was tried too often": ("H5", grown(7, "failed", "server_error")),
    "a job lost its lease again and again": ("H5", grown(7, "unknown", "worker_died")),
    "a job that must not be sent twice was": (
        "H5",
        with_jobs(job("a", "one", "completed", 2, on_unknown="fail")),
    ),
    "two attempts overlap on record": (
        "H6",
        with_attempts(attempt("a", 1, "unknown", 0.05, 1.6, "drained")),
    ),
    "a call went on beside the next, and its attempt does not say unknown": (
        "H6",
        replace(
            with_attempts(attempt("a", 1, "failed", 0.05, 1.3)),
            calls=(Call(0.1, "one", "a", 1, 500), *GOOD.calls[1:]),
            replies=(Reply(1.7, "a", 1, "an error"), *GOOD.replies[1:]),
        ),
    ),
    "a worker that lost its lease finished the job": (
        "H6",
        replace(
            with_attempts(
                attempt("a", 1, "succeeded", 0.05, 1.3), attempt("a", 2, "unknown", 1.5, 1.8)
            ),
            replies=(Reply(1.0, "a", 1, "answer to a"), *GOOD.replies[1:]),
        ),
    ),
    "a failed job has an attempt that succeeded": (
        "H6",
        with_attempts(attempt("b", 1, "succeeded", 0.4, 1.3)),
    ),
    "a lease was taken before its end": ("H6", with_attempts(ENDED)),
    "a living worker was taken for dead": (
        "H6",
        replace(GOOD, lives=(Life("all-1", "all", -1.0, -0.5, 100.0, "term", 0),)),
    ),
    "an answer has another's prompt in it": (
        "H10",
        with_reads(read("a", 4, "completed", "one", "two")),
    ),
    "an error has another's prompt in it": ("H10", with_reads(read("b", 4, "failed", "one"))),
    "a job runs long after its lease has ended": (
        "H12",
        replace(GOOD, looks=(*GOOD.looks, look(30.0, Leased("c", 2, 15_000_000)))),
    ),
    "a job waits long after its deadline": (
        "H12",
        replace(GOOD, looks=(*GOOD.looks, look(30.0, overdue=(Overdue("c", "queued", at(15.0)),)))),
    ),
    "a counter drifted": (
        "H13",
        replace(
            GOOD,
            final=replace(GOOD.final, counters={**GOOD.final.counters, "openai/completed": 3}),
        ),
    ),
    "a counter counts what is not there": (
        "H13",
        replace(
            GOOD, final=replace(GOOD.final, counters={**GOOD.final.counters, "openai/waiting": 1})
        ),
    ),
    "a counter was wrong at a kill": (
        "H13",
        with_kill(replace(AT_KILL, counters={"openai/running": 3})),
    ),
    "a process shows other numbers than there are": (
        "H13",
        replace(GOOD, scrapes=(*GOOD.scrapes, Scrape("all-2", {"openai/completed": 3}))),
    ),
    "a read answers 500": ("wire", with_reads(Read("a", 4, 4.1, 500))),
    "a submit answers 500": (
        "wire",
        replace(GOOD, submits=(*GOOD.submits, Submit("odd", 4, 4.1, 500, None))),
    ),
    "a job that has not ended answers 200": (
        "wire",
        with_reads(Read("a", 0.6, 0.7, 200, "processing")),
    ),
    "a drain left a job running": (
        "drain",
        replace(GOOD, blows=(replace(GOOD.blows[0], drained=True),)),
    ),
    "a process ended by itself": (
        "exit",
        replace(GOOD, lives=(*GOOD.lives, Life("all-1", "all", 3.0, 4.0, 5.0, None, 1))),
    ),
    "a SIGTERM was not obeyed": (
        "exit",
        replace(GOOD, lives=(*GOOD.lives, Life("all-1", "all", 3.0, 4.0, 5.0, "term", 1))),
    ),
    "the database is corrupt": (
        "integrity",
        replace(GOOD, final=replace(GOOD.final, integrity="row 3 missing from index")),
    ),
}


def test_a_good_history_has_no_violation() -> None:
    assert check(GOOD) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_caught_by_its_rule_alone(name: str) -> None:
    rule, history = PLANTED[name]
    assert {violation.rule for violation in check(history)} == {rule}, check(history)


def test_an_answer_of_another_job_breaks_both_rules_about_answers() -> None:
    swapped = replace(read("a", 4, "completed", "two"), answer="answer to b")
    assert {violation.rule for violation in check(with_reads(swapped))} == {"H4", "H10"}


def test_reads_that_overlap_are_in_no_order() -> None:
    late = read("a", 1.95, "processing")  # called before the read that saw the end had returned
    assert check(with_reads(late)) == []


def test_a_refused_call_explains_its_repetition() -> None:
    history = with_attempts(attempt("a", 1, "failed", 0.05, 1.3))
    refused = replace(history, calls=(Call(0.1, "one", "a", 1, 500), *history.calls[1:]))
    assert check(refused) == []


def test_a_lease_that_had_ended_may_be_taken() -> None:
    short = look(0.6, Leased("a", 1, 1_200_000))
    assert check(replace(with_attempts(ENDED), looks=(short, look(20.0)))) == []


def test_nobody_is_blamed_for_a_lease_that_ends_while_nobody_is_there() -> None:
    late = look(1.1, Leased("a", 1, -15_000_000))
    assert check(replace(GOOD, looks=(*GOOD.looks, late))) == []


@pytest.mark.parametrize("group", ["database", "all"])
def test_nobody_is_blamed_for_a_lease_that_ends_while_the_store_is_held_or_gone(group: str) -> None:
    late = look(30.0, Leased("c", 2, 15_000_000))
    sort = "freeze" if group == "all" else "stop"
    away = Blow(sort, "somebody", group, 22.0, 29.0)
    history = replace(GOOD, looks=(*GOOD.looks, late), blows=(*GOOD.blows, away))
    assert check(history) == []


def test_jobs_from_before_the_run_are_counted_and_not_judged() -> None:
    others = {"openai/completed": 7, "mistral/expired": 1}
    counters = {"openai/completed": 9, "openai/failed": 1, "mistral/expired": 1}
    final = replace(GOOD.final, counters=counters, others=others)
    assert check(replace(GOOD, final=final, scrapes=(Scrape("all-1", counters),))) == []


def test_a_process_that_ended_before_it_was_ready_is_no_violation() -> None:
    # It may have found no database; whoever supervises it starts it again.
    early = Life("all-1", "all", 3.0, None, 5.0, None, 2)
    assert check(replace(GOOD, lives=(*GOOD.lives, early))) == []


def test_a_commit_that_nobody_was_told_of_may_be_overwritten_by_others() -> None:
    assert AT_KILL is not None
    dump = replace(
        AT_KILL,
        jobs=(*AT_KILL.jobs[:2], job("c", "cut", "failed", 0)),
        counters={"openai/running": 2, "openai/failed": 1},
    )
    alone = with_kill(dump)
    assert check(alone) != []
    assert check(replace(alone, blows=(replace(alone.blows[0], binding=False),))) == []


def test_the_calls_beyond_the_answering_one_are_duplicates() -> None:
    assert duplicates(GOOD) == [Call(0.1, "one", "a", 1)]


def test_the_verdict_counts_what_happened() -> None:
    verdict = judge(GOOD)
    assert verdict.passed
    assert (verdict.accepted, verdict.submits_cut_off, verdict.cut_off_and_stored) == (2, 2, 1)
    assert (verdict.duplicate_calls, verdict.duplicates_explained) == (1, 1)
    assert verdict.failed == {"outcome_unknown": 1}
    assert verdict.blows == {"all-1": {"kill": 1}}
    assert "PASS" in verdict.in_words()
    assert json.loads(json.dumps(verdict.as_json()))["blows"] == {"all-1": {"kill": 1}}


def test_recovery_is_the_time_from_the_kill_to_the_next_call() -> None:
    found = judge(GOOD).recovery
    assert found == Spread(1, 0.6, 0.6)


def test_the_service_is_back_with_the_first_job_after_the_database() -> None:
    blow = Blow("stop", "database", "database", 3.0, 4.0)
    submit = Submit("new", 4.0, 4.5, 202, "a")
    history = replace(GOOD, submits=(*GOOD.submits, submit), blows=(*GOOD.blows, blow))
    assert judge(history).service_back == Spread(1, 0.5, 0.5)


def test_a_broken_promise_fails_and_is_named() -> None:
    verdict = judge(lost())
    assert (verdict.passed, verdict.lost) == (False, 1)
    assert verdict.as_json()["violations"][0]["rule"] == "H1"
    assert "H1 lost: b: answered 202, and is not in the store" in verdict.in_words()


def test_a_history_that_was_written_reads_the_same(tmp_path: Path) -> None:
    write_history(GOOD, tmp_path)
    assert judge(read_history(tmp_path)) == judge(GOOD)
    assert judge(read_history(tmp_path)).passed


def test_a_folder_without_a_history_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(NoHistory, match="holds no history"):
        read_history(tmp_path)
