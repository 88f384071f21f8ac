"""Stored forms: read, and made anew for the upstream."""

import io
import random
import tracemalloc
from collections.abc import Container, Mapping

import httpx
import httpx2
import multipart
import openai
import pytest

from hermod.domain.errors import Refused
from hermod.kinds.form import FilePart
from hermod.kinds.multipart import read_boundary
from hermod.providers.multipart_body import FormFile, fields_and_files, rebuild
from tests.http.multipart_corpus import END, ODD, TYPE, disposition, one, part

CONTENTS = random.Random(2).randbytes(5_000) + b"\r\n--b0undary\0"
SENT = (
    part(disposition(b'name="model"'), contents=b"openai/whisper-1")
    + part(disposition(b'name="fallbacks"'), contents=b"a/b")
    + part(disposition(b'name="fallbacks[]"'), contents=b"c/d")
    + part(disposition(b'name="language"'), contents="française".encode())
    + part(
        disposition('name="file"; filename="ré\\s%22.wav"'.encode()),
        b"Content-Type: audio/wav; a=b",
        contents=CONTENTS.replace(b"b0undary", b"b0under!"),
    )
    + part(disposition(b'name="chunking_strategy[type]"'), contents=b"auto")
    + part(disposition(b'name="x_own"'), contents=b"")
    + END
)


def again(
    body: bytes,
    content_type: str,
    *,
    replace: Mapping[str, str] | None = None,
    drop: Container[str] = (),
    known: Container[str] | None = None,
    boundary: str | None = None,
) -> bytes:
    made, made_type = rebuild(
        body,
        content_type,
        replace=replace or {},
        drop=drop,
        known=known,
        boundary=boundary or read_boundary(content_type),
    )
    fields_and_files(made, made_type)
    return made


def names(body: bytes) -> list[str]:
    contents = fields_and_files(body, TYPE)
    return [name for name, _ in contents.fields] + [file.part.name for file in contents.files]


def test_a_form_is_read_in_order() -> None:
    contents = fields_and_files(SENT, TYPE)
    assert contents.fields == (
        ("model", "openai/whisper-1"),
        ("fallbacks", "a/b"),
        ("fallbacks[]", "c/d"),
        ("language", "française"),
        ("chunking_strategy[type]", "auto"),
        ("x_own", ""),
    )
    size = len(CONTENTS)
    file = FilePart("file", 'ré\\s".wav', "audio/wav; a=b", size)
    assert contents.files == (
        FormFile(file, memoryview(CONTENTS.replace(b"b0undary", b"b0under!"))),
    )


@pytest.mark.parametrize("name", ODD)
def test_what_was_accepted_can_be_read_and_made_anew(name: str) -> None:
    case = ODD[name]
    contents = fields_and_files(case.body, case.content_type)
    assert contents.fields == case.fields
    assert tuple(file.part for file in contents.files) == case.files
    assert fields_and_files(again(case.body, case.content_type, boundary="b0undary"), TYPE) == (
        contents
    )


def test_nothing_changes_that_need_not() -> None:
    assert again(SENT, TYPE) == SENT


def test_the_model_is_replaced_and_the_gateways_own_fields_are_gone() -> None:
    drop = {"fallbacks"}
    made = again(SENT, TYPE, replace={"model": "whisper-1"}, drop=drop, boundary="new")
    expected = SENT.replace(b"b0undary", b"new").replace(b"openai/whisper-1", b"whisper-1")
    for name, value in ((b"fallbacks", b"a/b"), (b"fallbacks[]", b"c/d")):
        gone = part(disposition(b'name="%b"' % name), contents=value)
        expected = expected.replace(gone.replace(b"b0undary", b"new"), b"")
    assert made == expected


@pytest.mark.parametrize(
    ("known", "kept"),
    [
        (None, ["language", "chunking_strategy[type]", "x_own", "file"]),
        ({"language", "chunking_strategy"}, ["language", "chunking_strategy[type]", "file"]),
        ({"chunking_strategy[type]"}, ["chunking_strategy[type]", "file"]),
        ((), ["file"]),
    ],
)
def test_unknown_text_fields_are_dropped_when_asked(
    known: Container[str] | None, kept: list[str]
) -> None:
    made = again(SENT, TYPE, drop={"fallbacks", "model"}, known=known)
    assert names(made) == kept


