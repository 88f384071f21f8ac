"""What the operator says a model costs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OwnPrice:
    """A price of `hermod.prices`. Whole nano-dollars, for a million tokens but for `request`.

    What is None is not charged; what a cache gives or takes costs as much as any input then.
    """

    input_usd_nanos: int | None = None
    output_usd_nanos: int | None = None
    cache_read_usd_nanos: int | None = None
    cache_write_usd_nanos: int | None = None
    request_usd_nanos: int | None = None
    """For each call that was answered, whatever it used."""
