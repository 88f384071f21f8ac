"""Meters: what counts against a limit, and when a limit refuses. Pure.

A budget, a limit of requests or tokens, and a number of jobs at once are all the same: a meter with
what was used in the present period, what is reserved by those who are at it, and a limit. Whoever
begins reserves; whoever ends settles, in the transaction that ends the attempt (design.md 8, 23).
"""

from enum import StrEnum
from typing import NamedTuple

from hermod.domain.job import AttemptState, Metered


class Unit(StrEnum):
    """What a meter counts. Also stored with each hold."""

    USD_NANOS = "usd_nanos"
    TOKENS = "tokens"
    REQUESTS = "requests"
    PARALLEL = "parallel"
    """Calls that are out. Nothing is ever used up."""
    PENDING = "pending"
    """Jobs that are accepted and not begun. Likewise."""


class Window(NamedTuple):
    """The present period of a limit."""

    begins_at: int | None = None
    """Where the calendar says it. None: it began when the meter was first used after the one
    before had ended."""
    lasts_us: int | None = None
    """None: for ever."""


class Meter(NamedTuple):
    """What is stored."""

    began_at: int
    """When its period began."""
    used: int
    """In this period."""
    reserved: int
    """Whichever period it was begun in."""
    total: int
    """Used since it exists."""


EMPTY = Meter(0, 0, 0, 0)


class Hold(NamedTuple):
    """What a job wants to reserve of one meter."""

    meter_id: str
    unit: Unit
    amount: int
    """The estimate, at least 0."""
    limit: int
    window: Window
    scope: str
    """Whose limit it is, as messages name it: `VK`, `Team`, `Customer`, or of a key's dealings with
    a provider its name; for everybody's limits `Provider-level:` or `Model-level:` and a name."""
    period: str = ""
    """The `reset_duration`, for messages."""


class Why(StrEnum):
    """Why a hold was refused."""

    SPENT = "spent"
    """The period has no room left, whatever happens to what is reserved."""
    TOO_LARGE = "too_large"
    """More than is unspent, though something is left."""
    BUSY = "busy"
    """There may be room when others have ended."""


class Refusal(NamedTuple):
    """A hold that was refused."""

    hold: Hold
    why: Why
    used: int
    reserved: int
    resets_at: int | None
    """When the next period begins; None if that is never."""


def rolled(meter: Meter, window: Window, now: int) -> Meter:
    """The meter in the period of `now`."""
    if window.begins_at is not None:
        over = meter.began_at < window.begins_at
        return meter._replace(began_at=window.begins_at, used=0) if over else meter
    if meter.began_at == 0:
        return meter._replace(began_at=now)
    if window.lasts_us is not None and now >= meter.began_at + window.lasts_us:
        return meter._replace(began_at=now, used=0)
    return meter


def refusal(hold: Hold, meter: Meter, now: int) -> Refusal | None:
    """Whether a meter, rolled to `now`, refuses a hold.

    A budget never begins what would exceed it. Requests and tokens likewise; but what is more than
    a whole period allows runs when it is alone in one, as it could never run otherwise.
    """
    used, reserved, limit = meter.used, meter.reserved, hold.limit
    if used + reserved + hold.amount <= limit and (used < limit or _counts_heads(hold.unit)):
        return None
    if _counts_heads(hold.unit):
        why = Why.BUSY
    elif used >= limit:
        why = Why.SPENT
    elif hold.unit is Unit.USD_NANOS:
        why = Why.TOO_LARGE if used + hold.amount > limit else Why.BUSY
    elif hold.amount > limit:
        if not used and not reserved:
            return None
        why = Why.SPENT if used else Why.BUSY
    else:
        why = Why.SPENT if used + hold.amount > limit else Why.BUSY
    return Refusal(hold, why, used, reserved, _resets_at(hold.window, meter))


def _resets_at(window: Window, meter: Meter) -> int | None:
    if window.lasts_us is None:
        return None
    # A meter that was not of the calendar before may have begun within this period.
    begins_at = meter.began_at if window.begins_at is None else window.begins_at
    return begins_at + window.lasts_us


def _counts_heads(unit: Unit) -> bool:
    return unit in {Unit.PARALLEL, Unit.PENDING}


def settled(unit: Unit, held: int, state: AttemptState, metered: Metered | None) -> int:
    """What of a hold is used, when its attempt ends so.

    An attempt that may have taken effect counts as estimated (design.md 8, 24), and so does what
    an answer says nothing about. What failed, or was never sent, costs nothing, unless it was
    metered.
    """
    if _counts_heads(unit):
        return 0
    if unit is Unit.REQUESTS:
        return held if state in {AttemptState.SUCCEEDED, AttemptState.UNKNOWN} else 0
    if _is_estimated(unit, held, state, metered):
        return held
    if metered is None:
        return 0
    if unit is Unit.USD_NANOS:
        return metered.cost_usd_nanos or 0
    return metered.input_tokens + metered.output_tokens


def is_estimate(unit: Unit, held: int, state: AttemptState, metered: Metered | None) -> bool:
    """Whether `settled` charges an estimate of what was spent, and not what was metered."""
    spends = unit in {Unit.USD_NANOS, Unit.TOKENS}
    return spends and _is_estimated(unit, held, state, metered)


def _is_estimated(unit: Unit, held: int, state: AttemptState, metered: Metered | None) -> bool:
    """Whether nobody says how much it was, and it may have been something.

    Nothing is no estimate: where the price is unknown, nothing is held, and the price stays so.
    """
    if not held:
        return False
    if state is AttemptState.SUCCEEDED:
        return metered is None or (unit is Unit.USD_NANOS and metered.cost_usd_nanos is None)
    return state is AttemptState.UNKNOWN
