"""Requests that cost nothing: a provider's list of models, or a look whether a key is good."""

from msgspec import structs

from hermod.calls.credentials import CredentialError, Credentials, secrets_in
from hermod.calls.line import Line, line_of
from hermod.calls.redact import redacted
from hermod.domain.provider import KeySettings, ProviderSettings
from hermod.net.client import HttpClient
from hermod.net.messages import Headers, Limits, Reply, Request
from hermod.providers.model_lists import FreeCall
from hermod.providers.prepare import build_headers


async def ask(
    client: HttpClient,
    credentials: Credentials | None,
    provider: ProviderSettings,
    key: KeySettings | None,
    call: FreeCall,
    *,
    timeout_s: float,
    limits: Limits | None = None,
) -> Reply:
    """What the provider answers, whatever the status, without any of its secrets.

    Raises NetError as the client does, and CredentialError.
    """
    line = line_of(provider, key)
    secrets = line.secrets
    request = Request(
        "POST" if call.body else "GET", call.url, _headers(line, call), call.body, line.trust
    )
    if line.fetches and key is not None:
        if credentials is None:
            raise CredentialError("credentials of this kind are not fetched here")
        proof = await credentials.headers(provider, key, request)
        request = structs.replace(request, own=proof)
        secrets += secrets_in(proof)
    reply = await client.send(request, timeout_s=timeout_s, limits=limits)
    return structs.replace(reply, body=redacted(reply.body, secrets))


def _headers(line: Line, call: FreeCall) -> Headers:
    found = build_headers(line.shown, line.extra, "hermod", dialect=call.headers)
    if not call.body:
        del found["Content-Type"]
    return tuple(found.items())
