"""What an administrator may do: each use case changes the store, reads it back and leaves a trace.

What the config file defines is not changed here (design.md 8, 26). Two who change the same thing at
the same time: the later one is tried once more on what the earlier one made of it.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple, TypeVar

from hermod.domain.clock import Clock
from hermod.domain.document import Audit, Conflict, Delete, Document, Put
from hermod.domain.errors import Refused, bad_request
from hermod.domain.failure import Failure
from hermod.domain.governance import (
    Customer,
    Entity,
    ModelLimits,
    ProviderLimits,
    Team,
    VirtualKey,
)
from hermod.domain.ids import uuid7
from hermod.domain.meter import Meter
from hermod.governance.book import Book
from hermod.governance.documents import ENTITIES, name_of, to_document, to_entity, type_of
from hermod.governance.governor import Governor
from hermod.governance.wishes import (
    CustomerWish,
    KeyWish,
    ModelWish,
    ProviderWish,
    TeamWish,
    Wish,
)
from hermod.governance.written import (
    NewId,
    customer_written,
    key_written,
    limited_parts,
    meter_ids,
    meters_begun_anew,
    model_written,
    provider_written,
    team_written,
)
from hermod.store.api import Store

E = TypeVar("E", VirtualKey, Team, Customer, ModelLimits, ProviderLimits)
W = TypeVar("W", bound=Wish)
Written = Callable[[E, W, int, NewId], E]

_TRIES: Final = 2
_NOUNS: Final[Mapping[str, str]] = {
    "virtual_key": "Virtual key",
    "team": "Team",
    "customer": "Customer",
    "model_limits": "Model config",
    "provider_limits": "Provider",
}
_SHOWN_CHARS: Final = 4


class NewKey(NamedTuple):
    """A virtual key whose value is shown this once."""

    key: VirtualKey
    value: str


class Management:
    """The use cases of `/api/governance` (wire-contract 10.3)."""

    def __init__(
        self,
        store: Store,
        governor: Governor,
        clock: Clock,
        is_provider: Callable[[str], bool],
    ) -> None:
        """`is_provider` knows the names of all providers, whether or not they can be called."""
        self._store = store
        self._governor = governor
        self._clock = clock
        self._is_provider = is_provider

    @property
    def book(self) -> Book:
        """What there is."""
        return self._governor.book

    async def usage(self, entities: Iterable[Entity]) -> Mapping[str, Meter]:
        """What is used of all their limits, as it is stored, by meter."""
        ids = [
            meter_id
            for entity in entities
            for part in limited_parts(entity)
            for limit in (part.budget, part.rate_limit)
            if limit is not None
            for meter_id in meter_ids(limit)
        ]
        return await self._store.read_meters(ids) if ids else {}

    async def audit(self, limit: int, before: int | None) -> Sequence[tuple[int, Audit]]:
        """The newest entries with their numbers, newest first; only those below `before`."""
        return await self._store.read_audit(limit, before)

    # Virtual keys

    async def create_key(self, wish: KeyWish, by: str) -> NewKey:
        """Make a key. Raises Refused (400, 409)."""
        value = _new_value()
        blank = _with_value(VirtualKey(id=self._new_id(), name=""), value)
        return NewKey(await self._create(blank, wish, key_written, by), value)

    async def update_key(self, key_id: str, wish: KeyWish, by: str) -> VirtualKey:
        """Change what the body names. Raises Refused (400, 404, 409)."""
        return await self._update(VirtualKey, key_id, partial(self._written, wish, key_written), by)

    async def rotate_key(self, key_id: str, by: str) -> NewKey:
        """Give a key another value, at once; its tokens end with the old one.

        Raises Refused (404, 409).
        """
        value = _new_value()

        def rotated(key: VirtualKey) -> VirtualKey:
            key = replace(key, token_version=key.token_version + 1, updated_at=self._clock.now())
            return _with_value(key, value)

        return NewKey(await self._update(VirtualKey, key_id, rotated, by, "rotate"), value)

    async def delete_key(self, key_id: str, by: str) -> None:
        """Its jobs stay, and can no longer be read with it. Raises Refused (404, 409)."""
        await self._delete(VirtualKey, key_id, by)

    async def note(self, action: str, target: str, by: str) -> None:
        """Leave a trace of something that changed nothing."""
        await self._store.change_documents((), self._audit(action, target, by))

    # Teams, customers, limits of models and providers

    async def create_team(self, wish: TeamWish, by: str) -> Team:
        """Raises Refused (400, 409)."""
        return await self._create(Team(id=self._new_id(), name=""), wish, team_written, by)

    async def update_team(self, team_id: str, wish: TeamWish, by: str) -> Team:
        """Raises Refused (400, 404, 409)."""
        return await self._update(Team, team_id, partial(self._written, wish, team_written), by)

    async def delete_team(self, team_id: str, by: str) -> None:
        """Its keys stay, without a team. Raises Refused (404, 409)."""
        await self._delete(Team, team_id, by)

    async def create_customer(self, wish: CustomerWish, by: str) -> Customer:
        """Raises Refused (400, 409)."""
        return await self._create(Customer(id=self._new_id(), name=""), wish, customer_written, by)

    async def update_customer(self, customer_id: str, wish: CustomerWish, by: str) -> Customer:
        """Raises Refused (400, 404, 409)."""
        written = partial(self._written, wish, customer_written)
        return await self._update(Customer, customer_id, written, by)

    async def delete_customer(self, customer_id: str, by: str) -> None:
        """Its teams and keys stay, without a customer. Raises Refused (404, 409)."""
        await self._delete(Customer, customer_id, by)

    async def create_model(self, wish: ModelWish, by: str) -> ModelLimits:
        """Raises Refused (400, 409)."""
        blank = ModelLimits(id=self._new_id(), model_name="")
        return await self._create(blank, wish, model_written, by)

    async def update_model(self, model_id: str, wish: ModelWish, by: str) -> ModelLimits:
        """Raises Refused (400, 404, 409)."""
        written = partial(self._written, wish, model_written)
        return await self._update(ModelLimits, model_id, written, by)

    async def delete_model(self, model_id: str, by: str) -> None:
        """Raises Refused (404, 409)."""
        await self._delete(ModelLimits, model_id, by)

    async def put_provider(self, name: str, wish: ProviderWish, by: str) -> ProviderLimits:
        """Make or change a provider's limits. Raises Refused (400, 404, 409)."""
        if not self._is_provider(name):
            raise _not_found("provider_limits")
        if self.book.provider_limits(name) is None:
            return await self._create(ProviderLimits(id=name), wish, provider_written, by)
        written = partial(self._written, wish, provider_written)
        return await self._update(ProviderLimits, name, written, by)

    async def delete_provider(self, name: str, by: str) -> None:
        """The provider stays, without limits. Raises Refused (404, 409)."""
        await self._delete(ProviderLimits, name, by)

    # How

    def _new_id(self) -> str:
        return uuid7(self._clock.now())

    def _written(self, wish: W, written: Written[E, W], entity: E) -> E:
        now = self._clock.now()
        after = written(entity, wish, now, self._new_id)
        self._check_names(entity, after)
        return replace(after, created_at=entity.created_at or now, updated_at=now)

    def _check_names(self, before: Entity, after: Entity) -> None:
        """That all it names exists, unless it was named before. Raises Refused (400, 409)."""
        book = self.book
        team_id = getattr(after, "team_id", None)
        if team_id and team_id != getattr(before, "team_id", None) and not book.team(team_id):
            raise bad_request("Team not found")
        customer_id = getattr(after, "customer_id", None)
        if (
            customer_id
            and customer_id != getattr(before, "customer_id", None)
            and not book.customer(customer_id)
        ):
            raise bad_request("Customer not found")
        for name in _providers_of(after) - _providers_of(before):
            if not self._is_provider(name):
                raise bad_request(f"invalid provider name: {name}")
        for other in _all_like(book, after):
            if other.id != after.id and name_of(other) == name_of(after):
                raise _taken(after)

    async def _create(self, blank: E, wish: W, written: Written[E, W], by: str) -> E:
        await self._governor.refresh()
        entity = self._written(wish, written, blank)
        audit = self._audit(f"{type_of(entity)}.create", entity.id, by, name_of(entity))
        conflict = await self._change((Put(to_document(entity)),), audit)
        if conflict is not None:
            raise _taken(entity)
        return entity

    async def _update(
        self,
        type_: type[E],
        entity_id: str,
        changed: Callable[[E], E],
        by: str,
        action: str = "update",
    ) -> E:
        for _ in range(_TRIES):
            await self._governor.refresh()
            document = self._found(type_, entity_id)
            before = _read(type_, document)
            after = changed(before)
            audit = self._audit(f"{document.type}.{action}", entity_id, by, name_of(after))
            conflict = await self._change(
                (Put(to_document(after, document.version)),),
                audit,
                meters_begun_anew(before, after),
            )
            if conflict is None:
                return after
            if conflict.what == "name":
                raise _taken(after)
        raise _beaten()

    async def _delete(self, type_: type[E], entity_id: str, by: str) -> None:
        for _ in range(_TRIES):
            await self._governor.refresh()
            document = self._found(type_, entity_id)
            changes = (
                *self._detached(type_, entity_id),
                Delete(document.type, document.id, document.version),
            )
            audit = self._audit(f"{document.type}.delete", entity_id, by, document.name)
            if await self._change(changes, audit) is None:
                return
        raise _beaten()

    def _found(self, type_: type[Entity], entity_id: str) -> Document:
        """What is to be changed. Raises Refused (404, 409)."""
        name = _TYPE_NAMES[type_]
        if self.book.is_from_file(name, entity_id):
            failure = Failure(f"{_NOUNS[name]} is managed by file", status_code=409)
            raise Refused(failure)
        document = self.book.document(name, entity_id)
        if document is None:
            raise _not_found(name)
        return document

    def _detached(self, type_: type[Entity], owner_id: str) -> Iterable[Put]:
        """Those who belong to it, on their own."""
        book = self.book
        belongings: Iterable[VirtualKey | Team] = ()
        if type_ is Team:
            belongings = (each for each in book.keys.values() if each.team_id == owner_id)
        elif type_ is Customer:
            every = (*book.keys.values(), *book.teams.values())
            belongings = (each for each in every if each.customer_id == owner_id)
        for each in belongings:
            document = book.document(type_of(each), each.id)
            if document is None or book.is_from_file(type_of(each), each.id):
                continue  # the file's own business; it then names something that is not there
            free = (
                replace(each, team_id=None)
                if type_ is Team and isinstance(each, VirtualKey)
                else replace(each, customer_id=None)
            )
            yield Put(to_document(free, document.version))

    async def _change(
        self, changes: Iterable[Put | Delete], audit: Audit, forget_meters: tuple[str, ...] = ()
    ) -> Conflict | None:
        came = await self._store.change_documents(tuple(changes), audit, forget_meters)
        await self._governor.refresh()
        return came if isinstance(came, Conflict) else None

    def _audit(self, action: str, target: str, by: str, name: str = "") -> Audit:
        detail = json.dumps({"name": name}, ensure_ascii=False) if name else ""
        return Audit(self._clock.now(), by, action, target, detail)


