"""`hermod.prices`: what models cost, in the operator's own words."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from hermod.config.section import Section
from hermod.domain.price import OwnPrice

_MEMBERS: Final = (
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cache_read_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "request_usd",
)
"""In the order of `OwnPrice`."""
_NANOS: Final = 1_000_000_000
_MOST_USD: Final = 1e6


def read_prices(hermod: Section) -> Mapping[str, OwnPrice]:
    """Prices by `provider/model`; a `*` at the end stands for any rest."""
    section = hermod.section("prices")
    prices: dict[str, OwnPrice] = {}
    for name in section.members:
        if name.startswith(("$", "_", "//", "#")):
            continue
        provider, slash, model = name.partition("/")
        if not (provider and slash and model) or "*" in name[:-1]:
            section.problem('expected "provider/model", "provider/*" or "provider/begin*"', name)
        entry = section.section(name)
        price = OwnPrice(*(_nanos(entry, member) for member in _MEMBERS))
        entry.finish()
        if price == OwnPrice():
            section.problem(f"says no price: one of {', '.join(_MEMBERS)} at least", name)
        prices[name] = price
    section.finish()
    return MappingProxyType(prices)


def _nanos(entry: Section, member: str) -> int | None:
    if entry.take(member) is None:
        return None
    usd = entry.number(member, 0.0, 0.0, _MOST_USD)
    # The decimal that was written, not the binary number beside it.
    return round(Decimal(repr(usd)) * _NANOS)
