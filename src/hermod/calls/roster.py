"""The providers of this process, whatever happens to them: those of the file, and those made over
the API, as the store's documents say. Of two with one name the file's counts.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from hermod.domain.document import Document
from hermod.domain.provider import ProviderSettings, ReadProvider
from hermod.governance.provider_documents import about, decode, put_together
from hermod.vault import Vault, VaultError

log = logging.getLogger(__name__)

_RETRY_S: Final = 5.0
"""After which secrets are looked at again that the disk did not let us open."""

Providers = Mapping[str, ProviderSettings]


class KnownProviders:
    """Every prefix that makes `prefix/model` a model, now."""

    def __init__(self, fixed: frozenset[str], roster: "Roster") -> None:
        self._fixed = fixed
        self._roster = roster

    def __contains__(self, name: object) -> bool:
        return name in self._fixed or name in self._roster.providers

    def __iter__(self) -> Iterator[str]:
        return iter(self._fixed | self._roster.providers.keys())


class Roster:
    """Follows the documents, and tells those who make calls when a provider has changed."""

    def __init__(
        self,
        from_file: Providers,
        read: ReadProvider,
        vault: Vault,
        documents: Callable[[], Sequence[Document]],
        *,
        retry_s: float = _RETRY_S,
    ) -> None:
        """`documents`: those of providers, as of now."""
        self._from_file = dict(from_file)
        self._read = read
        self._vault = vault
        self._documents = documents
        self._retry_s = retry_s
        self._providers: Providers = MappingProxyType(dict(from_file))
        self._opened: dict[str, tuple[Document, ProviderSettings | None]] = {}
        """What became of each document, by name; None where it cannot be used."""
        self._listeners: list[Callable[[Providers], None]] = []
        self._is_news = False
        self._following: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None

    @property
    def providers(self) -> Providers:
        """By name. It never changes: another one takes its place."""
        return self._providers

    def on_change(self, callback: Callable[[Providers], None]) -> None:
        """Have `callback` called with all providers whenever one has changed. It must not raise."""
        self._listeners.append(callback)

    def note_change(self) -> None:
        """The documents may be others now. To be called on the event loop."""
        self._is_news = True
        if self._following is None or self._following.done():
            self._following = asyncio.get_running_loop().create_task(self._follow())

    async def settled(self) -> None:
        """Wait until all that was noted is in force."""
        while self._following is not None and not self._following.done():
            await asyncio.wait({self._following})

    async def close(self) -> None:
        """Follow no more."""
        if self._retry is not None:
            self._retry.cancel()
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})

    async def _follow(self) -> None:
        while self._is_news:
            self._is_news = False
            await self._look()

    async def _look(self) -> None:
        found: dict[str, ProviderSettings] = {}
        opened: dict[str, tuple[Document, ProviderSettings | None]] = {}
        for document in self._documents():
            known = self._opened.get(document.id)
            if known is None or known[0] != document:
                try:
                    known = document, await self._settings(document)
                except OSError as error:
                    log.error(
                        "provider %s: the encryption key cannot be read: %s", document.id, error
                    )
                    self._look_again()
                    known = self._opened.get(document.id)
                    if known is None:
                        continue
            opened[document.id] = known
            if known[1] is not None and document.id not in self._from_file:
                found[document.id] = known[1]
        self._opened = opened
        providers = {**found, **self._from_file}
        if providers != self._providers:
            self._providers = MappingProxyType(providers)
            for tell in self._listeners:
                tell(self._providers)

    async def _settings(self, document: Document) -> ProviderSettings | None:
        """What a document says; None, and a word in the log, where it cannot be used.

        Raises OSError where the encryption key cannot be read just now.
        """
        name = document.id
        if name in self._from_file:
            log.warning("provider %s of the API does not count: the config file has another", name)
            return None
        try:
            stored = decode(document)
            secrets = await self._vault.open(stored.sealed, about(name)) if stored.sealed else b""
            members = put_together(stored.members, secrets)
        except (VaultError, ValueError) as error:
            log.error("provider %s cannot be used, its secrets cannot be opened: %s", name, error)
            return None
        read = self._read(name, members)
        if read.settings is None:
            log.error("provider %s cannot be used: %s", name, "; ".join(read.problems))
        return read.settings

    def _look_again(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = asyncio.get_running_loop().call_later(self._retry_s, self.note_change)
