"""How bodies lie in the database: small ones in their row, large ones in chunks apart.

A chunk is a write of its own, so that a 24 MB upload never stalls the group commit
(design.md 8, 16).
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from hermod.domain.errors import StoreUnavailable
from hermod.domain.job import IN_HAND_BYTES, NewJob, Spooled, size_of

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


@lru_cache(maxsize=4096)
def id_bytes(job_id: str) -> bytes:
    """The 16 bytes of one of our ids. Raises ValueError for any other text.

    Remembered for a while: the same ids come with the submit, the finish and every poll.
    """
    raw = bytes.fromhex(job_id.replace("-", ""))
    if len(raw) != 16 or id_text(raw) != job_id:
        raise ValueError(job_id)
    return raw


def id_text(raw: bytes) -> str:
    """The canonical text of an id."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def chunks(job_id: bytes, part: int, body: bytes | Spooled) -> Iterator[Chunk]:
    """The pieces of a body, in order, each made when it is asked for.

    Raises StoreUnavailable when a spooled body cannot be read back whole.
    """
    pieces = _slices(body) if isinstance(body, bytes) else _pieces(body)
    for n, piece in enumerate(pieces):
        yield Chunk(job_id, part, n, piece)


def _slices(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), CHUNK_BYTES):
        yield body[start : start + CHUNK_BYTES]


def _pieces(body: Spooled) -> Iterator[bytes]:
    left = body.size
    try:
        for piece in body.pieces(CHUNK_BYTES):
            left -= len(piece)
            # What is read back counts on the size of the pieces.
            if len(piece) != CHUNK_BYTES and left:
                break
            yield piece
    except OSError as error:
        raise StoreUnavailable("the upload cannot be read back", str(error)) from error
    if left:
        raise StoreUnavailable("the upload cannot be read back", "its file has another size")


def with_small_body_in_hand(job: NewJob) -> NewJob:
    """The job, whose body is bytes if it goes into its row. Raises like `chunks`."""
    body = job.body
    if isinstance(body, bytes) or body.size > INLINE_BYTES:
        return job
    return job._replace(body=b"".join(_pieces(body)))


def inline(body: bytes | Spooled) -> bytes | None:
    """What of a body goes into its row: all of it, or nothing."""
    return body if isinstance(body, bytes) and size_of(body) <= INLINE_BYTES else None


def chunk_count(size: int) -> int:
    """How many pieces a body of so many bytes has."""
    return -(-size // CHUNK_BYTES)
