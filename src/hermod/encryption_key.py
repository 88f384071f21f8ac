"""The encryption key that an embedded database has beside it, in a file of its own, and its change.

The file is the key that is sealed with. While everything is being sealed anew, the key before lies
in `<name>.previous`, so that whoever opens a text finds one of the two that opens it.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hermod.domain.errors import HermodError

KEY_BYTES: Final = 32
_TEXT: Final = re.compile(r"[0-9a-f]{64}")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class VaultError(HermodError):
    """A secret cannot be sealed or opened. The message is fit for a client."""


class NoKey(VaultError):
    """There is no key to seal with."""


Mark = tuple[int, int]
"""Tells a file from the one that took its place."""


class KeyFile:
    """The file at a path. Everything here blocks, and may raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._previous = path.with_name(f"{path.name}.previous")

    def mark(self) -> Mark | None:
        """Of the file that is there now; None when there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def read(self) -> str | None:
        """The key to seal with, if there is one. Raises VaultError where the file holds none."""
        return _read(self.path)

    def read_previous(self) -> str | None:
        """The one before, if there is still something sealed with it. Raises VaultError."""
        return _read(self._previous)

    def make(self) -> str:
        """A new key, or that of whoever was faster: a file appears whole or not at all."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._draft()
        try:
            with suppress(FileExistsError):
                os.link(draft, self.path)
        finally:
            draft.unlink()
        self._settle()
        found = self.read()
        assert found is not None
        return found

    @contextmanager
    def held(self) -> Generator[None]:
        """For whoever changes the key: only one does. Raises VaultError when somebody else does."""
        folder = os.open(self.path.parent, _FOLDER)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise VaultError("somebody else is changing the key just now") from None
            yield
        finally:
            os.close(folder)

    def replace(self) -> bool:
        """Have a new key, and keep the one before as the previous one.

        False, with nothing changed, where there is a previous one already: that change is to be
        finished first. Raises NoKey where there is nothing to replace, VaultError.
        """
        key = self.read()
        if key is None:
            raise NoKey("there is no encryption key")
        previous = self.read_previous()
        if previous is None:
            os.link(self.path, self._previous)
            self._settle()
        elif previous != key:
            return False
        draft = self._draft()
        try:
            draft.rename(self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        self._settle()
        return True

    def forget_previous(self) -> None:
        """Nothing is sealed with it any more."""
        self._previous.unlink(missing_ok=True)
        self._settle()

    def _draft(self) -> Path:
        """A new key, on the disk under a name that nobody looks for."""
        draft = self.path.with_name(f"{self.path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(KEY_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            draft.unlink()
            raise
        return draft

    def _settle(self) -> None:
        """Names are on the disk, too."""
        folder = os.open(self.path.parent, _FOLDER)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(path: Path) -> str | None:
    try:
        text = path.read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    if not _TEXT.fullmatch(text):
        raise VaultError(f"{path.name} holds no key: restore it, or remove it to have a new one")
    return text
