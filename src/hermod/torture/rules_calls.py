"""Rules about upstream calls and the attempts on record for them: H5 and H6."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from hermod.domain.suspicion import POISON_AT
from hermod.store.inspection import StoredAttempt
from hermod.torture.history import Call, History, Violation

_SECOND = 1_000_000
_SLACK_S = 0.5
"""Clocks are read one after the other, and a process may have to wait in between."""
LOST = frozenset({"worker_died", "lease_lost"})
"""The error types of attempts that were ended for a worker, not by it."""


def h5_every_call_has_its_attempt(history: History) -> Iterator[Violation]:
    """One of its own, which does not say that nothing was sent; with the job's own prompt."""
    nonces = {job.job_id: job.tag for job in history.final.jobs}
    attempts = {(a.job_id, a.n): a for a in history.final.attempts}
    for (job_id, n), times in Counter((c.job_id, c.attempt) for c in history.calls).items():
        if times > 1:
            yield Violation("H5", "sent twice", job_id, f"attempt {n} was sent {times} times")
    for call in history.calls:
        attempt = attempts.get((call.job_id, call.attempt))
        if attempt is None:
            text = f"call {call.attempt} has no attempt"
            yield Violation("H5", "off record", call.job_id, text)
        elif attempt.state == "unsent":
            text = f"attempt {call.attempt} says unsent, and was sent"
            yield Violation("H5", "off record", call.job_id, text)
        if call.nonce != nonces.get(call.job_id):
            text = f"call {call.attempt} carried the prompt of {call.nonce}"
            yield Violation("H5", "wrong prompt", call.job_id, text)


def h5_an_attempt_is_on_record_before_its_call(history: History) -> Iterator[Violation]:
    """Started before it by the store's clock; and in the store at a blow, if the call was out."""
    for number, blow in enumerate(history.blows, 1):
        if blow.dump is None:
            continue
        attempts = {(attempt.job_id, attempt.n) for attempt in blow.dump.attempts}
        for call in history.calls:
            if call.at_s < blow.at_s and (call.job_id, call.attempt) not in attempts:
                text = f"call {call.attempt} was out before blow {number}, which shows no attempt"
                yield Violation("H5", "too early", call.job_id, text)
    offsets = offsets_s(history)
    if offsets is None:
        return
    started = {(a.job_id, a.n): a.started_at for a in history.final.attempts}
    for call in history.calls:
        started_at = started.get((call.job_id, call.attempt))
        if started_at and call.at_s + offsets[1] + _SLACK_S < started_at / _SECOND:
            text = f"call {call.attempt} was out before its attempt started"
            yield Violation("H5", "too early", call.job_id, text)


def h5_attempts_are_counted_and_bounded(history: History) -> Iterator[Violation]:
    """They have the numbers from 1 to the job's, each has ended, and there are not too many."""
    by_job = _attempts_by_job(history)
    free = {(call.job_id, call.attempt) for call in history.calls if call.says_when}
    for job in history.final.jobs:
        attempts = by_job.pop(job.job_id, [])
        if [attempt.n for attempt in attempts] != list(range(1, job.attempt + 1)):
            text = f"{len(attempts)} rows, {job.attempt} counted"
            yield Violation("H5", "miscounted", job.job_id, text)
        if any(attempt.state == "sending" for attempt in attempts):
            yield Violation("H5", "left open", job.job_id, "an attempt is still sending")
        tries = Counter(
            (attempt.lane, attempt.model)
            for attempt in attempts
            if attempt.state == "failed" and (job.job_id, attempt.n) not in free
        )
        # Each fallback has tries of its own; to come again when asked to uses up none.
        if (failed := max(tries.values(), default=0)) > history.terms.max_retries + 1:
            yield Violation("H5", "too many", job.job_id, f"{failed} attempts failed")
        if (lost := _lost_in_a_row(attempts)) > POISON_AT:
            yield Violation("H5", "too many", job.job_id, f"{lost} leases lost in a row")
        unknown = [attempt.n for attempt in attempts[:-1] if attempt.state == "unknown"]
        if job.on_unknown == "fail" and unknown:
            text = "sent again after an unknown outcome, against its client's word"
            yield Violation("H5", "too many", job.job_id, text)
    for job_id in by_job:
        yield Violation("H5", "off record", job_id, "attempts of no job")


def _lost_in_a_row(attempts: list[StoredAttempt]) -> int:
    """The most leases lost with no proof in between that the job is harmless."""
    most = now = 0
    for attempt in attempts:
        if attempt.state == "failed":
            now = 0
        elif attempt.error_type in LOST:
            now += 1
            most = max(most, now)
    return most


