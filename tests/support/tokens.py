"""Tokens made by another library than the one that judges them, and some that none would make."""

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

ISSUER: Final = "https://idp.example/"
AUDIENCE: Final = "my-gateway"
SHARED: Final = "a shared secret of at least thirty-two bytes"


@cache
def rsa(kid: str = "rsa-1") -> RSAKey:
    """An issuer's key. Making one takes a while, so it is made once."""
    return RSAKey.generate_key(2048, {"kid": kid}, private=True)


@cache
def ec(kid: str = "ec-1", curve: str = "P-256") -> ECKey:
    """The same on a curve."""
    return ECKey.generate_key(curve, {"kid": kid}, private=True)


@cache
def ed(kid: str = "ed-1") -> OKPKey:
    """The same for EdDSA."""
    return OKPKey.generate_key("Ed25519", {"kid": kid}, private=True)


def weak_pem() -> str:
    """A public key that is too short."""
    key = generate_private_key(65537, 1024).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def shared(secret: str = SHARED) -> OctKey:
    """A secret that both sides know."""
    return OctKey.import_key(secret)


def claims(now_s: int, **changed: Any) -> dict[str, Any]:
    """A good set of them; what is None is left out."""
    made = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "somebody",
        "vk_id": "key-1",
        "iat": now_s,
        "exp": now_s + 3600,
        **changed,
    }
    return {name: value for name, value in made.items() if value is not None}


def signed(
    told: Mapping[str, Any],
    key: Key | None = None,
    algorithm: str = "RS256",
    **header: Any,
) -> str:
    """A token with these claims; `header` adds to its header, None takes away."""
    key = key or rsa()
    whole = {"alg": algorithm, "typ": "JWT", "kid": key.kid, **header}
    shown = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(shown, dict(told), key, algorithms=[algorithm])


def by_hand(header: bytes, payload: bytes, signature: bytes = b"") -> str:
    """A token of these parts, whatever they are."""
    return ".".join(encoded(part) for part in (header, payload, signature))


def encoded(part: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def tampered(token: str, part: int) -> str:
    """The token with one bit of this part changed, where it still decodes to something else."""
    parts = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(parts[part] + "=" * (-len(parts[part]) % 4)))
    raw[len(raw) // 2] ^= 1
    parts[part] = encoded(bytes(raw))
    return ".".join(parts)


def key_set(*keys: Key) -> str:
    """What an issuer publishes (RFC 7517, 5)."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]})
