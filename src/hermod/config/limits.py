"""Budgets and rate limits: written where they apply, or once and referred to by their ids."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_FLOOR, Decimal
from typing import Final, Generic, NamedTuple, TypeVar

from hermod.config.section import Section
from hermod.domain.governance import Budget, RateLimit
from hermod.domain.period import is_period, may_align

BOOKKEEPING: Final = ("config_hash", "created_at", "updated_at")
_NANOS: Final = 1_000_000_000
_MOST_USD: Final = 9e9
"""Nano-dollars are 64 bits in both stores."""
_MOST_COUNT: Final = 10**15
_USAGE: Final = "what is used is counted here, from nothing"
_OWNERS: Final[Mapping[str, str]] = {
    "virtual_key_id": "virtual_key",
    "provider_config_id": "provider_config",
    "team_id": "team",
    "customer_id": "customer",
    "model_config_id": "model_config",
}
"""Members by which a budget says whose it is."""
_SHARED: Final = frozenset({"virtual_key", "provider_config", "team", "customer"})
"""Owners of which no two apply to one call, so that they may share a limit."""

_Limit = TypeVar("_Limit", Budget, RateLimit)


class Owner(NamedTuple):
    """Whose limits are read."""

    kind: str
    """`virtual_key`, `provider_config`, `team`, `customer`, `model_config`, `provider`."""
    id: str
    aligned: bool
    """`calendar_aligned` of the owner, which is for those periods that a calendar has."""
    written_id: str = ""
    """The id as the file has it, where that is another one."""


def owner_of(section: Section, kind: str, key: str) -> Owner:
    """The owner whose object this is."""
    return Owner(kind, key, section.flag("calendar_aligned"))


@dataclass(slots=True)
class _Shared(Generic[_Limit]):
    """One of `governance.budgets` or `governance.rate_limits`."""

    limit: _Limit
    section: Section
    owner: tuple[str, str] | None = None
    """Kind and id, where the budget says it."""
    taken_by: set[str] = field(default_factory=set[str])
    """Kinds of those who have it."""


class Limits:
    """The limits of one file."""

    def __init__(self, governance: Section) -> None:
        self._budgets: dict[str, _Shared[Budget]] = {}
        self._rates: dict[str, _Shared[RateLimit]] = {}
        for section in governance.sections("budgets"):
            if key := _own_id(section, self._budgets):
                owner = _owner(section)
                self._budgets[key] = _Shared(_budget(section, key), section, owner)
        for section in governance.sections("rate_limits"):
            if key := _own_id(section, self._rates):
                self._rates[key] = _Shared(_rate_limit(section, key), section)

    def of(self, section: Section, owner: Owner) -> tuple[Budget | None, RateLimit | None]:
        """What an owner's object says, or refers to, or is said elsewhere to be its."""
        return self._budget_of(section, owner), self._rate_limit_of(section, owner)

    def finish(self) -> None:
        """Tell of those that nobody has."""
        for shared in self._budgets.values():
            if not shared.taken_by and shared.owner:
                kind = shared.owner[0].replace("_", " ")
                shared.section.problem(f"says that it belongs to a {kind} that is not in this file")
        for shared in (*self._budgets.values(), *self._rates.values()):
            if not shared.taken_by and not shared.owner:
                shared.section.ignored("nothing in this file refers to it")

    def _budget_of(self, section: Section, owner: Owner) -> Budget | None:
        found: dict[str, Budget] = {}
        inline = section.sections("budgets")
        if section.has("budget"):
            inline.append(section.section("budget"))
        for number, each in enumerate(inline):
            suffix = f":{number + 1}" if number else ""
            key = each.text("id") or f"{owner.kind}:{owner.id}:budget{suffix}"
            found[key] = _budget(each, key)
        mine = (owner.kind, owner.written_id or owner.id)
        named = [("budget_id", each) for each in _one(section, "budget_id")]
        named += [("budget_ids", each) for each in section.texts("budget_ids")]
        # Written twice where a file was exported: in the object, and in the list.
        named += [("", key) for key in found if key in self._budgets]
        named += [("", key) for key, each in self._budgets.items() if each.owner == mine]
        taken: set[str] = set()
        for member, key in named:
            if key in taken:
                continue
            taken.add(key)
            if shared := self._budgets.get(key):
                found[key] = shared.limit
                _take(shared, section, member, owner)
            elif key not in found:
                section.problem("names no budget of governance.budgets", member)
        if len(found) > 1:
            section.problem(
                f"has {len(found)} budgets, and this release holds one for each: keep one of them"
            )
        return next((_aligned_budget(each, owner) for each in found.values()), None)

    def _rate_limit_of(self, section: Section, owner: Owner) -> RateLimit | None:
        found: RateLimit | None = None
        if section.has("rate_limit"):
            inline = section.section("rate_limit")
            key = inline.text("id") or f"{owner.kind}:{owner.id}:rate_limit"
            found = _rate_limit(inline, key)
        for key in _one(section, "rate_limit_id"):
            if shared := self._rates.get(key):
                found = shared.limit
                _take(shared, section, "rate_limit_id", owner)
            elif found is None or found.id != key:
                section.problem("names no rate limit of governance.rate_limits", "rate_limit_id")
        return found and _aligned_rate_limit(found, owner)


