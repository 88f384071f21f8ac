"""Decompression with a cap."""

import gzip
import zlib

import pytest

from hermod.net.inflate import InflateError, InflateOverflow, Inflater

CAP = 10_000_000
TEXT = b"the quick brown fox " * 5_000


def inflate(encoding: str, packed: bytes, *, step: int = 1 << 20, cap: int = CAP) -> bytes:
    inflater = Inflater(encoding, cap)
    for start in range(0, len(packed), step):
        inflater.feed(packed[start : start + step])
    inflater.check_end()
    return inflater.take()


def bare_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


PACKED = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": ("x-gzip", gzip.compress(TEXT)),
    "two members": ("gzip", gzip.compress(TEXT[:999]) + gzip.compress(TEXT[999:])),
    "an empty member": ("gzip", gzip.compress(b"") + gzip.compress(TEXT)),
    "zero padding": ("gzip", gzip.compress(TEXT) + bytes(1000)),
    "trailing garbage": ("gzip", gzip.compress(TEXT) + b"garbage" * 100),
    "half a magic behind": ("gzip", gzip.compress(TEXT) + b"\x1f"),
    "zlib": ("deflate", zlib.compress(TEXT)),
    "bare deflate": ("deflate", bare_deflate(TEXT)),
    "zlib and garbage": ("deflate", zlib.compress(TEXT) + b"garbage"),
}


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("name", PACKED)
def test_the_text_comes_back_however_it_is_cut(name: str, step: int) -> None:
    encoding, packed = PACKED[name]
    assert inflate(encoding, packed, step=step) == TEXT


@pytest.mark.parametrize(
    "size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (1 << 20) + 100, 5 << 20]
)
def test_sizes_around_the_step_come_back(size: int) -> None:
    assert inflate("gzip", gzip.compress(bytes(size))) == bytes(size)
    assert inflate("deflate", bare_deflate(bytes(size))) == bytes(size)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_the_cap_itself_is_allowed(encoding: str) -> None:
    packed = gzip.compress(TEXT) if encoding == "gzip" else zlib.compress(TEXT)
    assert inflate(encoding, packed, cap=len(TEXT)) == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_one_byte_more_than_the_cap_is_refused(encoding: str) -> None:
    packed = gzip.compress(TEXT) if encoding == "gzip" else zlib.compress(TEXT)
    with pytest.raises(InflateOverflow):
        inflate(encoding, packed, cap=len(TEXT) - 1)


def test_what_was_taken_counts_against_the_cap() -> None:
    engine = zlib.compressobj(wbits=31)
    inflater = Inflater("gzip", 1_000)
    inflater.feed(engine.compress(bytes(600)) + engine.flush(zlib.Z_SYNC_FLUSH))
    assert inflater.take() == bytes(600)
    with pytest.raises(InflateOverflow):
        inflater.feed(engine.compress(bytes(600)) + engine.flush())


def test_members_count_together_against_the_cap() -> None:
    with pytest.raises(InflateOverflow):
        inflate("gzip", gzip.compress(bytes(600)) * 2, cap=1_000)


def test_members_without_end_are_refused() -> None:
    with pytest.raises(InflateError, match="members"):
        inflate("gzip", gzip.compress(b"") * 2_000)


@pytest.mark.parametrize("name", ["gzip", "two members", "zlib", "bare deflate"])
def test_a_missing_end_is_an_error(name: str) -> None:
    encoding, packed = PACKED[name]
    with pytest.raises(InflateError, match="cut short"):
        inflate(encoding, packed[:-1])


def test_damage_is_an_error() -> None:
    packed = bytearray(gzip.compress(TEXT))
    packed[-5] ^= 0xFF
    with pytest.raises(InflateError, match="damaged"):
        inflate("gzip", bytes(packed))


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip,gzip", ""])
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(InflateError, match="not asked for"):
        Inflater(encoding, CAP)
