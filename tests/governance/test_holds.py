"""governance/holds.py: what a call reserves, and what is said where there is no room."""

import pytest

from hermod.domain.failure import Failure
from hermod.domain.governance import Customer, ModelLimits, ProviderLimits, Team
from hermod.domain.meter import Hold, Meter, Refusal, Unit, Why, Window, refusal
from hermod.domain.usage import Estimate
from hermod.governance.book import Book
from hermod.governance.holds import holds_for, limit_failure, pending_hold
from tests.governance.entities import ESTIMATE, USD, budget, config, key, rate_limit

NOW = 1_760_000_000_000_000
MINUTE = Window(None, 60_000_000)
HOUR = Window(None, 3_600_000_000)

TEAM = Team(
    id="t", name="team", customer_id="c", budget=budget("tb"), rate_limit=rate_limit("tr", 5, None)
)
CUSTOMER = Customer(
    id="c", name="customer", budget=budget("cb"), rate_limit=rate_limit("cr", 6, None)
)
EVERYTHING = key(
    config("openai", "*", budget=budget("pb"), rate_limit=rate_limit("pr", 3, None)),
    config("azure", "*"),
    team_id="t",
    budget=budget("kb"),
    rate_limit=rate_limit("kr"),
    max_parallel_jobs=4,
)
FOR_ALL = (
    ProviderLimits(id="openai", budget=budget("xb"), rate_limit=rate_limit("xr", None)),
    ModelLimits(
        id="1", model_name="gpt-4o", budget=budget("mb"), rate_limit=rate_limit("mr", None)
    ),
    ModelLimits(id="2", model_name="gpt-4o", provider="openai", budget=budget("mpb")),
    ModelLimits(id="3", model_name="gpt-4o", provider="azure", budget=budget("other")),
    ModelLimits(id="4", model_name="openai/gpt-4o", budget=budget("written")),
    ModelLimits(id="5", model_name="*", provider="openai", budget=budget("all")),
)


def held(book: Book, *, provider: str = "openai", cost_usd_nanos: int | None = 7) -> list[Hold]:
    """What a call of the key `k` holds; of nobody's, where there is none."""
    who = book.key("k")
    estimate = Estimate(10, 5)
    args = (provider, "gpt-4o", estimate, NOW)
    return list(holds_for(book, who, *args, cost_usd_nanos=cost_usd_nanos))


def ids(holds: list[Hold]) -> list[str]:
    return [hold.meter_id for hold in holds]


# What is held


def test_limits_are_asked_in_the_order_of_the_contract() -> None:
    book = Book((EVERYTHING, TEAM, CUSTOMER, *FOR_ALL))
    assert ids(held(book)) == [
        *("xr:tokens", "xb"),
        *("mr:tokens", "written", "mb", "mpb", "all"),
        *("pr:requests", "kr:tokens", "kr:requests", "tr:requests", "cr:requests"),
        *("pb", "kb", "tb", "cb"),
        "k:parallel",
    ]


def test_limits_with_another_provider_do_not_count() -> None:
    book = Book((EVERYTHING, ProviderLimits(id="openai", budget=budget("xb"))))
    assert ids(held(book, provider="azure")) == ["kr:tokens", "kr:requests", "kb", "k:parallel"]


def test_a_key_may_have_a_customer_of_its_own() -> None:
    book = Book((key(customer_id="c"), TEAM, CUSTOMER))
    assert ids(held(book)) == ["cr:requests", "cb"]


def test_each_limit_has_its_own_amount_and_period() -> None:
    book = Book((key(rate_limit=rate_limit(), budget=budget(reset_duration="1h")),))
    assert held(book) == [
        Hold("r:tokens", Unit.TOKENS, 15, 100, HOUR, "VK", "1h"),
        Hold("r:requests", Unit.REQUESTS, 1, 2, MINUTE, "VK", "1m"),
        Hold("b", Unit.USD_NANOS, 7, 10 * USD, HOUR, "VK", "1h"),
    ]


def test_an_aligned_budget_has_the_calendars_period() -> None:
    aligned = budget(reset_duration="1d", calendar_aligned=True)
    (hold,) = held(Book((key(budget=aligned),)))
    assert hold.window.begins_at is not None
    assert hold.window.begins_at % 86_400_000_000 == 0


