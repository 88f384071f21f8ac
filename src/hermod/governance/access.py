"""Resolve a caller to who it is, once, at the edge."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hermod.domain.clock import Clock
from hermod.domain.errors import Refused, bad_request
from hermod.domain.failure import Failure
from hermod.domain.headers import UNSENDABLE
from hermod.domain.provider import Secret
from hermod.governance.admins import Admins, AdminSecrets
from hermod.governance.book import Book
from hermod.governance.governor import Governor
from hermod.governance.identity import (
    NOBODY,
    OPEN,
    UNKNOWN_KEY,
    Identity,
    of_admin,
    of_key,
    seeing_open,
)
from hermod.governance.judge import key_refusal
from hermod.governance.tokens import Tokens

_PRECEDENCE: Final = (b"x-bf-vk", b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")
"""The headers that hold a credential (design.md 8, 3); none can come twice, as the server refuses
that."""
_HOLD_CREDENTIALS: Final = frozenset(_PRECEDENCE)
_TAKE_PASSWORDS: Final = _HOLD_CREDENTIALS - {b"x-bf-vk"}
_VIRTUAL_KEY: Final = b"sk-bf-"
_DIRECT: Final = b"x-bf-direct-key"
_JWT: Final = re.compile(rb"eyJ[\w-]+\.[\w-]+\.[\w-]*")
"""RFC 7515, compact; its header is a JSON object."""

_KEPT: Final = 10_000
"""Credentials that are remembered."""
_FOR_EVER: Final = 1 << 62

Headers = Iterable[tuple[bytes, bytes]]
Shown = tuple[bytes, Identity]
"""A header, and whose credential is in it."""


@dataclass(frozen=True, slots=True)
class AccessRules:
    """Who is let in."""

    enforced: bool
    """Whether a credential is needed. Where not, access is open (design.md 5)."""
    key_required: bool = False
    """`enforce_auth_on_inference`: it is needed, and a refusal asks for a virtual key."""
    open_admin: bool = False
    """Whether whoever shows nothing is an admin: on loopback, with no admin secret set up."""
    takes_direct_keys: bool = False
    """Whether callers may bring keys of providers."""


class Access:
    """Tells credentials apart, in each of five headers, and says who shows them.

    In this order: the admin's token, a session, a virtual key, a token of an issuer (product.md
    2.3). Anything else is no credential at all, so that where access is open every SDK's dummy key
    works (design.md 8, 2).
    """

    def __init__(
        self,
        governor: Governor,
        tokens: Tokens,
        clock: Clock,
        admin: AdminSecrets,
        rules: AccessRules,
    ) -> None:
        if rules.enforced and not rules.key_required and not admin.are_set:
            raise ValueError("access cannot be enforced without an admin's secret")
        if rules.open_admin and (admin.are_set or rules.enforced):
            raise ValueError("there is an admin's secret, so nobody is an admin without it")
        self._governor = governor
        self._tokens = tokens
        self._clock = clock
        self._rules = rules
        self._is_open = not rules.enforced and not rules.key_required
        self._admins = Admins(admin, governor, clock)
        self._book: Book | None = None
        self._keys: dict[bytes, Identity] = {}
        """By the SHA-256 of the whole secret; two that begin alike never meet (CVE-2026-35030)."""
        self._lately: dict[bytes, tuple[Identity, int]] = {}
        """What came of a header that came alone, by the SHA-256 of its value and by its name: who
        it is and until when, as long as the book is in force. Nothing of tokens."""
        self.takes_direct_keys: Final = rules.takes_direct_keys

    async def resolve(self, headers: Headers) -> Identity:
        """Who wants to make a call or a job, by the request's headers, names in lower case.

        Raises Refused: 401 where a credential is needed and there is none, or a token is not
        good; 403 for a virtual key that there is not, or that is not in force, and for a token
        that may only read; 400 for credentials that contradict each other (wire-contract 4.3).
        """
        given = [header for header in headers if header[0] in _HOLD_CREDENTIALS]
        if not given:
            return self._without()
        alone = _alone(given)
        lately = self._seen_lately(alone)
        return await self._resolve(given, alone) if lately is None else lately

    def _seen_lately(self, alone: bytes | None) -> Identity | None:
        """Who made a call with this before, and may still."""
        self._now_known()
        lately = self._lately.get(alone) if alone is not None else None
        return lately[0] if lately is not None and self._clock.now() < lately[1] else None

    async def _resolve(self, given: Headers, alone: bytes | None) -> Identity:
        found = await self._looked_for(given)
        identity = _agreed(found) if found else self._without()
        if identity is UNKNOWN_KEY:
            raise _refused(403, "virtual_key_not_found", "Virtual key not found")
        if identity.key is not None:
            failure = key_refusal(identity.key, self._clock.now(), self._governor.book)
            if failure is not None:
                raise Refused(failure)
        if not identity.may_infer:
            raise _refused(403, "insufficient_scope", "The token may only read jobs")
        if alone is not None and (not found or identity.via == "virtual_key"):
            self._remember(alone, identity)
        return identity

    def _remember(self, alone: bytes, identity: Identity) -> None:
        if len(self._lately) >= _KEPT:
            self._lately.clear()
        ends_at = None if identity.key is None else identity.key.expires_at
        self._lately[alone] = identity, _FOR_EVER if ends_at is None else ends_at

    async def resolve_reader(self, headers: Headers) -> Identity:
        """The same for a request that only reads jobs.

        A key that is no longer in force may still read what it paid for. An unknown one sees what
        everybody sees: jobs of nobody where access is open, and else nothing, without a word about
        why (wire-contract 3.6, 5). Raises Refused with 400 or 401.
        """
        given = [header for header in headers if header[0] in _HOLD_CREDENTIALS]
        lately = self._seen_lately(_alone(given)) if given else None
        if lately is not None:
            return lately
        found = await self._looked_for(given)
        if not found:
            return self._without()
        identity = _agreed(found)
        if identity is UNKNOWN_KEY:
            return OPEN if self._is_open else NOBODY
        return identity

    async def resolve_admin(self, headers: Headers) -> Identity:
        """Who wants to manage the gateway. A session may be in the cookie `token`, too.

        Raises Refused: 401 `Unauthorized` without an admin's credential, 403 for everybody else's
        (wire-contract 4.5).
        """
        headers = tuple(headers)
        found = await self._credentials(headers)
        if found:
            identity = _agreed(found)
            # Who may act as a key is an admin still.
            if (beside := dict(found).get(b"authorization", identity)).may_manage:
                return beside
            if identity is not UNKNOWN_KEY:
                raise _refused(403, "insufficient_scope", "This is for admins only")
        else:
            session = self._admins.by_cookie(headers)
            if session is not None:
                return self._shown(session)
            if self._rules.open_admin:
                return self._shown(of_admin("open", "open"))
        raise _refused(401, "unauthorized", "Unauthorized")

    def password_shown(self, headers: Headers) -> bool | None:
        """Whether the admin's password that the headers hold is right; None where they hold none.

        Where there are several that are different, one of them was guessed.
        """
        found: bool | None = None
        if not self._admins.have_password:
            return None
        for name, value in headers:
            if name in _TAKE_PASSWORDS:
                shown = self._admins.is_password(_after_any_scheme(name, value))
                if shown is False:
                    return False
                found = shown or found
        return found

    def direct_key(self, headers: Headers) -> Secret | None:
        """The caller's own provider key, where such are allowed (wire-contract 2.2).

        It says nothing about who asks. `x-bf-direct-key: false` keeps the gateway from taking an
        SDK's dummy for one; a JWT is taken for one only with `true`, as it says who somebody is,
        and never where issuers are trusted.
        """
        if not self.takes_direct_keys:
            return None
        given: dict[bytes, bytes] = {}
        wish = b""
        for name, value in headers:
            if name == _DIRECT:
                wish = value.strip().lower()
            elif name in _HOLD_CREDENTIALS:
                given[name] = value
        if wish == b"false":
            return None
        for name in _PRECEDENCE[1:]:
            secret = given.get(name, b"").strip()
            if name == b"authorization":
                secret = _after_scheme(secret)
            if not secret or self._is_ours(secret):
                continue
            text = secret.decode("latin-1")
            if not UNSENDABLE.search(text) and (wish == b"true" or not _JWT.fullmatch(secret)):
                return Secret(text)
        return None

    def _is_ours(self, secret: bytes) -> bool:
        """Whether it is a credential of the gateway's, in whichever header: never passed on."""
        book = self._now_known()
        digest = hashlib.sha256(secret).digest()
        return (
            secret[:6].lower() == _VIRTUAL_KEY
            or book.key_by_hash(digest.hex()) is not None
            or self._admins.by_token(secret) is not None
            or self._admins.by_session(secret, digest) is not None
            or self._admins.by_password(secret) is not None
            or self._tokens.takes(secret)
        )

    async def _looked_for(self, given: Headers) -> Sequence[Shown]:
        """The same as `_credentials`, and once more for a key that nobody knows yet."""
        found = await self._credentials(given)
        unknown = any(identity is UNKNOWN_KEY for _, identity in found)
        if unknown and await self._governor.look_again():
            return await self._credentials(given)
        return found

    async def _credentials(self, headers: Headers) -> Sequence[Shown]:
        """Who is named in which header, in the fixed order. Raises Refused."""
        given = [header for header in headers if header[0] in _HOLD_CREDENTIALS]
        if len(given) > 1:
            given.sort(key=_rank)
        found: list[Shown] = []
        for name, value in given:
            if name == b"authorization":
                if value[:7].lower() != b"bearer ":
                    if value[:6].lower() == b"basic ":
                        admin = self._admins.by_password(value[6:])
                        if admin is not None:
                            found.append((name, self._shown(admin)))
                    continue
                value = value[7:]
            secret = value.strip()
            if not secret:
                continue
            identity = self._at_once(secret, is_key=name == b"x-bf-vk")
            if identity is None and self._tokens.takes(secret):
                identity = await self._tokens.identity(secret, hashlib.sha256(secret).digest())
            if identity is not None:
                found.append((name, self._shown(identity)))
        return found

    def _at_once(self, secret: bytes, *, is_key: bool) -> Identity | None:
        """What needs no signature checked: mostly one digest and one look.

        `is_key`: whether it can be nothing but a virtual key, or what stands for one.
        """
        admin = self._admins.by_token(secret)
        if admin is not None:
            return admin
        book = self._now_known()
        digest = hashlib.sha256(secret).digest()
        has_prefix = secret[:6].lower() == _VIRTUAL_KEY
        if has_prefix or is_key:
            identity = self._keys.get(digest) or self._by_key(digest, book)
            if identity is not None or has_prefix:
                return identity or UNKNOWN_KEY
        known = self._admins.by_session(secret, digest)
        if known is None:
            known = self._tokens.known(digest, self._clock.now())
        if known is not None:
            return known
        if is_key:
            return None if self._tokens.takes(secret) else UNKNOWN_KEY
        return self._admins.by_password(secret)

    def _by_key(self, digest: bytes, book: Book) -> Identity | None:
        key = book.key_by_hash(digest.hex())
        if key is None:
            return None
        identity = self._keys[digest] = of_key(key)
        return identity

    def _now_known(self) -> Book:
        """The book in force. What was known from the one before is forgotten."""
        book = self._governor.book
        if book is not self._book:
            self._book = book
            self._keys.clear()
            self._lately.clear()
        return book

    def _without(self) -> Identity:
        """Who shows nothing. Raises Refused."""
        if self._is_open:
            return OPEN
        if self._rules.key_required:
            raise _refused(
                401,
                "virtual_key_required",
                "virtual key is required. Provide a virtual key via the x-bf-vk header.",
            )
        raise _refused(401, "unauthorized", "Unauthorized")

    def _shown(self, identity: Identity) -> Identity:
        is_shown = self._is_open and identity is not UNKNOWN_KEY
        return seeing_open(identity) if is_shown else identity


