"""Which dialect an upstream speaks."""

from typing import Final

from hermod.providers import cohere, openai_shaped
from hermod.providers.adapter import Adapter

_RERANK: Final = "rerank"


def adapter_for(request_type: str) -> Adapter:
    """The dialect of a request type on an upstream of `compatible.toml`.

    OpenAI has no rerank: all who offer one speak Cohere's.
    """
    return cohere if request_type == _RERANK else openai_shaped
