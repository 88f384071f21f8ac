"""What becomes of a thing when somebody writes to it. Pure.

Every function takes the thing as it is (a new one has an id and nothing else) and the body of the
request, and answers the thing as it will be. All raise Refused (400), in Bifrost's words where it
has some (wire-contract 10.2, 10.3).
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from msgspec import UNSET, UnsetType

from hermod.domain.errors import bad_request
from hermod.domain.governance import (
    Budget,
    Customer,
    Entity,
    ModelLimits,
    ProviderConfig,
    ProviderLimits,
    RateLimit,
    Team,
    VirtualKey,
)
from hermod.domain.model_names import pattern_problem
from hermod.domain.period import is_period, may_align
from hermod.governance.wishes import (
    BudgetWish,
    CustomerWish,
    KeyWish,
    LimitsWish,
    ModelWish,
    ProviderConfigWish,
    ProviderWish,
    RateLimitWish,
    TeamWish,
    given,
)

NewId = Callable[[], str]

_MOST: Final = 2**63 - 1
_NANOS: Final = 10**9
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def key_written(key: VirtualKey, wish: KeyWish, now: int, new_id: NewId) -> VirtualKey:
    """A virtual key."""
    name = _name(given(wish.name, key.name), "Virtual key name is required")
    if wish.team_id and wish.customer_id:
        raise bad_request("VirtualKey cannot be attached to both Team and Customer")
    if wish.mcp_configs:
        raise bad_request("mcp_configs are not supported: there is no MCP in this gateway")
    team_id, customer_id = (
        given(wish.team_id, key.team_id),
        given(wish.customer_id, key.customer_id),
    )
    if wish.team_id:
        customer_id = None
    elif wish.customer_id:
        team_id = None
    budget, rate_limit = _limits(key, wish, new_id)
    return replace(
        key,
        name=name,
        description=_prose(given(wish.description, key.description) or ""),
        is_active=_flag(wish.is_active, otherwise=key.is_active),
        expires_at=_expiry(key.expires_at, wish.expires_at, now),
        provider_configs=_provider_configs(key.provider_configs, wish.provider_configs, new_id),
        team_id=team_id or None,
        customer_id=customer_id or None,
        budget=budget,
        rate_limit=rate_limit,
        max_parallel_jobs=given(wish.max_parallel_jobs, key.max_parallel_jobs),
        max_pending_jobs=given(wish.max_pending_jobs, key.max_pending_jobs),
        on_limit=given(wish.on_limit, key.on_limit) or "",
    )


def team_written(team: Team, wish: TeamWish, _now: int, new_id: NewId) -> Team:
    """A team."""
    name = _name(given(wish.name, team.name), "Team name is required")
    budget, rate_limit = _limits(team, wish, new_id)
    customer_id = given(wish.customer_id, team.customer_id) or None
    return replace(team, name=name, customer_id=customer_id, budget=budget, rate_limit=rate_limit)


def customer_written(customer: Customer, wish: CustomerWish, _now: int, new_id: NewId) -> Customer:
    """A customer."""
    name = _name(given(wish.name, customer.name), "Customer name is required")
    budget, rate_limit = _limits(customer, wish, new_id)
    return replace(customer, name=name, budget=budget, rate_limit=rate_limit)


def model_written(model: ModelLimits, wish: ModelWish, _now: int, new_id: NewId) -> ModelLimits:
    """A model's limits."""
    name = _name(given(wish.model_name, model.model_name), "Model name is required")
    budget, rate_limit = _limits(model, wish, new_id)
    provider = given(wish.provider, model.provider) or None
    return replace(model, model_name=name, provider=provider, budget=budget, rate_limit=rate_limit)


def provider_written(
    provider: ProviderLimits, wish: ProviderWish, _now: int, new_id: NewId
) -> ProviderLimits:
    """A provider's limits."""
    budget, rate_limit = _limits(provider, wish, new_id)
    return replace(provider, budget=budget, rate_limit=rate_limit)


