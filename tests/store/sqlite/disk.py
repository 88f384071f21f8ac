"""A disk that remembers the order of everything done to it, so that its power can be cut later."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import apsw

from tests.store.backends import wal_of

NAME: Final = "recording"
_REAL: Final = "unix"

Fate = Literal["kept", "lost", "mixed"]
"""What becomes of the writes that were not yet synced when the power went."""


class Write(NamedTuple):
    file: Path
    offset: int
    data: bytes


class Truncate(NamedTuple):
    file: Path
    size: int


class Sync(NamedTuple):
    file: Path


class Delete(NamedTuple):
    file: Path


class Note(NamedTuple):
    """Something that the test saw happen."""

    what: Any


Event = Write | Truncate | Sync | Delete | Note


class RecordingDisk:
    """The events of every file that SQLite opens while `recording`."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def note(self, what: Any) -> None:
        """Remember that this was seen by now."""
        self.events.append(Note(what))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Have new connections use this disk."""
        vfs = _Vfs(self.events)
        apsw.set_default_vfs(NAME)
        try:
            yield
        finally:
            apsw.set_default_vfs(_REAL)
            vfs.unregister()

    def cut(self, until: int, fate: Fate, chance: random.Random, database: Path, to: Path) -> None:
        """The database and its log as they are found after a power cut, as a new database."""
        for old, new in ((database, to), (wal_of(database), wal_of(to))):
            content = _content(self.events[:until], old, fate, chance)
            if content is not None:
                new.write_bytes(content)


def _content(
    events: Sequence[Event], file: Path, fate: Fate, chance: random.Random
) -> bytes | None:
    own = [event for event in events if not isinstance(event, Note) and event.file == file]
    synced = max((n for n, event in enumerate(own) if isinstance(event, Sync | Delete)), default=-1)
    content: bytearray | None = None
    for n, event in enumerate(own):
        if n > synced and (fate == "lost" or (fate == "mixed" and chance.random() < 0.5)):
            continue
        match event:
            case Write(_, offset, data):
                content = content or bytearray()
                content.extend(bytes(max(offset - len(content), 0)))
                content[offset : offset + len(data)] = data
            case Truncate(_, size):
                del (content or bytearray())[size:]
            case Delete():
                content = None
            case Sync() | Note():
                pass
    return None if content is None else bytes(content)


class _Vfs(apsw.VFS):
    def __init__(self, events: list[Event]) -> None:
        super().__init__(NAME, base=_REAL)
        self._events = events

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "_File":
        return _File(name, flags, self._events)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._events.append(Delete(Path(filename)))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(
        self, name: str | apsw.URIFilename | None, flags: list[int], events: list[Event]
    ) -> None:
        super().__init__(_REAL, name, flags)
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._path = Path(filename or "")
        self._events = events

    def xWrite(self, data: Any, offset: int) -> None:
        self._events.append(Write(self._path, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._events.append(Truncate(self._path, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._events.append(Sync(self._path))
