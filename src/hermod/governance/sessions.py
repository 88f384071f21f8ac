"""Who has logged in (wire-contract 10.4)."""

import hashlib
import hmac
import uuid
from collections.abc import Sequence
from typing import Final

import msgspec

from hermod.domain.clock import Clock
from hermod.domain.document import Audit, Conflict, Delete, Document, Put
from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.domain.ids import uuid7
from hermod.domain.provider import Secret
from hermod.governance.governor import Governor
from hermod.store.api import Store

SESSION: Final = "session"
SESSION_LIFE_S: Final = 30 * 86_400
_SWEPT: Final = 100
"""Sessions that are over, of which a login takes so many away."""


class Session(msgspec.Struct, frozen=True):
    """What the store keeps of one, beside the SHA-256 of its token."""

    subject: str
    """The name that logged in."""
    expires_at: int
    proof: str = ""
    """`proof_of` the name and the password that opened it: it ends with either of them."""


def proof_of(token: bytes, username: str, password: Secret) -> str:
    """What a session keeps of them. Without its token, nobody can try passwords on it."""
    return hmac.digest(token, f"{username}:{password.reveal()}".encode(), "sha256").hex()


def session_of(document: Document) -> Session | None:
    """What a document says; None for what cannot be read, which lets nobody in."""
    try:
        return msgspec.json.decode(document.body, type=Session)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Sessions:
    """Logging in and out."""

    def __init__(
        self, store: Store, governor: Governor, clock: Clock, username: str, password: Secret
    ) -> None:
        """Without a password nobody can log in."""
        self._store = store
        self._governor = governor
        self._clock = clock
        self._username = username
        self._password = password

    async def login(self, username: str, password: str) -> str:
        """The token of a new session.

        Raises Refused: 401 for a wrong name or password, after the same work for both (S5), 403
        where there is no password.
        """
        if not self._password:
            raise Refused(Failure("Authentication is not enabled", status_code=403))
        right_name = hmac.compare_digest(_digest(username), _digest(self._username))
        right_word = hmac.compare_digest(_digest(password), _digest(self._password.reveal()))
        if not (right_name & right_word):
            failure = Failure("Invalid username or password", status_code=401, type="unauthorized")
            raise Refused(failure)
        token = str(uuid.uuid4())
        now = self._clock.now()
        proof = proof_of(token.encode(), self._username, self._password)
        session = Session(self._username, now + SESSION_LIFE_S * 1_000_000, proof)
        id_ = uuid7(now)
        document = Document(SESSION, id_, id_, _digest(token).hex(), msgspec.json.encode(session))
        audit = Audit(now, f"admin:{self._username}", "session.create", id_)
        changed = await self._store.change_documents((Put(document),), audit)
        if isinstance(changed, Conflict):
            raise Refused(Failure("try again", status_code=409))
        await self._governor.refresh()
        await self._sweep(now)
        return token

    async def logout(self, token: str) -> None:
        """End the session of this token, if there is one."""
        digest = _digest(token).hex()
        for document in self._governor.book.documents_of(SESSION):
            if hmac.compare_digest(document.secret_hash or "", digest):
                session = session_of(document)
                subject = f"admin:{session.subject}" if session else "admin:"
                audit = Audit(self._clock.now(), subject, "session.delete", document.id)
                await self._end((document,), audit)

    async def _sweep(self, now: int) -> None:
        over: list[Document] = []
        for document in self._governor.book.documents_of(SESSION):
            session = session_of(document)
            if session is None or session.expires_at <= now:
                over.append(document)
        if over:
            await self._end(over[:_SWEPT], None)

    async def _end(self, documents: Sequence[Document], audit: Audit | None) -> None:
        # Lost to somebody else who ended them at the same time, or tried again at the next login.
        ended = tuple(Delete(each.type, each.id, each.version) for each in documents)
        await self._store.change_documents(ended, audit)
        await self._governor.refresh()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