def test_an_unknown_price_reserves_nothing_and_asks_all_the_same() -> None:
    (hold,) = held(Book((key(budget=budget()),)), cost_usd_nanos=None)
    assert hold.amount == 0


def test_a_limit_that_is_shared_counts_once() -> None:
    team = Team(id="t", name="team", budget=budget("same"))
    assert ids(held(Book((key(team_id="t", budget=budget("same")), team)))) == ["same"]


@pytest.mark.parametrize("entities", [(), (key(),), (key(config("openai", "*")), CUSTOMER)])
def test_without_limits_nothing_is_held(entities: tuple) -> None:
    book = Book(entities)
    assert book.limits(book.key("k"), "openai", "gpt-4o") == ()
    assert not book.limits_everybody
    assert held(book) == []


def test_everybodys_limits_hold_for_who_has_no_key() -> None:
    book = Book(FOR_ALL)
    assert book.limits_everybody
    assert [hold.scope for hold in held(book)] == [
        *["Provider-level:openai"] * 2,
        *["Model-level:Model:gpt-4o", "Model-level:Model:openai/gpt-4o"],
        *["Model-level:Model:gpt-4o", "Model-level:Model:gpt-4o:Provider:openai"],
        "Model-level:Model:*:Provider:openai",
    ]


def test_a_key_that_the_book_has_not_heard_of_has_its_limits_too() -> None:
    stranger = key(id="new", budget=budget())
    holds = holds_for(Book(), stranger, "openai", "m", ESTIMATE, NOW, cost_usd_nanos=1)
    assert ids(list(holds)) == ["b"]


def test_a_job_that_waits_takes_a_place_where_they_are_counted() -> None:
    assert pending_hold(key()) is None
    expected = Hold("k:pending", Unit.PENDING, 1, 3, Window(), "VK")
    assert pending_hold(key(max_pending_jobs=3)) == expected


# What is said


def refused(hold: Hold, used: int = 0, reserved: int = 0) -> Refusal:
    """As the store refuses it."""
    found = refusal(hold, Meter(NOW, used, reserved, used), NOW)
    assert found is not None
    return found


def usd(amount: float, scope: str = "VK") -> Hold:
    """A hold of ten dollars."""
    return Hold("b", Unit.USD_NANOS, int(amount * USD), 10 * USD, HOUR, scope, "1h")


def requests(scope: str = "VK", window: Window = MINUTE) -> Hold:
    """One of two in a minute."""
    return Hold("r:requests", Unit.REQUESTS, 1, 2, window, scope, "1m")


def tokens(amount: int = 15, id_: str = "r:tokens") -> Hold:
    """Some of a hundred in an hour."""
    return Hold(id_, Unit.TOKENS, amount, 100, HOUR, "VK", "1h")


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ("VK", "Budget exceeded: VK budget exceeded: 10.0000 >= 10.0000 dollars"),
        ("Customer", "Budget exceeded: Customer budget exceeded: 10.0000 >= 10.0000 dollars"),
        ("openai", "Budget exceeded: openai budget exceeded: 10.0000 >= 10.0000 dollars"),
        (
            "Provider-level:openai",
            "Provider-level budget exceeded: openai budget exceeded: 10.0000 >= 10.0000 dollars",
        ),
        (
            "Model-level:Model:m",
            "Model-level budget exceeded: Model:m budget exceeded: 10.0000 >= 10.0000 dollars",
        ),
    ],
)
def test_a_budget_that_is_spent(scope: str, message: str) -> None:
    failure = limit_failure([refused(usd(0.5, scope), used=10 * USD)])
    assert failure == Failure(message, status_code=402, type="budget_exceeded")


def test_a_budget_that_has_too_little_left() -> None:
    failure = limit_failure([refused(usd(0.002), used=int(9.999 * USD))])
    assert failure.status_code == 402
    assert failure.type == "budget_exceeded"
    assert failure.message == (
        "Budget exceeded: VK budget exceeded: 9.9990 + 0.0020 estimated > 10.0000 dollars"
    )


