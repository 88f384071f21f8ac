"""Which of a provider's keys a call uses: a decision without I/O (wire-contract 8.6)."""

from hermod.domain.failure import Failure
from hermod.domain.provider import KeySettings, ProviderSettings


def choose_key(
    provider: ProviderSettings, model: str, chance: float
) -> KeySettings | Failure | None:
    """A key by weight, `chance` in [0, 1); None where none is needed; a Failure where none fits.

    Weights that are all zero count as equal.
    """
    present = [key for key in provider.keys if key.enabled and (key.value or key.base_url)]
    if not present:
        if provider.keyless:
            return None
        return Failure(f"no keys found for provider: {provider.name} and model: {model}")
    eligible = [key for key in present if key.allows(model)]
    if not eligible:
        return Failure(f"no keys found that support model: {model}")
    if len(eligible) == 1:
        return eligible[0]
    total = sum(key.weight for key in eligible)
    if total <= 0:
        return eligible[int(chance * len(eligible))]
    point = chance * total
    for key in eligible:
        point -= key.weight
        if point < 0:
            return key
    return eligible[-1]
