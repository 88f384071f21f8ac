"""`governance.virtual_keys`: what callers show, and what they may do with it."""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from hermod.config.limits import BOOKKEEPING, Limits, Owner, owner_of
from hermod.config.names import Names
from hermod.config.section import Section
from hermod.domain.governance import ANY, ProviderConfig, VirtualKey
from hermod.domain.model_names import pattern_problem
from hermod.domain.wire_time import from_rfc3339

_PREFIX: Final = "sk-bf-"
_NAMED: Final = "it goes by the id"
_LATER: Final = (
    ("mcp_configs", "there is no MCP gateway"),
    ("access_profile_id", "there are no access profiles: write what the key may do here"),
    ("team", _NAMED),
    ("customer", _NAMED),
)
_SHORT_VALUE: Final = 16
_COUNT: Final = 1_000_000


@dataclass(slots=True)
class _Told:
    """What is worth one warning, however many keys it is true of."""

    sections: list[Section] = field(default_factory=list[Section])

    def warn(self, text: str) -> None:
        if self.sections:
            more = len(self.sections) - 1
            self.sections[0].warn(f"{text}{f' (and {more} more)' * (more > 0)}")


class VirtualKeys:
    """Reads them one by one."""

    def __init__(self, names: Names, limits: Limits) -> None:
        self._names, self._limits = names, limits
        self._empty = {key: _Told() for key in ("provider_configs", "allowed_models", "key_ids")}

    def finish(self) -> None:
        """What can be told only when all is read."""
        meaning = (
            'nothing; "hermod": {"empty_lists": "all"} gives it the meaning of Bifrost 1.4'
            if self._names.about.empty_lists == "none"
            else 'everything, as "hermod.empty_lists" or "version": 1 says; write "*" to be plain'
        )
        for key, told in self._empty.items():
            told.warn(f"{key} is empty or missing, which allows {meaning}")

    def read(self, section: Section) -> VirtualKey | None:
        """One of `virtual_keys`."""
        if (named := self._names.named(section, "virtual_key")) is None:
            return None
        key, name = named
        value = self._value(section)
        owner = owner_of(section, "virtual_key", key)
        budget, rate_limit = self._limits.of(section, owner)
        team = self._names.reference(section, "team")
        customer = self._names.reference(section, "customer")
        if section.has("team_id") and section.has("customer_id"):
            section.problem("VirtualKey cannot be attached to both Team and Customer")
        for member, reason in _LATER:
            section.ignored_in_each(reason, member)
        return VirtualKey(
            id=key,
            name=name,
            description=section.text("description") or "",
            secret_hash=hashlib.sha256(value.encode()).hexdigest() if value else "",
            last_four=value[-4:] if len(value) >= _SHORT_VALUE else "",
            is_active=section.flag("is_active", default=True),
            expires_at=_instant(section, "expires_at"),
            provider_configs=self._provider_configs(section, owner),
            team_id=team,
            customer_id=customer,
            budget=budget,
            rate_limit=rate_limit,
            max_parallel_jobs=section.integer("max_parallel_jobs", None, 1, _COUNT),
            max_pending_jobs=section.integer("max_pending_jobs", None, 1, _COUNT),
            on_limit=section.choice("on_limit", "", ("delay", "reject")),
        )

    def _value(self, section: Section) -> str:
        """What callers show; empty where nobody can."""
        value = section.secret("value").reveal().strip()
        if not section.has("value"):
            section.warn("has no value, so only tokens lead to it")
        if not value:
            return ""
        if not value.isascii() or not value.isprintable() or " " in value:
            section.problem("a key is made of visible characters of ASCII", "value")
            return ""
        if value == self._names.about.admin_token.reveal():
            section.problem("is HERMOD_ADMIN_TOKEN: give the key a value of its own", "value")
        self._names.only(section, "virtual_key", "value", value)
        if not value.lower().startswith(_PREFIX):
            section.warn(f"does not begin with {_PREFIX}: only x-bf-vk takes it", "value")
        if len(value) < _SHORT_VALUE:
            section.warn("is short enough to be guessed: use sk-bf- and a random UUID", "value")
        return value

    def _provider_configs(self, section: Section, key: Owner) -> tuple[ProviderConfig, ...]:
        configs: list[ProviderConfig] = []
        for each in section.sections("provider_configs"):
            name = self._names.provider_name(each)
            if any(config.provider == name for config in configs):
                each.problem("stands twice in this key: keep one of them", "provider")
            configs.append(self._provider_config(each, key, name))
            for member in (*BOOKKEEPING, "virtual_key_id"):
                each.ignored_in_each("Bifrost's own notes", member)
            each.finish()
        if not configs:
            self._empty["provider_configs"].sections.append(section)
        return tuple(configs)

    def _provider_config(self, section: Section, key: Owner, provider: str) -> ProviderConfig:
        written = section.take("id")
        config_id = f"{key.id}:{provider}"
        owner = Owner(
            "provider_config",
            config_id,
            key.aligned or section.flag("calendar_aligned"),
            str(written) if isinstance(written, int | str) else "",
        )
        budget, rate_limit = self._limits.of(section, owner)
        models = _models(section, "allowed_models")
        key_ids = _key_ids(section)
        for member, found in (("allowed_models", models), ("key_ids", key_ids)):
            if not found:
                self._empty[member].sections.append(section)
        self._check_keys(section, provider, key_ids)
        return ProviderConfig(
            id=config_id,
            provider=provider,
            weight=section.number("weight", 0.0, 0, _COUNT) if section.has("weight") else None,
            allowed_models=models,
            blacklisted_models=_models(section, "blacklisted_models"),
            key_ids=key_ids,
            budget=budget,
            rate_limit=rate_limit,
        )

    def _check_keys(self, section: Section, provider: str, key_ids: tuple[str, ...]) -> None:
        settings = self._names.about.providers.get(provider)
        if settings is None or ANY in key_ids:
            return
        known = {text for key in settings.keys for text in (key.id, key.name)}
        if missing := [key for key in key_ids if key not in known]:
            section.warn(
                f"{len(missing)} of them {'is' if len(missing) == 1 else 'are'} no id or name of a "
                "key in providers",
                "key_ids" if section.has("key_ids") else "keys",
            )


def _models(section: Section, key: str) -> tuple[str, ...]:
    found: list[str] = []
    for index, text in section.texts_by_index(key):
        if reason := pattern_problem(text):
            section.problem(f"this pattern {reason}", key, index)
        found.append(text)
    return tuple(found)


def _key_ids(section: Section) -> tuple[str, ...]:
    """`key_ids`, or `keys` as an export has them."""
    found = list(section.texts("key_ids"))
    for each in section.sections("keys"):
        named = (each.take(member) for member in ("key_id", "id", "name"))
        name = next((text for text in named if isinstance(text, str) and text), "")
        if not name:
            each.problem("missing: which key it is", "key_id")
        elif name not in found:
            found.append(name)
    return tuple(found)


def _instant(section: Section, key: str) -> int | None:
    text = section.text(key)
    instant = from_rfc3339(text) if text else None
    if text and instant is None:
        section.problem("expected an instant such as 2027-01-31T00:00:00Z", key)
    return instant
