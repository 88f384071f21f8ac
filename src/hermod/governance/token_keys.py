"""Keys that prove who made a token: what kind they are, and for which algorithms they are good.

Which algorithms fit a key follows from the key alone, never from the token (RFC 8725, 3.1).
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from hermod.domain.errors import HermodError
from hermod.domain.jwt import SHARED_SECRET_ALGORITHMS, JwtIssuer
from hermod.domain.provider import Secret

if TYPE_CHECKING:
    from jwt.algorithms import Algorithm

_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA_BITS: Final = range(2048, 8193)
"""RFC 7518, 3.3; longer ones only cost time."""
_EXPONENT_BITS: Final = 32
_KEYS_MAX: Final = 100
_SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""RFC 7518, 3.2: at least as long as the hash."""


class BadKey(HermodError):
    """Not a key, or not one that may be relied on. The message has nothing of it."""


class TokenKey(NamedTuple):
    """A key to check signatures with."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any
    """As the library wants it."""

    def has_signed(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether this is its signature; False for an algorithm that it is not good for."""
        if algorithm not in self.algorithms:
            return False
        return _algorithms()[algorithm].verify(signed, self.key, signature)


def chosen(keys: Iterable[TokenKey], kid: str | None, algorithm: str) -> TokenKey | None:
    """The key that a token means. Without a `kid` there must be no doubt which one that is."""
    fit = [key for key in keys if algorithm in key.algorithms]
    if kid is not None:
        return next((key for key in fit if key.kid == kid), None)
    return fit[0] if len(fit) == 1 else None


def key_of_secret(secret: Secret) -> TokenKey:
    """A secret that the gateway shares with the issuer. Raises BadKey for a short one."""
    octets = secret.reveal().encode()
    fit = frozenset(name for name, least in _SECRET_BYTES.items() if len(octets) >= least)
    if not fit:
        raise BadKey("a shared secret needs at least 32 bytes")
    return TokenKey(None, fit, octets)


def key_of_pem(pem: str) -> TokenKey:
    """The public key in a PEM text, or of the certificate in it. Raises BadKey."""
    # 10 MB of memory, which gateways without tokens never need.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

    text = pem.strip().encode()
    try:
        if b"BEGIN CERTIFICATE" in text:
            return _judged(None, load_pem_x509_certificate(text).public_key())
        return _judged(None, load_pem_public_key(text))
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("the public key is no PEM of a public key or a certificate") from None


def keys_of_set(text: bytes | str) -> tuple[TokenKey, ...]:
    """The keys of a JSON Web Key Set; entries that cannot be used are passed over (RFC 7517, 5).

    Raises BadKey where the whole is no such set.
    """
    try:
        told: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise BadKey("not JSON") from None
    entries = cast("dict[str, Any]", told).get("keys") if isinstance(told, dict) else None
    if not isinstance(entries, list):
        raise BadKey("not a JSON Web Key Set")
    found: list[TokenKey] = []
    for entry in cast("list[Any]", entries)[:_KEYS_MAX]:
        try:
            found.append(key_of_jwk(entry))
        except BadKey:
            continue
    return tuple(found)


def key_of_jwk(entry: object) -> TokenKey:
    """One public key (RFC 7517, 4). Raises BadKey for any other kind, and for what is not one."""
    from jwt.exceptions import PyJWTError  # noqa: PLC0415

    if not isinstance(entry, dict):
        raise BadKey("not an object")
    jwk = cast("dict[str, Any]", entry)
    if jwk.get("kty") not in ("RSA", "EC", "OKP") or "d" in jwk:
        raise BadKey("not a public key")
    if jwk.get("use", "sig") != "sig":
        raise BadKey("not for signatures")
    members = {name: value for name, value in jwk.items() if isinstance(value, str)}
    try:
        key = _loaded(members)
    except (PyJWTError, ValueError, TypeError, KeyError):
        raise BadKey("not a key") from None
    judged = _judged(members.get("kid"), key)
    named = members.get("alg")
    if named == "Ed25519":
        named = "EdDSA"  # RFC 9864 has the new name
    if named is None:
        return judged
    if named not in judged.algorithms:
        raise BadKey("its algorithm does not fit it")
    return judged._replace(algorithms=frozenset({named}))


def problems_of(issuer: JwtIssuer) -> Sequence[str]:
    """Why tokens of this issuer could not be judged safely; empty where they can."""
    shared = [name for name in issuer.algorithms if name in SHARED_SECRET_ALGORITHMS]
    sources = (issuer.jwks_url, issuer.jwks, issuer.public_key, issuer.secret)
    if not issuer.algorithms or not issuer.audience or not issuer.issuer:
        return ("an issuer, its audience and its algorithms must be named",)
    if sum(map(bool, sources)) != 1:
        return ("exactly one source of keys is needed",)
    if shared and len(shared) != len(issuer.algorithms):
        return ("algorithms with a shared secret and with public keys cannot be mixed",)
    if bool(shared) != bool(issuer.secret):
        return ("the algorithms do not fit the kind of key",)
    if issuer.jwks_url:
        return ()
    try:
        fit = {name for key in fixed_keys(issuer) for name in key.algorithms}
    except BadKey as error:
        return (str(error),)
    unfit = [name for name in issuer.algorithms if name not in fit]
    # A set may hold keys of one kind today and of another tomorrow; a single key stays what it is.
    if not fit or (unfit and not issuer.jwks):
        return (f"the key is not good for {', '.join(unfit)}",)
    return ()


def fixed_keys(issuer: JwtIssuer) -> tuple[TokenKey, ...]:
    """The keys of an issuer that the configuration holds. Raises BadKey."""
    if issuer.secret:
        return (key_of_secret(issuer.secret),)
    if issuer.public_key:
        return (key_of_pem(issuer.public_key),)
    return keys_of_set(issuer.jwks)


def _loaded(members: Mapping[str, str]) -> object:
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm  # noqa: PLC0415

    kinds = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
    return kinds[members["kty"]].from_jwk(dict(members))


def _judged(kid: str | None, key: object) -> TokenKey:
    """A public key with what it is good for. Raises BadKey."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415

    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in _RSA_BITS:
            raise BadKey("an RSA key needs 2048 to 8192 bits")
        if key.public_numbers().e.bit_length() > _EXPONENT_BITS:
            raise BadKey("an RSA key with so large an exponent only costs time")
        return TokenKey(kid, _RSA, key)
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return TokenKey(kid, frozenset({_CURVES[key.curve.name]}), key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return TokenKey(kid, frozenset({"EdDSA"}), key)
    raise BadKey("a kind of key that no algorithm here uses")


@cache
def _algorithms() -> Mapping[str, "Algorithm"]:
    from jwt.algorithms import get_default_algorithms  # noqa: PLC0415

    return get_default_algorithms()
