"""Decompression of HTTP bodies as they come (RFC 9110 8.4.1), in pieces of bounded size.

An inflater takes the pieces of a compressed body and yields the body in pieces of less than
256 KiB, so that whoever feeds it can stop at a cap, and can let others run, after each of them.
What it holds itself is bounded by the encoding and grows with what was put out.
"""

import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Final, Protocol, cast

import brotli  # pyright: ignore[reportMissingTypeStubs]
import zstandard

PIECE_BYTES: Final = 128 * 1024
"""Output asked for at a time. brotli may overshoot, to less than twice as much."""
_KIB: Final = 1024
_MIB: Final = 1024 * 1024


class InflateError(Exception):
    """The body is damaged, or cut short. The message is fit for a client."""


class Inflater(Protocol):
    """One body being decompressed."""

    window_bytes: int
    """What it may hold, at most; less as long as less was put out."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces that `data` completes, to be taken to the end. Raises InflateError."""
        ...

    def finish(self) -> None:
        """Says that no more comes. Raises InflateError when the end is missing."""
        ...


def inflater(encoding: str) -> Inflater:
    """For a Content-Encoding token in lower case. Raises KeyError for one we do not speak."""
    return _INFLATERS[encoding]()


class _Zlib:
    """gzip (RFC 1952) and `deflate`, which means zlib (RFC 1950), but bare deflate is sent too.

    gzip may have several members. What follows the last one is ignored, as browsers do.
    """

    window_bytes = 64 * _KIB
    _MAX_MEMBERS: Final = 1000
    """Each is work for us, and twenty bytes for the sender."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._name = "gzip" if is_gzip else "deflate"
        self._is_gzip = is_gzip
        self._engine = None
        self._held = b""
        """Input too short to tell what it is."""
        self._members = 0
        self._is_over = False
        """The last member ended and something else follows."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See Inflater."""
        while data and not self._is_over:
            if self._engine is None or self._engine.eof:
                data = self._held + data
                if len(data) < 2:
                    self._held = data
                    return
                self._held = b""
                self._begin(data)
                if self._is_over:
                    return
            data = yield from self._run(data)

    def finish(self) -> None:
        """See Inflater."""
        if self._engine is None or not self._engine.eof:
            raise _cut_short(self._name)

    def _begin(self, data: bytes) -> None:
        """Starts the stream that `data` opens, if it opens one."""
        is_first = self._engine is None
        if self._is_gzip:
            if not data.startswith(b"\x1f\x8b"):
                if is_first:
                    raise _damaged(self._name, "it does not begin as one")
                self._is_over = True
                return
            self._members += 1
            if self._members > self._MAX_MEMBERS:
                raise _damaged(self._name, f"it has more than {self._MAX_MEMBERS} members")
            self._engine = zlib.decompressobj(16 + zlib.MAX_WBITS)
        elif is_first:
            # A zlib header is a multiple of 31 and says method 8 (RFC 1950, 2.2).
            is_zlib = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._engine = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        else:
            self._is_over = True

    def _run(self, data: bytes) -> Generator[bytes, None, bytes]:
        """Inflates `data` and returns what lies behind the end of the stream."""
        engine = self._engine
        assert engine is not None
        while not engine.eof:
            try:
                piece = engine.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise _damaged(self._name, str(error)) from error
            if piece:
                yield piece
            data = engine.unconsumed_tail
            # zlib may have taken all input and still hold output: only a short piece ends it.
            if not data and len(piece) < PIECE_BYTES:
                break
        return engine.unused_data


class _BrotliEngine(Protocol):
    def process(self, data: bytes, *, output_buffer_limit: int) -> bytes: ...
    def can_accept_more_data(self) -> bool: ...
    def is_finished(self) -> bool: ...


