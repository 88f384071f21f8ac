"""Rules about the store and the processes: H12, H13, drain, exit, integrity."""

from collections import Counter
from collections.abc import Iterator, Mapping

from hermod.store.inspection import Dump
from hermod.torture.history import History, Violation

_SECOND = 1_000_000
_GRACE_S = 5.0
"""Beyond the upkeep's interval, by the rule."""
_TIDY = frozenset({"worker", "all"})
"""The groups of processes that do the upkeep."""


def h12_nobody_waits_or_runs_past_the_end(history: History) -> Iterator[Violation]:
    """An expired lease is taken, and an overdue job ended, within an upkeep and five seconds.

    Judged at instants before which somebody who does the upkeep could work that long.
    """
    grace_s = history.terms.upkeep_s + _GRACE_S
    for look in history.looks:
        if not _somebody_could_work(history, look.asked_s - grace_s, look.answered_s):
            continue
        seen = look.seen
        for leased in seen.leased:
            late_s = (seen.lease_now - leased.lease_until) / _SECOND
            if late_s > grace_s:
                text = f"running, and its lease ended {late_s:.1f} s ago"
                yield Violation("H12", "overdue", leased.job_id, text)
        for job in seen.overdue:
            late_s = (seen.now_at - job.deadline_at) / _SECOND
            if late_s > grace_s:
                text = f"{job.state}, and its deadline was {late_s:.1f} s ago"
                yield Violation("H12", "overdue", job.job_id, text)


def _somebody_could_work(history: History, from_s: float, to_s: float) -> bool:
    """Whether the store was there all this time, and one and the same tidy process too."""
    frozen = [blow for blow in history.blows if blow.sort == "freeze"]
    # Who is frozen in the middle of a transaction keeps SQLite's only lock.
    away = [blow for blow in history.blows if blow.group == "database"]
    away += frozen if history.terms.store == "sqlite" else []
    if any(blow.at_s < to_s and from_s < blow.back_s for blow in away):
        return False
    return any(
        life.group in _TIDY
        and life.ready_s is not None
        and life.ready_s < from_s
        and to_s < life.ended_s
        and not any(
            blow.victim == life.name and blow.at_s < to_s and from_s < blow.back_s
            for blow in frozen
        )
        for life in history.lives
    )


def h13_counters_are_true(history: History) -> Iterator[Violation]:
    """The store's at every instant at which we looked, and those a process shows at the end."""
    for where, dump in history.dumps():
        yield from _differences(_counted(dump), dump.counters, where)
    real = _counted(history.final)
    for scrape in history.scrapes:
        yield from _differences(real, scrape.counts, f"as {scrape.process} shows")


def _counted(dump: Dump) -> Counter[str]:
    return Counter(f"{job.lane}/{job.state}" for job in dump.jobs) + Counter(dump.others)


def _differences(real: Counter[str], said: Mapping[str, int], where: str) -> Iterator[Violation]:
    for key in sorted(real.keys() | said.keys()):
        if real[key] != said.get(key, 0):
            text = f"counted {said.get(key, 0)}, there are {real[key]} {where}"
            yield Violation("H13", "miscounted", key, text)


def drain_leaves_nothing_running(history: History) -> Iterator[Violation]:
    """A SIGTERM gives every job back, where nobody else could have taken one since."""
    for number, blow in enumerate(history.blows, 1):
        for job in blow.dump.jobs if blow.dump else ():
            if blow.drained and job.state == "running":
                yield Violation("drain", "running", job.job_id, f"left running by blow {number}")


def exit_is_by_our_hand_and_clean(history: History) -> Iterator[Violation]:
    """No process that was ready ends by itself; a SIGTERM ends with 0."""
    for life in history.lives:
        if life.asked is None and life.ready_s is not None:
            yield Violation("exit", "by itself", life.name, f"ended by itself with {life.code}")
        elif life.asked == "term" and life.ready_s is not None and life.code != 0:
            yield Violation("exit", "not clean", life.name, f"SIGTERM ended it with {life.code}")


def integrity_of_the_database(history: History) -> Iterator[Violation]:
    """The engine finds its files whole."""
    for where, dump in history.dumps():
        if dump.integrity != "ok":
            yield Violation("integrity", "broken", where, dump.integrity)
