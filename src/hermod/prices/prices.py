"""The price of a call."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from hermod.domain.clock import Clock
from hermod.domain.price import OwnPrice
from hermod.domain.usage import Usage
from hermod.prices.data import BadPrices, Data, PriceList
from hermod.prices.names import SELLERS, names_of
from hermod.prices.rates import Tiers, own_rates

log = logging.getLogger(__name__)

_MINUTE: Final = 60_000_000
_MOCK: Final = "mock"
_FREE: Final = own_rates(OwnPrice(0, 0, request_usd_nanos=0))
_MOST: Final = 10_000
"""Names that are remembered: callers make them up."""
_TOLD: Final = 100
"""Names that the log is told of."""
_SHORTEST_MS: Final = {"groq": 10_000}
"""What is paid for at least where sound is (Groq, pricing, speech recognition)."""
_NOTHING: Final = Usage()
_DEAREST: Final = 2**53
"""Nano-dollars, nine million dollars. What costs more was counted wrong, and fits into no store."""


class Known(NamedTuple):
    """What is known of a model's price at this moment."""

    tiers: Tiers
    model: str
    """As where it was found calls it."""
    source: str


class _Entry(NamedTuple):
    """What was found for a name. Without tiers: no price."""

    known: Known | None
    is_own: bool = False
    """Whether the operator says so."""
    prices: PriceList | None = None
    until_at: int | None = None
    """Prices that change with the time are looked at again every minute."""


