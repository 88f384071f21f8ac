"""Bounds that hold for every JSON text before anything is built from it.

The decoder recurses and allocates, and it lets invalid UTF-8 pass where it only skips. So encoding,
depth and count are judged first, from the bytes, in chunks: beside a text of 100 MB this needs a
few MB (reliability.md P16, S6). The grammar is left to the decoder.
"""

from codecs import getincrementaldecoder
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from hermod.domain.errors import bad_request

DEPTH_MAX: Final = 64
"""Levels of a request (reliability.md P16)."""
CONTAINERS_MAX: Final = 1_000_000
MEMBERS_MAX: Final = 1_000_000
"""What a decoded object or member may take, 100 to 200 bytes, stays bounded by these two."""
CHUNK: Final = 1 << 18
"""Bytes looked at together."""

_SMALLEST_MEMBER: Final = 5  # "":1,
_CROWDED: Final = MEMBERS_MAX * _SMALLEST_MEMBER
"""A shorter text cannot hold too many members."""
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""One level down is 1; one level up is 255, which a signed byte reads as -1."""
_ALL_BUT_BRACKETS: Final = bytes(set(range(256)) - set(b"[{]}"))


def check_text(body: bytes) -> None:
    """Refuse (`Refused`, 400) a request body that is no UTF-8, or too deep, or too crowded."""
    found = problem(body, DEPTH_MAX)
    if found is not None:
        raise bad_request(f"invalid request format: {found}")


def problem(text: bytes, depth_max: int) -> str | None:
    """What is wrong with `text` beyond its grammar, or None.

    For a text that is not JSON the answer is right up to its first syntax error: that is how far a
    decoder reads.
    """
    if not _is_utf8(text):
        return "invalid UTF-8"
    # Brackets in strings count here too: this is an upper bound, and enough for most bodies.
    shallow = text.count(b"[") + text.count(b"{") <= depth_max
    if shallow and (len(text) < _CROWDED or text.count(b":") <= MEMBERS_MAX):
        return None
    return _crowding(text, depth_max)


def structure(text: bytes | memoryview) -> Iterator[bytes]:
    """The text without its strings, in pieces; at most `CHUNK` bytes are copied at a time."""
    view = memoryview(text)
    inside = False
    left_over = b""
    for start in range(0, len(view), CHUNK):
        chunk = left_over + bytes(view[start : start + CHUNK])
        left_over = b""
        if b"\\" in chunk:
            if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2:
                # This backslash escapes the first byte of the next chunk.
                chunk, left_over = chunk[:-1], b"\\"
            chunk = chunk.replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = chunk.split(b'"')
        yield b"".join(pieces[inside::2])
        inside ^= len(pieces) % 2 == 0


def _is_utf8(text: bytes) -> bool:
    try:
        if len(text) <= CHUNK:
            str(text, "utf-8")
            return True
        decoder = getincrementaldecoder("utf-8")()
        view = memoryview(text)
        for start in range(0, len(text), CHUNK):
            decoder.decode(view[start : start + CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _crowding(text: bytes, depth_max: int) -> str | None:
    """Exact counts, from the brackets and colons outside of strings."""
    depth = containers = members = 0
    for outside in structure(text):
        members += outside.count(b":")
        steps = outside.translate(_STEPS, _ALL_BUT_BRACKETS)
        if max(accumulate(memoryview(steps).cast("b"), initial=depth)) > depth_max:
            return f"nested deeper than {depth_max} levels"
        opened = steps.count(b"\x01")
        containers += opened
        depth += 2 * opened - len(steps)
        if containers > CONTAINERS_MAX:
            return f"more than {CONTAINERS_MAX} objects and arrays"
        if members > MEMBERS_MAX:
            return f"more than {MEMBERS_MAX} members"
    return None
