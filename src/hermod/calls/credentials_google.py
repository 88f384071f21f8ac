"""Tokens of Google's accounts for Vertex AI: the key's own account, or the one that is found where
Google's libraries look ("How Application Default Credentials works").

Not through google-auth: it asks synchronously, sleeps between its tries, starts threads of its own
and reads the environment, while every byte out of here goes through `net`.
"""

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlencode

import msgspec

from hermod.calls.credentials import CredentialError
from hermod.calls.google_accounts import (
    JWT_BEARER,
    SCOPE,
    Account,
    External,
    Impersonated,
    ServiceAccount,
    User,
    account_in,
    assertion,
)
from hermod.calls.kept import Fetched, Kept, lasting
from hermod.domain.clock import Clock
from hermod.domain.provider import KeySettings, Secret
from hermod.net.client import HttpClient
from hermod.net.messages import Limits, NetError, Reply, Request

_FORM: Final = (("Content-Type", "application/x-www-form-urlencoded"),)
_JSON: Final = ("Content-Type", "application/json")
_METADATA: Final = "metadata.google.internal"
_METADATA_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default/token"
_FLAVOR: Final = (("Metadata-Flavor", "Google"),)
_WELL_KNOWN: Final = "application_default_credentials.json"
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type
_TIMEOUT_S: Final = 15.0
_LIMITS: Final = Limits(connect_s=5.0, idle_s=10.0, reply_bytes=256 * 1024)
_NAME: Final = re.compile(r"[A-Za-z_]{1,64}")
_LONG: Final = re.compile(r"\S{40}")
"""What may be a piece of a secret."""
_SHOWN: Final = 200
_SECONDS_MAX: Final = 10**9


