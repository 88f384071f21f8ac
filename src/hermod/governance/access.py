"""Resolve a caller to a principal, once, at the edge."""

import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final

from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.domain.headers import UNSENDABLE
from hermod.domain.job import Principal
from hermod.domain.provider import Secret

TENANT: Final = "default"
OPEN: Final = Principal(TENANT, "open")
ADMIN: Final = Principal(TENANT, "admin:token", is_admin=True)
NOBODY: Final = Principal(TENANT, "nobody")
"""Owns no job and never will: to it, every job is one that does not exist."""

_UNKNOWN_KEY: Final = Principal(TENANT, "vk:")
"""A virtual key that there is not. Never handed out."""
_PRECEDENCE: Final = (b"x-bf-vk", b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")
"""The headers that hold a credential. Of several the first one counts (design.md 8, 3); none can
come twice, as the server refuses that."""
_HOLD_CREDENTIALS: Final = frozenset(_PRECEDENCE)
_VIRTUAL_KEY: Final = b"sk-bf-"
_DIRECT: Final = b"x-bf-direct-key"
_JWT: Final = re.compile(rb"eyJ[\w-]+\.[\w-]+\.[\w-]*")
"""RFC 7515, compact; its header is a JSON object."""


class Access:
    """Open on loopback; behind the admin token everywhere else (design.md 5).

    The token is taken as a bearer, or raw in any of the key headers, so that every SDK can bring
    it. A text that is neither the token nor a virtual key is no credential at all, so that on
    loopback every SDK's dummy key works (design.md 8, 2).
    """

    def __init__(
        self, admin_token: str, *, enforced: bool, takes_direct_keys: bool = False
    ) -> None:
        """`takes_direct_keys`: whether callers may bring keys of providers."""
        if enforced and not admin_token:
            raise ValueError("access cannot be enforced without an admin token")
        self._token = admin_token.encode()
        self._enforced = enforced
        self.takes_direct_keys = takes_direct_keys

    def resolve(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """Who sent a request with these headers, their names in lower case.

        Raises Refused: 401 where a credential is needed and there is none, 403 for a virtual key
        that there is not (wire-contract 4.3).
        """
        principal = self._who(headers)
        if principal is _UNKNOWN_KEY:
            raise Refused(
                Failure("Virtual key not found", status_code=403, type="virtual_key_not_found")
            )
        return principal

    def resolve_reader(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """The same for a request that only reads jobs.

        An unknown virtual key sees what everybody sees: jobs of nobody where access is open, and
        else nothing, without a word about why (wire-contract 3.6, 5). Raises Refused with 401.
        """
        principal = self._who(headers)
        if principal is _UNKNOWN_KEY:
            return NOBODY if self._enforced else OPEN
        return principal

    def direct_key(self, headers: Iterable[tuple[bytes, bytes]]) -> Secret | None:
        """The caller's own provider key, where such are allowed (wire-contract 2.2).

        It says nothing about who asks. `x-bf-direct-key: false` keeps the gateway from taking an
        SDK's dummy for one; a JWT is taken for one only with `true`, as it says who somebody is,
        and is not for providers.
        """
        if not self.takes_direct_keys:
            return None
        given: dict[bytes, bytes] = {}
        wish = b""
        for name, value in headers:
            if name == _DIRECT:
                wish = value.strip().lower()
            elif name in _HOLD_CREDENTIALS:
                given[name] = value
        if wish == b"false":
            return None
        for name in _PRECEDENCE[1:]:
            secret = given.get(name, b"").strip()
            if name == b"authorization":
                secret = _after_scheme(secret)
            if not secret or self._is_ours(secret):
                continue
            text = secret.decode("latin-1")
            if not UNSENDABLE.search(text) and (wish == b"true" or not _JWT.fullmatch(secret)):
                return Secret(text)
        return None

    def _is_ours(self, secret: bytes) -> bool:
        """Whether it is a credential of the gateway's, in whichever header: never passed on."""
        is_token = bool(self._token) and hmac.compare_digest(secret, self._token)
        return is_token or secret[:6].lower() == _VIRTUAL_KEY

    def _who(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        given = {name: value for name, value in headers if name in _HOLD_CREDENTIALS}
        if given and (known := self._bearer_of(given)) is not None:
            return known
        if self._enforced:
            raise Refused(Failure("Unauthorized", status_code=401, type="unauthorized"))
        return OPEN

    def _bearer_of(self, given: Mapping[bytes, bytes]) -> Principal | None:
        for name in given if len(given) == 1 else _PRECEDENCE:
            secret = given.get(name, b"")
            if name == b"authorization":
                secret = secret[7:] if secret[:7].lower() == b"bearer " else b""
            secret = secret.strip()
            if not secret:
                continue
            if self._token and hmac.compare_digest(secret, self._token):
                return ADMIN
            if name == b"x-bf-vk" or secret[:6].lower() == _VIRTUAL_KEY:
                return _UNKNOWN_KEY
        return None


def _after_scheme(value: bytes) -> bytes:
    """The token of an `Authorization`, with `Bearer` before it or nothing at all."""
    scheme, _, token = value.partition(b" ")
    if scheme.lower() == b"bearer":
        return token.strip()
    return b"" if token else value
