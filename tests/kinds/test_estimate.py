"""kinds/estimate.py: what a request may use."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermod.domain.usage import Estimate
from hermod.kinds import own_words
from hermod.kinds.estimate import IMAGE_TOKENS, estimate
from hermod.kinds.kind import AnyKind
from hermod.kinds.registry import KINDS
from tests.kinds.recorded import recorded

ASSUMED = 4096
WORDS = "word " * 800
"""A thousand tokens."""
TYPES = [kind.request_type for kind in KINDS]
GENERATE_TEXT = {"chat_completion", "text_completion", "responses"}
GENERATE_IMAGES = {"image_generation", "image_edit", "image_variation"}
PICTURE = "data:image/png;base64," + base64.b64encode(bytes(200_000)).decode()


def of(request_type: str, **asked: Any) -> Estimate:
    """Of a request with these members."""
    return estimate(request_type, json.dumps({"model": "p/m", **asked}).encode(), None, ASSUMED)


def chat(*content: Any, **asked: Any) -> Estimate:
    """Of a chat with these messages."""
    messages = [{"role": "user", "content": each} for each in content]
    return of("chat_completion", messages=messages, **asked)


def form(fields: dict[str, str], *files: bytes) -> tuple[bytes, str]:
    """A form, and its type."""
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    parts += [b'name="file"; filename="f"\r\nContent-Type: x/y\r\n\r\n' + file for file in files]
    body = b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts)
    return body + b"--b--\r\n", "multipart/form-data; boundary=b"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.request_type)
def test_every_type_has_an_estimate(kind: AnyKind) -> None:
    example = recorded(kind)
    asked = estimate(kind.request_type, example.body, example.content_type, ASSUMED)
    assert 0 <= asked.input_tokens <= 3 * IMAGE_TOKENS + len(example.body) // 4
    assert (asked.output_tokens > 0) == (kind.request_type in GENERATE_TEXT | GENERATE_IMAGES)
    assert asked.input_tokens or kind.request_type == "transcription"


# What is read


@pytest.mark.parametrize("length", [0, 4, 400, 4000, 40_000])
def test_text_is_a_token_for_four_characters(length: int) -> None:
    frame = chat("").input_tokens
    assert chat("x" * length).input_tokens - frame == length // 4
    assert frame < 20


@pytest.mark.parametrize(
    ("request_type", "member"),
    [
        ("text_completion", "prompt"),
        ("text_completion", "suffix"),
        ("responses", "input"),
        ("responses", "instructions"),
        ("embedding", "input"),
        ("speech", "input"),
        ("image_generation", "prompt"),
        ("rerank", "query"),
        ("chat_completion", "tools"),
        ("chat_completion", "functions"),
        ("chat_completion", "response_format"),
        ("rerank", "documents"),
        ("responses", "text"),
    ],
)
def test_these_members_are_read(request_type: str, member: str) -> None:
    assert of(request_type, **{member: WORDS}).input_tokens in range(1000, 1003)


def test_other_members_are_not() -> None:
    assert chat("", metadata={"a": WORDS}, user=WORDS) == chat("")


def test_escaped_characters_are_no_longer_than_plain_ones() -> None:
    assert chat("ж" * 4000).input_tokens < 3100


@pytest.mark.parametrize("member", ["input", "prompt"])
@pytest.mark.parametrize("ids", [[12345] * 100, [[12345] * 50, [1] * 50]])
def test_token_ids_are_counted(member: str, ids: list[Any]) -> None:
    assert of("embedding", **{member: ids}).input_tokens == 100


def test_what_goes_to_a_vendor_in_its_own_words_is_read_there() -> None:
    words = {"api": "anthropic", "request": {"max_tokens": 7, "messages": [WORDS]}}
    asked = of("responses", **own_words.instead_of_ours("anthropic"), **{own_words.MEMBER: words})
    assert asked.input_tokens in range(1000, 1040)
    assert asked.output_tokens == 7


def test_google_bounds_its_answers_in_words_of_its_own() -> None:
    config = {"maxOutputTokens": 7, "candidateCount": 2}
    words = {"api": "google", "request": {"contents": [], "generationConfig": config}}
    assert of("chat_completion", **{own_words.MEMBER: words}).output_tokens == 14


# Files


@pytest.mark.parametrize("url", ["https://example.org/cat.png", PICTURE])
def test_a_picture_counts_alike_wherever_it_is(url: str) -> None:
    asked = chat([{"type": "image_url", "image_url": {"url": url}}] * 3)
    assert asked.input_tokens in range(3 * IMAGE_TOKENS, 3 * IMAGE_TOKENS + 100)


@pytest.mark.parametrize("where", [{"image_url": PICTURE}, {"file_id": "f"}])
def test_so_does_one_of_a_response(where: dict[str, str]) -> None:
    content = [{"type": "input_image", **where}]
    asked = of("responses", input=[{"role": "user", "content": content}])
    assert asked.input_tokens in range(IMAGE_TOKENS, IMAGE_TOKENS + 50)


def test_so_do_pictures_to_begin_with() -> None:
    asked = of("image_generation", prompt="", input_images=[PICTURE, PICTURE])
    assert asked.input_tokens in range(2 * IMAGE_TOKENS, 2 * IMAGE_TOKENS + 50)


def test_sound_counts_by_its_size() -> None:
    data = base64.b64encode(bytes(8_000 * 60)).decode()
    asked = chat([{"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}}])
    assert asked.input_tokens in range(600, 650)


def test_a_document_counts_by_its_size() -> None:
    pdf = base64.b64encode(b"%PDF-1.7" + bytes(100_000)).decode()
    for data in (pdf, "data:application/pdf;base64," + pdf):
        asked = chat([{"type": "file", "file": {"file_data": data}}])
        assert asked.input_tokens in range(1000, 1050)


@pytest.mark.parametrize("text", ["data: see " + "word " * 2000, "A" * 10_000, PICTURE])
def test_long_text_is_not_taken_for_a_file(text: str) -> None:
    assert chat(text).input_tokens >= len(text) // 4
    assert chat([{"type": "text", "text": text}]).input_tokens >= len(text) // 4
    assert of("embedding", input=text).input_tokens >= len(text) // 4


# What may come back


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ({}, ASSUMED),
        ({"max_tokens": 16}, 16),
        ({"max_tokens": 16.0}, 16),
        ({"max_completion_tokens": 16}, 16),
        ({"max_completion_tokens": 16, "max_tokens": 1000}, 16),
        ({"max_tokens": 16, "n": 3}, 48),
        ({"n": 2}, 2 * ASSUMED),
        ({"max_tokens": None}, ASSUMED),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": -5}, 0),
        ({"max_tokens": "16"}, ASSUMED),
        ({"max_tokens": [16]}, ASSUMED),
        ({"max_tokens": 10**39, "n": 10**39}, 1_000_000_000),
        ({"max_tokens": 16, "n": 0}, 16),
    ],
)
def test_a_chat_bounds_its_answer(asked: dict[str, Any], tokens: int) -> None:
    assert chat("Hi", **asked).output_tokens == tokens


def test_a_response_bounds_its_answer() -> None:
    assert of("responses", input="Hi", max_output_tokens=16).output_tokens == 16


@pytest.mark.parametrize(
    ("prompt", "times"),
    [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3], [4]], 3), ([], 1), (None, 1)],
)
def test_every_prompt_is_answered(prompt: Any, times: int) -> None:
    assert of("text_completion", prompt=prompt, max_tokens=5).output_tokens == 5 * times


def test_the_best_of_several_answers_costs_all_of_them() -> None:
    assert of("text_completion", prompt="a", max_tokens=5, n=2, best_of=4).output_tokens == 20


def test_pictures_come_in_numbers() -> None:
    assert of("image_generation", prompt="a").output_tokens == IMAGE_TOKENS
    assert of("image_generation", prompt="a", n=3).output_tokens == 3 * IMAGE_TOKENS


# Pages


@pytest.mark.parametrize(
    ("document", "asked", "pages"),
    [
        ({"image_url": "https://example.org/1.png"}, {}, 1),
        ({"document_url": "https://example.org/1.pdf"}, {}, 10),
        ({"document_url": "https://example.org/1.pdf"}, {"pages": [0, 4]}, 2),
        ({"document_url": "data:application/pdf;base64," + "A" * 400_000}, {}, 7),
    ],
)
def test_ocr_counts_pages(document: dict[str, Any], asked: dict[str, Any], pages: int) -> None:
    assert of("ocr", document=document, **asked) == Estimate(pages * IMAGE_TOKENS, 0, pages=pages)


# Forms


def test_a_recording_counts_by_its_size() -> None:
    asked = estimate("transcription", *form({"model": "p/m"}, bytes(8_000 * 60)), ASSUMED)
    assert asked.audio_ms in range(60_000, 60_100)
    assert asked.input_tokens in range(600, 610)
    assert asked.output_tokens == 0


@pytest.mark.parametrize("request_type", ["image_edit", "image_variation"])
def test_a_form_of_pictures_counts_them(request_type: str) -> None:
    body = form({"model": "p/m", "prompt": "x" * 400, "n": "2"}, bytes(50_000), bytes(10))
    asked = estimate(request_type, *body, ASSUMED)
    assert asked == Estimate(100 + 2 * IMAGE_TOKENS, 2 * IMAGE_TOKENS)


@pytest.mark.parametrize("n", ["", "many", "0", "-1", "99999"])
def test_a_form_that_says_no_number_wants_one(n: str) -> None:
    body = form({"n": n}, b"picture")
    assert estimate("image_edit", *body, ASSUMED).output_tokens == IMAGE_TOKENS


# Whatever comes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
MEMBERS = ["messages", "prompt", "input", "max_tokens", "n", "best_of", "pages", "document"]
BODIES = st.binary(max_size=60) | st.dictionaries(
    st.sampled_from([*MEMBERS, own_words.MEMBER]), JSON, max_size=5
).map(lambda asked: json.dumps(asked).encode())


@given(
    st.sampled_from([*TYPES, "unknown"]),
    BODIES,
    st.none() | st.just("multipart/form-data; boundary=b") | st.just(""),
)
def test_it_never_raises(request_type: str, body: bytes, content_type: str | None) -> None:
    asked = estimate(request_type, body, content_type, ASSUMED)
    assert all(0 <= number <= 1_000_000_000 for number in asked)


def test_what_is_no_json_counts_as_text() -> None:
    assert estimate("chat_completion", b"x" * 400, None, 5) == Estimate(100, 5)


def test_what_is_nested_very_deep_counts_as_text() -> None:
    body = b'{"messages":' + b"[" * 100_000
    assert estimate("chat_completion", body, None, 5).input_tokens == -(-len(body) // 4)
