"""Decompression that stops at a cap, in memory that does not depend on the input."""

import zlib

_STEP = 1024 * 1024
"""Output asked of zlib at a time."""
_MAX_MEMBERS = 1000
"""Of one gzip body: each is work for us, and twenty bytes for the sender."""
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS


class InflateError(Exception):
    """The body is damaged, or in an encoding we do not speak."""


class InflateOverflow(Exception):
    """The body is larger than the cap."""


class Inflater:
    """Turns the pieces of a compressed body into the body.

    gzip (RFC 1952) may have several members, and what follows the last one is ignored, as
    browsers do. `deflate` means zlib (RFC 9110, 8.4.1.2), but servers send bare deflate too.
    """

    def __init__(self, encoding: str, cap: int) -> None:
        """`encoding` is a Content-Encoding token in lower case, `cap` the bytes of output.

        Raises InflateError for any encoding but gzip and deflate.
        """
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise InflateError(f"content encoding {encoding[:40]!r} was not asked for")
        self._is_gzip = encoding != "deflate"
        self._cap = cap
        self._engine = zlib.decompressobj(_GZIP) if self._is_gzip else None
        self._held = b""
        """Input too short to tell what it is."""
        self._members = 1
        self._is_over = False
        """The last member ended and something else follows: ignored."""
        self._body = bytearray()
        self._taken = 0

    def feed(self, data: bytes) -> None:
        """Takes the next piece. Raises InflateError and InflateOverflow."""
        while data and not self._is_over:
            if self._engine is None or self._engine.eof:
                data = self._held + data
                if len(data) < 2:
                    self._held = data
                    return
                self._held = b""
                if not self._begin(data):
                    self._is_over = True
                    return
            data = self._run(data)

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
        if self._engine is None or not self._engine.eof:
            raise InflateError("the compressed body is cut short")

    def _begin(self, data: bytes) -> bool:
        """Starts the stream that `data` opens; False when it opens none."""
        if not self._is_gzip:
            if self._engine is not None:
                return False
            # A zlib header is a multiple of 31 and says method 8 (RFC 1950, 2.2).
            is_zlib = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._engine = zlib.decompressobj(_ZLIB if is_zlib else _RAW)
            return True
        if not data.startswith(_GZIP_MAGIC):
            return False
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise InflateError(f"the compressed body has more than {_MAX_MEMBERS} members")
        self._engine = zlib.decompressobj(_GZIP)
        return True

    def _run(self, data: bytes) -> bytes:
        """Inflates `data` and returns what lies behind the end of the stream."""
        engine = self._engine
        assert engine is not None
        while not engine.eof:
            asked = min(self._cap + 1 - self._taken - len(self._body), _STEP)
            try:
                piece = engine.decompress(data, asked)
            except zlib.error as error:
                raise InflateError(f"the compressed body is damaged: {error}") from error
            self._body += piece
            if self._taken + len(self._body) > self._cap:
                raise InflateOverflow
            data = engine.unconsumed_tail
            # zlib may have taken all input and still hold output: only a short piece ends it.
            if not data and len(piece) < asked:
                break
        return engine.unused_data
