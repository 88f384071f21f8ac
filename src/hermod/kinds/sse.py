"""Server-sent events, read as they come (WHATWG HTML, 9.2.6)."""

from typing import Final, NamedTuple

EVENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one event: an image in base64 is the largest there is."""

_BOM: Final = b"\xef\xbb\xbf"
_BLANK_LINES: Final = (b"\n\n", b"\n\r\n", b"\r\r")
_ONE_LINE: Final = bytes.maketrans(b"\r\n", b"  ")


class Event(NamedTuple):
    """One event. `id` and `retry` are about reconnecting, which nobody here does."""

    name: str
    """`message` where the stream names none."""
    data: bytes
    """Valid UTF-8: what was not is replaced."""


class TooLong(Exception):
    """An event is larger than the reader was told to accept."""


class Reader:
    """Takes a stream in pieces cut anywhere, gives its events.

    Everything that structures the stream is ASCII, so bytes are split and only a whole line is
    ever decoded: no cut can fall inside a character.
    """

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._max = event_bytes_max
        self._line: list[bytes] = []
        """The pieces of the line that has no end yet."""
        self._data: list[bytes] = []
        self._name = ""
        self._size = 0
        self._is_first_line = True
        self._after_cr = False

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes. Raises TooLong."""
        events: list[Event] = []
        if self._after_cr and piece:
            # This line feed belongs to the line end that the last piece finished with.
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        for line in piece.splitlines(keepends=True):
            self._grow(len(line))
            self._line.append(line)
            if line[-1:] in b"\r\n":
                self._take(b"".join(self._line).rstrip(b"\r\n"), events)
                self._line.clear()
        if piece[-1:] == b"\r":
            self._after_cr = True
        return events

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._max:
            raise TooLong(f"an event of the stream is larger than {self._max} bytes")

    def _take(self, line: bytes, events: list[Event]) -> None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                events.append(Event(self._name or "message", b"\n".join(self._data)))
            self._data.clear()
            self._name = ""
            self._size = 0
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(_as_utf8(value))
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")


class WholeEvents:
    """Passes a stream on as it is, but event by event.

    Where it breaks off, what is said of that stands on a line of its own: a client must never find
    it in the middle of an event. What is held is bounded by the limit of the whole reply.
    """

    def __init__(self) -> None:
        self._held: list[bytes] = []
        """The beginning of an event."""
        self._tail = b""
        """The last bytes held: a blank line may have been cut."""

    def feed(self, piece: bytes) -> bytes:
        """Every event up to the last one that `piece` completes. Never raises."""
        window = self._tail + piece
        ends = [found + len(blank) for blank in _BLANK_LINES if (found := window.rfind(blank)) >= 0]
        if not ends:
            self._held.append(piece)
            self._tail = window[-2:]
            return b""
        cut = max(ends) - len(self._tail)
        whole = b"".join((*self._held, piece[:cut]))
        rest = piece[cut:]
        self._held = [rest] if rest else []
        self._tail = rest[-2:]
        return whole

    def end(self) -> bytes:
        """The rest, when the stream is complete: some upstreams leave the last blank line out."""
        return b"".join(self._held)


def _as_utf8(line: bytes) -> bytes:
    return line if line.isascii() else line.decode("utf-8", "replace").encode()


def written(data: bytes, name: str | None = None) -> bytes:
    """An event for the wire. `data` is JSON, so its line ends are nothing but spaces."""
    data = data.translate(_ONE_LINE)
    if name is None:
        return b"data: %b\n\n" % data
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
