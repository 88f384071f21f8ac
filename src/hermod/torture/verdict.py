"""What is told of a run: the violations, and the figures of what happened."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from hermod.domain.meter import EMPTY
from hermod.torture.history import History, Purse, Violation
from hermod.torture.rules import check
from hermod.torture.rules_calls import LOST, duplicates
from hermod.torture.rules_money import drift_nanos

_WORKS = frozenset({"worker", "all"})
_ON_THE_WAY_S = 0.1
"""How long after its sender's death a call may reach the upstream."""
_SHOWN = 30
"""Violations printed one by one."""
_NANOS = 1_000_000_000
_WITHOUT_END = 100_000 * _NANOS


class Spent(NamedTuple):
    """A budget of the run, in nano-dollars."""

    nanos: int
    cap_nanos: int
    drift_nanos: int
    """What was counted beyond what attempts cost."""


class Spread(NamedTuple):
    """Seconds."""

    of: int
    p50: float
    max: float


@dataclass(frozen=True)
class Verdict:
    """Pass or fail, and why."""

    passed: bool
    seed: int
    """Of the dice: the same seed, the same blows."""
    accepted: int
    submits_cut_off: int
    """Whose connection broke before the answer."""
    cut_off_and_stored: int
    refused: int
    """Submits answered 503."""
    stored: Mapping[str, int]
    """Jobs by state at the end."""
    failed: Mapping[str, int]
    """Failed jobs by the type of their error; `poison` is for those that lost four leases in a
    row, which so many kills can do to a healthy job."""
    lost: int
    stuck: int
    two_ends: int
    backwards: int
    reads: int
    attempts: Mapping[str, int]
    """By state."""
    calls: int
    duplicate_calls: int
    """Served by the upstream beyond the one that gave the answer."""
    duplicates_explained: int
    """By an attempt whose outcome is on record as unknown."""
    most_calls: int
    """For one job."""
    money: Mapping[str, Spent]
    """By budget."""
    blows: Mapping[str, Mapping[str, int]]
    """How many of each sort, by victim."""
    recovery: Spread | None
    """From a kill to the next call of each job it interrupted, while the database was there."""
    service_back: Spread | None
    """From the return of the database to the next accepted job."""
    violations: Sequence[Violation]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        whole = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in ("recovery", "service_back"):
            whole[name] = whole[name] and whole[name]._asdict()
        whole["money"] = {name: spent._asdict() for name, spent in self.money.items()}
        whole["violations"] = [violation._asdict() for violation in self.violations]
        return whole

    def in_words(self) -> str:
        """For people."""
        lines = [
            f"seed                {self.seed}",
            f"accepted            {self.accepted}",
            f"submits cut off     {self.submits_cut_off}, of which stored {self.cut_off_and_stored}"
            f"; answered 503: {self.refused}",
            f"in the store        {_counts(self.stored)}",
            f"failed, by type     {_counts(self.failed)}",
            f"lost                {self.lost}",
            f"stuck               {self.stuck}",
            f"two ends            {self.two_ends}",
            f"backwards           {self.backwards} (of {self.reads} reads)",
            f"attempts            {_counts(self.attempts)}",
            f"upstream calls      {self.calls}, at most {self.most_calls} for one job",
            f"duplicate calls     {self.duplicate_calls}, {self.duplicates_explained} of them "
            "explained by an attempt of unknown outcome",
            f"money               {_dollars(self.money)}",
            *(f"{victim:<20}{_counts(counts)}" for victim, counts in sorted(self.blows.items())),
            f"recovery            {_spread(self.recovery)}, from a kill to the next call of each "
            "job it interrupted",
        ]
        if self.service_back:
            lines.append(
                f"service back        {_spread(self.service_back)}, from the database's return "
                "to the next accepted job"
            )
        broken = Counter(f"{each.rule} {each.what}" for each in self.violations)
        lines.append(f"violations          {len(self.violations)}  {_counts(broken, '')}".rstrip())
        lines += [f"  {violation}" for violation in self.violations[:_SHOWN]]
        lines.append("PASS" if self.passed else "FAIL")
        return "\n".join(lines)


