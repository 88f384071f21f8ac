"""All that governs, in memory: what the config file says over what the store has.

A book never changes. Who asks for a request looks everything up in one and the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from hermod.domain.document import Document
from hermod.domain.governance import (
    ANY,
    Budget,
    Customer,
    Entity,
    ModelLimits,
    ProviderConfig,
    ProviderLimits,
    RateLimit,
    Team,
    VirtualKey,
)
from hermod.governance.documents import name_of, secret_hash_of, type_of

_E = TypeVar("_E", VirtualKey, Team, Customer, ModelLimits, ProviderLimits)


class Rules(NamedTuple):
    """What the settings say about all keys."""

    empty_means_all: bool = False
    """Whether an empty list of a key means everything, as it once did, or nothing (design.md 8,
    27)."""
    on_limit: str = "delay"
    """`delay` or `reject`, for keys that do not say it."""
    assumed_output_tokens: int = 4096
    """Reserved for an answer whose length the request does not bound."""


class Parallel(NamedTuple):
    """How many calls of a key may be out at once."""

    id: str
    """The key's."""
    max_jobs: int


class Limit(NamedTuple):
    """One limit, and whose it is."""

    scope: str
    """As in `Hold.scope`."""
    of: RateLimit | Budget | Parallel


_Limits = tuple[Limit, ...]
_Owner = VirtualKey | ProviderConfig | Team | Customer | ModelLimits | ProviderLimits | None


class _KeyLimits(NamedTuple):
    by_provider: Mapping[str, _Limits]
    """Where the key has limits with a provider: these, and all others that it has."""
    otherwise: _Limits


class Book:
    """What an operator made, as of one revision."""

    def __init__(
        self,
        stored: Iterable[Entity] = (),
        *,
        from_file: Iterable[Entity] = (),
        documents: Sequence[Document] = (),
        revision: int = 0,
    ) -> None:
        """`documents` are those of the store, `stored` what could be read of them.

        Of two that have the same type and id, or name, or secret, the file's is the one that
        counts; what it hides is in `hidden`.
        """
        self.revision: Final = revision
        self._documents: dict[str, dict[str, Document]] = {}
        for document in documents:
            self._documents.setdefault(document.type, {})[document.id] = document
        from_file = tuple(from_file)
        self._file_ids = frozenset((type_of(each), each.id) for each in from_file)
        counts, self.hidden = _beneath(from_file, stored)
        every = (*counts, *from_file)
        self.keys: Final = _by_id(VirtualKey, every)
        self.teams: Final = _by_id(Team, every)
        self.customers: Final = _by_id(Customer, every)
        self.model_limits: Final = tuple(_by_id(ModelLimits, every).values())
        self._provider_limits = _by_id(ProviderLimits, every)
        self._by_hash = {key.secret_hash: key for key in self.keys.values() if key.secret_hash}
        self._of_key = {key.id: self._limits_of(key) for key in self.keys.values()}
        self.stranded: Final = frozenset(
            key.id for key in self.keys.values() if not self._has_its_owners(key)
        )
        """Ids of keys of a team or a customer that is not here, so that not all their limits are
        known."""
        self._of_provider = {
            each.id: limits
            for each in self._provider_limits.values()
            if (limits := _of((f"Provider-level:{each.id}", each)))
        }
        self._of_model: dict[str, list[ModelLimits]] = {}
        for each in self.model_limits:
            self._of_model.setdefault(each.model_name, []).append(each)

    @property
    def limits_everybody(self) -> bool:
        """Whether there are limits that do not depend on who asks."""
        return bool(self._of_provider or self._of_model)

    def key_by_hash(self, hex_digest: str) -> VirtualKey | None:
        """The key whose value has this SHA-256."""
        return self._by_hash.get(hex_digest)

    def key(self, key_id: str) -> VirtualKey | None:
        """The key of this id."""
        return self.keys.get(key_id)

    def team(self, team_id: str) -> Team | None:
        """The team of this id."""
        return self.teams.get(team_id)

    def customer(self, customer_id: str) -> Customer | None:
        """The customer of this id."""
        return self.customers.get(customer_id)

    @property
    def limited_providers(self) -> Mapping[str, ProviderLimits]:
        """What there is of them, by the provider's name."""
        return self._provider_limits

    def provider_limits(self, name: str) -> ProviderLimits | None:
        """What everybody together may ask of this provider."""
        return self._provider_limits.get(name)

    def is_from_file(self, type_: str, id_: str) -> bool:
        """Whether the config file defines it, so that nothing else can change it."""
        return (type_, id_) in self._file_ids

    def document(self, type_: str, id_: str) -> Document | None:
        """What the store has, with the version that a change must name; hidden or not."""
        return self._documents.get(type_, {}).get(id_)

    def documents_of(self, type_: str) -> tuple[Document, ...]:
        """All that the store has of a type, oldest first; hidden or not, readable or not."""
        return tuple(self._documents.get(type_, {}).values())

    def limits(self, key: VirtualKey | None, provider: str, model: str) -> tuple[Limit, ...]:
        """What limits such a call, in the order in which the first violation decides
        (wire-contract 10.2). Empty for most, and then it costs a look or two."""
        of_key = () if key is None else self._limits_with(key, provider)
        if not self._of_provider and not self._of_model:
            return of_key
        of_model = [
            (_scope_of(each), each)
            for name in (f"{provider}/{model}", model, ANY)
            for each in self._of_model.get(name, ())
            if each.provider in (provider, None)
        ]
        return self._of_provider.get(provider, ()) + _of(*of_model) + of_key

    def _limits_with(self, key: VirtualKey, provider: str) -> _Limits:
        found = self._of_key.get(key.id)
        if found is None:
            found = self._limits_of(key)
        return found.by_provider.get(provider, found.otherwise)

    def _has_its_owners(self, key: VirtualKey) -> bool:
        team = self.teams.get(key.team_id) if key.team_id else None
        if key.team_id and team is None:
            return False
        customer_ids = (key.customer_id, team and team.customer_id)
        return all(not each or each in self.customers for each in customer_ids)

    def _limits_of(self, key: VirtualKey) -> _KeyLimits:
        team = self.teams.get(key.team_id) if key.team_id else None
        customer_id = key.customer_id or (team.customer_id if team else None)
        customer = self.customers.get(customer_id) if customer_id else None
        parallel: _Limits = ()
        if key.max_parallel_jobs is not None:
            parallel = (Limit("VK", Parallel(key.id, key.max_parallel_jobs)),)
        shared = (("VK", key), ("Team", team), ("Customer", customer))
        by_provider = {
            config.provider: _of((config.provider, config), *shared) + parallel
            for config in key.provider_configs
            if config.rate_limit or config.budget
        }
        return _KeyLimits(by_provider, _of(*shared) + parallel)


