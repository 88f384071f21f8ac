"""What a provider can be asked for, as the table and the bridges have it."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from hermod.domain.provider import ProviderSettings, Row
from hermod.kinds.registry import KINDS
from hermod.providers.adapters import way_of

REQUEST_TYPES: Final = tuple(kind.request_type for kind in KINDS)
_TEXTS: Final = ("chat_completion", "text_completion", "responses")


class Served(NamedTuple):
    """How requests of one type reach a provider."""

    through: str | None = None
    """The request type that they are translated to; None when they go as they are."""
    streams: bool = False
    """Whether it gives texts piece by piece."""


def served(
    provider: ProviderSettings, *, text_to_chat: bool = False, chat_to_responses: bool = False
) -> Mapping[str, Served]:
    """By request type, in the order of `REQUEST_TYPES`; what it cannot do is absent.

    The switches are `client.compat.convert_text_to_chat` and `.convert_chat_to_responses`.
    """
    found: dict[str, Served] = {}
    for name in REQUEST_TYPES:
        way = way_of(provider, name, text_to_chat=text_to_chat, chat_to_responses=chat_to_responses)
        if way is not None:
            through = None if way.request_type == name else way.request_type
            found[name] = Served(through, name in _TEXTS and way.dialect.polling is None)
    return found


def mock_served() -> Mapping[str, Served]:
    """The same of the mock inside this process."""
    return {name: Served(streams=name in _TEXTS) for name in REQUEST_TYPES}


def unconfigured(row: Row) -> ProviderSettings:
    """A provider that nobody configured, to be looked at, not called."""
    return ProviderSettings(
        name=row.name,
        origin="",
        row=row,
        base_url=row.base_url,
        keys=(),
        attempt_timeout_s=0,
        max_retries=0,
        retry_backoff_initial_ms=0,
        retry_backoff_max_ms=0,
        concurrency=0,
    )


def example(row: Row) -> Mapping[str, object]:
    """What of `providers` in config.json configures it; secrets stand in variables."""
    variable = row.key_env[0] if row.key_env else ""
    key: dict[str, object] = {"name": "main"}
    match row.dialect:
        case "azure":
            key["value"] = f"env.{variable}"
            key["azure_key_config"] = {"endpoint": "https://my-resource.openai.azure.com"}
            key["aliases"] = {"gpt-4.1": "my-deployment"}
        case "bedrock":
            key["bedrock_key_config"] = {
                "access_key": "env.AWS_ACCESS_KEY_ID",
                "secret_key": "env.AWS_SECRET_ACCESS_KEY",
                "region": "eu-west-1",
            }
        case "vertex":
            key["vertex_key_config"] = {
                "project_id": "my-project",
                "region": "europe-west4",
                "auth_credentials": "env.VERTEX_CREDENTIALS",
            }
        case _ if row.keyless:
            return {row.name: {"network_config": {"base_url": row.base_url}}}
        case _:
            key["value"] = f"env.{variable}"
    return {row.name: {"keys": [key]}}