def _take(shared: _Shared[_Limit], section: Section, member: str, owner: Owner) -> None:
    before = shared.taken_by
    if before and (owner.kind not in _SHARED or before != {owner.kind}):
        # One call would be held, and counted, twice by the same limit.
        section.problem("belongs to something else already: make one of its own", member)
    before.add(owner.kind)


def _own_id(section: Section, known: Iterable[str]) -> str:
    key = section.text("id") or ""
    if not key:
        section.problem("missing: what others call it by", "id")
    elif key in known:
        section.problem("another one has the same id", "id")
        return ""
    return key


def _owner(section: Section) -> tuple[str, str] | None:
    said = [(kind, section.take(key)) for key, kind in _OWNERS.items() if section.has(key)]
    if len(said) > 1:
        section.problem("belongs to several: keep one of its owners")
    return (said[0][0], str(said[0][1])) if said else None


def _one(section: Section, key: str) -> tuple[str, ...]:
    text = section.text(key)
    return (text,) if text else ()


def _budget(section: Section, key: str) -> Budget:
    """A budget as it is written. Raises nothing: what is wrong is noted."""
    if not section.has("max_limit"):
        section.problem("missing: US dollars, such as 10 or 0.5", "max_limit")
    limit_usd = section.number("max_limit", 0.0, 0.0, _MOST_USD)
    period = _period(section, "reset_duration")
    budget = Budget(
        id=key,
        # The decimal that was written, not the binary number beside it; a cap is never rounded up.
        max_limit_nanos=int((Decimal(repr(limit_usd)) * _NANOS).to_integral_value(ROUND_FLOOR)),
        reset_duration=period,
        calendar_aligned=_calendar(section, [period]),
    )
    _finish(section, "current_usage", "last_reset")
    return budget


def _rate_limit(section: Section, key: str) -> RateLimit:
    limits = {
        what: section.integer(f"{what}_max_limit", None, 1, _MOST_COUNT)
        for what in ("request", "token")
    }
    periods = {what: _period(section, f"{what}_reset_duration") for what in limits}
    for what, limit in limits.items():
        if limit is not None and not section.has(f"{what}_reset_duration"):
            section.problem(
                'missing: the period that the limit is for, such as "1m"', f"{what}_reset_duration"
            )
    rate_limit = RateLimit(
        id=key,
        request_max_limit=limits["request"],
        request_reset_duration=periods["request"],
        token_max_limit=limits["token"],
        token_reset_duration=periods["token"],
        calendar_aligned=_calendar(section, [periods[what] for what in limits if limits[what]]),
    )
    _finish(
        section,
        *("token_current_usage", "token_last_reset", "request_current_usage"),
        "request_last_reset",
    )
    return rate_limit


def _finish(section: Section, *usage: str) -> None:
    for key in usage:
        section.ignored_in_each(_USAGE, key)
    for key in BOOKKEEPING:
        section.ignored_in_each("Bifrost's own notes", key)
    # Of an object inside another one: whose it is, is plain.
    for key in _OWNERS:
        section.take(key)
    section.finish()


def _period(section: Section, key: str) -> str:
    text = section.text(key) or ""
    if text and not is_period(text):
        section.problem(
            "Invalid reset duration format: expected a number and a unit, such as 30s, 5m, 1h, 1d, "
            "1w, 1M, 1Q or 1Y",
            key,
        )
        return ""
    return text


def _calendar(section: Section, periods: Iterable[str]) -> bool:
    aligned = section.flag("calendar_aligned")
    if aligned and not all(map(may_align, periods)):
        section.problem(
            "a calendar has days, weeks, months, quarters and years: write a period in d, w, M, Q "
            "or Y, or remove this",
            "calendar_aligned",
        )
    return aligned


def _aligned_budget(budget: Budget, owner: Owner) -> Budget:
    aligned = owner.aligned and may_align(budget.reset_duration)
    return replace(budget, calendar_aligned=True) if aligned else budget


def _aligned_rate_limit(rate_limit: RateLimit, owner: Owner) -> RateLimit:
    periods = (rate_limit.request_reset_duration, rate_limit.token_reset_duration)
    aligned = owner.aligned and any(map(may_align, periods))
    return replace(rate_limit, calendar_aligned=True) if aligned else rate_limit
