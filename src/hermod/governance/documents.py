"""What governs, as documents of the store and back."""

from typing import Final

import msgspec

from hermod.domain.document import Document
from hermod.domain.governance import (
    Customer,
    Entity,
    ModelLimits,
    ProviderLimits,
    Team,
    VirtualKey,
)

ENTITIES: Final[dict[str, type[Entity]]] = {
    "virtual_key": VirtualKey,
    "team": Team,
    "customer": Customer,
    "model_limits": ModelLimits,
    "provider_limits": ProviderLimits,
}
"""By the type of their documents. Documents of other types are somebody else's."""

_TYPES: Final = {entity: name for name, entity in ENTITIES.items()}
_encode: Final = msgspec.json.Encoder().encode


def type_of(entity: Entity) -> str:
    """The type of its document."""
    return _TYPES[type(entity)]


def name_of(entity: Entity) -> str:
    """What nothing else of its type may be called."""
    if isinstance(entity, ModelLimits):
        return f"{entity.provider or '*'}/{entity.model_name}"
    return entity.id if isinstance(entity, ProviderLimits) else entity.name


def secret_hash_of(entity: Entity) -> str | None:
    """By which a caller's credential finds it; None for what nobody shows."""
    return (entity.secret_hash or None) if isinstance(entity, VirtualKey) else None


def to_document(entity: Entity, version: int = 0) -> Document:
    """What is to be stored of it; `version` is the one it replaces, 0 for one that is new."""
    return Document(
        type=type_of(entity),
        id=entity.id,
        name=name_of(entity),
        secret_hash=secret_hash_of(entity),
        body=_encode(entity),
        version=version,
    )


def to_entity(document: Document) -> Entity:
    """What a document says. Members of newer releases are passed over.

    Raises ValueError, naming no contents, for another type and for what cannot be read.
    """
    wanted = ENTITIES.get(document.type)
    if wanted is None:
        raise ValueError(f"documents of type {document.type} are no entities")
    try:
        entity = msgspec.json.decode(document.body, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    if entity.id != document.id:
        raise ValueError("it has another id inside")
    return entity
