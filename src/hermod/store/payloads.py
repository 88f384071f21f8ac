"""How bodies lie in the database: small ones in their row, large ones in chunks apart.

A chunk is a write of its own, so that a 24 MB upload never stalls the group commit
(design.md 8, 16).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from hermod.domain.job import IN_HAND_BYTES

INLINE_BYTES: Final = IN_HAND_BYTES
CHUNK_BYTES: Final = 1024 * 1024
REQUEST_PART: Final = 0


class ChunkKey(NamedTuple):
    """Where a piece of a large body lies."""

    job_id: bytes
    part: int
    n: int


class Chunk(NamedTuple):
    """A piece of a large body."""

    job_id: bytes
    part: int
    n: int
    data: bytes


def id_bytes(job_id: str) -> bytes:
    """The 16 bytes of one of our ids. Raises ValueError for any other text."""
    raw = bytes.fromhex(job_id.replace("-", ""))
    if len(raw) != 16 or id_text(raw) != job_id:
        raise ValueError(job_id)
    return raw


def id_text(raw: bytes) -> str:
    """The canonical text of an id."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def chunks(job_id: bytes, part: int, body: bytes) -> Iterator[Chunk]:
    """The pieces of a body, in order."""
    for n, start in enumerate(range(0, len(body), CHUNK_BYTES)):
        yield Chunk(job_id, part, n, body[start : start + CHUNK_BYTES])


def chunk_count(size: int) -> int:
    """How many pieces a body of so many bytes has."""
    return -(-size // CHUNK_BYTES)
