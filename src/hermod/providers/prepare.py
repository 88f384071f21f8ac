"""The headers of a request to an upstream, but for credentials that must be fetched."""

from collections.abc import Mapping
from typing import Final

from hermod import __version__
from hermod.domain.provider import Auth, KeySettings

_HEADER: Final[Mapping[Auth, str]] = {
    Auth.X_API_KEY: "x-api-key",
    Auth.X_GOOG_API_KEY: "x-goog-api-key",
    Auth.GOOGLE: "x-goog-api-key",
    Auth.API_KEY: "api-key",
    Auth.AZURE: "api-key",
    Auth.XI_API_KEY: "xi-api-key",
}
_AGENT: Final = f"Hermod/{__version__}"


def key_header(auth: Auth, secret: str) -> tuple[str, str]:
    """The header that shows a key. AWS takes keys of Bedrock as bearer tokens."""
    name = _HEADER.get(auth)
    return ("Authorization", f"Bearer {secret}") if name is None else (name, secret)


def build_headers(
    key: tuple[str, str] | None,
    extra: Mapping[str, str],
    request_tag: str,
    content_type: str = "application/json",
    dialect: tuple[tuple[str, str], ...] = (),
) -> dict[str, str]:
    """The headers of a request. Of those in `extra` none replaces the gateway's own but the agent
    and what the dialect adds.

    `request_tag` names the attempt, so that both ends can find it in their logs.
    """
    own = {"Content-Type": content_type, "X-Client-Request-Id": request_tag}
    if key is not None:
        own[key[0]] = key[1]
    taken = {name.lower() for name in own}
    theirs = {name: value for name, value in extra.items() if name.lower() not in taken}
    given = {name.lower() for name in theirs}
    theirs.update((name, value) for name, value in dialect if name.lower() not in given)
    if "user-agent" not in given:
        theirs["User-Agent"] = _AGENT
    return theirs | own


def upstream_model(key: KeySettings | None, model: str) -> str:
    """What the model is called where this key calls it (`aliases`, deployments)."""
    if key is None or not key.aliases:
        return model
    return key.aliases.get(model, model)
