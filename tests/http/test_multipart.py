"""Receiving a form: what is read, what is refused, and what is left behind."""

import asyncio
import os
import random
import resource
import tracemalloc
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.errors import Refused, StoreFull, StoreUnavailable
from hermod.domain.job import IN_HAND_BYTES
from hermod.http.asgi import Message, Receive, Scope
from hermod.http.body import ByteBudget, ClientGone
from hermod.http.multipart import Received, read_form
from hermod.http.spool import Spool, Upload
from hermod.kinds.form import FilePart, Form
from hermod.kinds.multipart import FORM_LIMITS, FormLimits
from tests.http.multipart_corpus import BROKEN, END, GOOD, ODD, TYPE, disposition, one, part

MIB = 1024 * 1024
CAP = 64 * MIB
GONE: Message = {"type": "http.disconnect"}
FAILED = "failed to parse multipart form: "


def scope_of(content_type: str | None, **headers: str) -> Scope:
    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    if content_type is not None:
        pairs.append((b"content-type", content_type.encode("latin-1")))
    return {"type": "http", "headers": pairs}


def receiving(pieces: Iterable[bytes], *, then: Message | None = None) -> Receive:
    """Gives the pieces one by one; then the end of the body, or what is said here."""

    async def receive() -> Message:
        for piece in left:
            return {"type": "http.request", "body": piece, "more_body": True}
        return then or {"type": "http.request"}

    left = iter(pieces)
    return receive


async def read(
    pieces: Iterable[bytes],
    folder: Path,
    *,
    content_type: str | None = TYPE,
    cap: int = CAP,
    budget: ByteBudget | None = None,
    limits: FormLimits = FORM_LIMITS,
    then: Message | None = None,
) -> Received:
    budget = budget or ByteBudget(1 << 30)
    before = budget.free
    try:
        return await read_form(
            scope_of(content_type), receiving(pieces, then=then), cap, budget, folder, limits
        )
    finally:
        assert budget.free == before
        assert not os.listdir(folder)


async def refusal(pieces: Iterable[bytes], folder: Path, **options: object) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        await read(pieces, folder, **options)  # pyright: ignore[reportArgumentType]
    assert caught.value.failure.status_code is not None
    return caught.value.failure.status_code, caught.value.failure.message


def whole(received: Received) -> bytes:
    body = received.body
    return body if isinstance(body, bytes) else b"".join(body.pieces(1000))


def cut(body: bytes, how: str) -> list[bytes]:
    if how == "whole":
        return [body]
    if how == "bytes":
        return [body[at : at + 1] for at in range(len(body))]
    rng = random.Random(f"{len(body)}")
    places = sorted(rng.choices(range(len(body) + 1), k=20))
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]


WAYS = ("whole", "bytes", "at random")
SMALL = 20_000
"""Larger forms are not fed byte by byte."""


def ways_to_cut(body: bytes) -> Iterator[list[bytes]]:
    for how in WAYS:
        if how != "bytes" or len(body) <= SMALL:
            yield cut(body, how)


# Verdicts


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_form_is_refused_however_it_is_cut(name: str, tmp_path: Path) -> None:
    case = BROKEN[name]
    for pieces in ways_to_cut(case.body):
        refused = await refusal(pieces, tmp_path, content_type=case.content_type)
        assert refused == (case.status, FAILED + case.detail)


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_form_is_read_however_it_is_cut(name: str, tmp_path: Path) -> None:
    case = ODD[name]
    for pieces in ways_to_cut(case.body):
        received = await read(pieces, tmp_path, content_type=case.content_type)
        assert received.form == Form(case.fields, case.files)
        assert received.body == case.body


def test_the_corpus_is_large() -> None:
    assert len(BROKEN) >= 40
    assert len({case.body for case in ODD.values()}) >= 20


@pytest.mark.parametrize("how", WAYS)
async def test_a_form_cut_short_anywhere_is_refused(how: str, tmp_path: Path) -> None:
    body = GOOD + END
    for size in range(len(body) - len("\r\n")):
        status, message = await refusal(cut(body[:size], how), tmp_path)
        assert (status, message) == (400, f"{FAILED}the body ends before its last boundary")


