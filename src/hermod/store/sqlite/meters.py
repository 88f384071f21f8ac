"""What jobs hold of meters, inside a transaction: reserved before a call, settled with its end."""

from collections.abc import Sequence
from typing import NamedTuple

from hermod.domain.job import AttemptState, Lease, Metered
from hermod.domain.meter import (
    EMPTY,
    Hold,
    Meter,
    Refusal,
    Unit,
    is_estimate,
    refusal,
    rolled,
    settled,
)
from hermod.store.sqlite.transaction import Transaction, fence


class Reserve(NamedTuple):
    lease: Lease
    holds: tuple[Hold, ...]


def reserve(tx: Transaction, calls: Sequence[Reserve]) -> list[tuple[Refusal, ...] | None]:
    results: list[tuple[Refusal, ...] | None] = []
    for lease, holds in calls:
        rows = tx.rows("leased", fence(lease))
        results.append(None if not rows else ())
        for seq, held in rows:
            place = held and has_place(tx, seq)
            # Whatever else it holds is this attempt's: the one before settled its own.
            if held and not place:
                continue
            results[-1] = refused = take(tx, seq, holds)
            if place and not refused:
                _give_place_up(tx, seq)
            if not refused and (holds or place):
                tx.run("set_held", (bool(holds), seq))
    return results


def has_place(tx: Transaction, seq: int) -> bool:
    """Whether what a job holds is its place in the queue."""
    return any(name == Unit.PENDING for _, name, _ in tx.rows("holds", (seq,)))


def is_ordered(tx: Transaction, seq: int, n: int) -> bool:
    """Whether an attempt after `n` can ask for the work of this one, or of one before it.

    Then what was reserved for it stays: it costs once, when it comes or when nobody asks any more.
    """
    return bool(tx.rows("ordered", (seq, n)))


def _give_place_up(tx: Transaction, seq: int) -> None:
    for meter_id, name, amount in tx.rows("holds", (seq,)):
        if name == Unit.PENDING:
            tx.run("settle_meter", (amount, 0, meter_id))
            tx.run("delete_hold", (seq, meter_id))


def take(tx: Transaction, seq: int, holds: Sequence[Hold]) -> tuple[Refusal, ...]:
    """Reserve all of it, or nothing: the refusals. Whoever took it flags the job."""
    wanted = {hold.meter_id: hold for hold in holds}
    meters = {id_: rolled(_meter(tx, id_), hold.window, tx.now) for id_, hold in wanted.items()}
    refusals = [refusal(hold, meters[id_], tx.now) for id_, hold in wanted.items()]
    refused = tuple(each for each in refusals if each is not None)
    if not refused:
        for id_, hold in wanted.items():
            meter = meters[id_]
            tx.run(
                "put_meter",
                (id_, meter.began_at, meter.used, meter.reserved + hold.amount, meter.total),
            )
            tx.run("insert_hold", (seq, id_, hold.unit.value, hold.amount))
    return refused


def _meter(tx: Transaction, meter_id: str) -> Meter:
    rows = tx.rows("read_meter", (meter_id,))
    return Meter(*rows[0]) if rows else EMPTY


def settle(tx: Transaction, seq: int, n: int, *, unfetched: bool = False) -> int:
    """Settle what a job holds by how its attempt `n` has ended; how many holds there were.

    Where the store has no such attempt, nobody knows: the job is gone, or was never begun and
    holds nothing but its place in the queue. Nor of work that was ordered and is `unfetched`.
    """
    state, metered = (AttemptState.UNKNOWN, None) if unfetched else _outcome(tx, seq, n)
    cost_usd_nanos: int | None = None
    estimated = False
    holds = tx.rows("holds", (seq,))
    for meter_id, name, amount in holds:
        unit = Unit(name)
        used = settled(unit, amount, state, metered)
        tx.run("settle_meter", (amount, used, meter_id))
        if is_estimate(unit, amount, state, metered):
            estimated = True
            if unit is Unit.USD_NANOS:
                cost_usd_nanos = max(used, cost_usd_nanos or 0)
    tx.run("delete_holds", (seq,))
    tx.run("set_held", (False, seq))
    if estimated:
        _show_estimate(tx, seq, n, cost_usd_nanos, metered)
    return len(holds)


def settle_unfetched(tx: Transaction, seq: int, n: int) -> None:
    """The same for a job that ends while nobody runs it: what it ordered, nobody asks for."""
    ((ordered,),) = tx.rows("ordered", (seq, n)) or ((None,),)
    settle(tx, seq, n if ordered is None else ordered, unfetched=ordered is not None)


def _outcome(tx: Transaction, seq: int, n: int) -> tuple[AttemptState, Metered | None]:
    rows = tx.rows("outcome", (seq, n))
    if not rows:
        return AttemptState.UNKNOWN, None
    ((state, input_tokens, output_tokens, cost_usd_nanos),) = rows
    if input_tokens is None:
        return AttemptState(state), None
    return AttemptState(state), Metered(input_tokens, output_tokens, cost_usd_nanos)


def _show_estimate(
    tx: Transaction, seq: int, n: int, cost_usd_nanos: int | None, metered: Metered | None
) -> None:
    """Let the attempt and its job cost what was charged, in place of what was metered."""
    tx.run("estimate_attempt", (cost_usd_nanos, seq, n))
    if cost_usd_nanos is not None and metered is not None:
        cost_usd_nanos -= metered.cost_usd_nanos or 0
    tx.run("estimate_job", (cost_usd_nanos, seq))


def settle_leftovers(tx: Transaction, calls: Sequence[tuple[int, ...]]) -> list[int]:
    """Settle what these jobs hold, as far as they have ended or are gone."""
    results: list[int] = []
    for seqs in calls:
        n_holds = 0
        for seq in seqs:
            ((attempt, completed_at),) = tx.rows("last_attempt", (seq,)) or ((0, 0),)
            if completed_at is not None:
                n_holds += settle(tx, seq, attempt)
        results.append(n_holds)
    return results
