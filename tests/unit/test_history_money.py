"""The checker of histories catches every planted break of a promise about money and limits."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from hermod.domain.meter import Meter
from hermod.store.inspection import Dump, Glance, StoredAttempt, StoredHold, StoredJob
from hermod.torture.history import (
    Blow,
    Call,
    History,
    Life,
    Limit,
    Look,
    Money,
    Purse,
    Read,
    Reply,
    Scrape,
    Submit,
    Terms,
)
from hermod.torture.journal import read_history, write_history
from hermod.torture.rules import check
from hermod.torture.verdict import Spent, judge

CENT: Final = 10_000_000
PRICES: Final = {"openai": CENT, "mistral": 2 * CENT}
MONEY: Final = Money(
    PRICES,
    (Purse("spent", "budget", ("spent",), 3 * CENT),),
    (Limit("narrow:parallel", "narrow", 1), Limit("rate:requests", "paced", 1, 2.0)),
)
OWNERS: Final = {
    "a": "spent",
    "b": "spent",
    "c": "narrow",
    "d": "narrow",
    "e": "paced",
    "f": "paced",
    "g": "paced",
    "h": "",
}
ENDS_AT: Final = 90.0


def at(second: float) -> int:
    """An instant of the store's clock, which is a thousand seconds ahead of the monotonic one."""
    return int((1_000 + second) * 1_000_000)


def job(job_id: str, state: str = "completed", n: int = 1, cost: int | None = CENT) -> StoredJob:
    """A row; a terminal one ended at second 90."""
    owner = f"vk:{OWNERS[job_id]}" if OWNERS[job_id] else "open"
    over = state in {"completed", "failed"}
    return StoredJob(
        job_id,
        job_id,
        state,
        n,
        "retry",
        "openai",
        results=int(over),
        completed_at=at(ENDS_AT) if over else None,
        cost_usd_nanos=cost,
        owner=owner,
    )


def attempt(
    job_id: str,
    n: int,
    state: str,
    from_s: float,
    to_s: float | None,
    cost: int | None = CENT,
    *,
    why: str | None = None,
    lane: str = "openai",
) -> StoredAttempt:
    """A row. What is unknown and costs something was estimated."""
    return StoredAttempt(
        job_id,
        n,
        state,
        at(from_s),
        None if to_s is None else at(to_s),
        why,
        "w",
        lane,
        "any",
        cost,
        estimated=state == "unknown" and cost is not None,
    )


def read(job_id: str, state: str = "completed", error: tuple[str, int] | None = None) -> Read:
    """A poll in the end."""
    answer = f"answer to {job_id}" if state == "completed" else None
    seen = ("d", (), answer)
    return Read(job_id, ENDS_AT + 1, ENDS_AT + 2, 200, state, *seen, *(error or (None, None)))


