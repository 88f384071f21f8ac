"""The `genai-prices` package itself, which prices the same usage in another way: decimals, one
call at a time, by rules of its own."""

from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from typing import Any

from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from genai_prices.data import providers

from hermod.domain.usage import Usage
from hermod.prices.builtin import as_json
from hermod.prices.data import Data

NOON = 1_795_348_800_000_000
"""22 November 2026, 12:00 UTC."""


@cache
def raw() -> bytes:
    """The package's data as it is read here, made in this process, which has it anyway."""
    return as_json()


def data() -> Data:
    """The package's data."""
    return Data(raw(), "the package")


def everything() -> list[tuple[str, str]]:
    """Every model of every provider: the provider's id and the model's."""
    return [(each.id, model.id) for each in providers for model in each.models]


def theirs(provider: str, model: str, usage: Usage, at: int) -> Fraction:
    """What the package says it costs, in nano-dollars. Raises LookupError."""
    told: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
        "input_audio_tokens": usage.input_audio_tokens,
        "output_audio_tokens": usage.output_audio_tokens,
        "input_image_tokens": usage.input_image_tokens,
        "output_image_tokens": usage.output_image_tokens,
        "audio_seconds": usage.audio_ms / 1000,
        "input_audio_seconds": usage.audio_ms / 1000,
        "input_document_pages": usage.pages,
        "input_annotated_document_pages": usage.annotated_pages,
        # Nothing is both: the package wants to be told.
        "cache_audio_read_tokens": 0,
        "cache_image_read_tokens": 0,
    }
    price = calc_price(
        TheirUsage(**told),
        model,
        provider_id=provider,
        genai_request_timestamp=datetime.fromtimestamp(at // 1_000_000, UTC),
    )
    return Fraction(price.total_price) * 1_000_000_000