def test_a_budget_that_others_have_reserved() -> None:
    failure = limit_failure([refused(usd(2), used=3 * USD, reserved=6 * USD)])
    assert failure.message == (
        "Budget exceeded: VK budget exceeded: 3.0000 + 6.0000 reserved by running calls"
        " + 2.0000 estimated > 10.0000 dollars"
    )


@pytest.mark.parametrize(
    ("scope", "begin"),
    [
        ("VK", "Rate limit check failed: rate limit violated for VK"),
        (
            "Provider-level:openai",
            "Provider-level rate limit check failed: rate limit violated for openai",
        ),
        (
            "Model-level:Model:m",
            "Model-level rate limit check failed: rate limit violated for Model:m",
        ),
    ],
)
def test_a_limit_of_requests(scope: str, begin: str) -> None:
    failure = limit_failure([refused(requests(scope), used=2)])
    message = f"{begin}: request limit exceeded (2/2, resets every 1m)"
    assert failure == Failure(message, status_code=429, type="request_limited")


def test_a_limit_of_tokens() -> None:
    failure = limit_failure([refused(tokens(), used=120)])
    assert failure.type == "token_limited"
    assert failure.message == (
        "Rate limit check failed: rate limit violated for VK: "
        "token limit exceeded (120/100, resets every 1h)"
    )


def test_both_limits_are_told_together() -> None:
    failure = limit_failure([refused(tokens(), used=120), refused(requests(), used=2)])
    assert failure.status_code == 429
    assert failure.type == "rate_limited"
    assert failure.message == (
        "Rate limit check failed: rate limit violated for VK: "
        "token limit exceeded (120/100, resets every 1h); "
        "request limit exceeded (2/2, resets every 1m)"
    )


def test_limits_of_different_owners_are_not() -> None:
    both = [refused(requests(), used=2), refused(tokens(id_="team:tokens"), used=120)]
    assert limit_failure(both).type == "request_limited"


@pytest.mark.parametrize(
    ("hold", "used", "reserved", "told"),
    [
        (tokens(), 90, 0, "token limit exceeded (90 + 15 estimated > 100, resets every 1h)"),
        (
            tokens(),
            50,
            40,
            "token limit exceeded "
            "(50 + 40 reserved by running calls + 15 estimated > 100, resets every 1h)",
        ),
        (
            requests(),
            1,
            1,
            "request limit exceeded (1 + 1 reserved by running calls + 1 > 2, resets every 1m)",
        ),
        (requests(window=Window()), 2, 0, "request limit exceeded (2/2, never resets)"),
    ],
)
def test_a_limit_that_is_not_used_up_says_what_is_missing(
    hold: Hold, used: int, reserved: int, told: str
) -> None:
    failure = limit_failure([refused(hold, used, reserved)])
    begin = "Rate limit check failed: rate limit violated for VK: "
    assert failure.message == begin + told


def test_the_first_violation_decides() -> None:
    both = [refused(requests("openai"), used=2), refused(usd(1), used=10 * USD)]
    assert limit_failure(both).type == "request_limited"
    assert limit_failure(both[::-1]).type == "budget_exceeded"


def test_what_only_waits_for_others_does_not_decide() -> None:
    both = [refused(requests(), reserved=2), refused(usd(1), used=10 * USD)]
    assert both[0].why is Why.BUSY
    assert limit_failure(both).type == "budget_exceeded"


def test_calls_at_once() -> None:
    hold = Hold("k:parallel", Unit.PARALLEL, 1, 4, Window(), "VK")
    message = (
        "Rate limit check failed: rate limit violated for VK: job limit exceeded (4/4 are running)"
    )
    expected = Failure(message, status_code=429, type="rate_limited")
    assert limit_failure([refused(hold, reserved=4)]) == expected


def test_jobs_that_wait() -> None:
    hold = Hold("k:pending", Unit.PENDING, 1, 3, Window(), "VK")
    message = "Queue is full: 3 of 3 jobs are pending"
    expected = Failure(message, status_code=429, type="queue_full")
    assert limit_failure([refused(hold, reserved=3)]) == expected