CALLS: Final = (
    Call(0.1, "a", "a", 1),
    Call(2.0, "a", "a", 2),
    Call(0.2, "c", "c", 1),
    Call(1.6, "d", "d", 1),
    Call(10.0, "e", "e", 1),
    Call(12.1, "f", "f", 1),
    Call(14.2, "g", "g", 1),
    Call(0.3, "h", "h", 1),
)
ENDS: Final = {"a": 2.5, "c": 0.9, "d": 1.7, "e": 10.1, "f": 12.2, "g": 14.3, "h": 0.4}
ATTEMPTS: Final = (
    attempt("a", 1, "unknown", 0.0, 1.3, why="worker_died"),
    attempt("a", 2, "succeeded", 1.5, 2.5),
    attempt("b", 1, "failed", 2.6, 2.7, None, why="budget_exceeded"),
    attempt("c", 1, "succeeded", 0.1, 0.95),
    attempt("d", 1, "succeeded", 1.5, 1.8),
    attempt("e", 1, "succeeded", 9.9, 10.2),
    attempt("f", 1, "succeeded", 12.0, 12.3),
    attempt("g", 1, "succeeded", 14.1, 14.4),
    attempt("h", 1, "succeeded", 0.2, 0.5),
)
METERS: Final = {
    "budget": Meter(at(0), 2 * CENT, 0, 2 * CENT),
    "narrow:parallel": Meter(at(0), 0, 0, 0),
    "rate:requests": Meter(at(14), 1, 0, 3),
}
AT_KILL: Final = Dump(
    jobs=(job("a", "running", 1, None),),
    attempts=(attempt("a", 1, "sending", 0.0, None, None),),
    counters={"openai/running": 1},
    integrity="ok",
    meters={"budget": Meter(at(0), 0, CENT, 0)},
    holds=(StoredHold("a", "budget", "usd_nanos", CENT),),
)
GOOD: Final = History(
    terms=Terms(money=MONEY, all_answered=True),
    submits=tuple(Submit(name, 0.0, 60.0, 202, name, key) for name, key in OWNERS.items()),
    reads=(
        *(read(name) for name in OWNERS if name != "b"),
        read("b", "failed", ("budget_exceeded", 402)),
    ),
    calls=CALLS,
    replies=(
        Reply(0.6, "a", 1, None),
        *(
            Reply(to_s, name, 2 if name == "a" else 1, f"answer to {name}")
            for name, to_s in ENDS.items()
        ),
    ),
    final=Dump(
        jobs=(
            job("a", n=2, cost=2 * CENT),
            job("b", "failed", cost=None),
            *(job(name) for name in "cdefgh"),
        ),
        attempts=ATTEMPTS,
        counters={"openai/completed": 7, "openai/failed": 1},
        integrity="ok",
        meters=METERS,
    ),
    blows=(Blow("kill", "all-1", "all", at_s=0.15, back_s=1.2, dump=AT_KILL),),
    lives=(
        Life("all-1", "all", -1.0, -0.5, 0.6, "kill", -9),
        Life("all-1", "all", 1.2, 1.5, 100.0, "term", 0),
    ),
    looks=tuple(
        Look(second, second, Glance(at(second), int(second * 1_000_000), (), ()))
        for second in (0.5, 50.0)
    ),
    scrapes=(Scrape("all-1", {"openai/completed": 7, "openai/failed": 1}),),
)


def with_meters(**meters: Meter) -> History:
    """The good history with other meters at its end."""
    named = {name.replace("_", ":"): meter for name, meter in meters.items()}
    return replace(GOOD, final=replace(GOOD.final, meters={**METERS, **named}))


def with_rows(
    jobs: Sequence[StoredJob] = (),
    attempts: Sequence[StoredAttempt] = (),
    meters: Mapping[str, Meter] | None = None,
) -> History:
    """The good history with other rows for some jobs and attempts."""
    names, keys = {each.job_id for each in jobs}, {(each.job_id, each.n) for each in attempts}
    final = replace(
        GOOD.final,
        jobs=(*(each for each in GOOD.final.jobs if each.job_id not in names), *jobs),
        attempts=(*(each for each in ATTEMPTS if (each.job_id, each.n) not in keys), *attempts),
        meters={**METERS, **(meters or {})},
    )
    return replace(GOOD, final=final)


def with_kill(**changes: object) -> History:
    """The good history with another state of the store at its kill."""
    return replace(GOOD, blows=(replace(GOOD.blows[0], dump=replace(AT_KILL, **changes)),))


def with_call(job_id: str, at_s: float, to_s: float, started_s: float | None = None) -> History:
    """The good history, with the only call of a job at another time."""
    began_s = at_s - 0.05 if started_s is None else started_s
    history = with_rows(attempts=[attempt(job_id, 1, "succeeded", began_s, to_s + 0.01)])
    return replace(
        history,
        calls=(*(c for c in CALLS if c.job_id != job_id), Call(at_s, job_id, job_id, 1)),
        replies=(
            *(r for r in GOOD.replies if r.job_id != job_id),
            Reply(to_s, job_id, 1, f"answer to {job_id}"),
        ),
    )


def refused(job_id: str, type_: str, code: int) -> History:
    """The good history, in which a limit refuses a job that had been answered."""
    history = with_rows(
        [job(job_id, "failed", cost=None)],
        [attempt(job_id, 1, "failed", 0.0, 0.1, None, why=type_)],
        {"rate:requests": Meter(at(14), 1, 0, 2 if job_id == "g" else 3)},
    )
    return replace(
        history,
        reads=(
            *(each for each in GOOD.reads if each.job_id != job_id),
            read(job_id, "failed", (type_, code)),
        ),
        calls=tuple(call for call in CALLS if call.job_id != job_id),
        replies=tuple(reply for reply in GOOD.replies if reply.job_id != job_id),
        final=replace(history.final, counters={"openai/completed": 6, "openai/failed": 2}),
        scrapes=(),
    )


