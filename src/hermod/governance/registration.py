"""Virtual keys for tokens that name one which there is not yet (`unmapped: auto_register`)."""

import json
import logging
from dataclasses import replace
from typing import TypeVar

from hermod.domain.clock import Clock
from hermod.domain.document import Audit, Put
from hermod.domain.governance import Budget, ProviderConfig, RateLimit, VirtualKey
from hermod.domain.ids import uuid7
from hermod.governance.book import Book
from hermod.governance.documents import to_document
from hermod.governance.governor import Governor
from hermod.store.api import Store

_log = logging.getLogger(__name__)

_T = TypeVar("_T", Budget, RateLimit)


class Registrar:
    """Makes keys after a template."""

    def __init__(self, governor: Governor, store: Store, clock: Clock) -> None:
        self._governor = governor
        self._store = store
        self._clock = clock

    async def register(self, name: str, template: str, issuer: str) -> None:
        """Makes a key of this name, if there is such a template; then the book has it.

        Of several gateways at once one makes it, and the others find it. Raises StoreError.
        """
        model = key_named(self._governor.book, template)
        if model is None:
            _log.warning("no key for a token of %s: there is no template %r", issuer, template)
            return
        now = self._clock.now()
        key = copy_of(model, name, now)
        detail = json.dumps({"name": name, "template": model.id}, ensure_ascii=False)
        audit = Audit(now, f"jwt:{issuer}", "virtual_key.create", key.id, detail)
        # A conflict of names says that another gateway was faster.
        await self._store.change_documents([Put(to_document(key))], audit)
        await self._governor.refresh()


def key_named(book: Book, id_or_name: str) -> VirtualKey | None:
    """The key with this id, or else with this name."""
    named = (key for key in book.keys.values() if key.name == id_or_name)
    return book.key(id_or_name) or next(named, None)


def copy_of(template: VirtualKey, name: str, now: int) -> VirtualKey:
    """A key that may do what the template may, with limits of its own, and without a value."""
    return replace(
        template,
        id=uuid7(now),
        name=name,
        secret_hash="",
        last_four="",
        token_version=0,
        provider_configs=tuple(_copy(config, now) for config in template.provider_configs),
        budget=_own(template.budget, now),
        rate_limit=_own(template.rate_limit, now),
        created_at=now,
        updated_at=now,
    )


def _copy(config: ProviderConfig, now: int) -> ProviderConfig:
    budget, rate_limit = _own(config.budget, now), _own(config.rate_limit, now)
    return replace(config, id=uuid7(now), budget=budget, rate_limit=rate_limit)


def _own(limit: _T | None, now: int) -> _T | None:
    """The same limit under another id, by which what is used is counted."""
    return None if limit is None else replace(limit, id=uuid7(now))
