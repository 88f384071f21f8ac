"""What a request may use, before it is sent: a guess, from its bytes (design.md 8, 23).

Nothing is decoded but the few numbers that bound an answer, and nothing is refused: a wrong guess
is put right when the call ends. Text counts a token for four bytes. Files do not count as text,
however they come: pictures count alike, sound and documents by their size.
"""

import re
from typing import Final

import msgspec

from hermod.domain.usage import Estimate
from hermod.kinds import own_words
from hermod.kinds.shapes import ABSENT, begins

IMAGE_TOKENS: Final = 1000
"""One of about a megapixel, either way."""

_MOST: Final = 1_000_000_000
"""Of anything: products with prices stay within 64 bits."""
_TEXT_BYTES: Final = 4
_SOUND_BYTES: Final = 800
"""For a token: 64 kbit/s, ten tokens a second."""
_SOUND_BYTES_A_MS: Final = 8
_DOCUMENT_BYTES: Final = 100
_PAGE_BYTES: Final = 50_000
_PAGES: Final = 10
"""Of a document that only has an address."""
_WITHOUT_FILES: Final = 4096
"""In a shorter body, what looks like a file's base64 is not worth looking for."""
_HEAD: Final = 1024
"""Bytes of a form field's headers."""

_GENERATES_TEXT: Final = frozenset({"chat_completion", "text_completion", "responses"})
_GENERATES_IMAGES: Final = frozenset({"image_generation", "image_edit", "image_variation"})
_FILE: Final = rb'(?:data:[a-z]+/[^"\\,; ]{1,100}[;,][^"]*|[A-Za-z0-9+/_=\\-]{1024,})"'
_files: Final = re.compile(
    rb'"(?:(?:content|text|arguments|output)"\s*:\s*"%b|(%b))' % (_FILE, _FILE)
).finditer
"""Data URLs and base64. What is said to be text is that, whatever it looks like."""
_IMAGES: Final = (b'"image_url":', b'"input_image"', b'"data:image/')
"""One of these, or several, stand for each picture."""
_is_image: Final = re.compile(rb"data:image/").match
_is_document: Final = re.compile(rb"data:(?:application|text)/|JVBERi").match
"""The last is how a PDF begins, in base64."""
_begins_with_ids: Final = re.compile(rb"\[\s*[\[0-9]").match


class _Asked(msgspec.Struct, gc=False):
    """Whatever says how much, of any request type."""

    messages: msgspec.Raw = ABSENT
    input: msgspec.Raw = ABSENT
    prompt: msgspec.Raw = ABSENT
    tools: msgspec.Raw = ABSENT
    functions: msgspec.Raw = ABSENT
    instructions: msgspec.Raw = ABSENT
    response_format: msgspec.Raw = ABSENT
    text: msgspec.Raw = ABSENT
    suffix: msgspec.Raw = ABSENT
    prediction: msgspec.Raw = ABSENT
    negative_prompt: msgspec.Raw = ABSENT
    input_images: msgspec.Raw = ABSENT
    query: msgspec.Raw = ABSENT
    documents: msgspec.Raw = ABSENT
    words: msgspec.Raw = msgspec.field(default=ABSENT, name=own_words.MEMBER)
    max_completion_tokens: msgspec.Raw = ABSENT
    max_tokens: msgspec.Raw = ABSENT
    max_output_tokens: msgspec.Raw = ABSENT
    n: msgspec.Raw = ABSENT
    best_of: msgspec.Raw = ABSENT
    pages: msgspec.Raw = ABSENT


class _Config(msgspec.Struct, gc=False, rename="camel"):
    max_output_tokens: msgspec.Raw = ABSENT
    candidate_count: msgspec.Raw = ABSENT


class _Words(msgspec.Struct, gc=False):
    """How vendors bound an answer in words of their own."""

    max_tokens: msgspec.Raw = ABSENT
    config: _Config = msgspec.field(default_factory=_Config, name="generationConfig")


class _Own(msgspec.Struct, gc=False):
    request: _Words = msgspec.field(default_factory=_Words)


_asked: Final = msgspec.json.Decoder(_Asked).decode
_own: Final = msgspec.json.Decoder(_Own).decode
_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode

_TEXTS: Final = _Asked.__struct_fields__[: _Asked.__struct_fields__.index("words") + 1]


