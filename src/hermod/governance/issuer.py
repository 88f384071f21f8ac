"""Tokens that the gateway makes itself, for its virtual keys.

Keys to sign with are documents in the store, sealed, so that every gateway has the same ones. One
is current; the one before it is still good for what it has signed.
"""

from typing import Any, Final, NamedTuple

import msgspec

from hermod.domain.clock import Clock
from hermod.domain.document import Audit, Conflict, Delete, Document, Put
from hermod.domain.governance import VirtualKey
from hermod.domain.ids import uuid7
from hermod.domain.jwt import LONGEST_LIFETIME_S, ClaimNames, JwtIssuer
from hermod.governance.book import Book
from hermod.governance.governor import Governor
from hermod.governance.jwt import Trusted
from hermod.governance.token_keys import BadKey, TokenKey, chosen, key_of_jwk
from hermod.store.api import Store
from hermod.vault import CannotOpen, Vault

_TYPE: Final = "signing_key"
_CURRENT: Final = "current"
_PREVIOUS: Final = "previous"
_ALGORITHM: Final = "ES256"
_SCOPE: Final = "inference jobs:own"
_CLAIMS: Final = ClaimNames(virtual_key=("vk_id",), tenant=(), role=(), scope=("scope",))
_US: Final = 1_000_000
_TRIES: Final = 5


class _Body(msgspec.Struct, frozen=True):
    """Of a document of type `signing_key`; its id is the `kid`, its name says if it is current."""

    jwk: dict[str, str]
    """The public half (RFC 7517)."""
    sealed: str
    """The private half in PEM, sealed for this id."""
    created_at: int


class _Key(NamedTuple):
    document: Document
    body: _Body
    public: TokenKey


class Issuer:
    """Makes tokens, and knows which keys they are signed with."""

    def __init__(
        self,
        settings: tuple[str, str],
        governor: Governor,
        store: Store,
        vault: Vault,
        clock: Clock,
    ) -> None:
        """`settings`: what tokens have as `iss` and as `aud`."""
        self._name, self._audience = settings
        self._governor = governor
        self._store = store
        self._vault = vault
        self._clock = clock
        self._book: Book | None = None
        self._keys: dict[str, _Key] = {}
        self._opened: tuple[str, Any] | None = None
        """The private key that was last signed with, and its id."""

    @property
    def has_keys(self) -> bool:
        """Whether any token was ever made, and its key not given up since."""
        return bool(self._now_known())

    def trusted(self) -> Trusted:
        """Ourselves, for the verifier."""
        issuer = JwtIssuer(
            issuer=self._name,
            audience=(self._audience,),
            algorithms=(_ALGORITHM,),
            claims=_CLAIMS,
        )
        return Trusted(issuer, self, is_own=True)

    async def find(self, kid: str | None, algorithm: str) -> TokenKey | None:
        """The key that a token names."""
        found = self._found(kid, algorithm)
        if found is None and await self._governor.look_again():
            found = self._found(kid, algorithm)
        return found

    def _found(self, kid: str | None, algorithm: str) -> TokenKey | None:
        return chosen([key.public for key in self._now_known().values()], kid, algorithm)

    def public_keys(self) -> bytes:
        """The JSON Web Key Set for `/.well-known/jwks.json`: the current key first."""
        keys = sorted(self._now_known().values(), key=lambda key: key.document.name)
        shown = [
            {**key.body.jwk, "kid": key.document.id, "use": "sig", "alg": _ALGORITHM}
            for key in keys
        ]
        return msgspec.json.encode({"keys": shown})

    async def token_for(self, key: VirtualKey, life_s: float, now: int) -> str:
        """A token that stands for this virtual key until then; `now` in microseconds.

        Raises ValueError for a life that is none or too long, VaultError or OSError where there
        is nothing to seal or open with, StoreError.
        """
        if not 1 <= life_s <= LONGEST_LIFETIME_S:
            raise ValueError(f"a token lives between 1 s and {LONGEST_LIFETIME_S:.0f} s")
        current = await self._current()
        now_s = now // _US
        claims = {
            "iss": self._name,
            "aud": self._audience,
            "sub": f"vk:{key.id}",
            "vk_id": key.id,
            "tv": key.token_version,
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + int(life_s),
            "jti": uuid7(now),
            "scope": _SCOPE,
        }
        return await self._signed(current, msgspec.json.encode(claims))

    async def rotate(self, subject: str) -> str:
        """A new current key, in whose favour the one before the last is given up; its id.

        Tokens signed with the last one stay good. `subject` is who asked for it (`Audit`). Raises
        VaultError, OSError, StoreError.
        """
        for _ in range(_TRIES):
            stored = self._governor.book.documents_of(_TYPE)
            known = {document.name: document for document in stored}
            changes: list[Put | Delete] = []
            if (oldest := known.get(_PREVIOUS)) is not None:
                changes.append(Delete(_TYPE, oldest.id, oldest.version))
            if (last := known.get(_CURRENT)) is not None:
                changes.append(Put(last._replace(name=_PREVIOUS)))
            if (kid := await self._made(changes, subject)) is not None:
                return kid
        raise CannotOpen("other gateways make keys all the time")

    async def _current(self) -> _Key:
        """Made when it is first needed; of several gateways at once one makes it."""
        for _ in range(_TRIES):
            for key in self._now_known().values():
                if key.document.name == _CURRENT:
                    return key
            await self._made([], "issuer")
        raise CannotOpen("the key to sign with cannot be read")

    async def _made(self, changes: list[Put | Delete], subject: str) -> str | None:
        """The id of a new current key, or None where another gateway was faster."""
        now = self._clock.now()
        document = await self._new_document(now)
        audit = Audit(now, subject, "signing_key.create", document.id)
        changed = await self._store.change_documents([*changes, Put(document)], audit)
        await self._governor.refresh()
        return None if isinstance(changed, Conflict) else document.id

    async def _new_document(self, now: int) -> Document:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
        from jwt.algorithms import ECAlgorithm  # noqa: PLC0415

        kid = uuid7(now)
        private = ec.generate_private_key(ec.SECP256R1())
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        sealed = await self._vault.seal(pem, _about(kid))
        public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        jwk = {name: str(public[name]) for name in ("kty", "crv", "x", "y")}
        body = msgspec.json.encode(_Body(jwk, sealed, now))
        return Document(_TYPE, kid, _CURRENT, None, body)

    async def _signed(self, key: _Key, payload: bytes) -> str:
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            load_pem_private_key,
        )
        from jwt import PyJWS  # noqa: PLC0415

        kid = key.document.id
        opened = self._opened
        if opened is None or opened[0] != kid:
            pem = await self._vault.open(key.body.sealed, _about(kid))
            private: Any = load_pem_private_key(pem, None)
            opened = self._opened = kid, private
        return PyJWS().encode(payload, opened[1], _ALGORITHM, {"kid": kid, "typ": "JWT"})

    def _now_known(self) -> dict[str, _Key]:
        book = self._governor.book
        if book is not self._book:
            read = (_read(document) for document in book.documents_of(_TYPE))
            self._keys = {key.document.id: key for key in read if key is not None}
            self._book = book
        return self._keys


def _about(kid: str) -> str:
    return f"{_TYPE}:{kid}"


def _read(document: Document) -> _Key | None:
    """None for what a newer release wrote, which this one cannot use."""
    try:
        body = msgspec.json.decode(document.body, type=_Body)
        return _Key(document, body, key_of_jwk({**body.jwk, "kid": document.id}))
    except (msgspec.DecodeError, BadKey):
        return None
