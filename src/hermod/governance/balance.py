"""Which provider gets a model that a caller names without one (wire-contract 8.3). No I/O."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hermod.domain.governance import ProviderConfig, VirtualKey
from hermod.governance.book import Rules
from hermod.governance.judge import allows


class Placed(NamedTuple):
    """Where such a request goes."""

    provider: str
    fallbacks: tuple[str, ...]
    """`provider/model`, for a request that names none itself."""


def place(
    key: VirtualKey,
    model: str,
    rules: Rules,
    chance: float,
    offers: Callable[[str, str], bool],
) -> Placed | None:
    """A provider of the key's by weight, `chance` in [0, 1); None where none has the model.

    Weights that are all zero count as equal. A provider without a weight is never chosen, only
    fallen back to. Where a provider's list has the model's very name, `*` and patterns of others
    do not count: whoever wrote the lists said whose model it is. `offers(provider, model)` says
    whether a provider that is configured has it, as far as anybody knows.
    """
    able = [config for config in key.provider_configs if allows(config, model, rules)]
    named = [
        config
        for config in able
        if model in config.allowed_models or f"{config.provider}/{model}" in config.allowed_models
    ]
    able = [config for config in named or able if offers(config.provider, model)]
    chosen = _by_weight([config for config in able if config.weight is not None], chance)
    if chosen is None:
        return None
    others = [config for config in able if config is not chosen]
    others.sort(key=lambda config: -1.0 if config.weight is None else config.weight, reverse=True)
    return Placed(chosen.provider, tuple(f"{config.provider}/{model}" for config in others))


def _by_weight(configs: Sequence[ProviderConfig], chance: float) -> ProviderConfig | None:
    total = sum(config.weight or 0.0 for config in configs)
    if total <= 0:
        return configs[int(chance * len(configs))] if configs else None
    point = chance * total
    for config in configs:
        point -= config.weight or 0.0
        if point < 0:
            return config
    return configs[-1]
