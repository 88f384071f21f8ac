"""What OpenAI-shaped answers say of their use.

Chat, completions and embeddings say `prompt_tokens` and `completion_tokens`; responses, images and
transcriptions `input_tokens` and `output_tokens` (OpenAI's API reference, "usage"). Of the details
each provider has names of its own: DeepSeek `prompt_cache_hit_tokens`, Perplexity
`cache_read_input_tokens`, Mistral `prompt_audio_seconds`, Bifrost `cached_read_tokens`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from hermod.domain.usage import Usage
from hermod.providers.lenient import COUNT_MAX, count, members, number

_NANOS: Final = 1_000_000_000
_TICKS_PER_NANO: Final = 10
"""xAI's `cost_in_usd_ticks`: ten thousand millions are a dollar (xAI, "Cost Tracking")."""
_MOST_USD: Final = 1e6
_LONGEST_S: Final = 1e9

_COUNTED: Final = {
    "prompt_tokens": "input_tokens",
    "input_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "output_tokens": "output_tokens",
    "prompt_cache_hit_tokens": "cache_read_tokens",
    "cached_tokens": "cache_read_tokens",
}
_OF_INPUT: Final = {
    "cached_tokens": "cache_read_tokens",
    "cached_read_tokens": "cache_read_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_tokens": "cache_write_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cached_write_tokens": "cache_write_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "audio_tokens": "input_audio_tokens",
    "image_tokens": "input_image_tokens",
}
_OF_OUTPUT: Final = {
    "reasoning_tokens": "reasoning_tokens",
    "audio_tokens": "output_audio_tokens",
    "image_tokens": "output_image_tokens",
}
_DETAILS: Final = {
    "prompt_tokens_details": _OF_INPUT,
    "input_tokens_details": _OF_INPUT,
    "input_token_details": _OF_INPUT,
    "completion_tokens_details": _OF_OUTPUT,
    "output_tokens_details": _OF_OUTPUT,
    "output_token_details": _OF_OUTPUT,
}
_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]


class _OfInput(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    cached_tokens: _Count = 0
    audio_tokens: _Count = 0


class _OfOutput(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    reasoning_tokens: _Count = 0
    audio_tokens: _Count = 0
    accepted_prediction_tokens: _Count = 0
    rejected_prediction_tokens: _Count = 0


class _Usual(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """OpenAI's own words, which most answers use: read in a fifth of the time."""

    prompt_tokens: _Count
    completion_tokens: _Count = 0
    total_tokens: _Count = 0
    prompt_tokens_details: _OfInput | None = None
    completion_tokens_details: _OfOutput | None = None


_NO_INPUT: Final = _OfInput()
_NO_OUTPUT: Final = _OfOutput()
_decode_usual: Final = msgspec.json.Decoder(_Usual).decode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_decode_any: Final = msgspec.json.Decoder().decode


def usage_of(raw: msgspec.Raw | None) -> Usage | None:
    """The usage that a `usage` member tells; None where it tells none."""
    if raw is None:
        return None
    usual = _usual(raw)
    if usual is not None:
        return usual
    try:
        return usage_in(_decode(raw))
    except (msgspec.DecodeError, ValueError):
        return None


def _usual(raw: msgspec.Raw) -> Usage | None:
    """What is told in no other words than OpenAI's; None for everything else."""
    try:
        told = _decode_usual(raw)
    except (msgspec.DecodeError, ValueError):
        return None
    into = told.prompt_tokens_details or _NO_INPUT
    out = told.completion_tokens_details or _NO_OUTPUT
    if out.reasoning_tokens:
        return None  # they may be counted beside the others
    return Usage(
        told.prompt_tokens,
        told.completion_tokens,
        into.cached_tokens,
        0,
        0,
        into.audio_tokens,
        out.audio_tokens,
    )


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
    found: dict[str, int] = {}
    for name, value in told.items():
        if name in _COUNTED:
            _note(found, _COUNTED[name], value)
        elif name in _DETAILS:
            fields = _DETAILS[name]
            for detail, part in members(value).items():
                if detail in fields:
                    _note(found, fields[detail], part)
    cost = _cost(told)
    if heard_ms := _ms(told.get("prompt_audio_seconds", told.get("seconds"))):
        found["audio_ms"] = heard_ms
    if not found and cost is None:
        return None
    if thought := found.get("reasoning_tokens"):
        # xAI counts what was thought beside what was said: then the total gives it away.
        answered = found.get("output_tokens", 0) + thought
        if told.get("total_tokens") == found.get("input_tokens", 0) + answered:
            found["output_tokens"] = count(answered)
    return Usage(**found, cost_usd_nanos=cost)


def _note(found: dict[str, int], field: str, value: object) -> None:
    """Of several names for the same, the one that says something counts."""
    if number(value) is not None:
        found[field] = count(value) or found.get(field, 0)


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
    usd = number(members(cost).get("total_cost", cost))
    if usd is None or not 0 <= usd < _MOST_USD:
        return None
    return round(usd * _NANOS)
