"""Keeps the book of what governs up to date, and tells who has to know."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from hermod.domain.document import Document
from hermod.domain.errors import StoreError
from hermod.domain.governance import Entity
from hermod.governance.book import Book, Rules
from hermod.governance.documents import ENTITIES, name_of, to_entity, type_of
from hermod.store.api import Store

log = logging.getLogger(__name__)

PAUSE_S: Final = 1.0
"""How long another gateway's change may stay unseen."""
_LOOK_PAUSE_S: Final = 0.25


class Governor:
    """The book in force, and where it comes from."""

    def __init__(
        self, store: Store, from_file: Sequence[Entity] = (), rules: Rules | None = None
    ) -> None:
        """`from_file` is what the config file defines, which counts over what is stored."""
        self.rules: Final = rules or Rules()
        self._store = store
        self._from_file = tuple(from_file)
        self._book = Book(from_file=self._from_file, revision=-1)
        self._listeners: list[Callable[[], None]] = []
        self._reading = asyncio.Lock()
        self._away = False
        self._looks_again_at_s = 0.0
        self._told: set[tuple[str, str, int]] = set()

    @property
    def book(self) -> Book:
        """What is in force now. Take it once for a request: it may be another one any moment."""
        return self._book

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have `callback` called whenever another book has come into force. It must not raise."""
        self._listeners.append(callback)

    async def open(self) -> None:
        """Read everything for the first time. Raises StoreError."""
        async with self._reading:
            await self._read()

    async def refresh(self) -> bool:
        """Read everything if something has changed; whether that was so.

        Where the store fails, the book that was in force stays so.
        """
        async with self._reading:
            try:
                changed = await self._store.documents_revision() != self._book.revision
                if changed:
                    await self._read()
            except StoreError as error:
                if not self._away:
                    log.warning("cannot see whether virtual keys have changed: %s", error.whole)
                self._away = True
                return False
        if self._away:
            log.warning("changes of virtual keys are seen again")
        self._away = False
        return changed

    async def look_again(self) -> bool:
        """Refresh for somebody who is about to be refused; whether something has changed.

        Another process may have made what they show this very second. But not for everybody:
        whoever guesses would have the store read all the time.
        """
        now_s = asyncio.get_running_loop().time()
        if now_s < self._looks_again_at_s:
            return False
        self._looks_again_at_s = now_s + _LOOK_PAUSE_S
        return await self.refresh()

    async def watch(self, pause_s: float = PAUSE_S) -> None:
        """Refresh for ever, with pauses between."""
        while True:
            await asyncio.sleep(pause_s)
            await self.refresh()

    async def _read(self) -> None:
        revision, documents = await self._store.read_documents()
        stored = [entity for each in documents if (entity := self._readable(each)) is not None]
        book = Book(stored, from_file=self._from_file, documents=documents, revision=revision)
        for entity in book.hidden:
            if self._is_news((type_of(entity), entity.id, -1)):
                what = (type_of(entity), name_of(entity), entity.id)
                log.warning("%s %r (%s) does not count: the config file has another", *what)
        for key_id in sorted(book.stranded):
            if self._is_news(("stranded", key_id, book.keys[key_id].updated_at)):
                log.error(
                    "virtual_key %r (%s) is refused: its team or customer cannot be found, so its "
                    "limits are not known",
                    book.keys[key_id].name,
                    key_id,
                )
        self._book = book
        for tell in self._listeners:
            tell()

    def _readable(self, document: Document) -> Entity | None:
        if document.type not in ENTITIES:
            return None
        try:
            return to_entity(document)
        except ValueError as error:
            if self._is_news((document.type, document.id, document.version)):
                what = (document.type, document.id, error)
                log.error("%s %s cannot be read and does not count: %s", *what)
            return None

    def _is_news(self, what: tuple[str, str, int]) -> bool:
        news = what not in self._told
        self._told.add(what)
        return news