async def test_two_content_types_are_refused(tmp_path: Path) -> None:
    scope = scope_of(TYPE)
    scope["headers"].append((b"content-type", TYPE.encode()))
    with pytest.raises(Refused, match="more than one content type"):
        await read_form(scope, receiving([]), CAP, ByteBudget(0), tmp_path)


async def test_a_wrong_head_is_refused_before_anything_is_received(tmp_path: Path) -> None:
    async def receive() -> Message:
        raise AssertionError("asked for the body")

    for scope, status in (
        (scope_of("text/plain"), 400),
        (scope_of(TYPE, content_length="11"), 413),
        (scope_of(TYPE, content_encoding="compress"), 415),
    ):
        with pytest.raises(Refused) as caught:
            await read_form(scope, receive, 10, ByteBudget(0), tmp_path)
        assert caught.value.failure.status_code == status


async def test_the_content_type_to_keep_names_the_boundary_and_nothing_else(tmp_path: Path) -> None:
    odd = 'Multipart/Form-Data; charset="x"; boundary="b0undary" ;'
    assert (await read([END], tmp_path, content_type=odd)).content_type == TYPE
    blank = 'multipart/form-data; boundary="b c"'
    assert (await read([b"--b c--"], tmp_path, content_type=blank)).content_type == blank


SEEDS = [case.body for case in (*BROKEN.values(), *ODD.values()) if len(case.body) < 1_000]


@st.composite
def forms(draw: st.DrawFn) -> list[bytes]:
    """A form of the corpus with bytes changed, doubled or taken away, cut anywhere."""
    body = bytearray(draw(st.sampled_from(SEEDS)))
    snippets = [
        b"\r\n",
        b"\r",
        b"\n",
        b"--b0undary",
        b"--b0undary--",
        b'"',
        b"\\",
        b";",
        b"\0",
        b": ",
    ]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        length = draw(st.integers(0, 5))
        body[at : at + length] = draw(st.sampled_from(snippets) | st.binary(max_size=3))
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=12)))
    return [bytes(body[a:b]) for a, b in zip([0, *places], [*places, len(body)], strict=True)]


SMALL_LIMITS = FormLimits(
    parts=2,
    headers=3,
    header_bytes=60,
    name_chars=4,
    filename_chars=5,
    field_bytes=6,
    fields_bytes=9,
)


def result_at_once(reading: Coroutine[Any, None, Received]) -> Received:
    """Of a reading that never waits."""
    try:
        reading.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


@pytest.mark.parametrize("limits", [FORM_LIMITS, SMALL_LIMITS])
@settings(max_examples=300, deadline=None)
@given(pieces=forms(), cap=st.sampled_from([50, 120, CAP]))
def test_the_verdict_is_the_same_however_a_form_is_cut(
    limits: FormLimits, pieces: list[bytes], cap: int
) -> None:
    body = b"".join(pieces)
    verdicts: list[object] = []
    for each in (pieces, [body], cut(body, "bytes")):
        reading = read_form(
            scope_of(TYPE), receiving(each), cap, ByteBudget(1 << 20), Path("/nowhere"), limits
        )
        try:
            received = result_at_once(reading)
        except Refused as refused:
            verdicts.append((refused.failure.status_code, refused.failure.message))
        else:
            assert received.body == body
            verdicts.append(received.form)
    assert verdicts[1:] == verdicts[:-1]


# Limits


def text_of(size: int) -> bytes:
    return b"t" * size


