"""Decompression of replies that stops at a cap, in memory that does not depend on the input."""

from typing import Final

from hermod.inflate import InflateError, inflater

__all__ = ["InflateError", "InflateOverflow", "Inflater"]

_ASKED_FOR: Final = ("gzip", "x-gzip", "deflate")


class InflateOverflow(Exception):
    """The body is larger than the cap."""


class Inflater:
    """Turns the pieces of a compressed body into the body."""

    def __init__(self, encoding: str, cap: int) -> None:
        """`encoding` is a Content-Encoding token in lower case, `cap` the bytes of output.

        Raises InflateError for any encoding but gzip and deflate.
        """
        if encoding not in _ASKED_FOR:
            raise InflateError(f"content encoding {encoding[:40]!r} was not asked for")
        self._engine = inflater(encoding)
        self._cap = cap
        self._body = bytearray()
        self._taken = 0

    def feed(self, data: bytes) -> None:
        """Takes the next piece. Raises InflateError and InflateOverflow."""
        for piece in self._engine.feed(data):
            room = self._cap - self._taken - len(self._body)
            self._body += piece[: room + 1]
            if len(piece) > room:
                raise InflateOverflow

    @property
    def waiting(self) -> int:
        """Bytes of the body that nobody has taken yet."""
        return len(self._body)

    def take(self) -> bytes:
        """What has come of the body since the last time: all that the input so far gives."""
        piece = bytes(self._body)
        self._taken += len(piece)
        self._body = bytearray()
        return piece

    def check_end(self) -> None:
        """Raises InflateError when the end of the body is missing."""
        self._engine.finish()
