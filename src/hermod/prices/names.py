"""What the price data calls a provider and a model that are known here by other names."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from hermod.domain.provider import ProviderSettings

SELLERS: Final[Mapping[str, str]] = {
    "openai": "openai",
    "azure": "azure",
    "anthropic": "anthropic",
    "gemini": "google",
    "vertex": "google",
    "bedrock": "aws",
    "cohere": "cohere",
    "mistral": "mistral",
    "groq": "groq",
    "openrouter": "openrouter",
    "together": "together",
    "fireworks": "fireworks",
    "deepseek": "deepseek",
    "xai": "x-ai",
    "cerebras": "cerebras",
    "perplexity": "perplexity",
    "elevenlabs": "elevenlabs",
    "huggingface": "huggingface",
}
"""The data's name of each provider that it knows."""

_DEPLOYMENTS: Final = frozenset({"azure"})
"""Where the upstream's name for a model is the customer's own: the name that was asked for says
more."""
_ROUTER: Final = "huggingface"
_region: Final = re.compile(r"[a-z]{2,7}(?:-gov)?\.(?=[a-z0-9-]+\.)").match


def bases_of(providers: Iterable[ProviderSettings]) -> Mapping[str, str]:
    """By name, whose shape each of the operator's own providers has."""
    return {each.name: each.custom.base_provider_type for each in providers if each.custom}


class Named(NamedTuple):
    """A model in the words of the data."""

    seller: str
    model: str


def names_of(provider: str, base: str | None, model: str, asked: str | None) -> Iterator[Named]:
    """Where to look for a model's price, best first.

    `base` is the provider whose shape a custom one has; `model` is the upstream's name for it,
    `asked` the caller's.
    """
    shape = base or provider
    both = (model, asked) if shape not in _DEPLOYMENTS else (asked, model)
    for name in dict.fromkeys(each for each in both if each):
        if shape in SELLERS:
            yield from _names(shape, name)
        first, slash, rest = name.partition("/")
        # Another gateway may be behind an address of the operator's own.
        if base is not None and slash and first in SELLERS:
            yield from _names(first, rest)


def _names(shape: str, name: str) -> Iterator[Named]:
    seller = SELLERS[shape]
    if shape == _ROUTER:
        # "org/model:provider"; without it nobody knows who answered.
        model, colon, behind = name.rpartition(":")
        if colon:
            yield Named(f"{seller}_{behind}", model)
        return
    yield Named(seller, name)
    last = name.rpartition("/")[2]
    if seller in {"aws", "google"} and last != name:
        # Of an ARN, or of a resource's name.
        yield Named(seller, last)
    if seller == "aws" and (region := _region(last)):
        yield Named(seller, last[region.end() :])
    if seller == "fireworks" and last == name:
        yield Named(seller, f"accounts/fireworks/models/{name}")
