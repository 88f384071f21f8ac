"""Secrets at rest: sealed for the store, opened for a call.

AES-256-GCM. A sealed text is `v1:<key id>:<base64 of salt, nonce, ciphertext and tag>`, bound to
what it is about, a job or a document: it cannot be read, changed or moved to another one without
the key.

The key is derived by scrypt (RFC 7914) from the operator's `encryption_key`, or from a random one
in the app directory, with a salt that each process makes for itself. So nobody can prepare for a
weak key, and no key sees as many random nonces as would be dangerous (NIST SP 800-38D, 8.3). The
salt travels in the text; the key id tells another key from a text that was changed. It also tells
which of several keys it was, for there are two while the key is being changed.
"""

import asyncio
import base64
import binascii
import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from hermod.domain.provider import NO_SECRET, Secret
from hermod.encryption_key import KEY_BYTES, KeyFile, Mark, NoKey, VaultError

_VERSION: Final = "v1"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_ID_BYTES: Final = 8
_COST: Final = 2**15
_BLOCK: Final = 8
_CIPHERS: Final = 64
"""Derived keys that are remembered: one for each process whose jobs are still about."""


class CannotOpen(VaultError):
    """The key is another one, or the text was changed, or it is another job's."""


class Cipher:
    """One derived key. No I/O."""

    def __init__(self, derived: bytes, salt: bytes) -> None:
        """`derived`: the key, then its id."""
        # 10 MB of memory, which most gateways never need.
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        self.id = derived[KEY_BYTES:].hex()
        self.salt = salt
        self._aead = AESGCM(derived[:KEY_BYTES])
        self._invalid = InvalidTag

    def seal(self, plain: bytes, about: str) -> str:
        """The text to store; only with the same `about` will it open again."""
        nonce = os.urandom(_NONCE_BYTES)
        hidden = self._aead.encrypt(nonce, plain, self._bound(about))
        packed = base64.b64encode(self.salt + nonce + hidden).decode()
        return f"{_VERSION}:{self.id}:{packed}"

    def open(self, sealed: str, about: str) -> bytes:
        """What was sealed. Raises CannotOpen."""
        key_id, salt, rest = _unpacked(sealed)
        if (key_id, salt) != (self.id, self.salt):
            raise CannotOpen("sealed with another key")
        try:
            return self._aead.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], self._bound(about))
        except (self._invalid, ValueError):
            raise CannotOpen("changed since it was sealed, or of another job") from None

    def _bound(self, about: str) -> bytes:
        return f"{_VERSION}:{self.id}:{about}".encode()


def _cipher(key: str, salt: bytes, cost: int) -> Cipher:
    derived = hashlib.scrypt(
        key.encode(),
        salt=salt,
        n=cost,
        r=_BLOCK,
        p=1,
        dklen=KEY_BYTES + _ID_BYTES,
        maxmem=2 * 128 * _BLOCK * (cost + 3),  # twice what it needs
    )
    return Cipher(derived, salt)


class Sealing(StrEnum):
    """Which of the keys opens a text."""

    CURRENT = "current"
    """The one that is sealed with now."""
    OLDER = "older"
    """One from before, that is still known."""
    UNKNOWN = "unknown"
    """None."""


class _Keys(NamedTuple):
    """What there was when somebody looked."""

    current: str | None
    others: tuple[str, ...]
    """Without it."""


