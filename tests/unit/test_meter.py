"""When a limit refuses, when its period is over, and what a call that has ended counts."""

import pytest

from hermod.domain.job import AttemptState, Metered
from hermod.domain.meter import (
    EMPTY,
    Hold,
    Meter,
    Unit,
    Why,
    Window,
    is_estimate,
    refusal,
    rolled,
    settled,
)

NOW = 1_000_000
FOR_EVER = Window()
ROLLING = Window(lasts_us=100)
CALENDAR = Window(begins_at=NOW - 30, lasts_us=100)
USED = Metered(30, 5, 70)
UNPRICED = Metered(30, 5, None)


def hold(unit: Unit, amount: int, limit: int, window: Window = FOR_EVER) -> Hold:
    return Hold("meter", unit, amount, limit, window, "VK")


# Periods


def test_a_rolling_period_begins_with_its_first_use() -> None:
    assert rolled(EMPTY, ROLLING, NOW) == Meter(NOW, 0, 0, 0)
    assert rolled(EMPTY, FOR_EVER, NOW) == Meter(NOW, 0, 0, 0)


def test_a_rolling_period_lasts_to_its_end_and_no_longer() -> None:
    meter = Meter(NOW, 7, 3, 20)
    assert rolled(meter, ROLLING, NOW + 99) == meter
    assert rolled(meter, ROLLING, NOW + 100) == Meter(NOW + 100, 0, 3, 20)


def test_a_period_of_the_calendar_begins_before_its_first_use() -> None:
    assert rolled(EMPTY, CALENDAR, NOW) == Meter(NOW - 30, 0, 0, 0)


def test_a_period_of_the_calendar_is_over_when_the_next_one_has_begun() -> None:
    meter = Meter(NOW - 130, 7, 3, 20)
    assert rolled(meter, CALENDAR, NOW) == Meter(NOW - 30, 0, 3, 20)
    assert rolled(meter, CALENDAR._replace(begins_at=NOW - 130), NOW) == meter


def test_what_never_resets_never_does() -> None:
    meter = Meter(5, 7, 3, 20)
    assert rolled(meter, FOR_EVER, 10**18) == meter


def test_a_clock_that_is_set_back_ends_no_period() -> None:
    meter = Meter(NOW, 7, 3, 20)
    assert rolled(meter, ROLLING, NOW - 1_000) == meter
    assert rolled(meter, CALENDAR, NOW) == meter


# Refusing

BUDGET, TOKENS, REQUESTS = Unit.USD_NANOS, Unit.TOKENS, Unit.REQUESTS
PARALLEL, PENDING = Unit.PARALLEL, Unit.PENDING
REFUSALS: dict[str, tuple[Unit, int, int, int, Why | None]] = {
    # Unit, used, reserved and amount of a limit of 100, and why it is refused.
    "a budget with room": (BUDGET, 60, 20, 20, None),
    "a budget that is spent": (BUDGET, 100, 0, 1, Why.SPENT),
    "a spent budget and something free": (BUDGET, 100, 0, 0, Why.SPENT),
    "a budget that was overrun": (BUDGET, 130, 0, 0, Why.SPENT),
    "more than the rest of a budget": (BUDGET, 60, 0, 41, Why.TOO_LARGE),
    "more than the rest, and others at it": (BUDGET, 60, 30, 41, Why.TOO_LARGE),
    "more than a whole budget": (BUDGET, 0, 0, 101, Why.TOO_LARGE),
    "a budget that others may leave": (BUDGET, 60, 30, 20, Why.BUSY),
    "a budget that others have taken, and something free": (BUDGET, 60, 40, 0, None),
    "tokens with room": (TOKENS, 60, 20, 20, None),
    "tokens that are used up": (TOKENS, 100, 0, 1, Why.SPENT),
    "more tokens than are left": (TOKENS, 60, 0, 41, Why.SPENT),
    "tokens that others may leave": (TOKENS, 60, 30, 20, Why.BUSY),
    "more tokens than a period has, alone in it": (TOKENS, 0, 0, 101, None),
    "more tokens than a period has, some used": (TOKENS, 1, 0, 101, Why.SPENT),
    "more tokens than a period has, some reserved": (TOKENS, 0, 1, 101, Why.BUSY),
    "a request with room": (REQUESTS, 98, 1, 1, None),
    "requests that are used up": (REQUESTS, 100, 0, 1, Why.SPENT),
    "requests that others may leave": (REQUESTS, 99, 1, 1, Why.BUSY),
    "room for one more call": (PARALLEL, 0, 99, 1, None),
    "too many calls at once": (PARALLEL, 0, 100, 1, Why.BUSY),
    "room for one more job": (PENDING, 0, 99, 1, None),
    "too many jobs that wait": (PENDING, 0, 100, 1, Why.BUSY),
}