def _alone(given: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """What the only credential of a request is remembered under."""
    if len(given) != 1:
        return None
    name, value = given[0]
    return hashlib.sha256(value).digest() + name


def _agreed(found: Sequence[Shown]) -> Identity:
    """The one who is named; an admin may name the virtual key as which to act (product.md 2.3).

    Raises Refused (400): somebody's proxy and somebody's client may each have added one, and then
    it is anybody's guess who shall pay (design.md 8, 3).
    """
    first = found[0][1]
    if len(found) == 1:
        return first
    principals = {identity.principal for _, identity in found}
    if len(principals) == 1:
        return first
    named = dict(found)
    admin, acting = named.get(b"authorization"), named.get(b"x-bf-vk")
    if (
        len(principals) == 2
        and admin is not None
        and admin.may_manage
        and acting is not None
        and not acting.may_manage
    ):
        return acting
    raise bad_request("the request carries credentials of different callers: send one of them")


def _rank(header: tuple[bytes, bytes]) -> int:
    return _PRECEDENCE.index(header[0])


def _refused(status: int, type_: str, message: str) -> Refused:
    return Refused(Failure(message, status_code=status, type=type_))


def _after_any_scheme(name: bytes, value: bytes) -> bytes:
    """What may be a password: in `Authorization` it is `Basic`, or a bearer."""
    if name != b"authorization":
        return value
    scheme, _, text = value.partition(b" ")
    return text if scheme.lower() in {b"basic", b"bearer"} else b""


def _after_scheme(value: bytes) -> bytes:
    """The token of an `Authorization`, with `Bearer` before it or nothing at all."""
    scheme, _, token = value.partition(b" ")
    if scheme.lower() == b"bearer":
        return token.strip()
    return b"" if token else value
