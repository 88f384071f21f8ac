"""A body that lies in a file is stored like any other, a piece at a time."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermod.domain.errors import StoreUnavailable
from hermod.domain.job import size_of
from hermod.store.api import Store
from tests.store.backends import Database
from tests.store.contract.test_payloads import HOUR, KIB, MIB, SIZES, bytes_of
from tests.store.jobs import CLAIM, LANE, OWNER, new_job, queued_job, read


class InFile:
    """A body in a file."""

    def __init__(self, path: Path, body: bytes, size: int | None = None) -> None:
        """`size`: what it claims to be, where that is not the truth."""
        path.write_bytes(body)
        self._path = path
        self.size = len(body) if size is None else size
        self.before_piece: Callable[[int], object] = int
        """Called before each piece is read, with its number."""

    def pieces(self, size: int) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            n = 0
            self.before_piece(n)
            while piece := file.read(size):
                yield piece
                n += 1
                self.before_piece(n)

    def lose(self, at_piece: int) -> None:
        """Have the disk fail there."""

        def fail(n: int) -> None:
            if n == at_piece:
                raise OSError("the disk is broken")

        self.before_piece = fail


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_a_request_is_what_lay_in_the_file(
    database: Database, tmp_path: Path, size: int
) -> None:
    body = bytes_of(size)
    async with database.open() as store:
        spooled = InFile(tmp_path / "upload", body)
        assert size_of(spooled) == size_of(body) == size
        await queued_job(store, database, body=spooled)
        (tmp_path / "upload").unlink()
        database.crash()
    async with database.open() as store:
        (claimed,) = await store.claim_jobs(LANE, 1, CLAIM)
        assert claimed.size == size
        assert claimed.body == (body if size <= 64 * KIB else None)
        assert await store.read_request(claimed.lease) == body


async def test_a_job_with_a_spooled_body_can_be_born_running(
    database: Database, tmp_path: Path
) -> None:
    async with database.open() as store:
        body = bytes_of(2 * MIB)
        job = new_job(database, body=InFile(tmp_path / "upload", body))
        lease = await store.submit_job(job, CLAIM)
        assert lease is not None
        assert await store.read_request(lease) == body


async def test_a_piece_is_read_when_the_one_before_it_is_stored(
    database: Database, tmp_path: Path
) -> None:
    async with database.open() as store:
        spooled = InFile(tmp_path / "upload", bytes_of(4 * MIB))
        stored: list[int] = []
        spooled.before_piece = lambda n: stored.append(database.count_pieces())
        await queued_job(store, database, body=spooled)
        assert stored == [0, 1, 2, 3, 4]


async def test_others_are_served_between_the_pieces(database: Database, tmp_path: Path) -> None:
    async with database.open() as store:
        other = await queued_job(store, database)
        spooled = InFile(tmp_path / "upload", bytes_of(8 * MIB))
        submit = asyncio.ensure_future(queued_job(store, database, body=spooled))
        reads = 0
        while not submit.done():
            await read(store, other)
            reads += 1
            await asyncio.sleep(0)
        await submit
        assert reads >= 8


async def refused(store: Store, database: Database, spooled: InFile) -> None:
    """The submit fails, and there is no job."""
    job = new_job(database, body=spooled)
    with pytest.raises(StoreUnavailable, match="cannot be read back"):
        await store.submit_job(job)
    assert await store.read_job(job.id, OWNER, None) is None
    assert await store.counts() == database.count_jobs() == {}


@pytest.mark.parametrize("size", [100, 3 * MIB], ids=["small", "large"])
async def test_a_body_whose_file_is_gone_is_no_job(
    database: Database, tmp_path: Path, size: int
) -> None:
    async with database.open() as store:
        spooled = InFile(tmp_path / "upload", bytes_of(size))
        (tmp_path / "upload").unlink()
        await refused(store, database, spooled)


async def test_a_body_that_breaks_off_is_no_job_and_its_pieces_are_orphans(
    database: Database, tmp_path: Path
) -> None:
    async with database.open() as store:
        spooled = InFile(tmp_path / "upload", bytes_of(3 * MIB))
        spooled.lose(at_piece=2)
        await refused(store, database, spooled)
        assert await store.delete_orphans(database.clock.now() + HOUR, 99) == 2
        assert database.count_pieces() == 0


@pytest.mark.parametrize("missing", [1, MIB, -1], ids=["a byte less", "a piece less", "more"])
@pytest.mark.parametrize("size", [64 * KIB, 3 * MIB], ids=["small", "large"])
async def test_a_body_of_another_size_than_its_file_is_no_job(
    database: Database, tmp_path: Path, size: int, missing: int
) -> None:
    async with database.open() as store:
        body = bytes_of(max(size - missing, 0))
        await refused(store, database, InFile(tmp_path / "upload", body, size))


async def test_a_client_that_leaves_during_its_upload_leaves_no_job_and_only_orphans(
    database: Database, tmp_path: Path
) -> None:
    async with database.open() as store:
        spooled = InFile(tmp_path / "upload", bytes_of(5 * MIB))
        job = new_job(database, body=spooled)
        submit = asyncio.ensure_future(store.submit_job(job))
        spooled.before_piece = lambda n: submit.cancel() if n == 2 else None
        with pytest.raises(asyncio.CancelledError):
            await submit
        await queued_job(store, database)  # whatever was still out has been written
        assert await store.read_job(job.id, OWNER, None) is None
        pieces = database.count_pieces()
        assert await store.delete_orphans(database.clock.now() + HOUR, 99) == pieces >= 2
        assert database.count_pieces() == 0