class GoogleTokens:
    """Fetches tokens and keeps them until shortly before they end.

    `environ` is the process's environment, as config read it: `GOOGLE_APPLICATION_CREDENTIALS`,
    `CLOUDSDK_CONFIG`, `HOME` and `GCE_METADATA_HOST`.
    """

    def __init__(self, client: HttpClient, clock: Clock, environ: Mapping[str, str]) -> None:
        self._client = client
        self._clock = clock
        self._environ = environ
        self._kept: dict[Secret, Kept[str]] = {}
        """By the credentials of a key; as many as the configuration has keys."""

    async def token(self, key: KeySettings) -> str:
        """A token for this key's account, or for the one that the environment or the machine is.

        Raises CredentialError.
        """
        written = key.vertex.auth_credentials if key.vertex is not None else Secret()
        kept = self._kept.get(written)
        if kept is None:
            kept = self._kept[written] = Kept(self._clock, partial(self._ask, written))
        return await kept.get()

    async def _ask(self, written: Secret) -> Fetched[str]:
        return await self._token_of(await self._account(written.reveal()))

    async def _account(self, written: str) -> Account | None:
        """None for the machine's own."""
        if written:
            return account_in(written, "vertex_key_config.auth_credentials")
        named = self._environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        if named:
            text = await _contents(named)
            if text is None:
                raise CredentialError("the file of GOOGLE_APPLICATION_CREDENTIALS cannot be read")
            return account_in(text, "the file of GOOGLE_APPLICATION_CREDENTIALS")
        home = self._environ.get("HOME", "")
        folder = self._environ.get("CLOUDSDK_CONFIG", "") or (home and f"{home}/.config/gcloud")
        text = await _contents(f"{folder}/{_WELL_KNOWN}") if folder else None
        return None if text is None else account_in(text, "gcloud's file of credentials")

    async def _token_of(self, account: Account | None) -> Fetched[str]:
        match account:
            case None:
                return await self._of_machine()
            case ServiceAccount():
                signed = await assertion(account, self._clock.now() // 1_000_000)
                fields = {"grant_type": JWT_BEARER, "assertion": signed}
                return await self._post("Google", account.token_url, fields)
            case User():
                fields = {
                    "grant_type": "refresh_token",
                    "client_id": account.client_id,
                    "client_secret": account.client_secret.reveal(),
                    "refresh_token": account.refresh_token.reveal(),
                }
                return await self._post("Google", account.token_url, fields)
            case External():
                return await self._exchanged(account)
            case Impersonated():
                return await self._impersonated(account)

    async def _of_machine(self) -> Fetched[str]:
        host = self._environ.get("GCE_METADATA_HOST", "") or _METADATA
        query = urlencode({"scopes": SCOPE})
        url = f"http://{host}{_METADATA_PATH}?{query}"
        try:
            reply = await self._send(Request("GET", url, _FLAVOR))
        except NetError as error:
            raise CredentialError(
                "no Google account: the key has no auth_credentials, "
                "GOOGLE_APPLICATION_CREDENTIALS is not set, and this machine has no metadata "
                f"server ({error.reason})"
            ) from error
        return self._read("the metadata server", reply)

    async def _exchanged(self, account: External) -> Fetched[str]:
        """RFC 8693, at Google's Security Token Service."""
        fields = {
            "grant_type": _EXCHANGE,
            "audience": account.audience,
            "scope": SCOPE,
            "requested_token_type": _ACCESS_TOKEN,
            "subject_token": await self._subject(account),
            "subject_token_type": account.token_type,
        }
        return await self._post("Google's token service", account.token_url, fields)

    async def _subject(self, account: External) -> str:
        """The other party's token, which is replaced now and then: it is read each time."""
        if account.file:
            text = await _contents(account.file)
            if text is None:
                raise CredentialError("the file of the external account's token cannot be read")
        else:
            try:
                reply = await self._send(Request("GET", account.url, account.headers))
            except NetError as error:
                raise CredentialError(f"the external account gave no token: {error}") from error
            if reply.status != 200:
                raise CredentialError(f"the external account gave no token: HTTP {reply.status}")
            text = reply.body.decode("utf-8", "replace")
        found = _members(text.encode()).get(account.field) if account.field else text.strip()
        if not isinstance(found, str) or not found:
            raise CredentialError("the external account's token is not where its file says")
        return found

    async def _impersonated(self, account: Impersonated) -> Fetched[str]:
        source = await self._token_of(account.source)
        body = {"scope": [SCOPE], "lifetime": "3600s", "delegates": list(account.delegates)}
        headers = (_JSON, ("Authorization", f"Bearer {source.value}"))
        request = Request("POST", account.url, headers, msgspec.json.encode(body))
        return await self._asked("the account to impersonate", request)

    async def _post(self, who: str, url: str, fields: Mapping[str, str]) -> Fetched[str]:
        return await self._asked(who, Request("POST", url, _FORM, urlencode(fields).encode()))

    async def _asked(self, who: str, request: Request) -> Fetched[str]:
        try:
            return self._read(who, await self._send(request))
        except NetError as error:
            raise CredentialError(f"{who} gave no token: {error}") from error

    async def _send(self, request: Request) -> Reply:
        return await self._client.send(request, timeout_s=_TIMEOUT_S, limits=_LIMITS)

    def _read(self, who: str, reply: Reply) -> Fetched[str]:
        told = _members(reply.body)
        # Impersonation has its own names for them.
        value = told.get("access_token") or told.get("accessToken")
        if reply.status != 200 or not isinstance(value, str) or not value:
            raise CredentialError(f"{who} gave no token: {_reason(reply.status, told)}")
        lasts_s = _seconds(told.get("expires_in"))
        if lasts_s is None:
            lasts_s = self._left_s(told.get("expireTime"))
        if lasts_s <= 0 or not value.isascii() or not value.isprintable():
            raise CredentialError(f"{who} gave a token that cannot be used")
        return lasting(value, lasts_s, self._clock)

    def _left_s(self, until: object) -> float:
        try:
            end_s = datetime.fromisoformat(str(until)).timestamp()
        except (ValueError, OverflowError, OSError):
            return 0.0
        return end_s - self._clock.now() / 1e6


async def _contents(path: str) -> str | None:
    """What a file holds; None where it cannot be read."""
    try:
        return await asyncio.to_thread(Path(path).read_text, "utf-8")
    except (OSError, ValueError):
        return None


def _members(body: bytes) -> dict[str, Any]:
    try:
        told: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}


def _seconds(value: object) -> float | None:
    text = str(value)
    found = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
    return None if found is None else float(min(found, _SECONDS_MAX))


def _reason(status: int, told: Mapping[str, Any]) -> str:
    """What an error says, in OAuth's shape or in Google's, unless it may repeat what was sent."""
    error: Any = told.get("error")
    if isinstance(error, dict):
        inner = cast("dict[str, Any]", error)
        error, described = inner.get("status"), inner.get("message")
    else:
        described = told.get("error_description")
    name = error if isinstance(error, str) and _NAME.fullmatch(error) else f"HTTP {status}"
    if not isinstance(described, str) or _LONG.search(described) or not described.isprintable():
        return name
    return f"{name} ({described[:_SHOWN]})"
