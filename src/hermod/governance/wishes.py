"""What may be written over the management API, and nothing else (wire-contract 10.3, S7).

Each member that may be written has its name here; any other is refused. What is absent stays as it
is, null takes away.
"""

from datetime import datetime
from typing import Annotated, Final, Literal, TypeVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Text = Annotated[str, Meta(max_length=255)]
Words = Annotated[str, Meta(max_length=4096)]
Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=512)]], Meta(max_length=1000)]
Instant = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that writes."""


class BudgetWish(Wish, frozen=True):
    """`budget`; an empty one, or one without a limit, takes it away as null does."""

    max_limit: float | UnsetType | None = UNSET
    """USD."""
    reset_duration: Text | UnsetType | None = UNSET
    calendar_aligned: bool | UnsetType | None = UNSET


class RateLimitWish(Wish, frozen=True):
    """`rate_limit`; one without any limit is none."""

    token_max_limit: int | UnsetType | None = UNSET
    token_reset_duration: Text | UnsetType | None = UNSET
    request_max_limit: int | UnsetType | None = UNSET
    request_reset_duration: Text | UnsetType | None = UNSET
    calendar_aligned: bool | UnsetType | None = UNSET


class LimitsWish(Wish, frozen=True):
    """What every writable thing may have."""

    budget: BudgetWish | UnsetType | None = UNSET
    rate_limit: RateLimitWish | UnsetType | None = UNSET


class ProviderConfigWish(LimitsWish, frozen=True):
    """A member of `provider_configs`, which are replaced as a whole.

    One that the key has already, by its id or its provider, keeps its usage.
    """

    id: Text | UnsetType | None = UNSET
    """Only of a config that the key has: nobody chooses one."""
    provider: Text | UnsetType = UNSET
    weight: float | UnsetType | None = UNSET
    allowed_models: Names | UnsetType | None = UNSET
    blacklisted_models: Names | UnsetType | None = UNSET
    key_ids: Names | UnsetType | None = UNSET


class KeyWish(LimitsWish, frozen=True):
    """A virtual key."""

    name: Text | UnsetType = UNSET
    description: Words | UnsetType | None = UNSET
    provider_configs: (
        Annotated[list[ProviderConfigWish], Meta(max_length=200)] | UnsetType | None
    ) = UNSET
    mcp_configs: Annotated[list[Raw], Meta(max_length=1000)] | UnsetType | None = UNSET
    """Must be empty: there is no MCP here."""
    team_id: Text | UnsetType | None = UNSET
    customer_id: Text | UnsetType | None = UNSET
    is_active: bool | UnsetType | None = UNSET
    expires_at: Instant | UnsetType | None = UNSET
    max_parallel_jobs: Count | UnsetType | None = UNSET
    max_pending_jobs: Count | UnsetType | None = UNSET
    on_limit: Literal["delay", "reject", ""] | UnsetType | None = UNSET


class TeamWish(LimitsWish, frozen=True):
    """A team."""

    name: Text | UnsetType = UNSET
    customer_id: Text | UnsetType | None = UNSET


class CustomerWish(LimitsWish, frozen=True):
    """A customer."""

    name: Text | UnsetType = UNSET


class ModelWish(LimitsWish, frozen=True):
    """A model's limits for everybody."""

    model_name: Text | UnsetType = UNSET
    provider: Text | UnsetType | None = UNSET


class ProviderWish(LimitsWish, frozen=True):
    """A provider's limits for everybody. Its name is in the path."""


class TokenWish(Wish, frozen=True):
    """A token that leads to a virtual key."""

    expires_in: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    """Seconds."""


class LoginWish(Wish, frozen=True):
    """`POST /api/session/login`"""

    username: Words = ""
    password: Words = ""


WRITABLE: Final[tuple[type[Wish], ...]] = (
    KeyWish, TeamWish, CustomerWish, ModelWish, ProviderWish, TokenWish, LoginWish,
)  # fmt: skip
"""Every body that there is."""


T = TypeVar("T")


def given(value: T | UnsetType, otherwise: T) -> T:
    """The value, or what stands where it is absent."""
    return otherwise if value is UNSET else value