def capped_at(nanos: int) -> History:
    """The good history, whose budget was smaller."""
    purses = (replace(MONEY.purses[0], cap_nanos=nanos),)
    return replace(GOOD, terms=replace(GOOD.terms, money=replace(MONEY, purses=purses)))


PLANTED: Final = {
    "a hold is left": (
        "leaked",
        replace(
            GOOD,
            final=replace(
                GOOD.final,
                meters={**METERS, "budget": Meter(at(0), 2 * CENT, CENT, 2 * CENT)},
                holds=(StoredHold("a", "budget", "usd_nanos", CENT),),
            ),
        ),
    ),
    "a hold of a job that is gone is left": (
        "leaked",
        replace(GOOD, final=replace(GOOD.final, holds=(StoredHold("", "budget", "tokens", 0),))),
    ),
    "a job that only waits holds money at a kill": (
        "leaked",
        with_kill(jobs=(job("a", "waiting", 1, None),), counters={"openai/waiting": 1}),
    ),
    "more is reserved than is held at a kill": (
        "drift",
        with_kill(meters={"budget": Meter(at(0), 0, CENT + 1, 0)}),
    ),
    "a budget counted what nobody spent": (
        "drift",
        with_meters(budget=Meter(at(0), 2 * CENT + 1, 0, 2 * CENT + 1)),
    ),
    "a budget forgot what was spent": (
        "drift",
        with_meters(budget=Meter(at(0), 2 * CENT, 0, CENT)),
    ),
    "a budget had counted a call at a kill that was still out": (
        "drift",
        with_kill(
            meters={"budget": Meter(at(0), CENT, CENT, CENT)},
        ),
    ),
    "a job costs more than its attempts": ("drift", with_rows([job("a", n=2, cost=3 * CENT)])),
    "an answer was given away": (
        "mispriced",
        with_rows([job("h", cost=None)], [attempt("h", 1, "succeeded", 0.2, 0.5, None)]),
    ),
    "an answer has the price of another provider": (
        "mispriced",
        with_rows([], [attempt("h", 1, "succeeded", 0.2, 0.5, lane="mistral")]),
    ),
    "a refusal cost something": (
        "mispriced",
        with_rows(
            [job("b", "failed", cost=CENT)],
            [attempt("b", 1, "failed", 2.6, 2.7, CENT, why="budget_exceeded")],
            {"budget": Meter(at(0), 3 * CENT, 0, 3 * CENT)},
        ),
    ),
    "a call whose outcome is unknown was not paid for": (
        "mispriced",
        replace(
            with_rows(
                [job("a", n=2)],
                [attempt("a", 1, "unknown", 0.0, 1.3, None, why="worker_died")],
                {"budget": Meter(at(0), CENT, 0, CENT)},
            ),
            terms=capped_at(2 * CENT).terms,
        ),
    ),
    "an estimate is not said to be one": (
        "mispriced",
        with_rows([], [replace(ATTEMPTS[0], estimated=False)]),
    ),
    "a budget was overspent": ("above cap", capped_at(2 * CENT - 1)),
    "more was reserved than there was at a kill": (
        "above cap",
        with_kill(
            meters={"budget": Meter(at(0), 0, 4 * CENT, 0)},
            holds=(StoredHold("a", "budget", "usd_nanos", 4 * CENT),),
        ),
    ),
    "more calls were out at once than allowed": ("above limit", with_call("d", 0.85, 1.0)),
    "more calls were allowed at once at a kill": (
        "above limit",
        with_kill(
            meters={"narrow:parallel": Meter(at(0), 0, 2, 0)},
            holds=(StoredHold("a", "narrow:parallel", "parallel", 2),),
        ),
    ),
    "more requests were made than three periods have": ("above limit", with_call("g", 11.9, 12.0)),
    "a period counted more requests than it has": (
        "above limit",
        with_meters(rate_requests=Meter(at(14), 2, 0, 3)),
    ),
    "a request was not counted": ("drift", with_meters(rate_requests=Meter(at(14), 1, 0, 2))),
    "a request was counted twice": ("drift", with_meters(rate_requests=Meter(at(14), 1, 0, 4))),
    "a job belongs to another key": (
        "wrong payer",
        with_rows([replace(job("h"), owner="vk:rich")]),
    ),
    "a job was refused with money left": ("refused", capped_at(5 * CENT)),
    "a job was refused for a limit that it could have waited out": (
        "refused",
        refused("g", "request_limited", 429),
    ),
    "a job of nobody's was refused for money": ("refused", refused("h", "budget_exceeded", 402)),
}


