"""All that says who asks, built as the service builds it, on a store of the test's own."""

import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hermod.domain.document import Put
from hermod.domain.governance import Entity, VirtualKey
from hermod.domain.jwt import JwtIssuer
from hermod.domain.provider import Secret
from hermod.governance.access import Access, AccessRules
from hermod.governance.admins import AdminSecrets
from hermod.governance.documents import to_document
from hermod.governance.governor import Governor
from hermod.governance.issuer import Issuer
from hermod.governance.jwks import TIMEOUT_S, trusted_issuers
from hermod.governance.jwt import Verifier
from hermod.governance.registration import Registrar
from hermod.governance.tokens import Tokens
from hermod.net.client import HttpClient
from hermod.store.api import Store
from hermod.vault import Vault
from tests.store.backends import ManualClock, SqliteDatabase

ADMIN_TOKEN: Final = "the admin's own token"
OPENED: Final = AccessRules(enforced=False)
LOCKED: Final = AccessRules(enforced=True)
VALUE: Final = "sk-bf-0b2c6f0e"
"""Of `KEY`."""
KEY: Final = VirtualKey(
    id="key-1", name="first", secret_hash=hashlib.sha256(VALUE.encode()).hexdigest()
)


@dataclass
class Desk:
    """One gateway's."""

    store: Store
    governor: Governor
    clock: ManualClock
    issuer: Issuer
    tokens: Tokens
    verifier: Verifier

    def access(
        self, rules: AccessRules = LOCKED, admin: AdminSecrets | None = None, **flags: bool
    ) -> Access:
        """Locked, with an admin's token."""
        if admin is None:
            admin = AdminSecrets(Secret(ADMIN_TOKEN))
        rules = AccessRules(**{**_flags(rules), **flags})
        return Access(self.governor, self.tokens, self.clock, admin, rules)

    async def put(self, *entities: Entity) -> None:
        """Stored, and seen here."""
        changed = [Put(to_document(entity, self.version(entity))) for entity in entities]
        await self.store.change_documents(changed)
        await self.governor.refresh()

    def version(self, entity: Entity) -> int:
        """Of what is stored of it."""
        stored = self.governor.book.document(to_document(entity).type, entity.id)
        return stored.version if stored is not None else 0

    @property
    def now_s(self) -> int:
        return self.clock.now() // 1_000_000


def _flags(rules: AccessRules) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in AccessRules.__slots__}


def desk_on(
    store: Store,
    clock: ManualClock,
    keys: Sequence[Entity] = (KEY,),
    issuers: Sequence[JwtIssuer] = (),
    client: HttpClient | None = None,
    folder: Path | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Desk:
    """On a store that need not be open for what the config file defines: these keys."""
    governor = Governor(store, keys)
    key_file = folder / "vault.key" if folder else None
    issuer = Issuer(("hermod", "hermod"), governor, store, Vault(key_file=key_file, cost=2), clock)
    trusted = trusted_issuers(issuers, client or HttpClient(), clock, timeout_s=timeout_s)
    verifier = Verifier((*trusted, issuer.trusted()))
    tokens = Tokens(verifier, governor, issuer, Registrar(governor, store, clock), clock)
    return Desk(store, governor, clock, issuer, tokens, verifier)


def closed_desk(
    folder: Path,
    *keys: Entity,
    issuers: Sequence[JwtIssuer] = (),
    client: HttpClient | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Desk:
    """Whatever is asked, nothing is stored: it knows what the config file defines."""
    database = SqliteDatabase(folder)
    return desk_on(
        database.store(), database.clock, keys or (KEY,), issuers, client, timeout_s=timeout_s
    )


@asynccontextmanager
async def open_desks(
    folder: Path, count: int = 1, keys: Sequence[Entity] = (), issuers: Sequence[JwtIssuer] = ()
) -> AsyncGenerator[list[Desk]]:
    """Several gateways on one database, and with one key for their vaults."""
    database = SqliteDatabase(folder)
    async with AsyncExitStack() as stack:
        desks: list[Desk] = []
        for _ in range(count):
            store = await stack.enter_async_context(database.open())
            desks.append(desk_on(store, database.clock, keys, issuers, folder=folder))
            await desks[-1].governor.open()
        yield desks
