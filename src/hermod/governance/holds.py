"""What a call reserves of which limits, and what is said where there is no room.

Decisions, no I/O. The messages are the contract's (wire-contract 4.4) where a limit is used up;
where it is not, and a reservation does not fit, they begin like those and say it in words of ours.
"""

from collections.abc import Iterator, Sequence

from hermod.domain.failure import Failure
from hermod.domain.governance import RateLimit, VirtualKey
from hermod.domain.meter import Hold, Refusal, Unit, Why, Window
from hermod.domain.period import window_of
from hermod.domain.usage import Estimate
from hermod.governance.book import Book, Limit, Parallel

_FOR_ALL = ("Provider-level", "Model-level")


def holds_for(
    book: Book,
    key: VirtualKey | None,
    provider: str,
    model: str,
    estimate: Estimate,
    now: int,
    *,
    cost_usd_nanos: int | None,
) -> tuple[Hold, ...]:
    """What such a call reserves, in the order in which the first violation decides.

    `cost_usd_nanos` is what the estimate costs; None, an unknown price, counts as nothing
    (design.md 8, 25), and is refused all the same by a budget that is spent.
    """
    limits = book.limits(key, provider, model)
    return tuple(hold for limit in limits for hold in _holds(limit, estimate, now, cost_usd_nanos))


def pending_hold(key: VirtualKey) -> Hold | None:
    """What a job reserves until it is begun; None if any number of them may be waiting."""
    most = key.max_pending_jobs
    return (
        most if most is None else Hold(f"{key.id}:pending", Unit.PENDING, 1, most, Window(), "VK")
    )


def _holds(
    limit: Limit, estimate: Estimate, now: int, cost_usd_nanos: int | None
) -> Iterator[Hold]:
    scope, of = limit
    if isinstance(of, Parallel):
        yield Hold(f"{of.id}:parallel", Unit.PARALLEL, 1, of.max_jobs, Window(), scope)
    elif isinstance(of, RateLimit):
        if (most := of.token_max_limit) is not None:
            window = window_of(of.token_reset_duration, of.calendar_aligned, now)
            amount = estimate.input_tokens + estimate.output_tokens
            id_, period = f"{of.id}:tokens", of.token_reset_duration
            yield Hold(id_, Unit.TOKENS, amount, most, window, scope, period)
        if (most := of.request_max_limit) is not None:
            window = window_of(of.request_reset_duration, of.calendar_aligned, now)
            id_, period = f"{of.id}:requests", of.request_reset_duration
            yield Hold(id_, Unit.REQUESTS, 1, most, window, scope, period)
    else:
        window = window_of(of.reset_duration, of.calendar_aligned, now)
        amount = cost_usd_nanos or 0
        yield Hold(
            of.id, Unit.USD_NANOS, amount, of.max_limit_nanos, window, scope, of.reset_duration
        )


def limit_failure(refusals: Sequence[Refusal]) -> Failure:
    """What is said of refusals, of which there is at least one, in the order of their holds.

    The first decides, but what is refused in earnest comes before what only waits for running
    calls. The two limits of one `RateLimit` are told together.
    """
    first = next((each for each in refusals if each.why is not Why.BUSY), refusals[0])
    unit = first.hold.unit
    if unit is Unit.USD_NANOS:
        return Failure(_of_budget(first), status_code=402, type="budget_exceeded")
    if unit is Unit.PENDING:
        hold = first.hold
        message = f"Queue is full: {first.reserved} of {hold.limit} jobs are pending"
        return Failure(message, status_code=429, type="queue_full")
    if unit is Unit.PARALLEL:
        hold = first.hold
        message = f"job limit exceeded ({first.reserved}/{hold.limit} are running)"
        return _of_rates(first, [message], "rate_limited")
    both = [
        each
        for each in refusals
        if (each.why is Why.BUSY) == (first.why is Why.BUSY)
        and _rate_limit_id(each.hold) == _rate_limit_id(first.hold)
    ]
    type_ = "token_limited" if unit is Unit.TOKENS else "request_limited"
    violations = [_violation(each) for each in both]
    return _of_rates(first, violations, "rate_limited" if len(both) > 1 else type_)


def _rate_limit_id(hold: Hold) -> str:
    return hold.meter_id.rpartition(":")[0] if hold.unit in (Unit.TOKENS, Unit.REQUESTS) else ""


def _of_budget(refused: Refusal) -> str:
    begin, name = _begin(refused.hold.scope, "budget exceeded")
    used, most = _dollars(refused.used), _dollars(refused.hold.limit)
    if refused.used >= refused.hold.limit:
        return f"{begin}: {name} budget exceeded: {used} >= {most} dollars"
    wanted = f"{used}{_reserved(refused)} + {_dollars(refused.hold.amount)} estimated"
    return f"{begin}: {name} budget exceeded: {wanted} > {most} dollars"


def _of_rates(refused: Refusal, violations: Sequence[str], type_: str) -> Failure:
    begin, name = _begin(refused.hold.scope, "rate limit check failed")
    message = f"{begin}: rate limit violated for {name}: {'; '.join(violations)}"
    return Failure(message, status_code=429, type=type_)


def _violation(refused: Refusal) -> str:
    hold = refused.hold
    what = "token" if hold.unit is Unit.TOKENS else "request"
    count = f"{refused.used}/{hold.limit}"
    if refused.used < hold.limit:
        amount = f"{hold.amount} estimated" if hold.unit is Unit.TOKENS else f"{hold.amount}"
        count = f"{refused.used}{_reserved(refused)} + {amount} > {hold.limit}"
    resets = f"resets every {hold.period}" if hold.window.lasts_us is not None else "never resets"
    return f"{what} limit exceeded ({count}, {resets})"


def _reserved(refused: Refusal) -> str:
    if refused.why is not Why.BUSY:
        return ""
    in_dollars = refused.hold.unit is Unit.USD_NANOS
    reserved = _dollars(refused.reserved) if in_dollars else str(refused.reserved)
    return f" + {reserved} reserved by running calls"


def _begin(scope: str, what: str) -> tuple[str, str]:
    """How a message begins, and the name of who has the limit."""
    level, _, name = scope.partition(":")
    if level in _FOR_ALL and name:
        return f"{level} {what}", name
    return what.capitalize(), scope


def _dollars(nanos: int) -> str:
    return f"{nanos / 1_000_000_000:.4f}"