def limited_parts(entity: Entity) -> Iterator[Entity | ProviderConfig]:
    """Everything in it that may have a budget and a rate limit of its own."""
    yield entity
    if isinstance(entity, VirtualKey):
        yield from entity.provider_configs


def meters_begun_anew(before: Entity, after: Entity) -> tuple[str, ...]:
    """The meters of limits that have just become aligned to the calendar (wire-contract 10.2)."""
    were = {limit.id: limit.calendar_aligned for limit in _every_limit(before)}
    turned_on = (
        limit
        for limit in _every_limit(after)
        if limit.calendar_aligned and not were.get(limit.id, True)
    )
    return tuple(meter_id for limit in turned_on for meter_id in meter_ids(limit))


def meter_ids(limit: Budget | RateLimit) -> tuple[str, ...]:
    """What counts against a limit."""
    if isinstance(limit, Budget):
        return (limit.id,)
    return (f"{limit.id}:requests", f"{limit.id}:tokens")


def _every_limit(entity: Entity) -> Iterator[Budget | RateLimit]:
    for part in limited_parts(entity):
        if part.budget is not None:
            yield part.budget
        if part.rate_limit is not None:
            yield part.rate_limit


def _provider_configs(
    has: tuple[ProviderConfig, ...],
    wishes: list[ProviderConfigWish] | UnsetType | None,
    new_id: NewId,
) -> tuple[ProviderConfig, ...]:
    if wishes is UNSET:
        return has
    left = {config.id: config for config in has}
    written: list[ProviderConfig] = []
    for wish in wishes or ():
        config = _its_config(left, wish) or ProviderConfig(id=new_id(), provider="")
        left.pop(config.id, None)
        written.append(_provider_config(config, wish, new_id))
    names = [config.provider for config in written]
    for name in names:
        if names.count(name) > 1:
            raise bad_request(f"more than one provider config for provider: {name}")
    return tuple(written)


def _its_config(left: dict[str, ProviderConfig], wish: ProviderConfigWish) -> ProviderConfig | None:
    if wish.id:
        config = left.get(wish.id)
        if config is None:
            raise bad_request(f"provider config {wish.id} does not belong to this virtual key")
        return config
    return next((each for each in left.values() if each.provider == wish.provider), None)


def _provider_config(
    config: ProviderConfig, wish: ProviderConfigWish, new_id: NewId
) -> ProviderConfig:
    weight = given(wish.weight, config.weight)
    if weight is not None and not (math.isfinite(weight) and weight >= 0):
        raise bad_request("weight must be a number, 0 or more")
    budget, rate_limit = _limits(config, wish, new_id)
    return replace(
        config,
        provider=_name(given(wish.provider, config.provider), "provider is required"),
        weight=weight,
        allowed_models=_models("allowed_models", config.allowed_models, wish.allowed_models),
        blacklisted_models=_models(
            "blacklisted_models", config.blacklisted_models, wish.blacklisted_models
        ),
        key_ids=_names(config.key_ids, wish.key_ids),
        budget=budget,
        rate_limit=rate_limit,
    )


def _models(
    member: str, has: tuple[str, ...], wished: list[str] | UnsetType | None
) -> tuple[str, ...]:
    names = _names(has, wished)
    for name in names if wished is not UNSET else ():
        if reason := pattern_problem(name):
            raise bad_request(f"{member}: the pattern {name} {reason}")
    return names


def _names(has: tuple[str, ...], wished: list[str] | UnsetType | None) -> tuple[str, ...]:
    if wished is UNSET:
        return has
    return tuple(dict.fromkeys(_words(name) for name in wished or ()))


def _limits(
    has: Entity | ProviderConfig, wish: LimitsWish, new_id: NewId
) -> tuple[Budget | None, RateLimit | None]:
    return _budget(has.budget, wish.budget, new_id), _rate_limit(
        has.rate_limit, wish.rate_limit, new_id
    )


