"""What a virtual key may do (wire-contract 4.4, 10.2). Decisions, no I/O."""

from hermod.domain.failure import Failure
from hermod.domain.governance import ANY, ProviderConfig, VirtualKey
from hermod.domain.model_names import forbids, lists
from hermod.governance.book import Book, Rules


def key_refusal(key: VirtualKey, now: int, book: Book) -> Failure | None:
    """Why nothing may be asked with this key at `now`; None if it is good."""
    if not key.is_active:
        return _forbidden("virtual_key_blocked", "Virtual key is inactive")
    if key.expires_at is not None and now >= key.expires_at:
        return _forbidden("virtual_key_blocked", "Virtual key has expired")
    if key.id in book.stranded:
        message = "Virtual key belongs to a team or a customer that cannot be found"
        return _forbidden("virtual_key_blocked", message)
    return None


def target_refusal(key: VirtualKey, provider: str, model: str, rules: Rules) -> Failure | None:
    """Why a key may not ask a provider for a model; None if it may."""
    if rules.empty_means_all and not key.provider_configs:
        return None
    config = config_of(key, provider)
    if config is None:
        return _forbidden(
            "provider_blocked", f"Provider '{provider}' is not allowed for this virtual key"
        )
    if not allows(config, model, rules):
        return _forbidden("model_blocked", f"Model '{model}' is not allowed for this virtual key")
    return None


def has_all_models(key: VirtualKey, provider: str, rules: Rules) -> bool:
    """Whether it makes no difference which of a provider's models a key asks for."""
    if rules.empty_means_all and not key.provider_configs:
        return True
    config = config_of(key, provider)
    if config is None or config.blacklisted_models:
        return False
    return ANY in config.allowed_models or (rules.empty_means_all and not config.allowed_models)


def key_ids(key: VirtualKey, provider: str, rules: Rules) -> tuple[str, ...] | None:
    """Ids or names of the provider's keys that may be used; None for all of them."""
    if rules.empty_means_all and not key.provider_configs:
        return None
    config = config_of(key, provider)
    if config is None:
        return ()
    if ANY in config.key_ids or (rules.empty_means_all and not config.key_ids):
        return None
    return config.key_ids


def config_of(key: VirtualKey, provider: str) -> ProviderConfig | None:
    """What a key says of a provider. It has one word for each."""
    return next((config for config in key.provider_configs if config.provider == provider), None)


def allows(config: ProviderConfig, model: str, rules: Rules) -> bool:
    """Whether this model of the provider may be asked for. What is blacklisted never may."""
    if config.blacklisted_models and forbids(config.blacklisted_models, config.provider, model):
        return False
    if not config.allowed_models:
        return rules.empty_means_all
    return lists(config.allowed_models, config.provider, model)


def _forbidden(type_: str, message: str) -> Failure:
    return Failure(message, status_code=403, type=type_)
