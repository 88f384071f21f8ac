"""Tokens of Microsoft Entra ID for Azure: a client's secret, a workload's identity, a machine's.

Formats: Microsoft, "OAuth 2.0 client credentials flow" (secret, and assertion of a federated
token), "Use Microsoft Entra Workload ID with AKS" (its environment), "How to use managed
identities on a virtual machine" (IMDS) and "in App Service and Azure Functions".
"""

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from hermod.calls.credentials import CredentialError
from hermod.calls.kept import Fetched, Kept, lasting
from hermod.domain.clock import Clock
from hermod.domain.provider import NO_SECRET, AzureKey, KeySettings, Secret
from hermod.net.client import HttpClient
from hermod.net.messages import Headers, Limits, NetError, Request

_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
_AUTHORITY: Final = "https://login.microsoftonline.com"
_IMDS: Final = "http://169.254.169.254/metadata/identity/oauth2/token"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FORM: Final = (("Content-Type", "application/x-www-form-urlencoded"),)
_TIMEOUT_S: Final = 15.0
_LIMITS: Final = Limits(connect_s=5.0, idle_s=10.0, reply_bytes=256 * 1024)
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_TENANT: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")
_CODE: Final = re.compile(r"AADSTS[0-9]{1,9}")
_NAME: Final = re.compile(r"[a-z0-9_]{1,64}")


class _Identity(NamedTuple):
    """Who asks, and for what."""

    tenant: str
    """Empty for the machine's own identity."""
    client: str
    secret: Secret
    scope: str
    token_file: str = ""


class _Told(msgspec.Struct):
    access_token: str = ""
    expires_in: int | str = 0
    expires_on: int | str = 0
    """App Service says only this: seconds since the epoch."""
    error: str = ""
    error_description: str = ""


_read_told: Final = msgspec.json.Decoder(_Told, strict=False).decode


class AzureTokens:
    """Fetches tokens and keeps them until shortly before they end.

    `environ` is the process's environment, as config read it: `AZURE_*` and `IDENTITY_*`.
    """

    def __init__(self, client: HttpClient, clock: Clock, environ: Mapping[str, str]) -> None:
        self._client = client
        self._clock = clock
        self._environ = environ
        self._kept: dict[_Identity, Kept[str]] = {}
        """As many as the configuration has keys."""

    async def token(self, key: KeySettings) -> str:
        """A token for this key's identity, or for what the environment or the machine is.

        Raises CredentialError.
        """
        identity = self._identity(key.azure or AzureKey())
        kept = self._kept.get(identity)
        if kept is None:
            kept = self._kept[identity] = Kept(self._clock, partial(self._ask, identity))
        return await kept.get()

    def _identity(self, azure: AzureKey) -> _Identity:
        scope = azure.scopes[0] if azure.scopes else _SCOPE
        if azure.client_secret:
            if not azure.tenant_id or not azure.client_id:
                raise CredentialError("a client_secret needs a tenant_id and a client_id")
            return _Identity(azure.tenant_id, azure.client_id, azure.client_secret, scope)
        tenant = azure.tenant_id or self._environ.get("AZURE_TENANT_ID", "")
        client = azure.client_id or self._environ.get("AZURE_CLIENT_ID", "")
        token_file = self._environ.get("AZURE_FEDERATED_TOKEN_FILE", "")
        if token_file and tenant and client:
            return _Identity(tenant, client, NO_SECRET, scope, token_file)
        secret = self._environ.get("AZURE_CLIENT_SECRET", "")
        if secret and tenant and client:
            return _Identity(tenant, client, Secret(secret), scope)
        return _Identity("", client, NO_SECRET, scope)

    async def _ask(self, identity: _Identity) -> Fetched[str]:
        if not identity.tenant:
            return await self._ask_machine(identity)
        fields = {
            "grant_type": "client_credentials",
            "client_id": identity.client,
            "scope": identity.scope,
        }
        if identity.token_file:
            fields["client_assertion_type"] = _ASSERTION
            fields["client_assertion"] = await _contents(identity.token_file)
        else:
            fields["client_secret"] = identity.secret.reveal()
        return await self._send("Entra ID", "POST", self._url(identity.tenant), _FORM, fields)

    def _url(self, tenant: str) -> str:
        if not _TENANT.fullmatch(tenant):
            raise CredentialError("tenant_id is not the name of a tenant")
        authority = self._environ.get("AZURE_AUTHORITY_HOST", "") or _AUTHORITY
        if "://" not in authority:
            authority = f"https://{authority}"
        parts = urlsplit(authority)
        # It would carry the secret in the open.
        if parts.scheme != "https" and parts.hostname not in _HERE:
            raise CredentialError("AZURE_AUTHORITY_HOST is not an https address")
        return f"{authority.rstrip('/')}/{quote(tenant)}/oauth2/v2.0/token"

    async def _ask_machine(self, identity: _Identity) -> Fetched[str]:
        query = {"resource": identity.scope.removesuffix("/.default")}
        if identity.client:
            query["client_id"] = identity.client
        endpoint = self._environ.get("IDENTITY_ENDPOINT", "")
        header = self._environ.get("IDENTITY_HEADER", "")
        if endpoint and header:
            headers: Headers = (("X-IDENTITY-HEADER", header),)
            url = f"{endpoint}?{urlencode({'api-version': '2019-08-01', **query})}"
        else:
            headers = (("Metadata", "true"),)
            url = f"{_IMDS}?{urlencode({'api-version': '2018-02-01', **query})}"
        return await self._send("the managed identity", "GET", url, headers, {})

    async def _send(
        self, who: str, method: str, url: str, headers: Headers, fields: Mapping[str, str]
    ) -> Fetched[str]:
        request = Request(method, url, headers, urlencode(fields).encode() if fields else b"")
        try:
            reply = await self._client.send(request, timeout_s=_TIMEOUT_S, limits=_LIMITS)
        except NetError as error:
            raise CredentialError(f"{who} gave no token: {error}") from error
        try:
            told = _read_told(reply.body)
        except msgspec.DecodeError:
            told = _Told()
        if reply.status != 200 or not told.access_token:
            raise CredentialError(f"{who} gave no token: {_reason(reply.status, told)}")
        lasts_s = _seconds(told.expires_in) or _seconds(told.expires_on) - self._clock.now() / 1e6
        if lasts_s <= 0 or not told.access_token.isascii() or not told.access_token.isprintable():
            raise CredentialError(f"{who} gave a token that cannot be used")
        return lasting(told.access_token, lasts_s, self._clock)


async def _contents(token_file: str) -> str:
    """The federated token, which is replaced now and then: it is read each time."""
    try:
        return (await asyncio.to_thread(Path(token_file).read_text, "ascii")).strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CredentialError(f"AZURE_FEDERATED_TOKEN_FILE cannot be read: {reason}") from error


def _reason(status: int, told: _Told) -> str:
    """The error's name and number; its description may repeat what was sent."""
    code = _CODE.search(told.error_description)
    name = told.error if _NAME.fullmatch(told.error) else f"HTTP {status}"
    return f"{name} ({code[0]})" if code else name


def _seconds(value: int | str) -> float:
    text = str(value)
    return float(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0.0
