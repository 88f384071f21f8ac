"""What reserving and settling come to, before any of it is written."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hermod.domain.job import AttemptState, Metered
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


class Held(NamedTuple):
    """What is reserved of one meter, as it is stored."""

    meter_id: str
    unit: Unit
    amount: int


class Charge(NamedTuple):
    """What the end of an attempt does to a meter."""

    meter_id: str
    freed: int
    """What is no longer reserved."""
    used: int
    """What counts for good."""


class Estimate(NamedTuple):
    """What an attempt shows as its cost, where it is not the upstream that said it."""

    cost_usd_nanos: int | None
    """None: the estimate is not one of money."""
    beyond_usd_nanos: int | None
    """By how much that is more than what was metered, and counted, as its cost."""


class Settlement(NamedTuple):
    """What the end of an attempt comes to."""

    charges: tuple[Charge, ...]
    estimate: Estimate | None
    """None where nothing was guessed."""


def reserve(meters: dict[str, Meter], holds: Iterable[Hold], now: int) -> tuple[Refusal, ...]:
    """Reserve all of it in `meters`, or nothing; the refusals of those that have no room.

    A meter that is missing was never used.
    """
    after: dict[str, Meter] = {}
    refusals: list[Refusal] = []
    for hold in holds:
        meter = rolled(meters.get(hold.meter_id, EMPTY), hold.window, now)
        refused = refusal(hold, meter, now)
        if refused is None:
            after[hold.meter_id] = meter._replace(reserved=meter.reserved + hold.amount)
        else:
            refusals.append(refused)
    if not refusals:
        meters.update(after)
    return tuple(refusals)


def settle(held: Sequence[Held], state: AttemptState, metered: Metered | None) -> Settlement:
    """What was held for an attempt that ended so."""
    charges = tuple(
        Charge(meter_id, amount, settled(unit, amount, state, metered))
        for meter_id, unit, amount in held
    )
    guessed = [
        (unit, amount) for _, unit, amount in held if is_estimate(unit, amount, state, metered)
    ]
    if not guessed:
        return Settlement(charges, None)
    costs = [amount for unit, amount in guessed if unit is Unit.USD_NANOS]
    if not costs:
        return Settlement(charges, Estimate(None, None))
    counted = 0 if metered is None else metered.cost_usd_nanos or 0
    return Settlement(charges, Estimate(max(costs), max(costs) - counted))


def summed(charges: Iterable[Charge]) -> list[Charge]:
    """One for each meter, by id: in one order everywhere, nobody waits in a circle."""
    sums: dict[str, Charge] = {}
    for charge in charges:
        _, freed, used = sums.get(charge.meter_id, Charge(charge.meter_id, 0, 0))
        sums[charge.meter_id] = Charge(charge.meter_id, freed + charge.freed, used + charge.used)
    return [sums[meter_id] for meter_id in sorted(sums)]