def judge(history: History) -> Verdict:
    """Check a history and count what happened in it."""
    violations = check(history)
    what = Counter({(v.rule, v.what, v.subject): 1 for v in violations})
    subjects = Counter(name for _, name, _ in what)
    states = {(a.job_id, a.n): a.state for a in history.final.attempts}
    repeated = duplicates(history)
    cut_off = {submit.nonce for submit in history.submits if submit.status is None}
    calls_of = Counter(call.job_id for call in history.calls)
    blows: dict[str, Counter[str]] = {}
    for blow in history.blows:
        blows.setdefault(blow.victim, Counter())[blow.sort] += 1
    return Verdict(
        passed=not violations,
        seed=history.terms.seed,
        accepted=len(history.accepted),
        submits_cut_off=len(cut_off),
        cut_off_and_stored=sum(job.tag in cut_off for job in history.final.jobs),
        refused=sum(submit.status == 503 for submit in history.submits),
        stored=Counter(job.state for job in history.final.jobs),
        failed=_failures(history),
        lost=subjects["lost"],
        stuck=subjects["stuck"],
        two_ends=subjects["two ends"],
        backwards=subjects["backwards"] + subjects["changed"],
        reads=len(history.reads),
        attempts=Counter(attempt.state for attempt in history.final.attempts),
        calls=len(history.calls),
        duplicate_calls=len(repeated),
        duplicates_explained=sum(
            states.get((call.job_id, call.attempt)) == "unknown" for call in repeated
        ),
        most_calls=max(calls_of.values(), default=0),
        money={purse.name: _spent(history, purse) for purse in history.terms.money.purses},
        blows=blows,
        recovery=_spread_of(_recoveries_s(history)),
        service_back=_spread_of(_returns_s(history)),
        violations=violations,
    )


def _spent(history: History, purse: Purse) -> Spent:
    meter = history.final.meters.get(purse.meter_id, EMPTY)
    return Spent(meter.total, purse.cap_nanos, drift_nanos(history, purse))


def _failures(history: History) -> Counter[str]:
    types = {r.job_id: r.error_type or "?" for r in history.reads if r.wire_state == "failed"}
    return Counter(types[job_id] for job_id in history.accepted if job_id in types)


def _recoveries_s(history: History) -> list[float]:
    """For each attempt that a kill ended, how long until its job was called again.

    Where the database was away in between, that is what it took so long for.
    """
    workers = {(a.job_id, a.n): a.worker_id for a in history.final.attempts}
    called = {(call.job_id, call.attempt): call.at_s for call in history.calls}
    last_s: dict[str | None, float] = {}
    for key, at_s in called.items():
        worker_id = workers.get(key)
        last_s[worker_id] = max(last_s.get(worker_id, at_s), at_s)
    kills = sorted(b.at_s for b in history.blows if b.sort == "kill" and b.group in _WORKS)
    outages = [blow for blow in history.blows if blow.group == "database"]
    found: list[float] = []
    for attempt in history.final.attempts:
        again_s = called.get((attempt.job_id, attempt.n + 1))
        if attempt.error_type not in LOST or again_s is None:
            continue
        # The kill that ended a worker is the first one after its last call.
        from_s = last_s.get(attempt.worker_id, again_s) - _ON_THE_WAY_S
        killed_s = next((at_s for at_s in kills if at_s > from_s), again_s)
        held_up = any(out.at_s < again_s and killed_s < out.back_s for out in outages)
        if killed_s < again_s and not held_up:
            found.append(again_s - killed_s)
    return found


def _returns_s(history: History) -> list[float]:
    accepted = sorted(s.returned_s for s in history.submits if s.status == 202)
    found: list[float] = []
    for blow in history.blows:
        again_s = next((at_s for at_s in accepted if at_s > blow.back_s), None)
        if blow.group == "database" and again_s is not None:
            found.append(again_s - blow.back_s)
    return found


def _spread_of(times_s: Sequence[float]) -> Spread | None:
    if not times_s:
        return None
    return Spread(len(times_s), round(statistics.median(times_s), 3), round(max(times_s), 3))


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "none"
    return f"p50 {spread.p50:.2f} s, max {spread.max:.2f} s of {spread.of}"


def _dollars(money: Mapping[str, Spent]) -> str:
    if not money:
        return "none"
    # A cap that nobody can reach says nothing.
    each = [
        f"{name} {spent.nanos / _NANOS:.3f}"
        + (f" of {spent.cap_nanos / _NANOS:.3f}" if spent.cap_nanos < _WITHOUT_END else "")
        for name, spent in money.items()
    ]
    drift = sum(abs(spent.drift_nanos) for spent in money.values())
    return f"USD spent: {', '.join(each)}; drift {drift / _NANOS:.9g}"


def _counts(counts: Mapping[str, int], nothing: str = "none") -> str:
    shown = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()) if n)
    return shown or nothing
