"""What a call used, as far as the upstream said."""

from typing import NamedTuple


class Usage(NamedTuple):
    """What is counted of one call. The details are parts of the two totals, never beside them."""

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
    input_image_tokens: int = 0
    output_image_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Of what was written to a cache, what stays there for an hour."""
    audio_ms: int = 0
    """Milliseconds of sound that were listened to, where time is what is paid for."""
    pages: int = 0
    """Of a document that was read."""
    annotated_pages: int = 0
    """Of these, the ones that were described as well."""


class Estimate(NamedTuple):
    """What a call may use, before it is made."""

    input_tokens: int = 0
    output_tokens: int = 0
    """At most, where the request bounds it."""
    audio_ms: int = 0
    """As in `Usage`."""
    pages: int = 0
    """Likewise."""
