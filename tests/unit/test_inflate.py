"""Decompression in all four encodings: the same however the input is cut, and bounded."""

import gzip
import random
import zlib

import brotli
import pytest
import zstandard

from hermod.inflate import ENCODINGS, InflateError, inflater

RANDOM = random.Random(7).randbytes(3_000)
TEXT = RANDOM + b"the quick brown fox " * 40_000
BLANK = bytes(50_000_000)
PIECE_MAX = 256 * 1024


def inflate(encoding: str, packed: bytes, *, step: int = 1 << 20) -> bytes:
    engine = inflater(encoding)
    pieces: list[bytes] = []
    for start in range(0, len(packed), step):
        pieces += engine.feed(packed[start : start + step])
    engine.finish()
    assert all(0 < len(piece) <= PIECE_MAX for piece in pieces)
    return b"".join(pieces)


def bare_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


def brotli_pack(data: bytes) -> bytes:
    return brotli.compress(data, quality=4)


def zstd(data: bytes, **parameters: int) -> bytes:
    options = zstandard.ZstdCompressionParameters(**parameters)
    return zstandard.ZstdCompressor(compression_params=options).compress(data)


def zstd_in_one_block_each(*blocks: bytes) -> bytes:
    engine = zstandard.ZstdCompressor().compressobj()
    flushed = (
        engine.compress(block) + engine.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for block in blocks
    )
    return b"".join(flushed) + engine.flush()


def raw_block(size: int, *, repeats: bool, last: bool = False) -> bytes:
    """A zstd block of zeros, written out or as one byte (RFC 8878 3.1.1.2)."""
    header = (size << 3 | repeats << 1 | last).to_bytes(3, "little")
    return header + bytes(1 if repeats else size)


def zstd_head(window_log: int) -> bytes:
    """Of a frame without checksum and size."""
    return zstandard.FRAME_HEADER + b"\0" + bytes([window_log - 10 << 3])


ZSTD_HEAD = zstd_head(17)
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (1000).to_bytes(4, "little") + bytes(1000)

PACKED = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": ("x-gzip", gzip.compress(TEXT)),
    "two members": ("gzip", gzip.compress(TEXT[:999]) + gzip.compress(TEXT[999:])),
    "an empty member": ("gzip", gzip.compress(b"") + gzip.compress(TEXT)),
    "zero padding": ("gzip", gzip.compress(TEXT) + bytes(1000)),
    "garbage behind": ("gzip", gzip.compress(TEXT) + b"garbage" * 100),
    "half a magic behind": ("gzip", gzip.compress(TEXT) + b"\x1f"),
    "zlib": ("deflate", zlib.compress(TEXT)),
    "bare deflate": ("deflate", bare_deflate(TEXT)),
    "zlib and garbage": ("deflate", zlib.compress(TEXT) + b"garbage"),
    "br": ("br", brotli_pack(TEXT)),
    "br at its best": ("br", brotli.compress(TEXT)),
    "zstd": ("zstd", zstandard.compress(TEXT)),
    "zstd without size": ("zstd", zstd_in_one_block_each(TEXT[:70_000], TEXT[70_000:])),
    "zstd with checksum": ("zstd", zstd(TEXT, write_checksum=1)),
    "zstd with a window of 8 MiB": (
        "zstd",
        zstandard.compress(TEXT) + zstd_head(23) + raw_block(0, repeats=False, last=True),
    ),
    "two zstd frames": ("zstd", zstandard.compress(TEXT[:999]) + zstandard.compress(TEXT[999:])),
    "zstd frames to skip": ("zstd", SKIPPABLE + zstandard.compress(TEXT) + SKIPPABLE),
    "an empty zstd frame": ("zstd", zstandard.compress(b"") + zstandard.compress(TEXT)),
    "zstd blocks of all types": (
        "zstd",
        zstandard.compress(TEXT)
        + ZSTD_HEAD
        + raw_block(0, repeats=False)
        + raw_block(0, repeats=False, last=True),
    ),
}


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("name", PACKED)
def test_the_text_comes_back_however_it_is_cut(name: str, step: int) -> None:
    encoding, packed = PACKED[name]
    assert inflate(encoding, packed, step=step) == TEXT


def pack(encoding: str, data: bytes) -> bytes:
    ways = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": brotli_pack,
        "zstd": zstandard.compress,
    }
    return ways[encoding](data)