class Vault:
    """Seals with the gateway's key, and opens with those before it, too.

    Nothing is derived before it is needed.
    """

    def __init__(
        self,
        key: Secret = NO_SECRET,
        key_file: Path | None = None,
        previous: Sequence[Secret] = (),
        *,
        cost: int = _COST,
    ) -> None:
        """`key`: the operator's. Without one `key_file` holds one, made when first needed.

        What was sealed with one of `previous`, or with the file's key before there was an
        operator's, opens as well. A file that is replaced is noticed.

        `cost` is scrypt's: a tenth of a second and 32 MiB, once for each process whose jobs are
        met. Who shares a key shares it, too.
        """
        self._key = key
        self._file = KeyFile(key_file) if key_file is not None else None
        self._previous = tuple(previous)
        self._cost = cost
        self._keys = _Keys(None, ())
        self._mark: Mark | None = None
        """Of the file that `_keys` were read from."""
        self._own: tuple[str, Cipher] | None = None
        """What is sealed with, and which key that is."""
        self._passing: Cipher | None = None
        self._ciphers: OrderedDict[tuple[str, bytes], Cipher] = OrderedDict()
        """By key and salt."""
        self._deriving = asyncio.Lock()

    @property
    def has_key(self) -> bool:
        """Whether there is a key, or a place for one."""
        return bool(self._key) or self._file is not None

    async def seal(self, plain: bytes, about: str) -> str:
        """The text to store. Raises NoKey, and OSError or VaultError for a bad key file."""
        if self._own is None or self._is_replaced():
            async with self._deriving:
                if self._own is None or self._is_replaced():
                    await self._look(make=True)
                    key = self._keys.current
                    if key is None:
                        raise NoKey("there is no encryption key")
                    if self._own is None or self._own[0] != key:
                        self._own = key, await self._derived(key, os.urandom(_SALT_BYTES))
        return self._own[1].seal(plain, about)

    def seal_in_passing(self, plain: bytes, about: str) -> str:
        """The same for what nobody but this process will open, with a key that dies with it."""
        if self._passing is None:
            self._passing = Cipher(os.urandom(KEY_BYTES + _ID_BYTES), salt=os.urandom(_SALT_BYTES))
        return self._passing.seal(plain, about)

    async def open(self, sealed: str, about: str) -> bytes:
        """What was sealed, by any process with one of the same keys.

        Raises CannotOpen, and OSError or VaultError when the key file cannot be read.
        """
        _, salt, _ = _unpacked(sealed)
        if self._passing is not None and salt == self._passing.salt:
            return self._passing.open(sealed, about)
        _, cipher = await self._found(sealed)
        return cipher.open(sealed, about)

    async def sealing(self, sealed: str) -> Sealing:
        """Which of the keys a text is sealed with. Raises OSError, or VaultError as `open` does
        for a bad key file."""
        try:
            key, _ = await self._found(sealed)
        except CannotOpen:
            return Sealing.UNKNOWN
        return Sealing.CURRENT if key == self._keys.current else Sealing.OLDER

    async def resealed(self, sealed: str, about: str) -> str | None:
        """The same, sealed with the current key; None where it is already.

        Raises like `open` and `seal`.
        """
        if await self.sealing(sealed) is Sealing.CURRENT:
            return None
        return await self.seal(await self.open(sealed, about), about)

    async def _found(self, sealed: str) -> tuple[str, Cipher]:
        """The key that a text names, derived. Raises CannotOpen."""
        key_id, salt, _ = _unpacked(sealed)
        known = self._known(key_id, salt)
        if known is not None:
            return known
        async with self._deriving:
            await self._look(make=False)
            keys = self._all()
            for key in keys:
                cipher = self._ciphers.get((key, salt)) or await self._derived(key, salt)
                if cipher.id == key_id:
                    return key, cipher
        raise CannotOpen("sealed with another key" if keys else "there is no key")

    def _known(self, key_id: str, salt: bytes) -> tuple[str, Cipher] | None:
        for key in self._all():
            cipher = self._ciphers.get((key, salt))
            if cipher is not None and cipher.id == key_id:
                return key, cipher
        return None

    def _all(self) -> tuple[str, ...]:
        """The keys, as they were when they were last looked at; the current one first."""
        current, others = self._keys
        return others if current is None else (current, *others)

    async def _derived(self, key: str, salt: bytes) -> Cipher:
        cipher = await asyncio.to_thread(_cipher, key, salt, self._cost)
        while len(self._ciphers) >= _CIPHERS:
            self._ciphers.popitem(last=False)
        self._ciphers[key, salt] = cipher
        return cipher

    def _is_replaced(self) -> bool:
        """Whether the file is another one. A look at its inode takes a microsecond or two.

        One that is gone is no reason to seal with another key.
        """
        if self._key or self._file is None:
            return False
        mark = self._file.mark()
        return mark is not None and mark != self._mark

    async def _look(self, *, make: bool) -> None:
        self._mark, self._keys = await asyncio.to_thread(self._read, make=make)

    def _read(self, *, make: bool) -> tuple[Mark | None, _Keys]:
        # Before the file is read: one that comes in between is noticed the next time.
        mark, in_file, before = None, None, None
        if self._file is not None and self._key:
            # It only opens what was sealed before there was an operator's key.
            with suppress(VaultError, OSError):
                in_file = self._file.read()
        elif self._file is not None:
            mark, in_file = self._file.mark(), self._file.read()
            if in_file is None and make:
                in_file, mark = self._file.make(), self._file.mark()
        # In this order: the file's key becomes the previous one, never the other way round.
        if self._file is not None:
            with suppress(VaultError):
                before = self._file.read_previous()
        current = self._key.reveal() or in_file
        # Those of a moment ago, too: a text that was sealed then may still be on its way here.
        found = (*(each.reveal() for each in self._previous), in_file, before, *self._all())
        others = dict.fromkeys(key for key in found if key and key != current)
        return mark, _Keys(current, tuple(others))


def _unpacked(sealed: str) -> tuple[str, bytes, bytes]:
    """Key id, salt and the rest. Raises CannotOpen."""
    version, _, rest = sealed.partition(":")
    key_id, _, text = rest.partition(":")
    if version != _VERSION:
        raise CannotOpen("written by another release")
    try:
        packed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CannotOpen("not a sealed text") from None
    return key_id, packed[:_SALT_BYTES], packed[_SALT_BYTES:]