class Prices:
    """What calls cost: the operator's word, the upstream's own figure, or the price data.

    The data is read when the first call needs it, and never fetched.
    """

    def __init__(
        self,
        read: Callable[[], Data],
        clock: Clock,
        own: Mapping[str, OwnPrice] | None = None,
        bases: Mapping[str, str] | None = None,
    ) -> None:
        """`read` takes a second or two.

        `own` is `hermod.prices`, by `provider/model` with or without a `*` at its end; `bases`
        tells whose shape each custom provider has.
        """
        self._read = read
        self._clock = clock
        self._bases = bases or {}
        own = own or {}
        self._exact = {name: price for name, price in own.items() if not name.endswith("*")}
        wild = {name[:-1]: price for name, price in own.items() if name.endswith("*")}
        self._wild = sorted(wild.items(), key=_length_of_name, reverse=True)
        self._data: Data | None = None
        self._loading: asyncio.Task[None] | None = None
        self._entries: dict[tuple[str, str, str | None], _Entry] = {}
        self._unpriced: Counter[str] = Counter()
        self._told: set[str] = set()

    def reconfigure(self, bases: Mapping[str, str]) -> None:
        """Have other custom providers, by name with whose shape each has."""
        if bases != self._bases:
            self._bases = dict(bases)
            self._entries.clear()

    @property
    def unpriced(self) -> Mapping[str, int]:
        """By provider: answered calls whose cost is not known."""
        return MappingProxyType(self._unpriced)

    def is_ready(self, provider: str) -> bool:
        """Whether `ready` would return at once."""
        return self._data is not None or self._shape(provider) not in SELLERS

    async def ready(self, provider: str) -> None:
        """Have the data in hand for a call to this provider, if it is needed for it.

        `cost` and `knows` read it themselves otherwise, and everybody waits.
        """
        if self.is_ready(provider):
            return
        if self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(self._load))
        await asyncio.shield(self._loading)

    def cost(
        self, provider: str, model: str, usage: Usage | None, asked: str | None = None
    ) -> int | None:
        """The cost of an answer in nano-dollars, rounded up; None when it is not known.

        `model` is the upstream's name for it, `asked` the caller's. Without a usage only a price
        per request is known. Never raises.
        """
        entry = self._entry(provider, model, asked)
        if not entry.is_own and usage is not None and usage.cost_usd_nanos is not None:
            return usage.cost_usd_nanos
        cost = None if entry.known is None else self._of(provider, entry.known, usage)
        if cost is None or cost >= _DEAREST:
            cost = None
            self._miss(provider, model)
        return cost

    def knows(self, provider: str, model: str, asked: str | None = None) -> bool:
        """Whether a call of this model has a price."""
        return self._entry(provider, model, asked).known is not None

    def known(self, provider: str, model: str) -> Known | None:
        """What is known of it, to be shown."""
        return self._entry(provider, model, None).known

    def _of(self, provider: str, known: Known, usage: Usage | None) -> int | None:
        if usage is None:
            rates = known.tiers.for_input(0)
            return rates.cost_usd_nanos(_NOTHING) if rates.request_is_priced else None
        if usage.audio_ms:
            shortest_ms = _SHORTEST_MS.get(self._shape(provider), 0)
            usage = usage._replace(audio_ms=max(usage.audio_ms, shortest_ms))
        return known.tiers.for_input(usage.input_tokens).cost_usd_nanos(usage)

    def _entry(self, provider: str, model: str, asked: str | None) -> _Entry:
        """The price of this moment."""
        name = provider, model, asked
        entry = self._entries.get(name)
        if entry is None or (entry.until_at is not None and entry.until_at <= self._clock.now()):
            entry = self._looked_up(provider, model, asked, entry)
            if len(self._entries) >= _MOST:
                self._entries.clear()
            self._entries[name] = entry
        return entry

    def _looked_up(
        self, provider: str, model: str, asked: str | None, before: _Entry | None
    ) -> _Entry:
        if before is not None and before.prices is not None:
            return self._entry_of(before.prices)
        own = self._own(provider, model, asked)
        if own is not None:
            return _Entry(own, is_own=True)
        shape = self._shape(provider)
        for named in names_of(provider, self._bases.get(provider), model, asked):
            if self._data is None:
                self._load()
            assert self._data is not None
            try:
                prices = self._data.find(named.seller, named.model)
                if prices is not None and prices.at(self._clock.now()) is not None:
                    return self._entry_of(prices)
            except BadPrices as error:
                log.warning("the price of a model of %s cannot be read: %s", shape, error)
        return _Entry(None)

    def _entry_of(self, prices: PriceList) -> _Entry:
        now_at = self._clock.now()
        tiers = prices.at(now_at)
        assert self._data is not None
        source = f"{prices.provider} in {self._data.source}"
        known = None if tiers is None else Known(tiers, prices.model, source)
        until_at = None if prices.is_steady else now_at - now_at % _MINUTE + _MINUTE
        return _Entry(known, prices=prices, until_at=until_at)

    def _own(self, provider: str, model: str, asked: str | None) -> Known | None:
        names = [f"{provider}/{each}" for each in (asked, model) if each]
        found = next((name for name in names if name in self._exact), None)
        price = self._exact.get(found) if found is not None else None
        if price is None:
            for start, each in self._wild:
                if any(name.startswith(start) for name in names):
                    found, price = f"{start}*", each
                    break
        rates = None if price is None else own_rates(price)
        if price is None and provider == _MOCK:
            found, rates = model, _FREE
        return None if rates is None else Known(Tiers(rates), found or "", "hermod.prices")

    def _shape(self, provider: str) -> str:
        return self._bases.get(provider, provider)

    def _load(self) -> None:
        try:
            self._data = self._read()
        except (BadPrices, ImportError, OSError) as error:
            log.error("there are no price data, costs are unknown: %s", error)
            self._data = Data(b"[]", "nowhere")

    def _miss(self, provider: str, model: str) -> None:
        self._unpriced[provider] += 1
        name = f"{provider}/{model}"
        if name not in self._told and len(self._told) < _TOLD:
            self._told.add(name)
            # The name is a stranger's: a log is read at a terminal.
            log.warning("%a: the cost of a call is not known (hermod.prices can tell it)", name)


def _length_of_name(own: tuple[str, OwnPrice]) -> int:
    return len(own[0])
