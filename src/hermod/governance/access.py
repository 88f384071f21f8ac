"""Resolve a caller to a principal, once, at the edge."""

import hmac

from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.domain.job import Principal

TENANT = "default"
OPEN = Principal(TENANT, "open")
ADMIN = Principal(TENANT, "admin:token", is_admin=True)


class Access:
    """Open on loopback; behind the admin token everywhere else (design.md 5).

    On loopback a token is honoured, and any other bearer is no credential at all, so that every
    SDK's dummy key works (design.md 8, 2).
    """

    def __init__(self, admin_token: str, *, enforced: bool) -> None:
        if enforced and not admin_token:
            raise ValueError("access cannot be enforced without an admin token")
        self._token = admin_token.encode()
        self._enforced = enforced

    def resolve(self, authorization: bytes | None) -> Principal:
        """Who sent this `Authorization` header. Raises Refused with 401."""
        if authorization is not None and self._token:
            scheme, _, token = authorization.partition(b" ")
            if scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token):
                return ADMIN
        if self._enforced:
            raise Refused(Failure("Unauthorized", status_code=401, type="unauthorized"))
        return OPEN