@pytest.mark.parametrize("size", [0, 1, (1 << 17) - 1, 1 << 17, (1 << 17) + 1, 5 << 17])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sizes_around_that_of_a_piece_come_back(encoding: str, size: int) -> None:
    assert inflate(encoding, pack(encoding, bytes(size))) == bytes(size)
    # Without a trailer zlib can have taken all input and still hold output.
    assert inflate("deflate", bare_deflate(bytes(size))) == bytes(size)


def test_zstd_blocks_come_back() -> None:
    blocks = raw_block(5, repeats=False) + raw_block(1 << 17, repeats=True)
    whole = ZSTD_HEAD + blocks + raw_block(1, repeats=True, last=True)
    assert inflate("zstd", whole) == bytes(5 + (1 << 17) + 1)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_can_be_left_at_any_piece(encoding: str) -> None:
    given = 0
    for piece in inflater(encoding).feed(pack(encoding, BLANK)):
        assert len(piece) <= PIECE_MAX
        given += len(piece)
        if given > 1_000_000:
            break
    assert 1_000_000 < given < 1_000_000 + PIECE_MAX


@pytest.mark.parametrize("name", PACKED)
def test_a_missing_end_is_an_error(name: str) -> None:
    encoding, packed = PACKED[name]
    if "behind" in name or "padding" in name or "garbage" in name:
        packed = pack(encoding, TEXT)
    with pytest.raises(InflateError, match=f"the {encoding.removeprefix('x-')} body is cut short"):
        inflate(encoding, packed[:-1])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_body_at_all_is_cut_short(encoding: str) -> None:
    with pytest.raises(InflateError, match="cut short"):
        inflater(encoding).finish()


DAMAGED = {
    "gzip: not gzip": ("gzip", b"hello"),
    "gzip: checksum": ("gzip", gzip.compress(TEXT)[:-5] + bytes(5)),
    "gzip: members": ("gzip", gzip.compress(b"") * 1_001),
    "deflate: not deflate": ("deflate", b"\xff\xff\xff"),
    "br: not br": ("br", b"\xff\xff\xff"),
    "br: garbage behind": ("br", brotli_pack(TEXT) + b"x"),
    "br: two streams": ("br", brotli_pack(TEXT) * 2),
    "zstd: not zstd": ("zstd", b"hello"),
    "zstd: garbage behind": ("zstd", zstandard.compress(TEXT) + b"garbage"),
    "zstd: checksum": ("zstd", zstd(TEXT, write_checksum=1)[:-4] + bytes(4)),
    "zstd: a window of 16 MiB": (
        "zstd",
        zstd_head(24) + raw_block(0, repeats=False, last=True),
    ),
    "zstd: a large block": ("zstd", ZSTD_HEAD + raw_block((1 << 17) + 1, repeats=True)),
    "zstd: a large block, written out": (
        "zstd",
        zstd_head(23) + raw_block((1 << 17) + 1, repeats=False),
    ),
    "zstd: a reserved block": ("zstd", ZSTD_HEAD + b"\x06\0\0"),
    "zstd: blocks of nothing": ("zstd", ZSTD_HEAD + raw_block(0, repeats=False) * 2_000),
    "zstd: blocks of one byte": ("zstd", ZSTD_HEAD + raw_block(1, repeats=True) * 2_000),
    "zstd: frames of nothing": ("zstd", zstandard.compress(b"") * 2_000),
    "zstd: frames to skip": ("zstd", (SKIPPABLE[:4] + bytes(4)) * 2_000),
}


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_an_error(name: str, step: int) -> None:
    encoding, packed = DAMAGED[name]
    with pytest.raises(InflateError, match=f"^the {encoding} body is damaged: "):
        inflate(encoding, packed, step=step)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_flipped_byte_is_anything_but_a_body_or_an_error(encoding: str) -> None:
    packed = pack(encoding, TEXT[:5_000])
    for at in range(0, len(packed), 13):
        broken = bytearray(packed)
        broken[at] ^= 0x55
        outcomes: set[object] = set()
        for step in (1, 1 << 20):
            try:
                outcomes.add(inflate(encoding, bytes(broken), step=step))
            except InflateError as error:
                outcomes.add(str(error))
        assert len(outcomes) == 1


@pytest.mark.parametrize("encoding", ["compress", "gzip,gzip", "", "GZIP", "identity"])
def test_other_encodings_are_not_spoken(encoding: str) -> None:
    with pytest.raises(KeyError):
        inflater(encoding)