NAMED = disposition(b'name="a"')
AT_LIMITS = {
    "parts": (64, lambda n: part(NAMED) * n + END, 400, "more than 64 parts"),
    "headers": (
        16,
        lambda n: one(b'name="a"', *[b"X: y"] * (n - 1)),
        400,
        "a part has more than 16 headers",
    ),
    "a header": (
        8192,
        lambda n: one(b'name="a"', b"X:" + b"y" * (n - 2)),
        400,
        "a part's header is longer than 8192 bytes",
    ),
    "a header in blanks": (
        8192,
        lambda n: one(b'name="a"', b"X: y" + b" " * (n - 4)),
        400,
        "a part's header is longer than 8192 bytes",
    ),
    "a name": (
        256,
        lambda n: one(f'name="{"é" * n}"'.encode()),
        400,
        "a part's name is longer than 256 characters",
    ),
    "a file name": (
        255,
        lambda n: one(f'name="a"; filename="{"😀" * n}"'.encode()),
        400,
        "a part's file name is longer than 255 characters",
    ),
    "a text field": (
        MIB,
        lambda n: one(b'name="a"', contents=text_of(n)),
        413,
        "a text field is larger than 1048576 bytes",
    ),
    "all text fields": (
        4 * MIB,
        lambda n: (
            part(NAMED, contents=text_of(MIB)) * 3
            + part(NAMED, contents=text_of(MIB // 2))
            + one(b'name="b"', contents=text_of(n - 3 * MIB - MIB // 2))
        ),
        413,
        "the text fields are larger than 4194304 bytes",
    ),
}


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("what", AT_LIMITS)
async def test_each_limit_is_kept_to_the_unit(what: str, over: int, tmp_path: Path) -> None:
    limit, make, status, detail = AT_LIMITS[what]
    body = make(limit + over)
    for pieces in ([body], cut(body, "at random")):
        if over > 0:
            assert await refusal(pieces, tmp_path) == (status, FAILED + detail)
        else:
            with await read(pieces, tmp_path) as received:
                assert whole(received) == body


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_a_boundary_has_up_to_70_characters(over: int, tmp_path: Path) -> None:
    boundary = "b" * (70 + over)
    body = END.replace(b"b0undary", boundary.encode())
    content_type = f"multipart/form-data; boundary={boundary}"
    if over > 0:
        status, _ = await refusal([body], tmp_path, content_type=content_type)
        assert status == 400
    else:
        await read([body], tmp_path, content_type=content_type)


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("how", WAYS)
async def test_a_form_up_to_the_cap_is_accepted(how: str, over: int, tmp_path: Path) -> None:
    pieces = cut(GOOD + END, how)
    cap = len(GOOD + END) - over
    if over > 0:
        message = f"request body is larger than {cap} bytes (client.max_request_body_size_mb)"
        assert await refusal(pieces, tmp_path, cap=cap) == (413, message)
    else:
        await read(pieces, tmp_path, cap=cap)


async def test_what_is_wrong_below_the_cap_is_said_first(tmp_path: Path) -> None:
    body = part(NAMED, b"X") + bytes(1000)
    for pieces in ways_to_cut(body):
        assert (await refusal(pieces, tmp_path, cap=100))[0] == 400


# Where the body lies


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_only_a_larger_body_goes_to_a_file(over: int, tmp_path: Path) -> None:
    body = one(b'name="f"; filename="f"', contents=b"")
    body = body.replace(b"\r\n\r\n", b"\r\n\r\n" + bytes(IN_HAND_BYTES + over - len(body)), 1)
    for pieces in ([body], cut(body, "at random")):
        with await read(pieces, tmp_path) as received:
            assert isinstance(received.body, Upload) == (over > 0)
            assert received.memory_bytes == (0 if over > 0 else len(body))
            assert whole(received) == body


def large(size: int) -> Iterator[bytes]:
    yield part(disposition(b'name="model"'), contents=b"openai/whisper-1")
    yield part(disposition(b'name="file"; filename="a.wav"')).removesuffix(b"x\r\n")
    block = random.Random(1).randbytes(MIB // 4)
    for _ in range(size // len(block)):
        yield block
    yield b"\r\n" + END


async def test_a_spooled_body_is_read_back_as_often_as_asked(tmp_path: Path) -> None:
    with await read(large(MIB), tmp_path) as received:
        assert isinstance(received.body, Upload)
        sent = b"".join(large(MIB))
        assert received.body.size == len(sent)
        for size in (1000, MIB, 2 * MIB):
            pieces = list(received.body.pieces(size))
            assert b"".join(pieces) == sent
            assert {len(piece) for piece in pieces[:-1]} <= {size}
    assert received.form.files == (FilePart("file", "a.wav", "", MIB),)
    assert received.memory_bytes == len("openai/whisper-1")


async def test_a_spooled_body_that_was_given_up_is_read_no_more(tmp_path: Path) -> None:
    received = await read(large(MIB), tmp_path)
    assert isinstance(received.body, Upload)
    pieces = received.body.pieces(1000)
    next(pieces)
    received.close()
    received.close()
    with pytest.raises(OSError, match="given up"):
        next(pieces)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("end", ["broken", "gone", "cancelled", "no budget", "too large"])
async def test_no_file_stays_open_when_a_form_is_not_accepted(end: str, tmp_path: Path) -> None:
    pieces = list(large(MIB))
    before = open_files()
    if end == "broken":
        assert (await refusal(pieces[:-1], tmp_path))[0] == 400
    elif end == "gone":
        with pytest.raises(ClientGone):
            await read(pieces[:-1], tmp_path, then=GONE)
    elif end == "no budget":
        text = part(NAMED, contents=text_of(1000))
        status, _ = await refusal([*pieces[:-1], b"\r\n", text], tmp_path, budget=ByteBudget(500))
        assert status == 503
    elif end == "too large":
        assert (await refusal(pieces, tmp_path, cap=MIB))[0] == 413
    else:
        await _cancelled(pieces, tmp_path)
    assert open_files() == before


async def _cancelled(pieces: Sequence[bytes], folder: Path) -> None:
    left = iter(pieces[:-1])
    all_taken = asyncio.Event()

    async def receive() -> Message:
        for piece in left:
            return {"type": "http.request", "body": piece, "more_body": True}
        all_taken.set()
        return await asyncio.Future()

    budget = ByteBudget(MIB)
    reading = asyncio.ensure_future(read_form(scope_of(TYPE), receive, CAP, budget, folder))
    await all_taken.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert budget.free == MIB


async def test_a_client_that_leaves_is_no_empty_form(tmp_path: Path) -> None:
    with pytest.raises(ClientGone):
        await read([], tmp_path, then=GONE)


async def test_memory_stays_small_for_a_large_upload(tmp_path: Path) -> None:
    budget = ByteBudget(IN_HAND_BYTES + 100)
    tracemalloc.start()
    try:
        with await read(large(64 * MIB), tmp_path, cap=65 * MIB, budget=budget) as received:
            assert received.form.files[0].size == 64 * MIB
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB


async def test_memory_stays_small_for_a_long_epilogue(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with await read([END, *[bytes(MIB)] * 16], tmp_path) as received:
            assert received.form == Form((), ())
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB


async def test_a_body_in_memory_counts_against_the_budget(tmp_path: Path) -> None:
    body = one(b'name="f"; filename="f"')
    assert (await refusal([body], tmp_path, budget=ByteBudget(len(body) - 1)))[0] == 503
    await read([body], tmp_path, budget=ByteBudget(len(body)))


# The disk


@pytest.fixture
def limited_files() -> Iterator[None]:
    """No file grows beyond 100 kB: the write fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("limited_files")
async def test_a_full_disk_is_no_defect_of_ours(tmp_path: Path) -> None:
    before = open_files()
    with pytest.raises(StoreFull, match="the disk is full"):
        await read(large(MIB), tmp_path)
    assert open_files() == before


def test_no_space_left_is_a_full_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with pytest.raises(StoreFull) as caught:
        spool.write(bytes(IN_HAND_BYTES + 1))
    assert "No space left" in caught.value.detail
    spool.close()


async def test_a_folder_that_is_gone_is_a_store_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="the upload cannot be written to disk"):
        await read_form(
            scope_of(TYPE), receiving(large(MIB)), CAP, ByteBudget(MIB), tmp_path / "gone"
        )


async def test_a_file_that_is_cut_behind_our_back_is_an_error(tmp_path: Path) -> None:
    with await read(large(MIB), tmp_path) as received:
        assert isinstance(received.body, Upload)
        os.truncate(received.body._file.fileno(), 1000)
        with pytest.raises(OSError, match="shorter"):
            list(received.body.pieces(1000))
