"""What all calls to one provider with one key have in common: worked out once, used many times."""

from typing import Final

import msgspec

from hermod.domain.forwarding import merged
from hermod.domain.headers import SECRET_NAME
from hermod.domain.provider import Auth, KeySettings, ProviderSettings
from hermod.net.messages import Headers, Trust
from hermod.providers.adapter import Prepared
from hermod.providers.prepare import build_headers, key_header

_FETCHED: Final = frozenset({Auth.AWS, Auth.AZURE, Auth.GOOGLE})
_TAG: Final = "X-Client-Request-Id"
_JSON: Final = "application/json"
_AGENT: Final = "user-agent"


class Line(msgspec.Struct, frozen=True):
    """A provider and a key, ready for calls. The one place that opens their secrets."""

    extra: dict[str, str]
    """The operator's headers."""
    shown: tuple[str, str] | None
    """The header that shows the key."""
    usual: Headers
    """All headers of a JSON request but its tag."""
    trust: Trust
    secrets: tuple[str, ...]
    """What no client may read."""
    fetches: bool
    """Whether each request needs a credential that is fetched or computed."""

    def headers(self, prepared: Prepared, forward: Headers, tag: str) -> tuple[Headers, Headers]:
        """The headers of many requests, and those of this one; `forward` are the caller's."""
        if not forward and not prepared.headers and prepared.content_type == _JSON:
            return self.usual, ((_TAG, tag),)
        own = build_headers(self.shown, self.extra, tag, prepared.content_type, prepared.headers)
        if not forward:
            return (), tuple(own.items())
        theirs = {name.lower() for name in self.extra}
        if _AGENT not in theirs and any(name == _AGENT for name, _ in forward):
            del own["User-Agent"]  # ours only stands in where nobody named one
        return (), merged(tuple(own.items()), forward)


def line_of(provider: ProviderSettings, key: KeySettings | None) -> Line:
    """Everything that does not change from call to call."""
    extra = {name: value.reveal() for name, value in provider.extra_headers}
    secret = key.value.reveal() if key is not None else ""
    shown = key_header(provider.row.auth, secret) if secret else None
    usual = build_headers(shown, extra, "")
    del usual[_TAG]
    return Line(
        extra,
        shown,
        tuple(usual.items()),
        Trust(not provider.insecure_skip_verify, provider.ca_cert_pem, provider.public_only),
        tuple(_secrets(provider, key)),
        fetches=not secret and provider.row.auth in _FETCHED and key is not None,
    )


def _secrets(provider: ProviderSettings, key: KeySettings | None) -> list[str]:
    # To mask a title or a referer, too, would change what models say.
    found = [value.reveal() for name, value in provider.extra_headers if SECRET_NAME.search(name)]
    if key is None:
        return found
    of_key = [key.value]
    if key.azure is not None:
        of_key.append(key.azure.client_secret)
    if key.bedrock is not None:
        of_key += [key.bedrock.secret_key, key.bedrock.session_token]
    return found + [each.reveal() for each in of_key if each]