class _Brotli:
    """br (RFC 7932). Nothing may follow its end."""

    window_bytes = 16 * _MIB

    def __init__(self) -> None:
        self._engine = _new_brotli_engine()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See Inflater."""
        engine = self._engine
        while data or not engine.can_accept_more_data():
            try:
                piece = engine.process(data, output_buffer_limit=PIECE_BYTES)
                # Also when it would take more it may still hold output: only a short piece ends it.
                while len(piece) >= PIECE_BYTES:
                    yield piece
                    piece = engine.process(b"", output_buffer_limit=PIECE_BYTES)
            except _BROTLI_ERROR as error:
                raise _damaged("br", "its data is invalid") from error
            if piece:
                yield piece
            data = b""

    def finish(self) -> None:
        """See Inflater."""
        if not self._engine.is_finished():
            raise _cut_short("br")


class _Zstd:
    """zstd (RFC 8878) with windows of up to 8 MiB (RFC 9659), in any number of frames.

    The decompressor takes no limit on its output, so it is given block by block what a block puts
    out at most (RFC 8878 3.1.1.2.3). Blocks and frames are told apart here, and judged there.
    """

    window_bytes = 8 * _MIB + 256 * _KIB
    _FREE_UNITS: Final = 1000
    _BYTES_PER_UNIT: Final = 64
    """Blocks and frames are work for us and few bytes for the sender: beyond the free ones each
    must on average bring so many bytes, before or after decompression."""

    def __init__(self) -> None:
        self._decoder = zstandard.ZstdDecompressor(max_window_size=8 * _MIB)
        self._engine = self._decoder.decompressobj()
        self._held = bytearray()
        """Input that is not yet a whole unit."""
        self._skip = 0
        """What is left of a frame without contents."""
        self._wanted = 4
        self._next: Callable[[_Zstd, bytes], bytes] = _Zstd._on_magic
        """Takes the next unit, of `_wanted` bytes, and returns what it puts out.

        Not bound to this object: in a cycle the window would wait for the collector.
        """
        self._units = 0
        self._has_begun = False
        self._has_checksum = False
        self._is_last_block = False
        self._bytes = 0
        """In and out."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See Inflater."""
        held = self._held
        held += data
        self._bytes += len(data)
        at = 0
        while True:
            if self._skip:
                step = min(self._skip, len(held) - at)
                self._skip -= step
                at += step
            if self._skip or len(held) - at < self._wanted:
                break
            unit = bytes(held[at : at + self._wanted])
            at += len(unit)
            try:
                piece = self._next(self, unit)
            except zstandard.ZstdError as error:
                detail = str(error).removeprefix("zstd decompressor error: ")
                raise _damaged("zstd", detail) from error
            if piece:
                self._bytes += len(piece)
                yield piece
        del held[:at]

    def finish(self) -> None:
        """See Inflater."""
        between_frames = self._next is _Zstd._on_magic and not self._held and not self._skip
        if not (between_frames and self._has_begun):
            raise _cut_short("zstd")

    def _expect(self, size: int, then: "Callable[[_Zstd, bytes], bytes]") -> None:
        self._wanted, self._next = size, then

    def _count(self) -> None:
        self._units += 1
        if self._units > self._FREE_UNITS + self._bytes // self._BYTES_PER_UNIT:
            raise _damaged("zstd", "it is cut into too many blocks")

    def _on_magic(self, unit: bytes) -> bytes:
        self._count()
        self._has_begun = True
        if unit[1:] == b"\x2a\x4d\x18" and unit[0] >> 4 == 5:
            self._expect(4, _Zstd._on_skippable)
            return b""
        if unit != zstandard.FRAME_HEADER:
            raise _damaged("zstd", "a frame does not begin as one")
        self._engine = self._decoder.decompressobj(write_size=16 * _KIB)
        self._expect(1, _Zstd._on_descriptor)
        return self._engine.decompress(unit)

    def _on_skippable(self, unit: bytes) -> bytes:
        self._skip = int.from_bytes(unit, "little")
        self._expect(4, _Zstd._on_magic)
        return b""

    def _on_descriptor(self, unit: bytes) -> bytes:
        """How long the frame's header is (RFC 8878 3.1.1.1.1)."""
        is_single = unit[0] >> 5 & 1
        content_size = (is_single, 2, 4, 8)[unit[0] >> 6]
        self._has_checksum = bool(unit[0] & 4)
        self._expect((1 - is_single) + (0, 1, 2, 4)[unit[0] & 3] + content_size, _Zstd._on_header)
        return self._engine.decompress(unit)

    def _on_header(self, unit: bytes) -> bytes:
        self._expect(3, _Zstd._on_block_header)
        return self._engine.decompress(unit)

    def _on_block_header(self, unit: bytes) -> bytes:
        """Whether it is the last, of which type, and how large (RFC 8878 3.1.1.2)."""
        self._count()
        bits = int.from_bytes(unit, "little")
        self._is_last_block = bool(bits & 1)
        size = bits >> 3
        repeats_one_byte = bits >> 1 & 3 == 1
        self._expect(1 if repeats_one_byte else size, _Zstd._on_block)
        piece = self._engine.decompress(unit)
        return piece + self._on_block(b"") if self._wanted == 0 else piece

    def _on_block(self, unit: bytes) -> bytes:
        if not self._is_last_block:
            self._expect(3, _Zstd._on_block_header)
        elif self._has_checksum:
            self._expect(4, _Zstd._on_checksum)
        else:
            self._expect(4, _Zstd._on_magic)
        return self._engine.decompress(unit) if unit else b""

    def _on_checksum(self, unit: bytes) -> bytes:
        self._expect(4, _Zstd._on_magic)
        return self._engine.decompress(unit)


_new_brotli_engine: Final = cast(
    "Callable[[], _BrotliEngine]",
    brotli.Decompressor,
)
_BROTLI_ERROR: Final = cast("type[Exception]", brotli.error)


def _damaged(encoding: str, how: str) -> InflateError:
    return InflateError(f"the {encoding} body is damaged: {how}")


def _cut_short(encoding: str) -> InflateError:
    return InflateError(f"the {encoding} body is cut short")


def _gzip() -> Inflater:
    return _Zlib(is_gzip=True)


def _deflate() -> Inflater:
    return _Zlib(is_gzip=False)


_INFLATERS: Final[dict[str, Callable[[], Inflater]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _Brotli,
    "zstd": _Zstd,
}
SPOKEN: Final = frozenset(_INFLATERS)
"""The tokens that `inflater` takes."""
ENCODINGS: Final = ("gzip", "deflate", "br", "zstd")
"""The same without x-gzip, another name of the first (RFC 9110 8.4.1.3)."""
