"""What a call used, as far as the upstream said."""

from typing import NamedTuple


class Usage(NamedTuple):
    """Tokens of one call. The details are parts of the two totals, never beside them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    """Of the input, what came from a cache."""
    cache_write_tokens: int = 0
    """Of the input, what was written to a cache."""
    reasoning_tokens: int = 0
    """Of the output, what was thought and not said."""
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    cost_usd_nanos: int | None = None
    """The upstream's own figure, where it gives one."""
