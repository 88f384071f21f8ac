"""Whether a token is what it says: signed by an issuer that is trusted, for us, and for now.

JSON Web Tokens (RFC 7519) as RFC 8725 wants them judged. The signature is the library's business;
the rest is here, by our clock, so that a refusal can name the check that failed.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, cast

from hermod.domain.errors import ConfigError, HermodError, Refused
from hermod.domain.failure import Failure
from hermod.domain.jwt import JwtIssuer
from hermod.governance.token_keys import TokenKey, chosen, fixed_keys

_MAX_BYTES: Final = 8 * 1024
_SHAPE: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
"""RFC 7515, 7.1: the compact form. An unsecured one has no third part."""
_CHALLENGE: Final = 'Bearer error="invalid_token"'
"""RFC 6750, 3.1."""
_LATEST_S: Final = 2**53
_US: Final = 1_000_000
_RETRY_S: Final = 5


class KeysUnavailable(HermodError):
    """An issuer's keys cannot be had. The message is for the operator."""


class KeySource(Protocol):
    """Where the keys of an issuer come from."""

    async def find(self, kid: str | None, algorithm: str) -> TokenKey | None:
        """The key that a token names. Raises KeysUnavailable when none at all can be had."""
        ...


class Trusted(NamedTuple):
    """An issuer with its keys."""

    issuer: JwtIssuer
    keys: KeySource
    is_own: bool = False
    """Whether the gateway itself made its tokens."""


class Verified(NamedTuple):
    """A token that is what it says."""

    trusted: Trusted
    claims: Mapping[str, Any]
    ends_at: int
    """`exp`, in microseconds."""


class FixedKeys:
    """Keys that the configuration holds."""

    def __init__(self, keys: Sequence[TokenKey], *, has_names: bool) -> None:
        """`has_names`: whether a token's `kid` tells them apart; a single key needs none."""
        self._keys = keys
        self._has_names = has_names

    async def find(self, kid: str | None, algorithm: str) -> TokenKey | None:
        """The key that a token names."""
        return chosen(self._keys, kid if self._has_names else None, algorithm)


def fixed_source(issuer: JwtIssuer) -> FixedKeys:
    """The keys of an issuer whose configuration holds them. Raises BadKey."""
    return FixedKeys(fixed_keys(issuer), has_names=bool(issuer.jwks))


def invalid_token(why: str) -> Refused:
    """A 401 that names the failed check, and nothing of the token (product.md 2.3)."""
    failure = Failure(f"The token is not valid: {why}", status_code=401, type="invalid_token")
    return Refused(failure, challenge=_CHALLENGE)


def is_token(secret: bytes) -> bool:
    """Whether a credential is a JWT: three parts, the first an object with `alg`."""
    found = _SHAPE.fullmatch(secret)
    if found is None:
        return False
    if len(secret) > _MAX_BYTES:
        return True
    try:
        header = json.loads(_decoded(found[1]).decode())
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def issuer_of(token: bytes) -> str:
    """Whom a token names as its issuer, be it true or not; empty where it names nobody."""
    found = _SHAPE.fullmatch(token) if len(token) <= _MAX_BYTES else None
    try:
        return "" if found is None else _text(_object(found[2]).get("iss"))
    except Refused:
        return ""


