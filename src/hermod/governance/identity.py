"""Who asks, as resolved once, at the edge."""

from typing import Final, NamedTuple

from hermod.domain.governance import VirtualKey
from hermod.domain.job import Principal

TENANT: Final = "default"


class Identity(NamedTuple):
    """Who asks, and what that lets them do."""

    principal: Principal
    key: VirtualKey | None = None
    """As it was when the request came."""
    may_manage: bool = False
    """May call `/api/*`."""
    may_infer: bool = True
    """May make calls and jobs; some tokens only read."""
    via: str = "open"
    """`open`, `virtual_key`, `jwt`, `admin_token`, `basic`, `session` or `admin_jwt`."""


OPEN: Final = Identity(Principal(TENANT, "open", sees_open=True))
"""Anybody, where access is open."""
NOBODY: Final = Identity(Principal(TENANT, "nobody"), may_infer=False)
"""Owns no job and never will: to it, every job is one that does not exist."""
ADMIN: Final = Identity(
    Principal(TENANT, "admin:token", is_admin=True), may_manage=True, via="admin_token"
)
UNKNOWN_KEY: Final = Identity(Principal(TENANT, "vk:"), may_infer=False, via="virtual_key")
"""A virtual key that there is not. Never handed out."""


def of_key(key: VirtualKey, via: str = "virtual_key", *, may_infer: bool = True) -> Identity:
    """Whoever shows this key: jobs belong to its id, not to what was shown (wire-contract 5)."""
    return Identity(Principal(TENANT, f"vk:{key.id}"), key, may_infer=may_infer, via=via)


def of_admin(subject: str, via: str) -> Identity:
    """An admin of this name."""
    principal = Principal(TENANT, f"admin:{subject}", is_admin=True)
    return Identity(principal, may_manage=True, via=via)


def seeing_open(identity: Identity) -> Identity:
    """The same, where access is open: everybody may read jobs of nobody (wire-contract 5)."""
    return identity._replace(principal=identity.principal._replace(sees_open=True))
