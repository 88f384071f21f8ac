"""What tests govern with."""

from typing import Any, Final

from hermod.domain.governance import Budget, ProviderConfig, RateLimit, VirtualKey
from hermod.domain.usage import Estimate

USD: Final = 1_000_000_000
ESTIMATE: Final = Estimate(10, 5)


def budget(id_: str = "b", usd: float = 10, **more: Any) -> Budget:
    """Ten dollars, for ever."""
    return Budget(id=id_, max_limit_nanos=int(usd * USD), **{"reset_duration": "", **more})


def rate_limit(id_: str = "r", requests: int | None = 2, tokens: int | None = 100) -> RateLimit:
    """Two requests and a hundred tokens a minute."""
    return RateLimit(
        id=id_,
        request_max_limit=requests,
        request_reset_duration="1m",
        token_max_limit=tokens,
        token_reset_duration="1h",
    )


def config(provider: str = "openai", *models: str, **more: Any) -> ProviderConfig:
    """What a key may do with a provider: everything with these models."""
    said = {"id": f"pc-{provider}", "key_ids": ("*",), "weight": 1.0, **more}
    return ProviderConfig(provider=provider, allowed_models=models, **said)


def key(*configs: ProviderConfig, **more: Any) -> VirtualKey:
    """A key that is good."""
    return VirtualKey(**{"id": "k", "name": "first", "provider_configs": configs, **more})
