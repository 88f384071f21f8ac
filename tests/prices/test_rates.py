"""Costs against the package's own arithmetic."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermod.domain.price import OwnPrice
from hermod.domain.usage import Usage
from hermod.prices.rates import own_rates
from tests.prices.oracle import NOON, data, everything, theirs

HOUR = 3_600_000_000
DATA = data()

KNOWN = [
    ("openai", "gpt-4o", Usage(1000, 500)),
    ("openai", "gpt-4o-2024-11-20", Usage(1000, 500, 400)),
    ("openai", "gpt-4o-mini", Usage(1, 1)),
    ("openai", "text-embedding-3-small", Usage(10)),
    ("openai", "whisper-1", Usage(audio_ms=60_000)),
    ("openai", "gpt-image-1", Usage(8, 272)),
    ("openai", "gpt-image-1", Usage(1008, 272, input_image_tokens=1000)),
    ("anthropic", "claude-sonnet-4-5-20250929", Usage(1000, 100)),
    ("anthropic", "claude-sonnet-4-5", Usage(300_000, 100)),
    ("anthropic", "claude-opus-4-5", Usage(1000, 0, 500, 300)),
    (
        "anthropic",
        "claude-opus-4-5",
        Usage(1000, 0, 500, 300, cache_write_1h_tokens=100),
    ),
    ("google", "gemini-2.5-flash", Usage(1000, 1000, input_audio_tokens=500)),
    ("google", "gemini-2.5-pro", Usage(200_001, 1)),
    ("mistral", "mistral-ocr-2505", Usage(pages=3)),
    ("mistral", "mistral-ocr-2505", Usage(pages=3, annotated_pages=1)),
    ("groq", "llama-3.1-8b-instant", Usage(7, 3)),
    ("groq", "whisper-large-v3", Usage(audio_ms=36_000)),
    ("perplexity", "sonar", Usage(100, 100)),
    ("perplexity", "sonar-deep-research", Usage(10, 100, reasoning_tokens=60)),
    ("deepseek", "deepseek-chat", Usage(1_000_000)),
    ("aws", "us.anthropic.claude-haiku-4-5-20251001-v1:0", Usage(1000, 1000)),
]


def ours(provider: str, model: str, usage: Usage, at: int = NOON) -> int | None:
    """The cost by our own arithmetic."""
    prices = DATA.find(provider, model)
    assert prices is not None
    tiers = prices.at(at)
    return None if tiers is None else tiers.for_input(usage.input_tokens).cost_usd_nanos(usage)


@pytest.mark.parametrize(("provider", "model", "usage"), KNOWN)
def test_known_usages_cost_what_the_package_says(provider: str, model: str, usage: Usage) -> None:
    expected = theirs(provider, model, usage, NOON)
    assert expected > 0
    assert ours(provider, model, usage) == expected


def test_every_model_is_found_by_its_name_and_costs_the_same() -> None:
    """All of the thousands, with one usage."""
    usage = Usage(1000, 100, 200, 0, 50)
    for provider, model in everything():
        try:
            expected = theirs(provider, model, usage, NOON)
        except LookupError:
            # Names that not even the package recognises.
            assert DATA.find(provider, model) is None
            continue
        # What it has no price for is nothing to the package; here it is not known.
        rounded_up = -(-expected.numerator // expected.denominator)
        assert (ours(provider, model, usage) or 0) == rounded_up, (provider, model)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usages whose details are within their totals, of which none is two things at once."""
    tokens = st.integers(0, 2**40) | st.integers(0, 1000) | st.sampled_from([128_000, 200_000])
    parts = draw(st.lists(tokens, min_size=5, max_size=5))
    _, audio, image, read, written = parts
    said, spoken, thought = draw(st.tuples(tokens, tokens, tokens))
    return Usage(
        input_tokens=sum(parts),
        output_tokens=said + spoken + thought,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=thought,
        input_audio_tokens=audio,
        output_audio_tokens=spoken,
        input_image_tokens=image,
        cache_write_1h_tokens=draw(st.integers(0, written)),
        audio_ms=draw(st.integers(0, 10**9)) * 10,
        pages=(pages := draw(st.integers(0, 10_000))),
        annotated_pages=draw(st.integers(0, pages)),
    )


