"""What clients, upstream and store saw of a run, and whether it keeps our promises. Pure.

The rules are those of reliability.md 5, as far as this release has what they speak of. Instants
`…_s` are of the machine's monotonic clock, so the records of several processes compare; the
store's own (`…_at`) are microseconds of the wall clock and are compared with each other only.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

TERMINAL = frozenset({"completed", "failed", "cancelled", "expired"})
RANK = {"pending": 0, "processing": 1, "completed": 2, "failed": 2}
"""How far along a status on the wire is. It must never decrease."""


class Submit(NamedTuple):
    """A POST."""

    nonce: str
    called_s: float
    returned_s: float
    status: int | None
    """None when the connection broke: the job may exist or not."""
    job_id: str | None


class Read(NamedTuple):
    """A GET that was answered."""

    job_id: str
    called_s: float
    returned_s: float
    status: int
    wire_state: str | None
    digest: str
    """Of the whole body."""
    nonces: frozenset[str]
    """Those in the answer."""
    error_type: str | None = None


class Call(NamedTuple):
    """A request that the upstream received."""

    at_s: float
    nonce: str | None
    job_id: str
    attempt: int
    status: int = 200
    """What it answered."""


class Job(NamedTuple):
    """A row of the store."""

    job_id: str
    nonce: str | None
    state: str
    attempt: int
    on_unknown: str
    lane: str
    results: int
    """How many result rows it has."""


class Attempt(NamedTuple):
    """A row of the attempt table."""

    job_id: str
    n: int
    state: str
    started_at: int
    ended_at: int | None


@dataclass(frozen=True)
class Stored:
    """A copy of the database, read while nobody wrote."""

    jobs: Sequence[Job]
    attempts: Sequence[Attempt]
    counters: Mapping[tuple[str, str], int]
    """Jobs per lane and state, as the store keeps count."""
    integrity: str
    """What `PRAGMA integrity_check` says."""


@dataclass(frozen=True)
class Kill:
    """The end of a process, and what lay on the disk before the next one started."""

    killed_s: float
    restarted_s: float
    stored: Stored
    drained: bool = False
    """It was no `kill -9` but a SIGTERM, and the process had exited with 0."""


@dataclass(frozen=True)
class History:
    """A whole run, ended in quiet."""

    submits: Sequence[Submit]
    reads: Sequence[Read]
    calls: Sequence[Call]
    final: Stored
    kills: Sequence[Kill] = field(default_factory=tuple[Kill, ...])

    @property
    def accepted(self) -> dict[str, str]:
        """The nonce of every job that was answered 202, by job id."""
        return {s.job_id: s.nonce for s in self.submits if s.status == 202 and s.job_id}


class Violation(NamedTuple):
    """A promise that was broken."""

    rule: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.detail}"


class Recovery(NamedTuple):
    """How long after a restart the jobs that had been running were called again, in seconds."""

    running: int
    """How many jobs ran at the kill and were to run again."""
    first_s: float | None
    """None if there was none, or if the next kill came first."""
    last_s: float | None


def check(history: History) -> list[Violation]:
    """Every broken promise, by rule; empty when all is well."""
    return [violation for rule in RULES for violation in rule(history)]


# H1: nothing accepted is lost


def _no_job_is_lost(history: History) -> Iterator[Violation]:
    stored = {job.job_id: job.nonce for job in history.final.jobs}
    for job_id, nonce in history.accepted.items():
        if job_id not in stored:
            yield Violation("lost", job_id, "answered 202, and is not in the store")
        elif stored[job_id] != nonce:
            yield Violation("lost", job_id, f"its request is that of {stored[job_id]}")


def _what_was_accepted_is_on_the_disk(history: History) -> Iterator[Violation]:
    for number, kill in enumerate(history.kills, 1):
        stored = {job.job_id for job in kill.stored.jobs}
        for submit in history.submits:
            told = submit.status == 202 and submit.returned_s < kill.killed_s
            if told and submit.job_id not in stored:
                yield Violation("lost", str(submit.job_id), f"not on the disk at kill {number}")


def _no_submit_makes_two_jobs(history: History) -> Iterator[Violation]:
    for nonce, n in Counter(job.nonce for job in history.final.jobs).items():
        if n > 1:
            yield Violation("two jobs", str(nonce), f"one submit, {n} jobs")


# H2: one end, and only one


def _every_job_ends(history: History) -> Iterator[Violation]:
    ended = {read.job_id for read in history.reads if read.wire_state in TERMINAL}
    for job_id in history.accepted:
        if job_id not in ended:
            yield Violation("stuck", job_id, "no read ever saw its end")
    for job in history.final.jobs:
        if job.state not in TERMINAL:
            yield Violation("stuck", job.job_id, f"left {job.state}")
        elif job.results != 1:
            yield Violation("stuck", job.job_id, f"{job.state} with {job.results} results")


def _a_job_ends_once(history: History) -> Iterator[Violation]:
    ends: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for read in history.reads:
        if read.wire_state in TERMINAL:
            ends[read.job_id].add((read.wire_state, read.digest))
    for job_id, seen in ends.items():
        if len(seen) > 1:
            yield Violation("two ends", job_id, f"terminal reads differ: {sorted(seen)}")
    wire = {"cancelled": "failed", "expired": "failed"}
    for job in history.final.jobs:
        states = {state for state, _ in ends.get(job.job_id, ())}
        if states and job.state in TERMINAL and states != {wire.get(job.state, job.state)}:
            yield Violation("two ends", job.job_id, f"read {sorted(states)}, stored {job.state}")


# H3: no way back


def _no_state_goes_backwards(history: History) -> Iterator[Violation]:
    """Read A comes before read B when A returned before B was called."""
    by_job: dict[str, list[Read]] = defaultdict(list)
    for read in history.reads:
        if read.wire_state in RANK:
            by_job[read.job_id].append(read)
    for job_id, reads in by_job.items():
        returned = sorted(reads, key=lambda read: read.returned_s)
        before, best = 0, -1
        for read in sorted(reads, key=lambda read: read.called_s):
            while returned[before].returned_s < read.called_s:
                best = max(best, RANK[returned[before].wire_state or ""])
                before += 1
            if RANK[read.wire_state or ""] < best:
                yield Violation("backwards", job_id, f"{read.wire_state} at {read.called_s:.3f}")


# The wire


def _answers_are_the_expected_ones(history: History) -> Iterator[Violation]:
    for submit in history.submits:
        if submit.status not in {202, 503, None}:
            yield Violation("status", submit.nonce, f"submit answered {submit.status}")
    for read in history.reads:
        if read.status == 404:
            yield Violation("lost", read.job_id, "404 before its TTL")
        elif (read.status, read.wire_state in TERMINAL) not in {(200, True), (202, False)}:
            text = f"poll answered {read.status} {read.wire_state}"
            yield Violation("status", read.job_id, text)


def _an_answer_is_the_jobs_own(history: History) -> Iterator[Violation]:
    """H4."""
    accepted = history.accepted
    for read in history.reads:
        own = {accepted.get(read.job_id)}
        if read.wire_state == "completed" and read.nonces != own:
            yield Violation("swapped", read.job_id, f"answer has {sorted(read.nonces)}, not {own}")


# H5, H6: upstream calls and attempts


def _every_call_has_its_attempt(history: History) -> Iterator[Violation]:
    nonces = {job.job_id: job.nonce for job in history.final.jobs}
    attempts = {(a.job_id, a.n): a for a in history.final.attempts}
    for key, n in Counter((call.job_id, call.attempt) for call in history.calls).items():
        if n > 1:
            yield Violation("call", key[0], f"attempt {key[1]} was sent {n} times")
    for call in history.calls:
        attempt = attempts.get((call.job_id, call.attempt))
        if attempt is None:
            yield Violation("call", call.job_id, f"attempt {call.attempt} is on no record")
        elif attempt.state == "unsent":
            yield Violation("call", call.job_id, f"attempt {call.attempt} says unsent, and was")
        if call.nonce != nonces.get(call.job_id):
            yield Violation("call", call.job_id, f"carried the prompt of {call.nonce}")


def _an_attempt_is_on_disk_before_its_call(history: History) -> Iterator[Violation]:
    for number, kill in enumerate(history.kills, 1):
        attempts = {(attempt.job_id, attempt.n) for attempt in kill.stored.attempts}
        for call in history.calls:
            if call.at_s < kill.killed_s and (call.job_id, call.attempt) not in attempts:
                text = f"call {call.attempt} was out before kill {number} and not on the disk"
                yield Violation("call", call.job_id, text)


def _extra_calls_are_explained(history: History) -> Iterator[Violation]:
    """A call beyond the one that gave the answer ended `unknown`, or the upstream refused it."""
    states = {(a.job_id, a.n): a.state for a in history.final.attempts}
    for call in extra_calls(history):
        state = states.get((call.job_id, call.attempt), "on no record")
        if state != "unknown" and not (state == "failed" and call.status >= 400):
            yield Violation("unexplained", call.job_id, f"call {call.attempt} is {state}")


def _attempts_are_in_order(history: History) -> Iterator[Violation]:
    by_job: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in history.final.attempts:
        by_job[attempt.job_id].append(attempt)
    for job in history.final.jobs:
        attempts = sorted(by_job.pop(job.job_id, ()), key=lambda attempt: attempt.n)
        if [attempt.n for attempt in attempts] != list(range(1, job.attempt + 1)):
            yield Violation("attempts", job.job_id, f"{len(attempts)} rows, {job.attempt} counted")
        for one, other in pairwise(attempts):
            if one.ended_at is None or one.ended_at > other.started_at:
                yield Violation("attempts", job.job_id, f"{one.n} and {other.n} overlap")
        if any(attempt.state == "sending" for attempt in attempts):
            yield Violation("attempts", job.job_id, "one is still sending")
        succeeded = [attempt.n for attempt in attempts if attempt.state == "succeeded"]
        if succeeded != ([job.attempt] if job.state == "completed" else []):
            yield Violation("attempts", job.job_id, f"{job.state}, and {succeeded} succeeded")
        if job.on_unknown == "fail" and any(a.state == "unknown" for a in attempts[:-1]):
            yield Violation("attempts", job.job_id, "sent again after an unknown outcome")
    for job_id in by_job:
        yield Violation("attempts", job_id, "attempts of no job")


def _a_drain_leaves_nothing_running(history: History) -> Iterator[Violation]:
    for number, kill in enumerate(history.kills, 1):
        for job in kill.stored.jobs:
            if kill.drained and job.state == "running":
                yield Violation("drain", job.job_id, f"left running by drain {number}")


# The store


def _counters_are_true(history: History) -> Iterator[Violation]:
    """H13, at every instant at which we looked."""
    for where, stored in _stores(history):
        real = Counter((job.lane, job.state) for job in stored.jobs)
        for key in real.keys() | stored.counters.keys():
            if real[key] != stored.counters.get(key, 0):
                text = f"counted {stored.counters.get(key, 0)}, there are {real[key]} {where}"
                yield Violation("counter", "/".join(key), text)


def _the_database_is_whole(history: History) -> Iterator[Violation]:
    for where, stored in _stores(history):
        if stored.integrity != "ok":
            yield Violation("integrity", where, stored.integrity)


def _stores(history: History) -> Iterator[tuple[str, Stored]]:
    for number, kill in enumerate(history.kills, 1):
        yield f"at kill {number}", kill.stored
    yield "at the end", history.final


Rule = Callable[[History], Iterator[Violation]]
RULES: tuple[Rule, ...] = (
    _no_job_is_lost,
    _what_was_accepted_is_on_the_disk,
    _no_submit_makes_two_jobs,
    _every_job_ends,
    _a_job_ends_once,
    _no_state_goes_backwards,
    _answers_are_the_expected_ones,
    _an_answer_is_the_jobs_own,
    _every_call_has_its_attempt,
    _an_attempt_is_on_disk_before_its_call,
    _extra_calls_are_explained,
    _attempts_are_in_order,
    _a_drain_leaves_nothing_running,
    _counters_are_true,
    _the_database_is_whole,
)


# Figures


def extra_calls(history: History) -> list[Call]:
    """Every call that did not give its job's answer, although another one did or was to."""
    states = {(a.job_id, a.n): a.state for a in history.final.attempts}
    calls_of = Counter(call.job_id for call in history.calls)
    return [
        call
        for call in history.calls
        if calls_of[call.job_id] > 1 and states.get((call.job_id, call.attempt)) != "succeeded"
    ]


def recoveries(history: History) -> list[Recovery]:
    """For each kill, how soon the jobs that had been running were called again."""
    found: list[Recovery] = []
    ends = [kill.killed_s for kill in history.kills[1:]] + [float("inf")]
    for kill, next_kill_s in zip(history.kills, ends, strict=True):
        running = {
            job.job_id
            for job in kill.stored.jobs
            if job.state == "running" and job.on_unknown == "retry"
        }
        again: dict[str, float] = {}
        for call in sorted(history.calls):
            if call.job_id in running and kill.restarted_s < call.at_s < next_kill_s:
                again.setdefault(call.job_id, call.at_s - kill.restarted_s)
        times = sorted(again.values())
        whole = len(times) == len(running)
        found.append(
            Recovery(
                len(running), times[0] if times else None, times[-1] if times and whole else None
            )
        )
    return found


def failures(history: History) -> Counter[str]:
    """How many accepted jobs failed, by the type of their error."""
    types = {r.job_id: r.error_type or "?" for r in history.reads if r.wire_state == "failed"}
    return Counter(types[job_id] for job_id in history.accepted if job_id in types)
