"""Who may ask, and what limits them: the things an operator makes (wire-contract 10.1).

Money is whole nano-dollars, instants are microseconds since the epoch. Names are the wire's.
"""

from dataclasses import dataclass
from typing import Final

ANY: Final = "*"
"""In a list of models or keys: all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be spent in a period."""

    id: str
    max_limit_nanos: int
    """A cap: nothing is begun that would exceed it."""
    reset_duration: str
    """`30s`, `5m`, `1h`, `1d`, `1w`, `1M`, `1Q`, `1Y` (wire-contract 10.2); empty: never reset."""
    calendar_aligned: bool = False
    """Periods begin at midnight UTC, on Mondays, on the first of a month, a quarter, a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How many requests, and how many tokens, a period may have. Each has its own."""

    id: str
    request_max_limit: int | None = None
    request_reset_duration: str = ""
    token_max_limit: int | None = None
    token_reset_duration: str = ""
    calendar_aligned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """What a virtual key may do with one provider."""

    id: str
    provider: str
    weight: float | None = None
    """None: allowed, but not chosen for models without a prefix."""
    allowed_models: tuple[str, ...] = ()
    """Names, `regex:` and a pattern, or `*`."""
    blacklisted_models: tuple[str, ...] = ()
    """Wins over what is allowed."""
    key_ids: tuple[str, ...] = ()
    """Ids or names of the provider's keys that may be used, or `*`."""
    budget: Budget | None = None
    rate_limit: RateLimit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualKey:
    """What callers show. Jobs belong to its id, so its value may change."""

    id: str
    name: str
    description: str = ""
    secret_hash: str = ""
    """SHA-256 of the whole value, in hex; empty where only tokens lead here."""
    last_four: str = ""
    """The end of the value, for people."""
    is_active: bool = True
    expires_at: int | None = None
    token_version: int = 0
    """Tokens that were made for another one are no longer good."""
    provider_configs: tuple[ProviderConfig, ...] = ()
    team_id: str | None = None
    customer_id: str | None = None
    """A key has a team or a customer, or neither."""
    budget: Budget | None = None
    rate_limit: RateLimit | None = None
    max_parallel_jobs: int | None = None
    """Calls at once, over all gateways."""
    max_pending_jobs: int | None = None
    """Jobs that are accepted and not begun."""
    on_limit: str = ""
    """`delay` or `reject`; empty leaves it to the settings."""
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Several keys with limits in common."""

    id: str
    name: str
    customer_id: str | None = None
    budget: Budget | None = None
    rate_limit: RateLimit | None = None
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Several teams and keys with limits in common."""

    id: str
    name: str
    budget: Budget | None = None
    rate_limit: RateLimit | None = None
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """Limits of a model for everybody (`model_configs`)."""

    id: str
    model_name: str
    provider: str | None = None
    """None: whichever provider serves it."""
    budget: Budget | None = None
    rate_limit: RateLimit | None = None
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderLimits:
    """Limits of a provider for everybody (`governance.providers`)."""

    id: str
    """The provider's name."""
    budget: Budget | None = None
    rate_limit: RateLimit | None = None
    created_at: int = 0
    updated_at: int = 0


Entity = VirtualKey | Team | Customer | ModelLimits | ProviderLimits
