"""Rules about what becomes of a job, as its client sees it: H1 to H4, H10, the wire."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from hermod.store.inspection import StoredJob
from hermod.torture.history import RANK, TERMINAL, History, Read, Violation

_STEP = {"queued": 0, "waiting": 1, "running": 1}
"""How far along a stored state is; terminal ones come after these."""
_WIRE = {"cancelled": "failed", "expired": "failed"}


def h1_nothing_accepted_is_lost(history: History) -> Iterator[Violation]:
    """What was answered 202 is in the store, and can be read."""
    stored = {job.job_id: job.tag for job in history.final.jobs}
    for job_id, nonce in history.accepted.items():
        if job_id not in stored:
            yield Violation("H1", "lost", job_id, "answered 202, and is not in the store")
        elif stored[job_id] != nonce:
            yield Violation("H1", "lost", job_id, f"its request is that of {stored[job_id]}")
    for read in history.reads:
        if read.status == 404:
            yield Violation("H1", "lost", read.job_id, "404 before its TTL")


def h1_what_was_accepted_is_on_the_disk(history: History) -> Iterator[Violation]:
    """What was answered 202 before a blow is in the store right after it."""
    for number, blow in enumerate(history.blows, 1):
        if blow.dump is None:
            continue
        stored = {job.job_id for job in blow.dump.jobs}
        for submit in history.submits:
            told = submit.status == 202 and submit.returned_s < blow.at_s
            if told and submit.job_id not in stored:
                text = f"not in the store at blow {number}"
                yield Violation("H1", "lost", str(submit.job_id), text)


def h1_a_submit_makes_one_job(history: History) -> Iterator[Violation]:
    """Also one whose outcome its client does not know."""
    for nonce, n in Counter(job.tag for job in history.final.jobs).items():
        if n > 1:
            yield Violation("H1", "two jobs", str(nonce), f"one submit, {n} jobs")


def h2_every_job_ends(history: History) -> Iterator[Violation]:
    """In the store with one result, and for its client."""
    accepted = history.accepted
    ended = {read.job_id for read in history.reads if read.wire_state in TERMINAL}
    for job in history.final.jobs:
        if job.state not in TERMINAL:
            yield Violation("H2", "stuck", job.job_id, f"left {job.state}")
        elif job.results != 1 or job.completed_at is None:
            text = f"{job.state} with {job.results} results, ended at {job.completed_at}"
            yield Violation("H2", "stuck", job.job_id, text)
        elif job.job_id in accepted and job.job_id not in ended:
            yield Violation("H2", "stuck", job.job_id, "no read ever saw its end")


def h2_a_job_ends_once(history: History) -> Iterator[Violation]:
    """Every client, and the store whenever we looked, agree on the end."""
    ends: dict[str, set[str]] = defaultdict(set)
    for read in history.reads:
        if read.wire_state in TERMINAL:
            ends[read.job_id].add(str(read.wire_state))
    for job_id, seen in ends.items():
        if len(seen) > 1:
            yield Violation("H2", "two ends", job_id, f"read as {sorted(seen)}")
    final = {job.job_id: job for job in history.final.jobs}
    for job in final.values():
        seen = ends.get(job.job_id, set())
        if job.state in TERMINAL and len(seen) == 1 and seen != {_wire(job.state)}:
            yield Violation("H2", "two ends", job.job_id, f"read {sorted(seen)}, is {job.state}")
    for where, dump in history.binding_dumps()[:-1]:
        for job in dump.jobs:
            last = final.get(job.job_id)
            if job.state in TERMINAL and last and _end(last) != _end(job):
                text = f"{_end(job)} {where}, {_end(last)} at the end"
                yield Violation("H2", "two ends", job.job_id, text)


def _wire(state: str) -> str:
    return _WIRE.get(state, state)


def _end(job: StoredJob) -> tuple[str, int | None]:
    return job.state, job.completed_at


def h3_no_state_goes_backwards(history: History) -> Iterator[Violation]:
    """Read A comes before read B when A returned before B was called."""
    for job_id, reads in _reads_by_job(history).items():
        returned = sorted(reads, key=lambda read: read.returned_s)
        before, best = 0, -1
        for read in sorted(reads, key=lambda read: read.called_s):
            while returned[before].returned_s < read.called_s:
                best = max(best, RANK[returned[before].wire_state or ""])
                before += 1
            if RANK[read.wire_state or ""] < best:
                text = f"{read.wire_state} at {read.called_s:.3f}"
                yield Violation("H3", "backwards", job_id, text)


def h3_an_end_reads_the_same_for_ever(history: History) -> Iterator[Violation]:
    """Byte for byte."""
    for job_id, reads in _reads_by_job(history).items():
        for state in TERMINAL:
            digests = {read.digest for read in reads if read.wire_state == state}
            if len(digests) > 1:
                yield Violation("H3", "changed", job_id, f"{len(digests)} bodies as {state}")


def h3_no_row_goes_backwards(history: History) -> Iterator[Violation]:
    """From dump to dump a job gets no fewer attempts, and is not queued again."""
    for (_, earlier), (where, later) in pairwise(history.binding_dumps()):
        now = {job.job_id: job for job in later.jobs}
        for job in earlier.jobs:
            after = now.get(job.job_id)
            if after is None or job.state in TERMINAL:
                continue
            if after.attempt < job.attempt or _STEP.get(after.state, 2) < _STEP[job.state]:
                text = (
                    f"{job.state}, attempt {job.attempt}; then {after.state}, "
                    f"attempt {after.attempt} {where}"
                )
                yield Violation("H3", "backwards", job.job_id, text)


def _reads_by_job(history: History) -> dict[str, list[Read]]:
    by_job: dict[str, list[Read]] = defaultdict(list)
    for read in history.reads:
        if read.wire_state in RANK:
            by_job[read.job_id].append(read)
    return by_job


def h4_a_result_is_the_winners(history: History) -> Iterator[Violation]:
    """It equals what the upstream answered to the attempt on record as the one that succeeded."""
    winner = {a.job_id: a.n for a in history.final.attempts if a.state == "succeeded"}
    given = {(reply.job_id, reply.attempt): reply.answer for reply in history.replies}
    for job_id, answer in {
        (read.job_id, read.answer) for read in history.reads if read.wire_state == "completed"
    }:
        n = winner.get(job_id)
        if n is not None and (answer is None or given.get((job_id, n)) != answer):
            text = f"not what the upstream answered to attempt {n}"
            yield Violation("H4", "swapped", job_id, text)


def h10_no_answer_leaks(history: History) -> Iterator[Violation]:
    """Nothing that is returned for a job holds the nonce of another."""
    accepted = history.accepted
    for job_id, nonces in {(read.job_id, read.nonces) for read in history.reads}:
        own = accepted.get(job_id)
        if set(nonces) - {own}:
            yield Violation("H10", "leaked", job_id, f"has {sorted(nonces)}, its own is {own}")


def wire_answers_are_the_expected_ones(history: History) -> Iterator[Violation]:
    """202 or 503 to a submit; 202 until the end and 200 after it, or 503, to a read."""
    for submit in history.submits:
        if submit.status not in {202, 503, None}:
            yield Violation("wire", "status", submit.nonce, f"submit answered {submit.status}")
    for read in history.reads:
        expected = {(200, True), (202, False), (503, False), (404, False)}
        if (read.status, read.wire_state in TERMINAL) not in expected:
            text = f"read answered {read.status} {read.wire_state}"
            yield Violation("wire", "status", read.job_id, text)
