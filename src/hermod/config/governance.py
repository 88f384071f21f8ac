"""The `governance` section: who may ask, and what limits them (wire-contract 9 and 10.1)."""

from typing import Final

from hermod.config.limits import BOOKKEEPING, Limits, owner_of
from hermod.config.names import About, Names
from hermod.config.section import Section
from hermod.config.virtual_keys import VirtualKeys
from hermod.domain.governance import Customer, Entity, ModelLimits, ProviderLimits, Team

_LATER: Final[tuple[tuple[str, type, str], ...]] = (
    ("routing_rules", list, "a job goes where its model and its key say"),
    (
        "business_units",
        list,
        "customers and teams are the levels there are, its limits do not hold",
    ),
    ("roles", list, "there is one kind of admin"),
    ("pricing_overrides", list, "write prices in hermod.prices"),
    ("complexity_analyzer_config", dict, "there are no routing rules"),
)
_TEAM_LATER: Final = (
    ("source_id", "there is no user provisioning"),
    ("business_unit_id", "customers and teams are the levels there are"),
    *((key, "a team is a name with limits") for key in ("profile", "config", "claims")),
    *((key, "counted, not read") for key in ("virtual_key_count", "virtual_keys")),
    ("customer", "it goes by the id"),
)
_PROVIDER_LATER: Final = (
    "description", "send_back_raw_request", "send_back_raw_response", "store_raw_request_response",
    "network_config", "proxy_config", "custom_provider_config", "concurrency_and_buffer_size",
    "openai_config",
)  # fmt: skip


def read_governance(section: Section, about: About) -> tuple[Entity, ...]:
    """Everything of it but `auth_config`: customers, teams, virtual keys, limits of models and of
    providers. What is wrong is noted, so the rest may be of any kind then."""
    names, limits = Names(about), Limits(section)
    reader, keys = _Reader(names, limits), VirtualKeys(names, limits)
    entities: list[Entity] = []
    for read, key in (
        (reader.customer, "customers"),
        (reader.team, "teams"),
        (keys.read, "virtual_keys"),
        (reader.model, "model_configs"),
        (reader.provider, "providers"),
    ):
        for each in section.sections(key):
            entity = read(each)
            for name in BOOKKEEPING:
                each.ignored_in_each("Bifrost's own notes", name)
            each.finish()
            if entity is not None:
                entities.append(entity)
    limits.finish()
    keys.finish()
    for key, kind, reason in _LATER:
        section.later(key, kind, reason, neutral=[])
    return tuple(entities)


class _Reader:
    def __init__(self, names: Names, limits: Limits) -> None:
        self._names, self._limits = names, limits

    def customer(self, section: Section) -> Customer | None:
        """One of `customers`."""
        if (named := self._names.named(section, "customer")) is None:
            return None
        key, name = named
        budget, rate_limit = self._limits.of(section, owner_of(section, "customer", key))
        for member in ("teams", "virtual_keys"):
            section.ignored_in_each("counted, not read", member)
        return Customer(id=key, name=name, budget=budget, rate_limit=rate_limit)

    def team(self, section: Section) -> Team | None:
        """One of `teams`."""
        if (named := self._names.named(section, "team")) is None:
            return None
        key, name = named
        budget, rate_limit = self._limits.of(section, owner_of(section, "team", key))
        for member, reason in _TEAM_LATER:
            section.ignored_in_each(reason, member)
        return Team(
            id=key,
            name=name,
            customer_id=self._names.reference(section, "customer"),
            budget=budget,
            rate_limit=rate_limit,
        )

    def model(self, section: Section) -> ModelLimits | None:
        """One of `model_configs`."""
        model = section.text("model_name") or ""
        if not model:
            section.problem("missing: the model that is limited", "model_name")
        provider = self._names.provider_name(section) if section.has("provider") else None
        key = self._names.id_of(section, "model_config", f"{provider or ''}/{model}")
        budget, rate_limit = self._limits.of(section, owner_of(section, "model_config", key))
        scope = section.choice("scope", "global", ("global", "virtual_key"))
        section.take("scope_id")
        if scope != "global":
            section.ignored("limits of a model are for everybody, there are none for one key")
            return None
        self._names.only(section, "model_config", "model_name", f"{provider or ''}/{model}")
        return ModelLimits(
            id=key, model_name=model, provider=provider, budget=budget, rate_limit=rate_limit
        )

    def provider(self, section: Section) -> ProviderLimits | None:
        """One of `providers`, which are limits here and not what `providers` is above."""
        section.ignored_in_each("it goes by its name", "id")
        name = self._names.provider_name(section, "name")
        self._names.only(section, "provider", "name", name)
        budget, rate_limit = self._limits.of(section, owner_of(section, "provider", name))
        for member in _PROVIDER_LATER:
            section.ignored_in_each("a provider is configured in providers", member)
        return ProviderLimits(id=name, budget=budget, rate_limit=rate_limit)