def _budget(
    has: Budget | None, wish: BudgetWish | UnsetType | None, new_id: NewId
) -> Budget | None:
    if wish is UNSET:
        return has
    if wish is None or wish.max_limit is None or wish == BudgetWish():
        return None
    if wish.max_limit is UNSET:
        if has is None:
            raise bad_request("Budget max_limit is required")
        nanos = has.max_limit_nanos
    else:
        nanos = _nanos(wish.max_limit)
    duration = _duration(given(wish.reset_duration, has.reset_duration if has else "") or "")
    aligned = _flag(wish.calendar_aligned, otherwise=has is not None and has.calendar_aligned)
    _check_alignment((duration,), aligned=aligned)
    return Budget(
        id=has.id if has else new_id(),
        max_limit_nanos=nanos,
        reset_duration=duration,
        calendar_aligned=aligned,
    )


def _rate_limit(
    has: RateLimit | None, wish: RateLimitWish | UnsetType | None, new_id: NewId
) -> RateLimit | None:
    if wish is UNSET:
        return has
    if wish is None or wish == RateLimitWish():
        return None
    old = has or RateLimit(id="")
    tokens, tokens_per = _rate(
        "token",
        given(wish.token_max_limit, old.token_max_limit),
        given(wish.token_reset_duration, old.token_reset_duration),
    )
    requests, requests_per = _rate(
        "request",
        given(wish.request_max_limit, old.request_max_limit),
        given(wish.request_reset_duration, old.request_reset_duration),
    )
    if tokens is None and requests is None:
        return None
    aligned = _flag(wish.calendar_aligned, otherwise=old.calendar_aligned)
    _check_alignment(filter(None, (tokens_per, requests_per)), aligned=aligned)
    return RateLimit(
        id=old.id or new_id(),
        token_max_limit=tokens,
        token_reset_duration=tokens_per,
        request_max_limit=requests,
        request_reset_duration=requests_per,
        calendar_aligned=aligned,
    )


def _rate(what: str, limit: int | None, duration: str | None) -> tuple[int | None, str]:
    if limit is None:
        return None, ""
    if not 0 < limit <= _MOST:
        raise bad_request(f"{what}_max_limit must be greater than 0: {limit}")
    if not duration:
        raise bad_request(f"{what}_reset_duration is required when {what}_max_limit is set")
    return limit, _duration(duration)


def _duration(text: str) -> str:
    if not is_period(text):
        raise bad_request(f"Invalid reset duration format: {text}")
    return text


def _check_alignment(durations: Iterable[str], *, aligned: bool) -> None:
    for duration in durations if aligned else ():
        if not may_align(duration):
            raise bad_request(
                f"calendar_aligned is for days, weeks, months, quarters and years, not {duration}"
            )


def _nanos(usd: float) -> int:
    if usd < 0:
        raise bad_request(f"Budget max_limit cannot be negative: {usd:.2f}")
    # By its shortest decimal form, which is what was written.
    nanos = round(Decimal(str(usd)) * _NANOS) if math.isfinite(usd) else _MOST + 1
    if nanos > _MOST:
        raise bad_request(f"Budget max_limit is too large: {usd:g}")
    return nanos


def _expiry(has: int | None, wished: datetime | UnsetType | None, now: int) -> int | None:
    if wished is UNSET:
        return has
    if wished is None:
        return None
    at = (wished - _EPOCH) // timedelta(microseconds=1)
    if at <= now and at != has:
        raise bad_request("expires_at must be in the future")
    return at


def _flag(value: bool | UnsetType | None, *, otherwise: bool) -> bool:
    return otherwise if value is UNSET or value is None else value


def _name(text: str, missing: str) -> str:
    if not text.strip():
        raise bad_request(missing)
    return _words(text)


def _words(text: str) -> str:
    if _CONTROL.search(text):
        raise bad_request("a text contains a control character")
    return text


def _prose(text: str) -> str:
    """The same; it may have several lines."""
    for line in text.replace("\t", " ").splitlines():
        _words(line)
    return text
