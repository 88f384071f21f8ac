"""The body of an upload while it arrives: small ones in memory, others in a file without a name."""

import errno
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final

from hermod.domain.errors import StoreError, StoreFull, StoreUnavailable
from hermod.domain.job import IN_HAND_BYTES

log = logging.getLogger(__name__)

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Upload:
    """A body that lies in a file (`domain.job.Spooled`). It may be read on other threads.

    The file has no name, so nothing of it is left when it is closed, nor when the process dies.
    """

    def __init__(self, file: FileIO, size: int) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.size = size

    def pieces(self, size: int) -> Iterator[bytes]:
        """The body in order, `size` bytes at a time, fewer in the last piece.

        Each call begins anew. Raises OSError when the file cannot be read, or is closed.
        """
        offset = 0
        while offset < self.size:
            # Closed meanwhile, its number could already be that of another file.
            with self._lock:
                if self._file.closed:
                    raise OSError(errno.EBADF, "the upload was given up")
                piece = os.pread(self._file.fileno(), min(size, self.size - offset), offset)
            if not piece:
                raise OSError(errno.EIO, "the upload's file is shorter than it was")
            offset += len(piece)
            yield piece

    def close(self) -> None:
        """Gives the file up. May be called again."""
        with self._lock:
            self._file.close()


class Spool:
    """Takes a body piece by piece."""

    def __init__(self, folder: Path, in_hand: int = IN_HAND_BYTES) -> None:
        """`folder` lies on a disk with room for uploads; `in_hand` bytes stay in memory."""
        self._folder = folder
        self._in_hand = in_hand
        self._pieces: list[bytes] = []
        """The whole body, or what of it is to be written next."""
        self._waiting = 0
        """Bytes of these."""
        self._size = 0
        self._file: FileIO | None = None

    def write(self, piece: bytes) -> int:
        """Takes the next piece, and says by how much there is more in memory.

        The system keeps what is written in its cache, so a piece of the size that a connection
        delivers does not hold the loop up. Raises StoreFull, and StoreUnavailable for any other
        trouble with the disk.
        """
        self._size += len(piece)
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting > self._in_hand:
            self._flush()
            return 0
        return len(piece) if self._file is None else 0

    def finish(self) -> bytes | Upload:
        """The whole body. An Upload is the caller's to close. Raises what `write` raises."""
        if self._file is None:
            return b"".join(self._pieces)
        self._flush()
        upload = Upload(self._file, self._size)
        self._file = None
        return upload

    def close(self) -> None:
        """Gives up what was written, unless it was finished. May be called again."""
        self._pieces = []
        if self._file is not None:
            self._file.close()
            self._file = None

    def _flush(self) -> None:
        view = memoryview(b"".join(self._pieces))
        try:
            if self._file is None:
                self._file = _file_without_name(self._folder)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            log.warning("an upload cannot be written below %s: %s", self._folder, error)
            raise _trouble(error) from error
        self._pieces = []
        self._waiting = 0


def _file_without_name(folder: Path) -> FileIO:
    # Where the file system knows no O_TMPFILE it has a name for an instant, and no contents.
    file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by its Spool
    assert isinstance(file, FileIO)
    return file


def _trouble(error: OSError) -> StoreError:
    if error.errno in _FULL:
        return StoreFull("the disk is full", str(error))
    return StoreUnavailable("the upload cannot be written to disk", str(error))
