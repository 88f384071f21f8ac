"""Constructs what decides who may ask, and what it may cost; starts and stops it."""

import asyncio

from hermod.config import Settings
from hermod.domain.clock import Clock
from hermod.governance.access import Access, AccessRules, AdminSecrets
from hermod.governance.book import Rules
from hermod.governance.governor import Governor
from hermod.governance.issuer import Issuer
from hermod.governance.jwks import trusted_issuers
from hermod.governance.jwt import Verifier
from hermod.governance.registration import Registrar
from hermod.governance.sessions import Sessions
from hermod.governance.tokens import Tokens
from hermod.net.client import HttpClient
from hermod.store.api import Store
from hermod.vault import Vault


class Governing:
    """Who may do what, for one process."""

    def __init__(self, settings: Settings, store: Store, vault: Vault, client: HttpClient) -> None:
        """Raises ConfigError for keys of issuers that cannot be used."""
        ours, auth, clock = settings.hermod, settings.auth, store.clock
        self.rules = Rules(
            empty_means_all=ours.empty_lists == "all",
            on_limit=ours.on_limit,
            assumed_output_tokens=ours.assumed_output_tokens,
        )
        self.governor = Governor(store, settings.governance, self.rules)
        names = auth.own_issuer, auth.own_audience
        self.issuer = Issuer(names, self.governor, store, vault, clock)
        trusted = trusted_issuers(auth.jwt_issuers, client, clock)
        tokens = Tokens(
            Verifier((*trusted, self.issuer.trusted())),
            self.governor,
            self.issuer,
            Registrar(self.governor, store, clock),
            clock,
        )
        self.access = _access(settings, self.governor, tokens, clock)
        admin = _admin(settings)
        self.sessions = Sessions(store, self.governor, clock, admin.username, admin.password)
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read what governs, and look for changes from now on. Raises StoreError."""
        await self.governor.open()
        # Loads what checks signatures, 0.2 s, where there are any: no caller shall wait for that.
        _ = self.issuer.has_keys
        self._watching = asyncio.get_running_loop().create_task(self.governor.watch())

    async def close(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)


def _admin(settings: Settings) -> AdminSecrets:
    auth = settings.auth
    if not auth.admin_enabled:
        return AdminSecrets(settings.admin_token)
    return AdminSecrets(settings.admin_token, auth.admin_username, auth.admin_password)


def _access(settings: Settings, governor: Governor, tokens: Tokens, clock: Clock) -> Access:
    admin = _admin(settings)
    return Access(
        governor,
        tokens,
        clock,
        admin,
        AccessRules(
            # A worker without a secret serves nobody but probes.
            enforced=settings.enforced and (admin.are_set or settings.role != "worker"),
            key_required=settings.client.enforce_auth_on_inference,
            open_admin=settings.loopback and not admin.are_set and not settings.enforced,
            takes_direct_keys=settings.client.allow_direct_keys,
        ),
    )