def test_a_file_named_like_a_replaced_field_is_left_alone() -> None:
    body = one(b'name="model"; filename="a"')
    assert again(body, TYPE, replace={"model": "m"}) == body


def test_a_model_given_twice_is_replaced_twice() -> None:
    body = part(disposition(b'name="model"')) + one(b'name="model"')
    made = again(body, TYPE, replace={"model": "é"})
    assert fields_and_files(made, TYPE).fields == (("model", "é"), ("model", "é"))


def test_a_file_that_was_not_chosen_is_not_sent() -> None:
    body = one(b'name="mask"; filename=""', contents=b"")
    assert again(body, TYPE) == END
    assert fields_and_files(body, TYPE).files == ()


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        (b'name="a\\"b"', b'name="a%22b"'),
        (b"name=a; filename=b c", b'name="a"; filename="b c"'),
        (b"filename*=utf-8''%C3%A9; name=a", 'name="a"; filename="é"'.encode()),
        (b'name="a;b\\c"', b'name="a;b\\c"'),
    ],
)
def test_names_are_written_as_browsers_do(odd: bytes, plain: bytes) -> None:
    assert again(one(odd, b"X: y"), TYPE) == one(plain)


def test_the_content_type_names_the_new_boundary() -> None:
    _, content_type = rebuild(SENT, TYPE, replace={}, drop=(), known=None, boundary="n-1")
    assert content_type == "multipart/form-data; boundary=n-1"


def test_what_was_never_accepted_is_refused() -> None:
    for body, content_type in ((SENT[:-9], TYPE), (b"{}", TYPE), (SENT, "application/json")):
        with pytest.raises(Refused):
            fields_and_files(body, content_type)


def test_the_contents_are_copied_once() -> None:
    body = one(b'name="file"; filename="a"', contents=bytes(4_000_000))
    tracemalloc.start()
    try:
        again(body, TYPE, boundary="new")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_100_000


# What clients send


def test_a_form_of_httpx_stays_as_it_is() -> None:
    request = httpx.Request(
        "POST",
        "http://gateway.test",
        data={"model": "a/b", "n": "1", 'quote"\\é': ["x", "y"]},
        files=[
            ("image[]", ("a.png", CONTENTS, "image/png")),
            ("image[]", ('b"\\ 😀.png', io.BytesIO(b""), "image/png")),
            ("mask", ("no type", b"x")),
        ],
    )
    body = request.read()
    assert again(body, request.headers["content-type"]) == body


def test_forms_of_the_openai_sdk_stay_as_they_are() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        request.read()
        seen.append(request)
        return httpx2.Response(200, json={"text": "", "created": 1, "data": []})

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http_client:
        client = openai.OpenAI(api_key="k", base_url="http://gateway.test", http_client=http_client)
        client.audio.transcriptions.create(
            model="openai/whisper-1",
            file=("speech.wav", CONTENTS),
            language="de",
            temperature=0.5,
            timestamp_granularities=["word", "segment"],
            chunking_strategy={"type": "server_vad", "threshold": 0.5},
            extra_body={"fallbacks": ["a/b"]},
        )
        client.images.edit(
            model="openai/gpt-image-1",
            image=[("a.png", b"A", "image/png"), ("b.png", b"B", "image/png")],
            mask=b"M",
            prompt='a quote " and a line\nbreak',
            n=2,
        )
    assert len(seen) == 2
    for request in seen:
        assert again(request.content, request.headers["content-type"]) == request.content
    first = fields_and_files(seen[0].content, seen[0].headers["content-type"])
    assert ("chunking_strategy[type]", "server_vad") in first.fields
    assert ("fallbacks[]", "a/b") in first.fields
    assert [file.part.filename for file in first.files] == ["speech.wav"]


def test_a_parser_that_shares_no_code_with_us_reads_what_is_written() -> None:
    written = again(SENT, TYPE, replace={"model": "whisper-1"}, boundary="b0under-other")
    found: list[tuple[str | None, str | None, bytes]] = []
    with multipart.PushMultipartParser(b"b0under-other") as parser:
        for event in parser.parse(written):
            if isinstance(event, multipart.MultipartSegment):
                found.append((event.name, event.filename, b""))
            elif event:
                name, filename, contents = found[-1]
                found[-1] = (name, filename, contents + event)
    assert ("model", None, b"whisper-1") in found
    assert CONTENTS.replace(b"b0undary", b"b0under!") in {contents for *_, contents in found}
    assert len(found) == 7
