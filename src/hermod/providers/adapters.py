"""Which dialect a request to a provider is written in."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from hermod.domain.provider import ProviderSettings, Row
from hermod.providers import (
    azure,
    huggingface,
    mistral,
    openai_shaped,
    openrouter,
    perplexity,
    sgl_rerank,
    xai,
)
from hermod.providers.adapter import Dialect
from hermod.providers.anthropic import dialect as anthropic
from hermod.providers.bedrock import dialect as bedrock
from hermod.providers.bedrock import embed as bedrock_embed
from hermod.providers.bedrock import images as bedrock_images
from hermod.providers.bedrock import rerank as bedrock_rerank
from hermod.providers.bridge.bridge import bridged
from hermod.providers.cohere import chat as cohere_chat
from hermod.providers.cohere import embed as cohere_embed
from hermod.providers.cohere import rerank as cohere_rerank
from hermod.providers.elevenlabs import dialect as elevenlabs
from hermod.providers.gemini import dialect as gemini
from hermod.providers.gemini import vertex
from hermod.providers.own_words import hearing_own_words
from hermod.providers.replicate import dialect as replicate

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType(
    {
        each.name: each
        for each in (
            openai_shaped.DIALECT,
            anthropic.DIALECT,
            cohere_chat.DIALECT,
            cohere_embed.DIALECT,
            cohere_rerank.DIALECT,
            elevenlabs.DIALECT,
            gemini.DIALECT,
            vertex.DIALECT,
            huggingface.DIALECT,
            replicate.DIALECT,
            azure.DIALECT,
            azure.CHAT_DIALECT,
            azure.RESPONSES_DIALECT,
            bedrock.DIALECT,
            bedrock_embed.DIALECT,
            bedrock_images.DIALECT,
            bedrock_rerank.DIALECT,
            mistral.DIALECT,
            openrouter.DIALECT,
            perplexity.DIALECT,
            sgl_rerank.DIALECT,
            xai.DIALECT,
        )
    }
)


def dialect_of(row: Row, request_type: str) -> Dialect:
    """The dialect of requests of this type."""
    return DIALECTS[row.dialect_of(request_type)]


class Way(msgspec.Struct, frozen=True):
    """How requests of one type reach a provider."""

    dialect: Dialect
    request_type: str
    """Whose path they take: another one's where the provider offers them only in its words."""


def way_of(
    provider: ProviderSettings, request_type: str, *, text_to_chat: bool, chat_to_responses: bool
) -> Way | None:
    """None when the provider does not offer the type. The switches are `client.compat`'s."""
    custom = provider.custom
    allowed = custom.allowed_requests if custom is not None else None
    if allowed is not None and request_type not in allowed:
        return None
    overridden = custom is not None and request_type in custom.path_overrides
    if overridden or request_type in provider.row.paths:
        dialect = hearing_own_words(dialect_of(provider.row, request_type), request_type)
        return Way(dialect, request_type)
    found = bridged(
        provider.row,
        request_type,
        DIALECTS,
        text_to_chat=text_to_chat,
        chat_to_responses=chat_to_responses,
    )
    if found is None:
        return None
    dialect, path_of = found
    return Way(hearing_own_words(dialect, request_type), path_of)


def mock_way(request_type: str) -> Way:
    """What the mock speaks: OpenAI has no rerank, all who offer one speak Cohere's."""
    mocked = cohere_rerank.DIALECT if request_type == "rerank" else openai_shaped.DIALECT
    return Way(mocked, request_type)