def test_a_good_history_has_no_violation() -> None:
    assert check(GOOD) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_caught_as_what_it_is_alone(name: str) -> None:
    what, history = PLANTED[name]
    found = check(history)
    assert {(violation.rule, violation.what) for violation in found} == {("H9", what)}, found


def test_what_is_reserved_and_held_by_nobody_is_leaked_and_a_drift() -> None:
    found = check(with_meters(budget=Meter(at(0), 2 * CENT, 1, 2 * CENT)))
    assert {(each.rule, each.what) for each in found} == {("H9", "leaked"), ("H9", "drift")}


def test_a_job_that_is_given_up_although_somebody_would_answer_is_caught() -> None:
    history = refused("h", "server_error", 500)
    assert {violation.rule for violation in check(history)} == {"course"}
    assert check(replace(history, terms=replace(history.terms, all_answered=False))) == []


def test_who_has_fallbacks_and_no_money_may_be_told_how_it_began() -> None:
    told = read("b", "failed", ("server_error", 500))
    assert check(replace(GOOD, reads=(*GOOD.reads[:-1], told))) == []


def test_a_call_whose_attempt_was_taken_away_may_go_on_beside_the_next() -> None:
    history = with_rows(
        [job("c", n=2)],
        [
            attempt("c", 1, "unknown", 0.1, 1.3, None, why="worker_died"),
            attempt("c", 2, "succeeded", 1.85, 1.95),
        ],
    )
    calls = (*CALLS, Call(1.9, "c", "c", 2))
    replies = (
        *(each for each in GOOD.replies if each.job_id != "c"),
        Reply(1.75, "c", 1, None),
        Reply(1.94, "c", 2, "answer to c"),
    )
    assert check(replace(history, calls=calls, replies=replies)) == []


def test_each_fallback_has_tries_of_its_own() -> None:
    def failing(lane: str, first: int) -> list[StoredAttempt]:
        return [
            attempt("h", n, "failed", 0.2 + n / 100, 0.2 + n / 100, None, lane=lane)
            for n in range(first, first + 4)
        ]

    rows = [*failing("mistral", 1), *failing("openai", 5), attempt("h", 9, "succeeded", 0.3, 0.5)]
    history = with_rows([job("h", n=9)], rows)
    calls = (*(call for call in CALLS if call.job_id != "h"), Call(0.35, "h", "h", 9))
    replies = (
        *(each for each in GOOD.replies if each.job_id != "h"),
        Reply(0.4, "h", 9, "answer to h"),
    )
    assert check(replace(history, calls=calls, replies=replies)) == []


def test_a_refusal_that_says_when_to_come_again_uses_up_no_try() -> None:
    rows = [attempt("h", n, "failed", 0.2 + n / 100, 0.2 + n / 100, None) for n in range(1, 9)]
    history = with_rows([job("h", n=9)], [*rows, attempt("h", 9, "succeeded", 0.3, 0.5)])
    refusals = [Call(0.2 + n / 100, "h", "h", n, 429, says_when=True) for n in range(1, 9)]
    calls = (*(call for call in CALLS if call.job_id != "h"), *refusals, Call(0.35, "h", "h", 9))
    replies = (
        *(each for each in GOOD.replies if each.job_id != "h"),
        Reply(0.4, "h", 9, "answer to h"),
    )
    history = replace(history, calls=calls, replies=replies)
    assert check(history) == []
    silent = [replace(call, says_when=False) for call in calls]
    assert [str(each.what) for each in check(replace(history, calls=silent))] == ["too many"]


def test_the_verdict_says_what_was_spent() -> None:
    verdict = judge(GOOD)
    assert verdict.money == {"spent": Spent(2 * CENT, 3 * CENT, 0)}
    assert "USD spent: spent 0.020 of 0.030; drift 0\n" in verdict.in_words()
    drifting = judge(with_meters(budget=Meter(at(0), 2 * CENT + 7, 0, 2 * CENT + 7)))
    assert "drift 7e-09\n" in drifting.in_words()


def test_what_is_written_of_money_is_read_again(tmp_path: Path) -> None:
    write_history(GOOD, tmp_path)
    assert judge(read_history(tmp_path)) == judge(GOOD)
