"""What OpenAI-shaped answers say of their use.

Chat, completions and embeddings say `prompt_tokens` and `completion_tokens`; responses, images and
transcriptions `input_tokens` and `output_tokens` (OpenAI's API reference, "usage"). Of the details
each provider has names of its own: DeepSeek `prompt_cache_hit_tokens`, Perplexity
`cache_read_input_tokens`, Mistral `prompt_audio_seconds`, Bifrost `cached_read_tokens`.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hermod.domain.usage import Usage
from hermod.providers.lenient import count, members, number

_NANOS: Final = 1_000_000_000
_TICKS_PER_NANO: Final = 10
"""xAI's `cost_in_usd_ticks`: ten thousand millions are a dollar (xAI, "Cost Tracking")."""
_MOST_USD: Final = 1e6
_LONGEST_S: Final = 1e9

_INPUT: Final = ("prompt_tokens", "input_tokens")
_OUTPUT: Final = ("completion_tokens", "output_tokens")
_INTO: Final = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUT: Final = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_READ: Final = ("cached_tokens", "cached_read_tokens", "cache_read_input_tokens")
_WRITTEN: Final = (
    "cache_creation_tokens", "cache_write_tokens", "cached_write_tokens",
    "cache_creation_input_tokens",
)  # fmt: skip
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_decode_any: Final = msgspec.json.Decoder().decode


def usage_of(raw: msgspec.Raw | None) -> Usage | None:
    """The usage that a `usage` member tells; None where it tells none."""
    if raw is None:
        return None
    try:
        return usage_in(_decode(raw))
    except (msgspec.DecodeError, ValueError):
        return None


def answer_usage(answer: Mapping[str, msgspec.Raw]) -> Usage | None:
    """The usage of a whole answer, of whatever kind; None where it tells none.

    OCR counts pages in `usage_info`, and a transcription without a usage may still say how long
    the sound is (`duration`, of `verbose_json`).
    """
    found = usage_of(answer.get("usage"))
    if found is not None:
        return found
    pages = count(members(_value(answer.get("usage_info"))).get("pages_processed"))
    if pages:
        annotated = _value(answer.get("document_annotation")) is not None
        return Usage(pages=pages, annotated_pages=pages if annotated else 0)
    heard_ms = _ms(_value(answer.get("duration"))) if "text" in answer else 0
    return Usage(audio_ms=heard_ms) if heard_ms else None


def usage_in(told: Mapping[str, Any]) -> Usage | None:
    """The usage of a decoded `usage` member; None where it tells none."""
    cost = _cost(told)
    heard_ms = _ms(told.get("prompt_audio_seconds")) or _ms(told.get("seconds"))
    if cost is None and not heard_ms and all(number(told.get(n)) is None for n in _COUNTED):
        return None
    into, out = _members(told, _INTO), _members(told, _OUT)
    asked, answered = _first(told, _INPUT), _first(told, _OUTPUT)
    thought = count(out.get("reasoning_tokens"))
    # xAI counts what was thought beside what was said: then the total gives it away.
    if thought and count(told.get("total_tokens")) == asked + answered + thought:
        answered = count(answered + thought)
    return Usage(
        input_tokens=asked,
        output_tokens=answered,
        cache_read_tokens=_first(into, _READ)
        or count(told.get("prompt_cache_hit_tokens"))
        or count(told.get("cached_tokens")),
        cache_write_tokens=_first(into, _WRITTEN),
        reasoning_tokens=thought,
        input_audio_tokens=count(into.get("audio_tokens")),
        output_audio_tokens=count(out.get("audio_tokens")),
        cost_usd_nanos=cost,
        input_image_tokens=count(into.get("image_tokens")),
        output_image_tokens=count(out.get("image_tokens")),
        audio_ms=heard_ms,
    )


_COUNTED: Final = (*_INPUT, *_OUTPUT)


def _first(told: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """The first count that is there."""
    for name in names:
        if number(told.get(name)) is not None:
            return count(told[name])
    return 0


def _members(told: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    for name in names:
        if found := members(told.get(name)):
            return found
    return {}


def _value(raw: msgspec.Raw | None) -> object:
    if raw is None:
        return None
    try:
        return _decode_any(raw)
    except (msgspec.DecodeError, ValueError):
        return None


def _ms(seconds: object) -> int:
    found = number(seconds)
    return round(found * 1000) if found is not None and 0 < found < _LONGEST_S else 0


def _cost(told: Mapping[str, Any]) -> int | None:
    """The upstream's own figure: OpenRouter's and Perplexity's dollars, xAI's ticks."""
    ticks = number(told.get("cost_in_usd_ticks"))
    if ticks is not None and 0 <= ticks < _MOST_USD * _NANOS * _TICKS_PER_NANO:
        return -(-int(ticks) // _TICKS_PER_NANO)
    cost = told.get("cost")
    usd = number(members(cost).get("total_cost")) if isinstance(cost, dict) else number(cost)
    if usd is None or not 0 <= usd < _MOST_USD:
        return None
    return round(usd * _NANOS)
