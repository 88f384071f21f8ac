"""Which dialect a request to a provider is written in."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hermod.domain.provider import Row
from hermod.providers import cohere_rerank, openai_shaped
from hermod.providers.adapter import Dialect

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType(
    {each.name: each for each in (openai_shaped.DIALECT, cohere_rerank.DIALECT)}
)


def dialect_of(row: Row, request_type: str) -> Dialect:
    """The dialect of requests of this type."""
    return DIALECTS[row.dialect_of(request_type)]


def mock_dialect(request_type: str) -> Dialect:
    """What the mock speaks: OpenAI has no rerank, all who offer one speak Cohere's."""
    return cohere_rerank.DIALECT if request_type == "rerank" else openai_shaped.DIALECT
