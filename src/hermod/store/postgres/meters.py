"""What jobs hold of meters: reserved in a transaction of its own, settled in the one that ends an
attempt.

Meters are judged here, not in SQL: between the lock and the write nobody else changes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from hermod.domain.job import AttemptState, Finish, Lease, Metered, Retry
from hermod.domain.meter import Hold, Meter, Refusal, Unit
from hermod.store.postgres import ledger
from hermod.store.postgres.calls import Fenced, Submit, columns, fence_values, submit_values
from hermod.store.postgres.change import Change
from hermod.store.postgres.connections import Again
from hermod.store.postgres.driver import Row
from hermod.store.postgres.ledger import Estimate, Held

_Attempt = tuple[str, int]
"""A job's id and an attempt's number."""
_PLACE: Final = 0
"""The attempt that a place in the queue is held for: none."""


_NONE: Final[Mapping[str, int]] = {}


class Reserve(NamedTuple):
    lease: Lease
    holds: tuple[Hold, ...]


class Submitted(NamedTuple):
    """What came of jobs that want a place in the queue."""

    known: set[str]
    """Ids of those that were there already."""
    refused: dict[str, Refusal]


async def reserve(
    change: Change, calls: Sequence[Reserve]
) -> dict[Lease, tuple[Refusal, ...] | None]:
    """Reserve for attempts that are leased; the refusals of each, None where the lease is lost.

    Raises Again when somebody else has made one of the meters meanwhile.
    """
    leases = sorted(call.lease for call in calls)
    rows = await change.fetch("lock_leases", change.given_now, *fence_values(leases))
    if not rows:
        return {call.lease: None for call in calls}
    now: int = rows[0][1]
    ours = sorted(str(row[0]) for row in rows)
    attempts = {call.lease.job_id: call.lease.attempt for call in calls}
    held = await _held(change, ours)
    if stale := sorted(id_ for id_, n, _, _ in held if n not in {_PLACE, attempts[id_]}):
        # An older release has ended what this was held for, and knew nothing of it.
        await settle_ended(change, stale)
        held = await _held(change, ours)
    places = [(id_, meter_id, amount) for id_, n, meter_id, amount in held if n == _PLACE]
    unheard = {id_ for id_, n, _, _ in held if n != _PLACE}
    good = [call for call in calls if call.lease.job_id in ours]
    wanted = {hold.meter_id for call in good for hold in call.holds}
    before = await _lock(change, sorted(wanted | {meter_id for _, meter_id, _ in places}))
    meters = dict(before)
    results: dict[Lease, tuple[Refusal, ...] | None] = {call.lease: None for call in calls}
    holders: list[tuple[_Attempt, Sequence[Hold]]] = []
    begun: list[str] = []
    for lease, holds in good:
        if lease.job_id in unheard:
            results[lease] = ()  # the reply was lost
            continue
        results[lease] = refusals = ledger.reserve(meters, holds, now)
        if refusals:
            continue
        if holds:
            holders.append(((lease.job_id, lease.attempt), holds))
        for id_, meter_id, amount in places:
            if id_ == lease.job_id:
                meter = meters[meter_id]
                meters[meter_id] = meter._replace(reserved=meter.reserved - amount)
                begun.append(id_)
    await _write(change, before, meters, holders)
    if begun:
        await change.fetch("give_places_up", sorted(begun))
    return results


async def _held(change: Change, job_ids: Sequence[str]) -> list[tuple[str, int, str, int]]:
    """Of these jobs: what they hold, for which attempt, of which meter, and how much."""
    rows = await change.fetch("held_by", job_ids)
    return [(str(job_id), attempt, meter_id, amount) for job_id, attempt, meter_id, amount in rows]


async def submit(change: Change, lease_now: int | None, calls: Sequence[Submit]) -> Submitted:
    """Store jobs that hold a place in the queue, as far as there is room. Raises like `reserve`."""
    ids = [call.job.id for call in calls]
    ((now, there),) = await change.fetch("known_jobs", change.given_now, ids)
    known = {str(job_id) for job_id in there}
    places = [(call, call.pending) for call in calls if call.pending and call.job.id not in known]
    before = await _lock(change, sorted({place.meter_id for _, place in places}))
    meters = dict(before)
    refused: dict[str, Refusal] = {}
    accepted: list[Submit] = []
    holders: list[tuple[_Attempt, Sequence[Hold]]] = []
    for call, place in places:
        if refusals := ledger.reserve(meters, [place], now):
            refused[call.job.id] = refusals[0]
        else:
            accepted.append(call)
            holders.append(((call.job.id, _PLACE), [place]))
    if accepted:
        await _write(change, before, meters, holders)
        rows = await change.fetch(
            "submit_job", change.given_now, lease_now, *submit_values(accepted)
        )
        if len(rows) < len(accepted):
            raise Again("another submit of the same job was faster")
    return Submitted(known, refused)


async def _lock(change: Change, meter_ids: Sequence[str]) -> dict[str, Meter]:
    """Meters as they are; those that nobody has made yet are missing."""
    if not meter_ids:
        return {}
    rows = await change.fetch("lock_meters", meter_ids)
    return {row[0]: Meter(*tuple(row)[1:5]) for row in rows}


async def _write(
    change: Change,
    before: Mapping[str, Meter],
    after: Mapping[str, Meter],
    holders: Sequence[tuple[_Attempt, Sequence[Hold]]],
) -> None:
    moved = [(id_, *after[id_][:3]) for id_ in before if after[id_] != before[id_]]
    made = [(id_, *after[id_][:3]) for id_ in sorted(after.keys() - before.keys())]
    held = [
        (job_id, hold.meter_id, n, hold.unit.value, hold.amount)
        for (job_id, n), holds in holders
        for hold in holds
    ]
    if not (moved or made or held):
        return
    values = (*columns(moved, 4), *columns(made, 4), *columns(held, 5))
    ((n_made,),) = await change.fetch("hold", *values)
    if n_made < len(made):
        raise Again("somebody else has made a meter meanwhile")


# What an attempt held, when it ends


class Ended(NamedTuple):
    """How an attempt has ended."""

    state: AttemptState
    metered: Metered | None


def how(ended: Retry | Finish) -> Ended:
    return Ended(ended.attempt_state, ended.metered)


async def settle(change: Change, calls: Iterable[Fenced]) -> dict[_Attempt, Estimate]:
    """Settle what attempts held that are to end now; what some of them are to show as their cost.

    Locks their jobs first. Where the lease is lost nothing is settled.
    """
    ends = {call.lease: how(call.ended) for call in calls}
    rows = await change.fetch("lock_leases", change.given_now, *fence_values(sorted(ends)))
    ours = {str(row[0]) for row in rows}
    outcomes = {(lease.job_id, lease.attempt): end for lease, end in ends.items()}
    # Whichever attempt ordered the work, it is paid for by the one that ends it.
    last = {lease.job_id: lease.attempt for lease in ends}
    taken: dict[_Attempt, list[Held]] = {}
    for (job_id, _), held in (await _take(change, sorted(ours))).items():
        taken.setdefault((job_id, last[job_id]), []).extend(held)
    return await _settle(change, taken, outcomes)


async def settle_ended(
    change: Change, job_ids: Sequence[str], ordered: Mapping[str, int] = _NONE
) -> int:
    """Settle whatever jobs hold by how the attempt it was held for has ended; how many holds.

    Where there is no such attempt nobody knows: the job is gone, or was never begun. Nor of work
    that one of its attempts has `ordered`, and nobody will ask for.
    """
    taken = await _take(change, job_ids)
    if not taken:
        return 0
    rows = await change.fetch("outcomes", *columns(sorted(taken), 2))
    outcomes = {
        (job_id, n): _recorded(row)
        for row in rows
        for job_id, n in [(str(row[0]), row[1])]
        if ordered.get(job_id) != n
    }
    await show(change, await _settle(change, taken, outcomes))
    return sum(len(held) for held in taken.values())


async def ordered(
    change: Change, job_ids: Sequence[str], attempts: Sequence[int]
) -> dict[str, int]:
    """Of jobs whose last attempt is this: which attempt asked for work that can be asked for.

    What was reserved for it stays while it is: it costs once, when it comes or when nobody asks any
    more.
    """
    rows = await change.fetch("ordered", job_ids, attempts)
    return {str(job_id): n for job_id, n in rows if n is not None}


async def settle_leftovers(change: Change, limit: int) -> int:
    """Settle what jobs hold that have ended without it; how many holds."""
    rows = await change.fetch("leftovers", max(limit, 0))
    return await settle_ended(change, sorted(str(row[0]) for row in rows)) if rows else 0


async def show(change: Change, estimates: Mapping[_Attempt, Estimate]) -> None:
    """Have attempts that have ended, and their jobs, show estimates as their cost."""
    if estimates:
        rows = ((*attempt, *estimates[attempt]) for attempt in sorted(estimates))
        await change.fetch("show_estimates", *columns(rows, 4))


async def _take(change: Change, job_ids: Sequence[str]) -> dict[_Attempt, list[Held]]:
    taken: dict[_Attempt, list[Held]] = {}
    for row in await change.fetch("take_holds", job_ids) if job_ids else ():
        held = Held(row[2], Unit(row[3]), row[4])
        taken.setdefault((str(row[0]), row[1]), []).append(held)
    if places := sorted(job_id for job_id, n in taken if n == _PLACE):
        await change.fetch("give_places_up", places)
    return taken


async def _settle(
    change: Change,
    taken: Mapping[_Attempt, Sequence[Held]],
    outcomes: Mapping[_Attempt, Ended],
) -> dict[_Attempt, Estimate]:
    unknown = Ended(AttemptState.UNKNOWN, None)
    settled = {
        attempt: ledger.settle(held, *outcomes.get(attempt, unknown))
        for attempt, held in taken.items()
    }
    charges = ledger.summed(charge for each in settled.values() for charge in each.charges)
    if charges:
        await change.fetch("settle_meters", *columns(charges, 3))
    return {attempt: each.estimate for attempt, each in settled.items() if each.estimate}


def _recorded(row: Row) -> Ended:
    _, _, state, input_tokens, output_tokens, cost_usd_nanos = row
    if input_tokens is None:
        return Ended(AttemptState(state), None)
    return Ended(AttemptState(state), Metered(input_tokens, output_tokens, cost_usd_nanos))


# What of them there is to see


async def forget(change: Change, meter_ids: Sequence[str]) -> None:
    """Have meters begin anew, but for what is reserved."""
    if meter_ids:
        await change.fetch("empty_meters", sorted(meter_ids))


def read(rows: Iterable[Row]) -> dict[str, Meter]:
    """The rows of `read_meters`."""
    return {row[0]: Meter(*tuple(row)[1:]) for row in rows}
