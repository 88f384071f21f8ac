"""The binary framing of AWS's event streams (`application/vnd.amazon.eventstream`).

A message is its length, the length of its headers and a CRC of these two, then the headers, the
payload, and a CRC of everything before (Smithy, "Amazon Event Stream Specification"). All numbers
are big-endian.
"""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple
from zlib import crc32

HeaderValue = bool | int | str | bytes

_PRELUDE: Final = struct.Struct("!III")
_CRC: Final = struct.Struct("!I")
_CRC_BYTES: Final = _CRC.size
_HEADERS_MAX: Final = 128 * 1024
_PAYLOAD_MAX: Final = 24 * 1024 * 1024
"""Bytes that the specification allows."""


class EventStreamError(Exception):
    """The bytes are no event stream, or damaged."""


class EventMessage(NamedTuple):
    """One message."""

    headers: dict[str, HeaderValue]
    payload: bytes

    def text(self, name: str) -> str:
        """A header that is a text; empty if there is none."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class EventStreamParser:
    """Takes a stream in pieces that may be cut anywhere."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._wanted = _PRELUDE.size
        """Bytes without which there is nothing to do."""

    @property
    def is_between(self) -> bool:
        """Whether every message so far has come to its end."""
        return not self._held

    def feed(self, piece: bytes) -> tuple[list[EventMessage], EventStreamError | None]:
        """The messages that this piece completes, and what is wrong after them.

        After an error nothing more can be read.
        """
        self._held += piece
        found: list[EventMessage] = []
        try:
            while len(self._held) >= self._wanted:
                message = self._next()
                if message is not None:
                    found.append(message)
        except EventStreamError as error:
            return found, error
        return found, None

    def _next(self) -> EventMessage | None:
        held = self._held
        total, headers_size, prelude_crc = _PRELUDE.unpack_from(held)
        if self._wanted == _PRELUDE.size:
            self._wanted = _checked_size(total, headers_size, prelude_crc, bytes(held[:8]))
            if len(held) < self._wanted:
                return None
        whole = bytes(held[:total])
        del held[:total]
        self._wanted = _PRELUDE.size
        end = total - _CRC_BYTES
        if crc32(memoryview(whole)[:end]) != _CRC.unpack_from(whole, end)[0]:
            raise EventStreamError("a message of the event stream is damaged")
        start = _PRELUDE.size + headers_size
        return EventMessage(_headers(whole[_PRELUDE.size : start]), whole[start:end])


def _checked_size(total: int, headers_size: int, crc: int, lengths: bytes) -> int:
    """How long the message is. Raises EventStreamError."""
    if crc32(lengths) != crc:
        raise EventStreamError("the beginning of a message of the event stream is damaged")
    payload_size = total - headers_size - _PRELUDE.size - _CRC_BYTES
    if headers_size > _HEADERS_MAX or not 0 <= payload_size <= _PAYLOAD_MAX:
        raise EventStreamError("a message of the event stream has an impossible length")
    return total


def _headers(data: bytes) -> dict[str, HeaderValue]:
    """Raises EventStreamError."""
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(data):
            raw, at = _sized(data, at, 1)
            name = raw.decode()
            if name in headers:
                raise EventStreamError("a header of the event stream comes twice")
            kind = data[at]
            headers[name], at = _VALUES[kind](data, at + 1)
    except (struct.error, UnicodeDecodeError, IndexError, KeyError) as error:
        raise EventStreamError("the headers of a message cannot be read") from error
    return headers


def _sized(data: bytes, at: int, size_bytes: int) -> tuple[bytes, int]:
    """Bytes that say first how many they are, and where they end."""
    start = at + size_bytes
    end = start + int.from_bytes(data[at:start])
    if start > len(data) or end > len(data):
        raise IndexError(end)
    return data[start:end], end


def _text(data: bytes, at: int) -> tuple[str, int]:
    raw, end = _sized(data, at, 2)
    return raw.decode(), end


def _number(layout: str) -> Callable[[bytes, int], tuple[int, int]]:
    unpack = struct.Struct(layout)
    return lambda data, at: (int(unpack.unpack_from(data, at)[0]), at + unpack.size)


def _uuid(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 16
    if end > len(data):
        raise IndexError(end)
    return data[at:end], end


_VALUES: Final[dict[int, Callable[[bytes, int], tuple[HeaderValue, int]]]] = {
    0: lambda _, at: (True, at),
    1: lambda _, at: (False, at),
    2: _number("!b"),
    3: _number("!h"),
    4: _number("!i"),
    5: _number("!q"),
    6: lambda data, at: _sized(data, at, 2),
    7: _text,
    8: _number("!q"),
    9: _uuid,
}
"""How the value of each type of header is read."""
