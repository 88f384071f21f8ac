"""What shows an admin: the token of the settings, a password, a session."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hermod.domain.clock import Clock
from hermod.domain.document import Document
from hermod.domain.provider import NO_SECRET, Secret
from hermod.governance.book import Book
from hermod.governance.governor import Governor
from hermod.governance.identity import ADMIN, Identity, of_admin
from hermod.governance.sessions import SESSION, Session, proof_of, session_of

_COOKIE: Final = b"token"


@dataclass(frozen=True, slots=True)
class AdminSecrets:
    """What an admin may show, beside sessions and tokens. What is empty, nobody can show."""

    token: Secret = NO_SECRET
    username: str = ""
    password: Secret = NO_SECRET

    @property
    def are_set(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.token) or bool(self.username and self.password)


class Admins:
    """Knows admins by what they show. Nothing takes longer for who is nearly right."""

    def __init__(self, secrets: AdminSecrets, governor: Governor, clock: Clock) -> None:
        self._secrets = secrets
        self._token = secrets.token.reveal().encode()
        self._password = _digest_of(secrets)
        self._by_password = of_admin(secrets.username, "basic")
        self._governor = governor
        self._clock = clock
        self._book: Book | None = None
        self._sessions: dict[bytes, Session] = {}

    @property
    def have_password(self) -> bool:
        """Whether there is one that could be shown, or guessed."""
        return self._password is not None

    def by_token(self, secret: bytes) -> Identity | None:
        """Whoever has the token of the settings."""
        is_theirs = bool(self._token) and hmac.compare_digest(secret, self._token)
        return ADMIN if is_theirs else None

    def by_session(self, token: bytes, digest: bytes) -> Identity | None:
        """Whoever logged in, by what they got and its SHA-256, until it ends.

        It ends with its time, and when the name or the password is another one or there is none.
        """
        book = self._governor.book
        if book is not self._book:
            self._book = book
            self._sessions = dict(filter(None, map(_session, book.documents_of(SESSION))))
        session = self._sessions.get(digest)
        if session is None or self._password is None or self._clock.now() >= session.expires_at:
            return None
        proof = proof_of(token, self._secrets.username, self._secrets.password)
        is_theirs = hmac.compare_digest(session.proof.encode(), proof.encode())
        return of_admin(session.subject, "session") if is_theirs else None

    def by_cookie(self, headers: Iterable[tuple[bytes, bytes]]) -> Identity | None:
        """The same, by the cookie `token` (wire-contract 10.4)."""
        for name, value in headers:
            if name != b"cookie":
                continue
            for pair in value.split(b";"):
                cookie, _, token = pair.strip().partition(b"=")
                if cookie == _COOKIE:
                    found = self.by_session(token, hashlib.sha256(token).digest())
                    if found is not None:
                        return found
        return None

    def by_password(self, encoded: bytes) -> Identity | None:
        """Whoever knows it: `user:password` in base64 (RFC 7617).

        As much work for a user that there is not.
        """
        return self._by_password if self.is_password(encoded) else None

    def is_password(self, encoded: bytes) -> bool | None:
        """Whether it is the right one; None for what is none, or where there is none."""
        if self._password is None:
            return None
        try:
            shown = base64.b64decode(encoded.strip(), validate=True)
        except ValueError:
            return None
        if b":" not in shown:
            return None
        return hmac.compare_digest(hashlib.sha256(shown).digest(), self._password)


def _session(document: Document) -> tuple[bytes, Session] | None:
    """By the digest of what its owner has; None for what cannot be read: it lets nobody in."""
    session = session_of(document)
    try:
        digest = bytes.fromhex(document.secret_hash or "")
    except ValueError:
        return None
    if not digest or session is None:
        return None
    return digest, session


def _digest_of(secrets: AdminSecrets) -> bytes | None:
    if not secrets.username or not secrets.password:
        return None
    whole = f"{secrets.username}:{secrets.password.reveal()}"
    return hashlib.sha256(whole.encode()).digest()