_TYPE_NAMES: Final = {type_: name for name, type_ in ENTITIES.items()}


def _read(type_: type[E], document: Document) -> E:
    """Raises Refused (409)."""
    try:
        entity = to_entity(document)
    except ValueError:
        noun = _NOUNS[document.type]
        message = f"{noun} cannot be read: another release may have written it"
        raise Refused(Failure(message, status_code=409)) from None
    assert isinstance(entity, type_)
    return entity


def _new_value() -> str:
    return f"sk-bf-{uuid.uuid4()}"


def _with_value(key: VirtualKey, value: str) -> VirtualKey:
    digest = hashlib.sha256(value.encode()).hexdigest()
    return replace(key, secret_hash=digest, last_four=value[-_SHOWN_CHARS:])


def _providers_of(entity: Entity) -> frozenset[str]:
    if isinstance(entity, VirtualKey):
        return frozenset(config.provider for config in entity.provider_configs)
    if isinstance(entity, ModelLimits) and entity.provider:
        return frozenset({entity.provider})
    return frozenset()


def _all_like(book: Book, entity: Entity) -> Iterable[Entity]:
    if isinstance(entity, VirtualKey):
        return book.keys.values()
    if isinstance(entity, Team):
        return book.teams.values()
    if isinstance(entity, Customer):
        return book.customers.values()
    return book.model_limits if isinstance(entity, ModelLimits) else ()


def _taken(entity: Entity) -> Refused:
    """A name that somebody else has (wire-contract 10.1)."""
    if isinstance(entity, ModelLimits):
        where = f"with provider '{entity.provider}'" if entity.provider else "(global)"
        message = f"Model config for model '{entity.model_name}' {where} already exists"
    else:
        message = f"{_NOUNS[type_of(entity)]} with name '{name_of(entity)}' already exists"
    return Refused(Failure(message, status_code=409))


def _not_found(type_name: str) -> Refused:
    return Refused(Failure(f"{_NOUNS[type_name]} not found", status_code=404))


def _beaten() -> Refused:
    failure = Failure("somebody else changed this at the same time; try again", status_code=409)
    return Refused(failure)
