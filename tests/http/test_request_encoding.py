"""Compressed request bodies: decompressed as they come, within the same bounds as others."""

import asyncio
import gzip
import json
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import brotli
import pytest
import zstandard

from hermod.domain.errors import Refused
from hermod.http.asgi import Message, Receive, Scope
from hermod.http.body import ByteBudget, ClientGone, read_body
from hermod.http.multipart import read_form
from tests.http.multipart_corpus import TYPE, one

MIB = 1024 * 1024
JSON = json.dumps({"model": "mock/m", "input": ["hello"] * 3_000}).encode()
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=4),
    "zstd": zstandard.compress,
}
GONE: Message = {"type": "http.disconnect"}


def scope_of(encoding: str, **headers: str) -> Scope:
    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return {"type": "http", "headers": [*pairs, (b"content-encoding", encoding.encode())]}


def receiving(pieces: Iterable[bytes], then: Message | None = None) -> Receive:
    async def receive() -> Message:
        for piece in left:
            return {"type": "http.request", "body": piece, "more_body": True}
        return then or {"type": "http.request"}

    left = iter(pieces)
    return receive


def in_steps(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


async def read(
    encoding: str,
    pieces: Sequence[bytes],
    cap: int = MIB,
    budget: ByteBudget | None = None,
    then: Message | None = None,
) -> bytes:
    budget = budget or ByteBudget(1 << 30)
    before = budget.free
    try:
        return await read_body(scope_of(encoding), receiving(pieces, then), cap, budget)
    finally:
        assert budget.free == before


async def refusal(
    encoding: str, pieces: Sequence[bytes], cap: int = MIB, budget: ByteBudget | None = None
) -> tuple[int | None, str]:
    with pytest.raises(Refused) as caught:
        await read(encoding, pieces, cap, budget)
    return caught.value.failure.status_code, caught.value.failure.message


@pytest.mark.parametrize("step", [1, 100, MIB])
@pytest.mark.parametrize("encoding", PACK)
async def test_a_compressed_body_is_read(encoding: str, step: int) -> None:
    assert await read(encoding, in_steps(PACK[encoding](JSON), step)) == JSON


@pytest.mark.parametrize("encoding", PACK)
async def test_a_compressed_body_of_one_message_is_read(encoding: str) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": PACK[encoding](JSON)}

    assert await read_body(scope_of(encoding), receive, MIB, ByteBudget(MIB)) == JSON


@pytest.mark.parametrize("value", ["GZIP", " gzip ", "identity, gzip", "gzip,", ",gzip,identity"])
async def test_an_encoding_may_be_written_in_several_ways(value: str) -> None:
    assert await read(value, [gzip.compress(JSON)]) == JSON


@pytest.mark.parametrize("value", ["", "identity", "Identity , identity"])
async def test_no_encoding_may_be_written_in_several_ways(value: str) -> None:
    assert await read(value, [JSON]) == JSON


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("compress", "compress"),
        ("gzip, br", "gzip, br"),
        ("gzip, gzip", "gzip, gzip"),
        ("gzip;q=1", "gzip;q=1"),
        ("x" * 10_000, "x" * 100),
    ],
)
async def test_another_encoding_is_refused_before_anything_is_received(
    value: str, named: str
) -> None:
    async def receive() -> Message:
        raise AssertionError("asked for the body")

    with pytest.raises(Refused) as caught:
        await read_body(scope_of(value), receive, MIB, ByteBudget(MIB))
    assert caught.value.failure.status_code == 415
    assert caught.value.failure.message == (
        f"content-encoding {named!r} is not supported; use one of gzip, deflate, br, zstd, or none"
    )


async def test_two_encoding_headers_are_a_list() -> None:
    scope = scope_of("gzip")
    scope["headers"].append((b"content-encoding", b"br"))
    with pytest.raises(Refused, match="'gzip, br' is not supported"):
        await read_body(scope, receiving([]), MIB, ByteBudget(MIB))


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("encoding", PACK)
async def test_the_cap_counts_what_is_decompressed(encoding: str, over: int) -> None:
    cap = len(JSON) - over
    pieces = in_steps(PACK[encoding](JSON), 50)
    if over > 0:
        message = f"request body is larger than {cap} bytes (client.max_request_body_size_mb)"
        assert await refusal(encoding, pieces, cap) == (413, message)
    else:
        assert await read(encoding, pieces, cap) == JSON