@pytest.mark.parametrize(
    ("unit", "used", "reserved", "amount", "why"), REFUSALS.values(), ids=REFUSALS
)
def test_a_limit_refuses_what_it_has_no_room_for(
    unit: Unit, used: int, reserved: int, amount: int, why: Why | None
) -> None:
    refused = refusal(hold(unit, amount, 100), Meter(NOW, used, reserved, used), NOW)
    assert (refused and refused.why) == why


@pytest.mark.parametrize("unit", [BUDGET, TOKENS, REQUESTS])
def test_a_limit_of_nothing_is_spent(unit: Unit) -> None:
    refused = refusal(hold(unit, 0, 0), EMPTY, NOW)
    assert refused
    assert refused.why is Why.SPENT


@pytest.mark.parametrize(
    ("window", "began_at", "resets_at"),
    [
        (FOR_EVER, NOW - 10, None),
        (ROLLING, NOW - 10, NOW + 90),
        (CALENDAR, NOW - 30, NOW + 70),
        # It was not of the calendar before: its period ends with the calendar's all the same.
        (CALENDAR, NOW - 10, NOW + 70),
    ],
)
def test_a_refusal_says_when_the_next_period_begins(
    window: Window, began_at: int, resets_at: int | None
) -> None:
    refused = refusal(hold(BUDGET, 1, 100, window), Meter(began_at, 100, 0, 100), NOW)
    assert refused
    assert refused.resets_at == resets_at


# Settling

SUCCEEDED, FAILED = AttemptState.SUCCEEDED, AttemptState.FAILED
UNKNOWN, UNSENT = AttemptState.UNKNOWN, AttemptState.UNSENT
ENDS: dict[str, tuple[AttemptState, Metered | None, tuple[int, int, int], tuple[bool, bool]]] = {
    # How it ends; what counts of a budget, of tokens and of requests of which 100 each are held;
    # and whether that is an estimate of money, and of tokens.
    "a success": (SUCCEEDED, USED, (70, 35, 100), (False, False)),
    "a success without a price": (SUCCEEDED, UNPRICED, (100, 35, 100), (True, False)),
    "a success that says nothing": (SUCCEEDED, None, (100, 100, 100), (True, True)),
    "a success for nothing": (SUCCEEDED, Metered(0, 0, 0), (0, 0, 100), (False, False)),
    "a failure": (FAILED, None, (0, 0, 0), (False, False)),
    "a failure that was charged": (FAILED, USED, (70, 35, 0), (False, False)),
    "a failure without a price": (FAILED, UNPRICED, (0, 35, 0), (False, False)),
    "an unknown outcome": (UNKNOWN, None, (100, 100, 100), (True, True)),
    "an unknown outcome, partly known": (UNKNOWN, USED, (100, 100, 100), (True, True)),
    "nothing sent": (UNSENT, None, (0, 0, 0), (False, False)),
}


@pytest.mark.parametrize(("state", "metered", "used", "estimated"), ENDS.values(), ids=ENDS)
def test_what_counts_of_a_call(
    state: AttemptState,
    metered: Metered | None,
    used: tuple[int, int, int],
    estimated: tuple[bool, bool],
) -> None:
    units = (BUDGET, TOKENS, REQUESTS)
    assert tuple(settled(unit, 100, state, metered) for unit in units) == used
    assert tuple(is_estimate(unit, 100, state, metered) for unit in units) == (*estimated, False)


@pytest.mark.parametrize("unit", [PARALLEL, PENDING])
@pytest.mark.parametrize("state", [SUCCEEDED, FAILED, UNKNOWN, UNSENT])
def test_what_counts_heads_uses_nothing_up(unit: Unit, state: AttemptState) -> None:
    assert settled(unit, 1, state, USED) == settled(unit, 1, state, None) == 0
    assert not is_estimate(unit, 1, state, None)


@pytest.mark.parametrize("state", [SUCCEEDED, UNKNOWN])
def test_nothing_is_no_estimate(state: AttemptState) -> None:
    assert settled(BUDGET, 0, state, UNPRICED) == 0
    assert not is_estimate(BUDGET, 0, state, UNPRICED)
    assert settled(BUDGET, 0, state, USED) == 70
