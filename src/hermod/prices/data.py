"""Reading price data: which models there are, how they are recognised, what they cost when.

The format is that of the `genai-prices` package's published file (its `data.schema.json`, version
2): an array of providers, of which models with a `match` and `prices`. Of a price's many units only
those of `rates.UNITS` are read; prices of other service tiers than the usual (`price_variants`) are
not, either.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

import msgspec

from hermod.prices.rates import UNITS, Tiers, rates_of

_compact_date: Final = re.compile(r"-(20\d\d)(\d\d)(\d\d)(?=-|:|$)")
_DEEPEST: Final = 8
"""Levels of clauses within clauses."""


class BadPrices(Exception):
    """Price data that cannot be read; the text says why."""


class _Clause(msgspec.Struct, gc=False, rename={"or_": "or", "and_": "and"}):
    starts_with: str | None = None
    ends_with: str | None = None
    contains: str | None = None
    equals: str | None = None
    regex: str | None = None
    or_: "list[_Clause] | None" = None
    and_: "list[_Clause] | None" = None

    def matches(self, name: str) -> bool:
        """Whether this is about a model of that name, which is in lower case."""
        if self.equals is not None:
            return name == self.equals.lower()
        if self.starts_with is not None:
            return name.startswith(self.starts_with.lower())
        if self.contains is not None:
            return self.contains.lower() in name
        if self.ends_with is not None:
            return name.endswith(self.ends_with.lower())
        if self.regex is not None:
            return re.search(self.regex, name) is not None
        if self.or_ is not None:
            return any(each.matches(name) for each in self.or_)
        return bool(self.and_) and all(each.matches(name) for each in self.and_ or ())

    def check(self, depth: int = 0) -> None:
        """Raises BadPrices for what `matches` could not bear."""
        if depth > _DEEPEST:
            raise BadPrices("clauses are nested too deep")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as error:
                raise BadPrices(f"a pattern is none: {error}") from None
        for each in (*(self.or_ or ()), *(self.and_ or ())):
            each.check(depth + 1)


class _Tier(msgspec.Struct, gc=False):
    start: int
    price: Decimal


class _Tiered(msgspec.Struct, gc=False):
    base: Decimal
    tiers: list[_Tier]


_Prices = dict[str, Decimal | _Tiered | None]


class _Constraint(msgspec.Struct, gc=False):
    start_date: date | None = None
    start_time: time | None = None
    end_time: time | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it holds at this moment, which is in UTC."""
        if self.start_date is not None and now.date() < self.start_date:
            return False
        if self.start_time is None or self.end_time is None:
            return True
        start, end = _in_utc(self.start_time), _in_utc(self.end_time)
        at = now.time()
        return at >= start or at < end if end < start else start <= at < end


class _Conditional(msgspec.Struct, gc=False):
    prices: _Prices
    constraint: _Constraint | None = None


class _Model(msgspec.Struct, gc=False):
    id: str
    match: _Clause
    prices: _Prices | list[_Conditional]


class _Provider(msgspec.Struct, gc=False):
    id: str
    models: msgspec.Raw
    """Read when somebody asks for one of them: most providers are never used."""
    fallback_model_providers: list[str] | None = None
    """Whose models it offers, too, at their prices."""


_read_providers: Final = msgspec.json.Decoder(list[_Provider]).decode
_read_models: Final = msgspec.json.Decoder(list[_Model]).decode


class PriceList:
    """What a model costs, at any time."""

    def __init__(self, model: str, provider: str, choices: list[_Conditional]) -> None:
        self.model = model
        """As the data calls it."""
        self.provider = provider
        self._choices = choices

    @property
    def is_steady(self) -> bool:
        """Whether it costs the same at any time."""
        return len(self._choices) == 1

    def at(self, now_at: int) -> Tiers | None:
        """The prices of a moment (microseconds); the last that hold count, or else the first.

        None when nothing is priced that is counted here.
        """
        now = datetime.fromtimestamp(now_at // 1_000_000, UTC)
        chosen = self._choices[0]
        for each in self._choices:
            if each.constraint is None or each.constraint.holds(now):
                chosen = each
        return _tiers(chosen.prices)

    def check(self) -> None:
        """Raises BadPrices for a price that is none."""
        for each in self._choices:
            _tiers(each.prices)


class Found(NamedTuple):
    """Where a model was looked for, and what it costs."""

    prices: PriceList
    source: str


class Data:
    """Price data, from wherever it came."""

    def __init__(self, raw: bytes, source: str) -> None:
        """Raises BadPrices. `source` is where the data is from, in words for people."""
        try:
            found = _read_providers(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadPrices(str(error)) from None
        self.source = source
        self._providers = {each.id: each for each in found}
        self._models: dict[str, list[_Model]] = {}

    def find(self, provider: str, model: str) -> PriceList | None:
        """The prices of a provider's model, both as the data knows them. Raises BadPrices."""
        name = model.lower()
        dashed = _compact_date.sub(r"-\1-\2-\3", name)
        for candidate in dict.fromkeys((name, dashed)):
            for seller in self._sellers(provider):
                for each in self._models_of(seller):
                    if each.match.matches(candidate):
                        return PriceList(each.id, seller, _choices(each))
        return None

    def check(self) -> int:
        """Read everything; how many models have a price. Raises BadPrices."""
        total = 0
        for provider in self._providers:
            for each in self._models_of(provider):
                each.match.check()
                PriceList(each.id, provider, _choices(each)).check()
                total += 1
        self._models.clear()
        return total

    def _sellers(self, provider: str) -> Iterator[str]:
        found = self._providers.get(provider)
        if found is not None:
            yield provider
            yield from found.fallback_model_providers or ()

    def _models_of(self, provider: str) -> list[_Model]:
        models = self._models.get(provider)
        if models is None:
            found = self._providers.get(provider)
            try:
                models = [] if found is None else _read_models(found.models)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BadPrices(f"{provider}: {error}") from None
            self._models[provider] = models
        return models


def _choices(model: _Model) -> list[_Conditional]:
    if isinstance(model.prices, dict):
        return [_Conditional(model.prices)]
    if not model.prices:
        return [_Conditional({})]
    return model.prices


def _tiers(prices: _Prices) -> Tiers | None:
    """The rates by the size of a request: each unit has steps of its own."""
    priced = {name: price for name, price in prices.items() if price is not None and name in UNITS}
    steps = {
        tier.start
        for price in priced.values()
        if isinstance(price, _Tiered)
        for tier in price.tiers
    }
    by_step = {
        step: rates_of({name: _price_above(price, step) for name, price in priced.items()})
        for step in (-1, *sorted(steps))
    }
    base = by_step.pop(-1)
    if base is None:
        return None
    return Tiers(base, tuple((step, rates) for step, rates in by_step.items() if rates))


def _price_above(price: Decimal | _Tiered, tokens: int) -> Fraction:
    """Of a request with more input than this, and not more than the next step."""
    if isinstance(price, _Tiered):
        steps = sorted((tier for tier in price.tiers if tier.start <= tokens), key=_start)
        price = steps[-1].price if steps else price.base
    if not price.is_finite() or price < 0:
        raise BadPrices(f"{price} is no price")
    return Fraction(price)


def _start(tier: _Tier) -> int:
    return tier.start


def _in_utc(at: time) -> time:
    if at.tzinfo is None:
        return at
    return datetime.combine(date(2000, 1, 2), at).astimezone(UTC).time()
