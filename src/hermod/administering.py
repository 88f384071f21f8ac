"""Constructs what a command needs that changes what governs, beside gateways that run."""

import asyncio
from collections.abc import Callable, Sequence

from hermod.config import Settings
from hermod.domain.clock import Clock
from hermod.domain.governance import VirtualKey
from hermod.encryption_key import KeyFile, NoKey
from hermod.governance.governor import Governor
from hermod.governance.issuer import Issuer
from hermod.governance.management import Management
from hermod.governance.provider_documents import TYPE as PROVIDER
from hermod.governance.resealing import Resealing, Tally
from hermod.http.api.show import Json, Shown
from hermod.providers.registry import KNOWN_PROVIDERS, MOCK
from hermod.sealing import key_path, vault_of
from hermod.store.choose import store_at
from hermod.vault import Sealing


class Administering:
    """What an administrator may do at the machine, on the store of these settings."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.store = store_at(
            settings.database_url.reveal(),
            settings.database_path,
            clock,
            synchronous=settings.hermod.synchronous,
            watch_s=None,
        )
        self.clock = self.store.clock
        self._governor = Governor(self.store, settings.governance)
        vault = vault_of(settings)
        names = settings.auth.own_issuer, settings.auth.own_audience
        self.issuer = Issuer(names, self._governor, self.store, vault, self.clock)
        self.management = Management(self.store, self._governor, self.clock, self.is_provider)
        self.resealing = Resealing(self.store, vault, self.clock)

    async def open(self) -> None:
        """Open the store, as a gateway would, and read what governs. Raises StoreError."""
        await self.store.open()
        await self._governor.open()

    async def close(self) -> None:
        """Let go of the store."""
        await self.store.close()

    @property
    def providers(self) -> tuple[str, ...]:
        """The names of those that can be called, the mock last."""
        made = (document.id for document in self.management.book.documents_of(PROVIDER))
        names = dict.fromkeys((*self.settings.providers, *made))
        return (*names, MOCK) if self.settings.hermod.mock else tuple(names)

    async def shown(self, keys: Sequence[VirtualKey], value: str | None = None) -> list[Json]:
        """Keys as the management API shows them; `value` of one that was just made."""
        meters = await self.management.usage(keys)
        shown = Shown(self.management.book, meters, self.clock.now())
        return [shown.key(key, value) for key in keys]

    def is_provider(self, name: str) -> bool:
        """Whether there is one of that name, whether or not it can be called."""
        known = KNOWN_PROVIDERS | self.settings.custom_names
        return name in known or self.management.book.document(PROVIDER, name) is not None


async def change_key(
    desk: Administering, by: str, wait_s: float, tell: Callable[[str], None]
) -> Tally:
    """Seal everything anew with the key that is in force; what there is then.

    An embedded database whose key lies beside it gets a new one first. The one before is kept for
    `wait_s` at least, for requests that were on their way, and until nothing needs it; a change
    that was broken off is finished instead. Raises VaultError, OSError, StoreError, having done a
    part.
    """
    path = key_path(desk.settings)
    if desk.settings.encryption_key or path is None or not path.exists():
        tally = await desk.resealing.reseal(by)
    else:
        file = KeyFile(path)
        with file.held():
            if await asyncio.to_thread(file.replace):
                tell(f"{path} is a new key")
            else:
                tell("a change that was begun before is finished")
            first = await desk.resealing.reseal(by)
            tell(f"{first.resealed} sealed anew; {wait_s:g} s for requests that are on their way")
            await asyncio.sleep(wait_s)
            tally = await desk.resealing.reseal(by)
            tally = tally._replace(resealed=first.resealed + tally.resealed)
            if not tally.of(Sealing.OLDER):
                await asyncio.to_thread(file.forget_previous)
    await desk.resealing.note(by, tally)
    return tally


def key_in_force(settings: Settings) -> str:
    """Where the key is that is sealed with, and whether its change was broken off, for people.

    Raises NoKey where there is none, and no place for one.
    """
    if settings.encryption_key:
        return "the operator's (HERMOD_ENCRYPTION_KEY, or encryption_key in the config)"
    path = key_path(settings)
    if path is None:
        raise NoKey("there is no encryption key: set HERMOD_ENCRYPTION_KEY to that of the gateways")
    if not path.exists():
        return f"{path}, to be made when it is first needed"
    if KeyFile(path).read_previous() is not None:
        return f"{path}; its last change was broken off: hermod secrets rotate finishes it"
    return str(path)