SAMPLE = everything()[::11]
AUDIO_AND_MORE = ("realtime", "gpt-live", "grok-voice", "eleven_realtime")
"""Seconds beside tokens, of connections that nobody makes here."""


@given(
    st.sampled_from([each for each in SAMPLE if not each[1].startswith(AUDIO_AND_MORE)]),
    usages(),
    st.integers(NOON - 400 * 24 * HOUR, NOON + 400 * 24 * HOUR),
)
def test_a_cost_is_the_packages_own_rounded_up(
    model: tuple[str, str], usage: Usage, at: int
) -> None:
    if model[0] == "groq":
        # Its shortest time is not the rates' business.
        usage = usage._replace(audio_ms=max(usage.audio_ms, 10_000))
    try:
        expected = theirs(*model, usage, at)
    except (LookupError, ValueError):
        return
    found = ours(*model, usage, at)
    if found is None:
        assert not expected
    else:
        assert isinstance(found, int)
        assert 0 <= found - expected < 1


@given(st.sampled_from(SAMPLE), usages(), usages())
def test_more_use_never_costs_less(model: tuple[str, str], usage: Usage, more: Usage) -> None:
    prices = DATA.find(*model)
    tiers = prices and prices.at(NOON)
    if tiers is None:
        return
    rates = tiers.for_input(0)
    sums = [None if a is None or b is None else a + b for a, b in zip(usage, more, strict=True)]
    both = Usage._make(sums)
    less, most = rates.cost_usd_nanos(usage), rates.cost_usd_nanos(both)
    assert less is None or (most is not None and 0 <= less <= most)


counts = st.integers(0, 2**53)


@given(st.sampled_from(SAMPLE), st.tuples(*[counts] * 7), st.tuples(*[counts] * 6))
def test_details_beyond_their_totals_never_make_a_cost_of_nonsense(
    model: tuple[str, str], first: tuple[int, ...], last: tuple[int, ...]
) -> None:
    prices = DATA.find(*model)
    tiers = prices and prices.at(NOON)
    if tiers is not None:
        usage = Usage._make((*first, None, *last))
        cost = tiers.for_input(usage.input_tokens).cost_usd_nanos(usage)
        assert cost is None or cost >= 0


def test_a_cost_is_never_below_the_true_price() -> None:
    # 0.0375 dollars for a million tokens are 37.5 nano-dollars for one.
    rates = own_rates(OwnPrice(input_usd_nanos=37_500_000))
    assert rates is not None
    assert [rates.cost_usd_nanos(Usage(n)) for n in (0, 1, 2, 3)] == [0, 38, 75, 113]


def test_a_price_by_the_request_is_due_whatever_was_used() -> None:
    rates = own_rates(OwnPrice(request_usd_nanos=2_000_000))
    assert rates is not None
    assert rates.cost_usd_nanos(Usage(5, 5)) == 2_000_000
    assert rates.cost_usd_nanos(Usage()) == 2_000_000


def test_what_has_no_price_is_not_known_and_not_free() -> None:
    rates = own_rates(OwnPrice(input_usd_nanos=1))
    assert rates is not None
    assert rates.cost_usd_nanos(Usage(audio_ms=1)) is None
    assert rates.cost_usd_nanos(Usage(pages=1)) is None
    assert rates.cost_usd_nanos(Usage()) == 0
    assert own_rates(OwnPrice()) is None


def test_a_model_that_costs_more_by_day_is_priced_by_the_time() -> None:
    # DeepSeek's discount at night, as long as it was given.
    night, day = 1_749_945_600_000_000, 1_749_978_000_000_000
    usage = Usage(1_000_000)
    costs = [ours("deepseek", "deepseek-chat", usage, at) for at in (night, day)]
    assert costs == [theirs("deepseek", "deepseek-chat", usage, at) for at in (night, day)]
    assert costs[0] != costs[1]
    assert Fraction(costs[0] or 0) > 0
