"""Secrets of jobs: sealed for the store, opened for a call.

AES-256-GCM. A sealed text is `v1:<key id>:<base64 of salt, nonce, ciphertext and tag>`, bound to
the id of its job: it cannot be read, changed or moved to another job without the key.

The key is derived by scrypt (RFC 7914) from the operator's `encryption_key`, or from a random one
in the app directory, with a salt that each process makes for itself. So nobody can prepare for a
weak key, and no key sees as many random nonces as would be dangerous (NIST SP 800-38D, 8.3). The
salt travels in the text; the key id tells another key from a text that was changed.
"""

import asyncio
import base64
import binascii
import hashlib
import os
import re
import secrets
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Final

from hermod.domain.errors import HermodError
from hermod.domain.provider import NO_SECRET, Secret

_VERSION: Final = "v1"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 8
_COST: Final = 2**15
_BLOCK: Final = 8
_CIPHERS: Final = 64
"""Derived keys that are remembered: one for each process whose jobs are still about."""
_FILE_KEY: Final = re.compile(r"[0-9a-f]{64}")


class VaultError(HermodError):
    """A secret cannot be sealed or opened. The message is fit for a client."""


class NoKey(VaultError):
    """There is no key to seal with."""


class CannotOpen(VaultError):
    """The key is another one, or the text was changed, or it is another job's."""


class Cipher:
    """One derived key. No I/O."""

    def __init__(self, derived: bytes, salt: bytes) -> None:
        """`derived`: the key, then its id."""
        # 10 MB of memory, which most gateways never need.
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        self.id = derived[_KEY_BYTES:].hex()
        self.salt = salt
        self._aead = AESGCM(derived[:_KEY_BYTES])
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
        dklen=_KEY_BYTES + _ID_BYTES,
        maxmem=2 * 128 * _BLOCK * (cost + 3),  # twice what it needs
    )
    return Cipher(derived, salt)


class Vault:
    """Seals and opens with the gateway's key. Nothing is derived before it is needed."""

    def __init__(
        self, key: Secret = NO_SECRET, key_file: Path | None = None, *, cost: int = _COST
    ) -> None:
        """`key`: the operator's. Without one `key_file` holds one, made when first needed.

        `cost` is scrypt's: a tenth of a second and 32 MiB, once for each process whose jobs are
        met. Who shares a key shares it, too.
        """
        self._key = key
        self._key_file = key_file
        self._cost = cost
        self._own: Cipher | None = None
        self._passing: Cipher | None = None
        self._ciphers: OrderedDict[bytes, Cipher] = OrderedDict()
        self._deriving = asyncio.Lock()

    @property
    def has_key(self) -> bool:
        """Whether there is a key, or a place for one."""
        return bool(self._key) or self._key_file is not None

    async def seal(self, plain: bytes, about: str) -> str:
        """The text to store. Raises NoKey, and OSError or VaultError for a bad key file."""
        if self._own is None:
            async with self._deriving:
                if self._own is None:
                    key = await asyncio.to_thread(self._found_key, make=True)
                    self._own = await self._derived(key, os.urandom(_SALT_BYTES))
        return self._own.seal(plain, about)

    def seal_in_passing(self, plain: bytes, about: str) -> str:
        """The same for what nobody but this process will open, with a key that dies with it."""
        if self._passing is None:
            self._passing = Cipher(os.urandom(_KEY_BYTES + _ID_BYTES), salt=os.urandom(_SALT_BYTES))
        return self._passing.seal(plain, about)

    async def open(self, sealed: str, about: str) -> bytes:
        """What was sealed, by any process with the same key.

        Raises CannotOpen, and OSError when the key file cannot be read.
        """
        _, salt, _ = _unpacked(sealed)
        if self._passing is not None and salt == self._passing.salt:
            return self._passing.open(sealed, about)
        cipher = self._ciphers.get(salt)
        if cipher is None:
            async with self._deriving:
                cipher = self._ciphers.get(salt)
                if cipher is None:
                    try:
                        key = await asyncio.to_thread(self._found_key, make=False)
                    except NoKey as error:
                        raise CannotOpen("there is no key") from error
                    cipher = await self._derived(key, salt)
        return cipher.open(sealed, about)

    async def _derived(self, key: str, salt: bytes) -> Cipher:
        cipher = await asyncio.to_thread(_cipher, key, salt, self._cost)
        while len(self._ciphers) >= _CIPHERS:
            self._ciphers.popitem(last=False)
        self._ciphers[salt] = cipher
        return cipher

    def _found_key(self, *, make: bool) -> str:
        if self._key:
            return self._key.reveal()
        if self._key_file is None:
            raise NoKey("there is no encryption key")
        with suppress(FileNotFoundError):
            return _read(self._key_file)
        if not make:
            raise NoKey("there is no encryption key")
        return _made(self._key_file)


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


def _read(path: Path) -> str:
    """The key in a file. Raises OSError, or VaultError where it holds none."""
    text = path.read_text("utf-8", "replace").strip()
    if not _FILE_KEY.fullmatch(text):
        raise VaultError(f"{path.name} holds no key: restore it, or remove it to have a new one")
    return text


def _made(path: Path) -> str:
    """A new key, or that of whoever was faster: a file appears whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return _read(path)
