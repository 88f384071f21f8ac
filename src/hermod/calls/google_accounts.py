"""Google's files of credentials, read: what each kind says, before anything is asked.

Formats: Google, "Using OAuth 2.0 for server to server applications" (service accounts), and
AIP-4112 to AIP-4117 (authorized users, service accounts, impersonation, external accounts).
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec

from hermod.calls.credentials import CredentialError
from hermod.domain.provider import Secret
from hermod.providers.lenient import items, members, text

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_IMPERSONATED: Final = "impersonated_service_account"
_LIFETIME_S: Final = 3600
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_NOT_HERE: Final = {
    "environment_id": "of AWS",
    "executable": "from a program",
    "certificate": "from a certificate",
}
"""Sources of external accounts that are not asked."""


class ServiceAccount(NamedTuple):
    """Signs for itself."""

    email: str
    key_id: str
    private_key: Secret
    token_url: str


class User(NamedTuple):
    """Somebody who logged in, `gcloud auth application-default login`."""

    client_id: str
    client_secret: Secret
    refresh_token: Secret
    token_url: str


class External(NamedTuple):
    """A workload whose identity another party vouches for."""

    audience: str
    token_type: str
    token_url: str
    file: str
    """Where the other party's token lies; empty where it is asked for at `url`."""
    url: str
    headers: tuple[tuple[str, str], ...]
    field: str
    """The member that holds it, empty where it is the whole text."""


class Impersonated(NamedTuple):
    """An account in whose name another one asks."""

    url: str
    delegates: tuple[str, ...]
    source: "ServiceAccount | User | External"


Account = ServiceAccount | User | External | Impersonated


def account_in(written: str, name: str) -> Account:
    """The account that a file describes; `name` says where it comes from.

    Raises CredentialError, which names what is wrong and nothing of the contents.
    """
    try:
        found: object = msgspec.json.decode(written)
    except (msgspec.DecodeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CredentialError(f"{name} is no JSON object")
    return _account(_Reader(members(cast("object", found)), name))


class _Reader:
    """The members of an object, each of which may be missing or of another type."""

    def __init__(self, told: Mapping[str, Any], name: str) -> None:
        self._told = told
        self.name = name

    def text(self, member: str, usual: str = "") -> str:
        return text(self._told.get(member)) or usual

    def need(self, member: str) -> str:
        found = self.text(member)
        if not found:
            raise CredentialError(f"{self.name} has no {member}")
        return found

    def url(self, member: str, usual: str = "") -> str:
        """An address that secrets may be sent to."""
        found = self.text(member, usual)
        try:
            parts = urlsplit(found)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme != "https" and parts.hostname not in _HERE:
            raise CredentialError(f"{self.name}: {member} is not an https address")
        return found

    def inner(self, member: str) -> "_Reader":
        return _Reader(members(self._told.get(member)), f"{self.name}: {member}")

    def texts(self, member: str) -> tuple[str, ...]:
        return tuple(map(text, items(self._told.get(member))))

    def pairs(self, member: str) -> tuple[tuple[str, str], ...]:
        found = members(self._told.get(member))
        return tuple((name, text(value)) for name, value in found.items())

    def has(self, member: str) -> bool:
        return member in self._told


def _account(told: _Reader) -> Account:
    kind = told.text("type")
    if kind == _IMPERSONATED:
        inner = told.inner("source_credentials")
        if inner.text("type") == _IMPERSONATED or inner.has("service_account_impersonation_url"):
            raise CredentialError(f"{told.name}: one impersonation of another is not supported")
        source = _account(inner)
        assert not isinstance(source, Impersonated)
        url = told.url("service_account_impersonation_url")
        return Impersonated(url, told.texts("delegates"), source)
    if kind == "external_account":
        source = _external(told)
        if not told.has("service_account_impersonation_url"):
            return source
        return Impersonated(told.url("service_account_impersonation_url"), (), source)
    if kind == "service_account":
        return ServiceAccount(
            told.need("client_email"),
            told.text("private_key_id"),
            Secret(told.need("private_key")),
            told.url("token_uri", _TOKEN_URI),
        )
    if kind == "authorized_user":
        return User(
            told.need("client_id"),
            Secret(told.need("client_secret")),
            Secret(told.need("refresh_token")),
            told.url("token_uri", _TOKEN_URI),
        )
    raise CredentialError(f"{told.name} is of a type that is not supported")


def _external(told: _Reader) -> External:
    source = told.inner("credential_source")
    for member, whose in _NOT_HERE.items():
        if source.has(member):
            raise CredentialError(f"{told.name}: identities {whose} are not supported")
    shape = source.inner("format")
    if not source.text("file") and not source.text("url"):
        raise CredentialError(f"{told.name}: credential_source has neither file nor url")
    is_json = shape.text("type") == "json"
    return External(
        told.need("audience"),
        told.need("subject_token_type"),
        told.url("token_url"),
        source.text("file"),
        source.text("url"),
        source.pairs("headers"),
        shape.need("subject_token_field_name") if is_json else "",
    )


async def assertion(account: ServiceAccount, now_s: int) -> str:
    """A signed JWT (RFC 7523) that says who asks. Raises CredentialError for a key that is none."""
    # To read a key is to check that it is one: tens of milliseconds.
    return await asyncio.to_thread(_signed, account, now_s)


def _signed(account: ServiceAccount, now_s: int) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - 10 MB, for this
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415

    header = {"alg": "RS256", "typ": "JWT"}
    if account.key_id:
        header["kid"] = account.key_id
    claims = {
        "iss": account.email,
        "scope": SCOPE,
        "aud": account.token_url,
        "iat": now_s,
        "exp": now_s + _LIFETIME_S,
    }
    signed = b".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
    try:
        pem = account.private_key.reveal().encode()
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CredentialError("the service account's private_key is no RSA key in PEM form")
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return (signed + b"." + _encoded(signature)).decode("ascii")


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")