@pytest.mark.parametrize("encoding", PACK)
async def test_the_cap_counts_what_is_received(encoding: str) -> None:
    body = random.Random(3).randbytes(1_000)
    packed = gzip.compress(body) + bytes(3_000) if "gzip" in encoding else PACK[encoding](body)
    assert len(packed) > 1_000
    status, _ = await refusal(encoding, in_steps(packed, 100), cap=1_000)
    assert status == 413


@pytest.mark.parametrize("encoding", PACK)
async def test_the_budget_counts_what_is_decompressed(encoding: str) -> None:
    pieces = [PACK[encoding](bytes(MIB))]
    assert (await refusal(encoding, pieces, budget=ByteBudget(MIB)))[0] == 503
    # Once as the body, and once as what a decompressor may look back to.
    assert await read(encoding, pieces, budget=ByteBudget(2 * MIB)) == bytes(MIB)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_body_cut_short_is_refused(encoding: str) -> None:
    packed = PACK[encoding](JSON)
    for pieces in ([], [packed[:-1]], in_steps(packed[:-1], 7)):
        message = f"invalid request format: the {encoding} body is cut short"
        assert await refusal(encoding, pieces) == (400, message)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_damaged_body_is_refused(encoding: str) -> None:
    for pieces in ([b"\xff" * 50], [b"\xff"] * 50):
        status, message = await refusal(encoding, pieces)
        assert status == 400
        assert message.startswith(f"invalid request format: the {encoding} body is damaged: ")


@pytest.mark.parametrize("encoding", PACK)
async def test_a_client_that_leaves_is_no_body_cut_short(encoding: str) -> None:
    with pytest.raises(ClientGone):
        await read(encoding, [PACK[encoding](JSON)[:20]], then=GONE)


def bomb(encoding: str, beginning: bytes = b"") -> list[bytes]:
    """What becomes 40 MB of zeros, in pieces of the size that a connection delivers."""
    brotli_packer = brotli.Compressor(quality=4)
    compress, flush = {
        "gzip": _methods(zlib.compressobj(1, wbits=31)),
        "deflate": _methods(zlib.compressobj(1)),
        "br": (brotli_packer.process, brotli_packer.finish),
        "zstd": _methods(zstandard.ZstdCompressor().compressobj()),
    }[encoding]
    packed = [compress(beginning), *(compress(bytes(4 * MIB)) for _ in range(10)), flush()]
    return in_steps(b"".join(packed), 64 * 1024)


class Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _methods(packer: Packer) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    return packer.compress, packer.flush


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_bomb_is_stopped_at_the_cap(encoding: str) -> None:
    pieces = bomb(encoding)
    tracemalloc.start()
    try:
        assert (await refusal(encoding, pieces, cap=2 * MIB))[0] == 413
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MIB


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_others_run_while_a_body_grows(encoding: str) -> None:
    turns = 0
    done = False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(others())
    await read(encoding, [PACK[encoding](bytes(8 * MIB))], cap=8 * MIB)
    done = True
    await counting
    assert turns >= 8 * MIB // (512 * 1024)


@pytest.mark.parametrize("step", [1_000, MIB])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_compressed_form_is_kept_decompressed(
    encoding: str, step: int, tmp_path: Path
) -> None:
    contents = random.Random(5).randbytes(100_000) * 2
    body = one(b'name="file"; filename="a.wav"', contents=contents)
    scope = scope_of(encoding, content_type=TYPE)
    pieces = in_steps(PACK[encoding](body), step)
    with await read_form(scope, receiving(pieces), MIB, ByteBudget(MIB), tmp_path) as received:
        assert not isinstance(received.body, bytes)
        assert b"".join(received.body.pieces(MIB)) == body
        assert received.form.files[0].size == len(contents)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_bomb_in_a_form_is_stopped_at_the_cap(encoding: str, tmp_path: Path) -> None:
    beginning = one(b'name="file"; filename="a"').partition(b"x\r\n")[0]
    pieces = bomb(encoding, beginning)
    scope = scope_of(encoding, content_type=TYPE)
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as caught:
            await read_form(scope, receiving(pieces), 30 * MIB, ByteBudget(32 * MIB), tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.failure.status_code == 413
    assert peak < 2 * MIB