def _of(*owners: tuple[str, _Owner]) -> _Limits:
    """All their rate limits, then all their budgets. One that they share counts once."""
    rates: dict[str, Limit] = {}
    budgets: dict[str, Limit] = {}
    for scope, owner in owners:
        if owner is not None and owner.rate_limit is not None:
            rates.setdefault(owner.rate_limit.id, Limit(scope, owner.rate_limit))
        if owner is not None and owner.budget is not None:
            budgets.setdefault(owner.budget.id, Limit(scope, owner.budget))
    return (*rates.values(), *budgets.values())


def _scope_of(limits: ModelLimits) -> str:
    of_provider = f":Provider:{limits.provider}" if limits.provider else ""
    return f"Model-level:Model:{limits.model_name}{of_provider}"


def _by_id(type_: type[_E], entities: Iterable[Entity]) -> Mapping[str, _E]:
    return MappingProxyType({each.id: each for each in entities if isinstance(each, type_)})


def _beneath(
    from_file: Iterable[Entity], stored: Iterable[Entity]
) -> tuple[tuple[Entity, ...], tuple[Entity, ...]]:
    """What of the store counts, and what the file hides."""
    taken = {mark for entity in from_file for mark in _marks(entity)}
    counts: list[Entity] = []
    hidden: list[Entity] = []
    for entity in stored:
        (counts if taken.isdisjoint(_marks(entity)) else hidden).append(entity)
    return tuple(counts), tuple(hidden)


def _marks(entity: Entity) -> list[tuple[str, str, str]]:
    """What no two may have in common."""
    type_ = type_of(entity)
    marks = [(type_, "id", entity.id), (type_, "name", name_of(entity))]
    if secret := secret_hash_of(entity):
        marks.append(("", "secret", secret))
    return marks
