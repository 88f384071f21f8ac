"""What OpenAI-shaped answers say of their tokens.

Chat, completions and embeddings say `prompt_tokens` and `completion_tokens`; responses, images and
transcriptions `input_tokens` and `output_tokens` (OpenAI's API reference, "usage").
"""

from typing import Final

import msgspec

from hermod.domain.usage import Usage


class _Cost(msgspec.Struct, gc=False):
    total_cost: float | None = None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: int | None = None
    """As OpenAI names it, and as those who speak of other models in its shape do."""
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    """As Perplexity's Agent API names the two."""
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Said(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    cost: float | _Cost | None = None
    """OpenRouter and Perplexity say what it cost, in dollars."""


_NO_DETAILS: Final = _Details()
_MOST: Final = 2**53
"""More tokens than any call has; what claims more is no count."""
_read: Final = msgspec.json.Decoder(_Said, strict=False).decode


def usage_of(raw: msgspec.Raw | None) -> Usage | None:
    """The usage that an answer tells; None where it tells none, or nothing that makes sense."""
    if raw is None:
        return None
    try:
        said = _read(raw)
    except (msgspec.DecodeError, ValueError):
        return None
    asked, answered = said.prompt_tokens, said.completion_tokens
    asked = said.input_tokens if asked is None else asked
    answered = said.output_tokens if answered is None else answered
    if asked is None and answered is None:
        return None
    into = said.prompt_tokens_details or said.input_tokens_details or _NO_DETAILS
    out = said.completion_tokens_details or said.output_tokens_details or _NO_DETAILS
    return Usage(
        _count(asked),
        _count(answered),
        _count(into.cached_tokens or into.cache_read_input_tokens),
        _count(
            into.cache_write_tokens
            or into.cache_creation_tokens
            or into.cache_creation_input_tokens
        ),
        _count(out.reasoning_tokens),
        _count(into.audio_tokens),
        _count(out.audio_tokens),
        _nanos(said.cost),
    )


def _count(value: int | None) -> int:
    return value if value is not None and 0 <= value <= _MOST else 0


def _nanos(cost: float | _Cost | None) -> int | None:
    dollars = cost.total_cost if isinstance(cost, _Cost) else cost
    if dollars is None or not 0 <= dollars < 1e6:
        return None
    return round(dollars * 1_000_000_000)