def estimate(
    request_type: str, body: bytes, content_type: str | None, assumed_output_tokens: int
) -> Estimate:
    """What a request may use at most, as far as it says; never raises.

    `content_type` is that of a form, and None for JSON. `assumed_output_tokens` stand for an answer
    of text that the request does not bound.
    """
    if content_type is not None and content_type.lower().startswith("multipart/"):
        return _of_form(request_type, body)
    try:
        asked = _asked(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        asked = _Asked(messages=msgspec.Raw(body))
    if request_type == "ocr":
        return _of_ocr(body, asked)
    looks_for_files = len(body) > _WITHOUT_FILES or b'"data:' in body
    text_bytes = tokens = 0
    for name in _TEXTS:
        raw = getattr(asked, name)
        if raw is ABSENT:
            continue
        if ids := _ids(raw):
            tokens += ids
            continue
        text_bytes += len(raw)
        if looks_for_files and begins(raw) != '"':
            file_bytes, file_tokens = _of_files(raw)
            text_bytes -= file_bytes
            tokens += file_tokens
    if b"\\" in body:
        # A character that is written as its number is no longer than others of its kind.
        text_bytes -= 3 * body.count(b"\\u")
    tokens += -(-max(text_bytes, 0) // _TEXT_BYTES)
    if b"image" in body:
        tokens += IMAGE_TOKENS * max(body.count(each) for each in _IMAGES)
    output = _output_tokens(request_type, asked, assumed_output_tokens)
    return Estimate(min(tokens, _MOST), min(output, _MOST))


def _of_files(raw: msgspec.Raw) -> tuple[int, int]:
    """How many bytes of a value are files, and the tokens of those that nothing else counts."""
    file_bytes = tokens = 0
    for found in _files(raw):
        if found.lastindex is None:
            continue
        begin, end = found.span(1)
        file_bytes += end - begin
        if not _is_image(raw, begin):
            rate = _DOCUMENT_BYTES if _is_document(raw, begin) else _SOUND_BYTES
            tokens += -(-(end - begin) * 3 // 4 // rate)
    return file_bytes, tokens


def _output_tokens(request_type: str, asked: _Asked, assumed: int) -> int:
    if request_type in _GENERATES_IMAGES:
        return (_number(asked.n) or 1) * IMAGE_TOKENS
    if request_type not in _GENERATES_TEXT:
        return 0
    times = max(_number(asked.n) or 1, _number(asked.best_of) or 1)
    limits = [asked.max_completion_tokens, asked.max_tokens, asked.max_output_tokens]
    if asked.words is not ABSENT:
        try:
            words = _own(asked.words).request
        except (msgspec.DecodeError, RecursionError):
            words = _Words()
        limits = [words.max_tokens, words.config.max_output_tokens]
        times = _number(words.config.candidate_count) or 1
    told = (number for limit in limits if (number := _number(limit)) is not None)
    return next(told, assumed) * times * _prompts(asked.prompt)


def _number(raw: msgspec.Raw) -> int | None:
    """A number that is at least 0; None for anything else."""
    if raw is ABSENT or len(raw) > 40:
        return None
    try:
        return int(min(max(float(bytes(raw)), 0.0), float(_MOST)))
    except ValueError:
        return None


def _ids(raw: msgspec.Raw) -> int:
    """How many tokens an array of their numbers has; 0 for text."""
    if raw is ABSENT or not _begins_with_ids(raw):
        return 0
    return bytes(raw).count(b",") + 1


def _prompts(raw: msgspec.Raw) -> int:
    """How many answers a prompt asks for: it may be a list of prompts."""
    if raw is ABSENT or begins(raw) != "[":
        return 1
    if _ids(raw):
        return max(bytes(raw).count(b"[") - 1, 1)
    try:
        return max(len(_items(raw)), 1)
    except (msgspec.DecodeError, RecursionError):
        return 1


def _of_ocr(body: bytes, asked: _Asked) -> Estimate:
    if _begins_with_ids(asked.pages):
        pages = _ids(asked.pages)
    elif b'"document_url":' not in body:
        pages = 1
    elif files := list(_files(body)):
        pages = sum(-(-len(found[1] or b"") * 3 // 4 // _PAGE_BYTES) for found in files)
    else:
        pages = _PAGES
    return Estimate(min(pages * IMAGE_TOKENS, _MOST), 0, pages=min(pages, _MOST))


def _of_form(request_type: str, body: bytes) -> Estimate:
    """A form is mostly its files."""
    prompt = -(-len(_field(body, b"prompt")) // _TEXT_BYTES)
    if request_type not in _GENERATES_IMAGES:
        size = len(body)
        return Estimate(prompt + size // _SOUND_BYTES, 0, audio_ms=size // _SOUND_BYTES_A_MS)
    images = max(body.count(b"filename="), 1)
    number = _field(body, b"n")
    wanted = int(number) if len(number) <= 4 and number.isdigit() else 1
    return Estimate(prompt + images * IMAGE_TOKENS, max(wanted, 1) * IMAGE_TOKENS)


def _field(body: bytes, name: bytes) -> bytes:
    """The value of a text field; empty if there is none."""
    head = body.find(b'name="%b"' % name)
    begin = body.find(b"\r\n\r\n", head, head + _HEAD) + 4 if head >= 0 else 3
    end = body.find(b"\r\n--", begin)
    return body[begin:end] if begin > 3 and end > 0 else b""
