"""From a token to who asks. What was found is remembered, as a signature costs 100 µs."""

from collections import OrderedDict
from typing import Final

from hermod.domain.clock import Clock
from hermod.domain.errors import Refused, StoreError
from hermod.domain.failure import Failure
from hermod.domain.governance import VirtualKey
from hermod.domain.jwt import JwtIssuer
from hermod.governance.book import Book
from hermod.governance.claims import Unmapped, identity_in
from hermod.governance.governor import Governor
from hermod.governance.identity import UNKNOWN_KEY, Identity
from hermod.governance.issuer import Issuer
from hermod.governance.jwt import Verified, Verifier, is_token
from hermod.governance.registration import Registrar

_KEPT_US: Final = 60 * 1_000_000
_KEPT: Final = 10_000
_RETRY_S: Final = 5

Digest = bytes
"""SHA-256 of a whole credential: two that begin alike never meet (CVE-2026-35030)."""


class Tokens:
    """Resolves tokens of all issuers."""

    def __init__(
        self,
        verifier: Verifier,
        governor: Governor,
        issuer: Issuer,
        registrar: Registrar,
        clock: Clock,
    ) -> None:
        self._verifier = verifier
        self._governor = governor
        self._issuer = issuer
        self._registrar = registrar
        self._clock = clock
        self._book: Book | None = None
        self._by_name: dict[str, VirtualKey] = {}
        self._kept: OrderedDict[Digest, tuple[Identity, int]] = OrderedDict()

    @property
    def are_taken(self) -> bool:
        """Whether tokens mean anything here: some issuer is trusted, or we have made some."""
        return self._verifier.has_others or self._issuer.has_keys

    def takes(self, credential: bytes) -> bool:
        """Whether it is a token that means something here.

        One that is said to be our own always does: another process may just have made the first.
        """
        return is_token(credential) and (self.are_taken or self._verifier.is_own(credential))

    def known(self, digest: Digest, now: int) -> Identity | None:
        """Who was seen with this token before, less than a minute ago."""
        if self._governor.book is not self._book:
            self._turn_to(self._governor.book)
        found = self._kept.get(digest)
        return found[0] if found is not None and now < found[1] else None

    async def identity(self, token: bytes, digest: Digest) -> Identity:
        """Who asks with this token; `UNKNOWN_KEY` where it names a virtual key that there is not.

        Raises Refused: 401 `invalid_token`, 503 while keys cannot be had, or registered.
        """
        verified = await self._verifier.verify(token, self._clock.now())
        found = self._mapped(verified)
        issuer = verified.trusted.issuer
        if isinstance(found, Unmapped):
            if found.name is None or issuer.unmapped != "auto_register":
                return UNKNOWN_KEY
            await self._register(found.name, issuer)
            found = self._mapped(verified)
            if isinstance(found, Unmapped):
                return UNKNOWN_KEY
        self._keep(digest, found, verified.ends_at)
        return found

    async def _register(self, name: str, issuer: JwtIssuer) -> None:
        try:
            await self._registrar.register(name, issuer.template, issuer.issuer)
        except StoreError as error:
            failure = Failure(f"failed to register the virtual key: {error}", status_code=503)
            raise Refused(failure, retry_after_s=_RETRY_S) from error

    def _mapped(self, verified: Verified) -> Identity | Unmapped:
        if self._governor.book is not self._book:
            self._turn_to(self._governor.book)
        assert self._book is not None
        return identity_in(verified, self._book, self._by_name)

    def _turn_to(self, book: Book) -> None:
        self._book = book
        self._by_name = {key.name: key for key in book.keys.values()}
        self._kept.clear()

    def _keep(self, digest: Digest, identity: Identity, ends_at: int) -> None:
        now = self._clock.now()
        self._kept[digest] = identity, min(ends_at, now + _KEPT_US)
        self._kept.move_to_end(digest)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
