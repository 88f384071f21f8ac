"""From prices to costs, in integers.

Prices are fractions of a nano-dollar for one token, one millisecond, one page. They are brought to
one denominator when they are read; a cost is then a sum of products of integers and one division,
rounded up: exact to less than one nano-dollar, and never below the true price.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Final

from hermod.domain.price import OwnPrice
from hermod.domain.usage import Usage

NANOS: Final = 1_000_000_000
_MILLION: Final = 1_000_000

UNITS: Final[Mapping[str, int]] = {
    "input_mtok": _MILLION,
    "output_mtok": _MILLION,
    "cache_read_mtok": _MILLION,
    "cache_write_mtok": _MILLION,
    "cache_write_1h_mtok": _MILLION,
    "input_audio_mtok": _MILLION,
    "output_audio_mtok": _MILLION,
    "input_image_mtok": _MILLION,
    "output_image_mtok": _MILLION,
    "output_reasoning_mtok": _MILLION,
    "audio_hours": 3_600_000,
    "input_audio_hours": 3_600_000,
    "input_document_kpages": 1000,
    "input_annotated_document_kpages": 1000,
    "requests_kcount": 1000,
}
"""What is priced here, in the words of the data, and how many of what we count are in its unit."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices that hold at one moment for one size of request.

    Each is nano-dollars for one of what it is named after, times `per`.
    """

    per: int
    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    input_audio: int
    input_image: int
    output: int
    output_audio: int
    output_image: int
    reasoning: int
    audio_ms: int
    page: int
    annotated_page: int
    request: int
    input_is_priced: bool
    output_is_priced: bool
    audio_ms_is_priced: bool
    page_is_priced: bool
    request_is_priced: bool

    def cost_usd_nanos(self, usage: Usage) -> int | None:
        """The cost; None when nothing of what was used has a price.

        Details that are more than their total count as far as the total goes, the dearer kinds
        (audio, images) first.
        """
        asked, answered, read, written, thought, audio, spoken, _, seen, drawn, longer, *rest = (
            usage
        )
        known = self.request_is_priced
        total = self.request
        if asked and self.input_is_priced:
            known = True
            total += asked * self.input
            if audio or seen or read or written:
                audio = min(audio, asked)
                seen = min(seen, asked - audio)
                read = min(read, asked - audio - seen)
                written = min(written, asked - audio - seen - read)
                longer = min(longer, written)
                # What these cost more, or less, than plain input.
                total += (
                    audio * (self.input_audio - self.input)
                    + seen * (self.input_image - self.input)
                    + read * (self.cache_read - self.input)
                    + written * (self.cache_write - self.input)
                    + longer * (self.cache_write_1h - self.cache_write)
                )
        if answered and self.output_is_priced:
            known = True
            total += answered * self.output
            if spoken or drawn or thought:
                spoken = min(spoken, answered)
                drawn = min(drawn, answered - spoken)
                thought = min(thought, answered - spoken - drawn)
                total += (
                    spoken * (self.output_audio - self.output)
                    + drawn * (self.output_image - self.output)
                    + thought * (self.reasoning - self.output)
                )
        if any(rest):
            heard_ms, pages, annotated = rest
            known = (
                known
                or (heard_ms > 0 and self.audio_ms_is_priced)
                or (pages > 0 and self.page_is_priced)
            )
            annotated = min(annotated, pages)
            total += (
                heard_ms * self.audio_ms
                + (pages - annotated) * self.page
                + annotated * self.annotated_page
            )
        elif not asked and not answered:
            known = True
        return -(-total // self.per) if known else None


class Tiers:
    """The rates of one moment: those of small requests, and of ever larger ones."""

    __slots__ = ("_base", "_larger")

    def __init__(self, base: Rates, larger: tuple[tuple[int, Rates], ...] = ()) -> None:
        """`larger`: above how many tokens of input which rates hold, for all of them."""
        self._base = base
        self._larger = larger[::-1]

    def for_input(self, tokens: int) -> Rates:
        """The rates of a request with so much input, what came from caches included."""
        for above, rates in self._larger:
            if tokens > above:
                return rates
        return self._base

    def steps(self) -> tuple[tuple[int, Rates], ...]:
        """All of them, each with the number of tokens above which it holds."""
        return (0, self._base), *self._larger[::-1]


def rates_of(usd: Mapping[str, Fraction]) -> Rates | None:
    """Rates from dollars by unit; None when nothing is priced that is counted here."""
    each = {name: usd[name] * NANOS / unit for name, unit in UNITS.items() if name in usd}
    if not each:
        return None
    nothing = Fraction(0)

    def first(*names: str) -> Fraction:
        return next((each[name] for name in names if name in each), nothing)

    told = {
        "input": first("input_mtok"),
        "cache_read": first("cache_read_mtok", "input_mtok"),
        "cache_write": first("cache_write_mtok", "input_mtok"),
        "cache_write_1h": first("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
        "input_audio": first("input_audio_mtok", "input_mtok"),
        "input_image": first("input_image_mtok", "input_mtok"),
        "output": first("output_mtok"),
        "output_audio": first("output_audio_mtok", "output_mtok"),
        "output_image": first("output_image_mtok", "output_mtok"),
        "reasoning": first("output_reasoning_mtok", "output_mtok"),
        "audio_ms": first("input_audio_hours", "audio_hours"),
        "page": first("input_document_kpages"),
        "annotated_page": first("input_annotated_document_kpages", "input_document_kpages"),
        "request": first("requests_kcount"),
    }
    per = lcm(*(rate.denominator for rate in told.values()))
    return Rates(
        per=per,
        **{name: int(rate * per) for name, rate in told.items()},
        input_is_priced="input_mtok" in each,
        output_is_priced="output_mtok" in each,
        audio_ms_is_priced="audio_hours" in each or "input_audio_hours" in each,
        page_is_priced="input_document_kpages" in each,
        request_is_priced="requests_kcount" in each,
    )


def own_rates(price: OwnPrice) -> Rates | None:
    """The operator's own; None when they say nothing."""
    told = {
        "input_mtok": price.input_usd_nanos,
        "output_mtok": price.output_usd_nanos,
        "cache_read_mtok": price.cache_read_usd_nanos,
        "cache_write_mtok": price.cache_write_usd_nanos,
    }
    usd = {name: Fraction(nanos, NANOS) for name, nanos in told.items() if nanos is not None}
    if price.request_usd_nanos is not None:
        usd["requests_kcount"] = Fraction(price.request_usd_nanos * 1000, NANOS)
    return rates_of(usd)
