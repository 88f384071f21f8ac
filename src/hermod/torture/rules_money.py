"""Rules about money and limits: H9, and whom a limit may refuse.

The ledger (meters and holds) is compared with the attempts at every instant at which we looked, as
both change in one transaction; and with what the upstream saw, which knows nothing of either.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from hermod.domain.meter import Unit
from hermod.store.inspection import StoredAttempt, StoredJob
from hermod.torture.history import TERMINAL, Call, History, Limit, Purse, Violation
from hermod.torture.rules_calls import offsets_s

_SECOND: Final = 1_000_000
_VIRTUAL_KEY: Final = "vk:"
_OF_LIMITS: Final = frozenset(
    {"budget_exceeded", "request_limited", "token_limited", "rate_limited", "queue_full"}
)
"""The types of errors with which a limit refuses."""
_SPENT: Final = "budget_exceeded"
_EXCUSED: Final = frozenset({"poison", "outcome_unknown"})
"""The types of errors that our blows explain."""
_COUNTED: Final = frozenset({"succeeded", "unknown"})
"""The states of attempts that count as requests, and are paid for."""


def h9_nothing_stays_reserved(history: History) -> Iterator[Violation]:
    """In the quiet at the end nobody holds anything."""
    for meter_id, meter in history.final.meters.items():
        if meter.reserved:
            yield Violation("H9", "leaked", meter_id, f"{meter.reserved} are left reserved")
    for hold in history.final.holds:
        yield Violation("H9", "leaked", hold.job_id, f"still holds {hold.amount} {hold.unit}")


def h9_what_is_reserved_is_held(history: History) -> Iterator[Violation]:
    """By jobs that run, or wait to be begun, at every instant."""
    for where, dump in history.dumps():
        jobs = {job.job_id: job for job in dump.jobs}
        held: Counter[str] = Counter()
        for hold in dump.holds:
            held[hold.meter_id] += hold.amount
            job = jobs.get(hold.job_id)
            over = job is None or job.state in TERMINAL
            if over or (hold.unit != Unit.PENDING and job and job.state != "running"):
                text = f"{hold.amount} {hold.unit} held, and {job.state if job else 'gone'} {where}"
                yield Violation("H9", "leaked", hold.job_id, text)
        for meter_id, meter in dump.meters.items():
            if meter.reserved != held[meter_id]:
                text = f"{meter.reserved} reserved, {held[meter_id]} held {where}"
                yield Violation("H9", "drift", meter_id, text)


def h9_the_books_balance(history: History) -> Iterator[Violation]:
    """What a budget has spent is what the attempts of its keys cost, at every instant; and what a
    job cost is what its attempts did."""
    for where, dump in history.dumps():
        costs: Counter[str] = Counter()
        for attempt in dump.attempts:
            costs[attempt.job_id] += attempt.cost_usd_nanos or 0
        for job in dump.jobs:
            if (job.cost_usd_nanos or 0) != costs[job.job_id]:
                text = f"costs {job.cost_usd_nanos}, its attempts {costs[job.job_id]} {where}"
                yield Violation("H9", "drift", job.job_id, text)
        for purse in history.terms.money.purses:
            sum_ = _spent(purse, dump.jobs, costs)
            meter = dump.meters.get(purse.meter_id)
            used, total = (meter.used, meter.total) if meter else (0, 0)
            if not used == total == sum_:
                text = f"used {used}, total {total}, attempts {sum_} {where}"
                yield Violation("H9", "drift", purse.meter_id, text)


def _spent(purse: Purse, jobs: Iterable[StoredJob], costs: Mapping[str, int]) -> int:
    return sum(costs[job.job_id] for job in jobs if _key_of(job) in purse.keys)


def drift_nanos(history: History, purse: Purse) -> int:
    """What a budget says it spent, less what the attempts of its keys cost."""
    costs: Counter[str] = Counter()
    for attempt in history.final.attempts:
        costs[attempt.job_id] += attempt.cost_usd_nanos or 0
    meter = history.final.meters.get(purse.meter_id)
    return (meter.total if meter else 0) - _spent(purse, history.final.jobs, costs)


def h9_attempts_cost_their_price(history: History) -> Iterator[Violation]:
    """An answer costs what the operator says; what failed costs nothing; and what may have been
    done, and is paid from a budget, costs its estimate, which is the same."""
    money = history.terms.money
    owners = _owners(history)
    paid = {key for purse in money.purses for key in purse.keys}
    seen = {(call.job_id, call.attempt) for call in history.calls}
    for attempt in history.final.attempts:
        price = money.prices.get(attempt.lane)
        if price is None or attempt.state == "sending":
            continue
        cost = attempt.cost_usd_nanos or 0
        right = {price} if attempt.state == "succeeded" else {0}
        if attempt.state == "unknown" and owners.get(attempt.job_id) in paid:
            # Where the upstream saw nothing, its worker may have ended before it reserved.
            right = {price} if (attempt.job_id, attempt.n) in seen else {0, price}
        guessed = attempt.state == "unknown" and cost > 0
        if cost not in right or attempt.estimated != guessed:
            text = f"attempt {attempt.n}, {attempt.state}, costs {cost}"
            text += ", an estimate" if attempt.estimated else ""
            yield Violation("H9", "mispriced", attempt.job_id, text)


def h9_a_budget_is_a_cap(history: History) -> Iterator[Violation]:
    """For the ledger at every instant, and for the upstream over the whole run."""
    money = history.terms.money
    for where, dump in history.dumps():
        for purse in money.purses:
            meter = dump.meters.get(purse.meter_id)
            if meter is not None and meter.used + meter.reserved > purse.cap_nanos:
                text = f"{meter.used} + {meter.reserved} of {purse.cap_nanos} {where}"
                yield Violation("H9", "above cap", purse.meter_id, text)
    owners = _owners(history)
    lanes = {(a.job_id, a.n): a.lane for a in history.final.attempts}
    for purse in money.purses:
        cost = sum(
            money.prices.get(lanes.get((call.job_id, call.attempt), ""), 0)
            for call in history.calls
            if call.status < 400 and owners.get(call.job_id) in purse.keys
        )
        if cost > purse.cap_nanos:
            text = f"the upstream did work for {cost} of {purse.cap_nanos}"
            yield Violation("H9", "above cap", purse.meter_id, text)


def h9_limits_hold(history: History) -> Iterator[Violation]:
    """No more calls at once, and no more requests in a period, than a key may have."""
    for limit in history.terms.money.limits:
        for where, dump in history.dumps():
            meter = dump.meters.get(limit.meter_id)
            used = 0 if meter is None else meter.used + meter.reserved
            if used > limit.most:
                text = f"{used} of {limit.most} {where}"
                yield Violation("H9", "above limit", limit.meter_id, text)
        calls = _calls_of(history, limit.key_id)
        if limit.period_s is None:
            yield from _at_once(history, limit, calls)
        else:
            yield from _per_period(history, limit, limit.period_s, calls)


def _at_once(history: History, limit: Limit, calls: list[Call]) -> Iterator[Violation]:
    """As the upstream saw it. What a call held is free when its attempt is over for the store; its
    worker may know nothing of that, and the call go on."""
    ends = {(reply.job_id, reply.attempt): reply.at_s for reply in history.replies}
    offsets = offsets_s(history)
    attempts = _attempts(history)
    steps: list[tuple[float, int]] = []
    for call in calls:
        key = call.job_id, call.attempt
        attempt = attempts.get(key)
        end_s = ends.get(key, call.at_s)
        if attempt is not None and attempt.state == "unknown":
            over_at = attempt.ended_at or 0
            end_s = min(end_s, over_at / _SECOND - offsets[1]) if offsets else call.at_s
        if end_s > call.at_s:
            steps += [(call.at_s, 1), (end_s, -1)]
    now = most = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    if most > limit.most:
        text = f"{most} calls at once, {limit.most} are allowed"
        yield Violation("H9", "above limit", limit.meter_id, text)


def _per_period(
    history: History, limit: Limit, period_s: float, calls: list[Call]
) -> Iterator[Violation]:
    """As the upstream saw it. Nobody told it when periods begin, so these are bounds: two periods'
    requests and one more take longer than a period, and all of them that many periods."""
    offsets = offsets_s(history)
    attempts = _attempts(history)
    seen: list[tuple[float, float]] = []
    for call in sorted(calls, key=lambda call: call.at_s):
        attempt = attempts.get((call.job_id, call.attempt))
        if attempt is not None and attempt.state in _COUNTED and offsets:
            # It was reserved between the beginning of its attempt and its call.
            seen.append((call.at_s, attempt.started_at / _SECOND - offsets[1]))
    some = 2 * limit.most + 1
    for first in range(len(seen) - some + 1):
        part = seen[first : first + some]
        lasted_s = part[-1][0] - min(since_s for _, since_s in part)
        if lasted_s < period_s:
            text = f"{some} requests in {lasted_s:.3f} s"
            yield Violation("H9", "above limit", limit.meter_id, text)
            return
    if seen:
        lasted_s = seen[-1][0] - min(since_s for _, since_s in seen)
        allowed = limit.most * (int(lasted_s / period_s) + 1)
        if len(seen) > allowed:
            text = f"{len(seen)} requests in {lasted_s:.1f} s, {allowed} are allowed"
            yield Violation("H9", "above limit", limit.meter_id, text)
    meter, owners = history.final.meters.get(limit.meter_id), _owners(history)
    counted = sum(
        attempt.state in _COUNTED and owners.get(attempt.job_id) == limit.key_id
        for attempt in history.final.attempts
    )
    total = meter.total if meter else 0
    if not len(seen) <= total <= counted:
        text = f"{total} counted, {len(seen)} seen, {counted} on record"
        yield Violation("H9", "drift", limit.meter_id, text)


def h9_everybody_pays_for_his_own(history: History) -> Iterator[Violation]:
    """A job belongs to the key that its client showed."""
    keys = {submit.nonce: submit.key_id for submit in history.submits}
    for job in history.final.jobs:
        shown = keys.get(str(job.tag))
        if shown is not None and _key_of(job) != shown:
            text = f"its client showed {shown or 'no key'}, it belongs to {job.owner}"
            yield Violation("H9", "wrong payer", job.job_id, text)


def h9_nobody_is_refused_with_money_left(history: History) -> Iterator[Violation]:
    """A limit refuses only whose budget cannot pay for another call; whatever limits the others
    have, they wait for room."""
    money = history.terms.money
    dearest = max(money.prices.values(), default=0)
    owners = _owners(history)
    empty = {
        key
        for purse in money.purses
        for key in purse.keys
        if (meter := history.final.meters.get(purse.meter_id)) is not None
        and meter.used + dearest > purse.cap_nanos
    }
    for job_id, error in {
        (read.job_id, (read.error_type, read.error_code))
        for read in history.reads
        if read.error_type in _OF_LIMITS
    }:
        if error != (_SPENT, 402) or owners.get(job_id) not in empty:
            text = f"{error[0]} ({error[1]}) for {owners.get(job_id) or 'no key'}"
            yield Violation("H9", "refused", job_id, text)


def course_somebody_answers_every_job(history: History) -> Iterator[Violation]:
    """The upstream's refusals end, or there are fallbacks: only limits and blows end a job."""
    if not history.terms.all_answered:
        return
    # Whoever has fallbacks is told how it began, although one of them was refused by a budget.
    spent = {
        attempt.job_id
        for attempt in history.final.attempts
        if attempt.state == "failed" and attempt.error_type == _SPENT
    }
    for job_id, error_type in {
        (read.job_id, read.error_type) for read in history.reads if read.wire_state == "failed"
    }:
        if error_type not in _OF_LIMITS | _EXCUSED and job_id not in spent:
            yield Violation("course", "given up", job_id, f"failed with {error_type}")


def _key_of(job: StoredJob) -> str:
    return job.owner.removeprefix(_VIRTUAL_KEY) if job.owner.startswith(_VIRTUAL_KEY) else ""


def _owners(history: History) -> dict[str, str]:
    return {job.job_id: _key_of(job) for job in history.final.jobs}


def _attempts(history: History) -> dict[tuple[str, int], StoredAttempt]:
    return {(attempt.job_id, attempt.n): attempt for attempt in history.final.attempts}


def _calls_of(history: History, key_id: str) -> list[Call]:
    owners = _owners(history)
    return [call for call in history.calls if owners.get(call.job_id) == key_id]