def h5_a_repeated_call_is_explained(history: History) -> Iterator[Violation]:
    """Whatever the upstream served beyond the answer is on record as `unknown`."""
    states = {(a.job_id, a.n): a.state for a in history.final.attempts}
    for call in duplicates(history):
        state = states.get((call.job_id, call.attempt))
        if state is not None and state not in {"unknown", "unsent"}:
            text = f"call {call.attempt} is a repetition, and its attempt says {state}"
            yield Violation("H5", "unexplained", call.job_id, text)


def duplicates(history: History) -> list[Call]:
    """Every call that the upstream served and that did not give its job's answer, of jobs with
    several such calls. A call that it refused is a failed try."""
    winner = {a.job_id: a.n for a in history.final.attempts if a.state == "succeeded"}
    served: dict[str, list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.status < 400:
            served[call.job_id].append(call)
    found: list[Call] = []
    for job_id, calls in served.items():
        calls.sort(key=lambda call: call.attempt)
        answering = winner.get(job_id, calls[-1].attempt)
        found += [call for call in calls if call.attempt != answering and len(calls) > 1]
    return found


def h6_only_the_last_attempt_finishes(history: History) -> Iterator[Violation]:
    """A worker that lost its lease writes nothing: no earlier attempt than the last succeeded."""
    succeeded: dict[str, list[int]] = defaultdict(list)
    for attempt in history.final.attempts:
        if attempt.state == "succeeded":
            succeeded[attempt.job_id].append(attempt.n)
    for job in history.final.jobs:
        found = sorted(succeeded[job.job_id])
        if found != ([job.attempt] if job.state == "completed" else []):
            text = f"{job.state} after {job.attempt} attempts, and {found} succeeded"
            yield Violation("H6", "stale finish", job.job_id, text)


def h6_attempts_do_not_overlap(history: History) -> Iterator[Violation]:
    """On record never; at the upstream only when the earlier one's lease was lost or given up."""
    ends = {(reply.job_id, reply.attempt): reply.at_s for reply in history.replies}
    begins = {(call.job_id, call.attempt): call.at_s for call in history.calls}
    for job_id, attempts in _attempts_by_job(history).items():
        for one, other in pairwise(attempts):
            if one.ended_at is None or one.ended_at > other.started_at:
                text = f"attempts {one.n} and {other.n} on record"
                yield Violation("H6", "overlap", job_id, text)
            begun, ended = begins.get((job_id, other.n)), ends.get((job_id, one.n))
            out = begun is not None and ended is not None and begun < ended
            if out and one.state != "unknown":
                text = f"calls {one.n} and {other.n}, though {one.n} is {one.state}"
                yield Violation("H6", "overlap", job_id, text)


def h6_a_lease_is_kept_until_it_ends(history: History) -> Iterator[Violation]:
    """By its own time, or by the end of the process that held it."""
    lost = {(a.job_id, a.n): a for a in history.final.attempts if a.error_type in LOST}
    until: dict[tuple[str, int], float] = {}
    for look in history.looks:
        for leased in look.seen.leased:
            key = (leased.job_id, leased.attempt)
            if key in lost:
                left = leased.lease_until - look.seen.lease_now
                until[key] = max(until.get(key, 0.0), look.seen.now_at + left)
    for (job_id, n), attempt in lost.items():
        ended_at = attempt.ended_at or 0
        early_s = (until.get((job_id, n), 0) - ended_at) / _SECOND
        if attempt.error_type == "lease_lost" and early_s > _SLACK_S:
            text = f"the lease of attempt {n} was taken {early_s:.1f} s before its end"
            yield Violation("H6", "taken early", job_id, text)
        elif attempt.error_type == "worker_died" and not _somebody_died(history, attempt):
            text = f"attempt {n} was ended for a dead worker, and nobody had died"
            yield Violation("H6", "taken early", job_id, text)


def _somebody_died(history: History, attempt: StoredAttempt) -> bool:
    """Whether any process ended between the attempt's start and its end."""
    offsets = offsets_s(history)
    if offsets is None or attempt.ended_at is None:
        return True
    from_s = attempt.started_at / _SECOND - offsets[1] - _SLACK_S
    to_s = attempt.ended_at / _SECOND - offsets[0] + _SLACK_S
    return any(from_s <= life.ended_s <= to_s for life in history.lives)


def offsets_s(history: History) -> tuple[float, float] | None:
    """The least and the most that the store's clock was ahead of the monotonic one, in seconds."""
    looks = history.looks
    if not looks:
        return None
    return (
        min(look.seen.now_at / _SECOND - look.answered_s for look in looks),
        max(look.seen.now_at / _SECOND - look.asked_s for look in looks),
    )


def _attempts_by_job(history: History) -> dict[str, list[StoredAttempt]]:
    by_job: dict[str, list[StoredAttempt]] = defaultdict(list)
    for attempt in sorted(history.final.attempts, key=lambda attempt: attempt.n):
        by_job[attempt.job_id].append(attempt)
    return by_job
