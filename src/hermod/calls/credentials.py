"""Credentials that must be fetched or computed for each request: who makes them, by provider."""

from typing import Final, Protocol

from hermod.domain.errors import HermodError
from hermod.domain.headers import SECRET_NAME
from hermod.domain.provider import Auth, KeySettings, ProviderSettings
from hermod.net.messages import Headers, Request

_SIGNATURE: Final = "AWS4-HMAC-SHA256 "


class CredentialError(HermodError):
    """A request cannot be authorized. The message is one sentence, without any secret."""


def secrets_in(proof: Headers) -> tuple[str, ...]:
    """Of the headers that `Credentials` made, what nobody else may read.

    A signature is good for one request alone and masked nowhere: it would be another one each time.
    """
    return tuple(
        value
        for name, value in proof
        if SECRET_NAME.search(name) and not value.startswith(_SIGNATURE)
    )


class TokenSource(Protocol):
    """Fetches bearer tokens and keeps them as long as they are good."""

    async def token(self, key: KeySettings) -> str:
        """A token for what this key describes. Raises CredentialError."""
        ...


class RequestSigner(Protocol):
    """Makes headers that are good for one request only."""

    async def headers(self, key: KeySettings, request: Request) -> Headers:
        """What signs this request. Raises CredentialError."""
        ...


class Credentials:
    """What a request needs beside the headers that show a static key."""

    def __init__(self, aws: RequestSigner, google: TokenSource, azure: TokenSource) -> None:
        self._aws = aws
        self._google = google
        self._azure = azure

    async def headers(
        self, provider: ProviderSettings, key: KeySettings, request: Request
    ) -> Headers:
        """The headers to add to `request`, which must have all others by now.

        None where the key has a value: `prepare.key_header` shows that. Raises CredentialError.
        """
        if key.value:
            return ()
        match provider.row.auth:
            case Auth.AWS:
                return await self._aws.headers(key, request)
            case Auth.GOOGLE:
                return (("Authorization", f"Bearer {await self._google.token(key)}"),)
            case Auth.AZURE:
                return (("Authorization", f"Bearer {await self._azure.token(key)}"),)
            case _:
                return ()
