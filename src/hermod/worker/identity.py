"""Who this worker is, and which of its kind are dead.

A worker is an id whose lock file it holds (design.md 8, 19). The system lets go of the lock when
the process ends, however it ends; so whoever can take a lock knows that its worker is dead and may
take its leases at once, without waiting for them to run out. A worker that is only frozen keeps
its lock, and loses its leases by time alone.
"""

import fcntl
import logging
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_SUFFIX: Final = ".lock"
_ID: Final = re.compile(r"[0-9a-f]{32}")


class Identity:
    """This worker's id, held until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """Take a new id in the folder, which all workers of one database share. Raises OSError."""
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        while True:
            self.worker_id = uuid.uuid4().hex
            path = self._path(self.worker_id)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            if _lock(descriptor) and _is_still(path, descriptor):
                inode = os.fstat(descriptor).st_ino
                os.write(descriptor, f"{os.getpid()} {inode}\n".encode())
                self._descriptor = descriptor
                return
            # Somebody looking for the dead took it between its birth and our lock.
            os.close(descriptor)

    def dead(self) -> Iterator["DeadWorker"]:
        """Every worker of the folder that is dead, each locked while it is looked at."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if path.stem == self.worker_id or not _ID.fullmatch(path.stem):
                continue
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            except OSError as error:  # its leases end by time, and it hides nobody behind it
                log.warning("cannot tell whether worker %s is alive: %s", path.stem, error)
                continue
            try:
                if _lock(descriptor) and _is_still(path, descriptor) and not _is_copy(descriptor):
                    yield DeadWorker(path.stem, path)
            finally:
                os.close(descriptor)

    def release(self) -> None:
        """Give the id up. The next worker buries it, in case a lease was left behind."""
        os.close(self._descriptor)

    def _path(self, worker_id: str) -> Path:
        return self._folder / f"{worker_id}{_SUFFIX}"


class DeadWorker:
    """A worker whose process is gone."""

    def __init__(self, worker_id: str, path: Path) -> None:
        self.worker_id = worker_id
        self._path = path

    def bury(self) -> None:
        """Forget it, once its leases have been taken."""
        self._path.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the path still names the file that was locked."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _is_copy(descriptor: int) -> bool:
    """Whether the file is the copy of a lock file, which says nothing about the worker.

    Who copies an app dir, or restores one, copies the names of workers that may live elsewhere;
    their leases end by time.
    """
    words = os.pread(descriptor, 100, 0).split()
    return len(words) > 1 and words[1] != str(os.fstat(descriptor).st_ino).encode()