class Verifier:
    """Judges tokens of several issuers."""

    def __init__(self, trusted: Sequence[Trusted]) -> None:
        """Raises ConfigError when it is not clear who an issuer is."""
        self.has_others: Final = any(not one.is_own for one in trusted)
        """Whether anybody but the gateway itself makes tokens."""
        self._trusted = {one.issuer.issuer: one for one in trusted}
        self._own: Final = {one.issuer.issuer for one in trusted if one.is_own}
        if len(self._trusted) != len(trusted):
            raise ConfigError(["auth.jwt.issuers: an issuer is named twice, or named as our own"])

    def is_own(self, token: bytes) -> bool:
        """Whether it claims to be a token of the gateway's own."""
        return issuer_of(token) in self._own

    async def verify(self, token: bytes, now: int) -> Verified:
        """The token's claims; `now` in microseconds.

        Raises Refused: 401 `invalid_token`, or 503 while an issuer's keys cannot be had.
        """
        if len(token) > _MAX_BYTES:
            raise invalid_token(f"it is larger than {_MAX_BYTES} bytes")
        found = _SHAPE.fullmatch(token)
        if found is None:
            raise invalid_token("it is malformed")
        header, claims = _object(found[1]), _object(found[2])
        trusted = self._trusted.get(_text(claims.get("iss")))
        if trusted is None:
            raise invalid_token("its issuer is not trusted here")
        await _require_signature(token, found, header, trusted)
        return Verified(trusted, claims, _judged(claims, trusted.issuer, now))


async def _require_signature(
    token: bytes, found: re.Match[bytes], header: Mapping[str, Any], trusted: Trusted
) -> None:
    """Only by a key of the issuer's; what the header says of keys but their name is not read.

    Raises Refused.
    """
    algorithm = _text(header.get("alg"))
    if algorithm not in trusted.issuer.algorithms:
        raise invalid_token("its algorithm is not allowed for its issuer")
    if "crit" in header:
        raise invalid_token("its header demands an extension")  # RFC 7515, 4.1.11
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise invalid_token("its key id is no text")
    try:
        key = await trusted.keys.find(kid, algorithm)
    except KeysUnavailable:
        failure = Failure(
            "The keys of the token's issuer cannot be had at the moment",
            status_code=503,
            type="issuer_unavailable",
        )
        raise Refused(failure, retry_after_s=_RETRY_S) from None
    if key is None:
        raise invalid_token("its signing key is not known")
    try:
        signature = _decoded(found[3])
    except ValueError:
        raise invalid_token("it is malformed") from None
    if not key.has_signed(algorithm, token[: found.start(3) - 1], signature):
        raise invalid_token("its signature does not match")


def _judged(claims: Mapping[str, Any], issuer: JwtIssuer, now: int) -> int:
    """When the token ends, in microseconds. Raises Refused (RFC 7519, 4.1)."""
    audience = claims.get("aud")
    named = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    if not any(isinstance(one, str) and one in issuer.audience for one in named):
        raise invalid_token("its audience is another one")
    now_s = now / _US
    ends_s = _date(claims, "exp")
    if ends_s is None:
        raise invalid_token("it has no exp")
    if now_s >= ends_s + issuer.leeway_s:
        raise invalid_token("it has expired")
    begins_s = _date(claims, "nbf")
    if begins_s is not None and now_s < begins_s - issuer.leeway_s:
        raise invalid_token("it is not valid yet (nbf)")
    made_s = _date(claims, "iat")
    if made_s is not None and now_s < made_s - issuer.leeway_s:
        raise invalid_token("it was issued in the future (iat)")
    if ends_s - (now_s if made_s is None else made_s) > issuer.max_lifetime_s:
        raise invalid_token("its lifetime is longer than its issuer's may be")
    return int(ends_s * _US)


def _date(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate, in seconds. Raises Refused for what is none."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LATEST_S:
        raise invalid_token(f"its {name} is no date")
    return float(value)


def _object(part: bytes) -> Mapping[str, Any]:
    """A part of the token as a JSON object. Raises Refused, also for a name that comes twice."""
    try:
        value = json.loads(_decoded(part).decode(), object_pairs_hook=_unique)
    except _Repeated:
        raise invalid_token("it says something twice") from None
    except (ValueError, RecursionError):
        raise invalid_token("it is malformed") from None
    if not isinstance(value, dict):
        raise invalid_token("it is malformed")
    return cast("dict[str, Any]", value)


class _Repeated(Exception):
    """A name that comes twice: readers would differ on what it means (RFC 8725, 2.4)."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Repeated
    return members


def _decoded(part: bytes) -> bytes:
    """Raises ValueError."""
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
