"""What the mock reads of a request: JSON for most kinds, a form for those with files."""

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, TypeGuard, cast

import msgspec

from hermod.domain.errors import Refused
from hermod.providers.multipart_body import fields_and_files

CHAT: Final = "chat_completion"
TEXT: Final = "text_completion"
RESPONSES: Final = "responses"
EMBEDDING: Final = "embedding"
SPEECH: Final = "speech"
TRANSCRIPTION: Final = "transcription"
IMAGE_GENERATION: Final = "image_generation"
IMAGE_EDIT: Final = "image_edit"
IMAGE_VARIATION: Final = "image_variation"
RERANK: Final = "rerank"
OCR: Final = "ocr"

MAX_DIM: Final = 4096
_MAX_ITEMS: Final = 2048
"""Inputs of one request; OpenAI's own limit for embeddings."""
_UNLABELLED: Final = "application/octet-stream"
"""The content type of a file without one."""
_MAX_SHOWN: Final = 200
"""Characters of a document's address; a longer one, with the document inside, is named by hash."""


class Unreadable(ValueError):
    """The request, or an option in the model's name, is not usable. The message says why."""


class Upload(NamedTuple):
    """One file of a form."""

    name: str
    """Of the form's field."""
    filename: str
    content_type: str
    content: memoryview

    def told(self) -> str:
        """The file in a line, so that a test can prove which bytes arrived."""
        digest = hashlib.sha256(self.content).hexdigest()
        return (
            f"{self.name}: {self.filename} ({self.content_type}), "
            f"{len(self.content)} bytes, sha256 {digest}"
        )


class Asked(NamedTuple):
    """What the mock reads of a request."""

    texts: tuple[str, ...]
    """The last user message; or each prompt; or each input; or the query; or the address of the
    document; or the prompt of a form, if it has one."""
    fields: Mapping[str, object] = MappingProxyType({})
    """The JSON object; or the form's fields, of several with one name the last."""
    files: tuple[Upload, ...] = ()
    documents: tuple[str, ...] = ()
    """What a rerank is to sort."""

    def told(self) -> tuple[str, ...]:
        """The texts, and a line for each file."""
        return self.texts + tuple([file.told() for file in self.files])


def read(request_type: str, body: bytes, content_type: str | None = None) -> Asked:
    """What a request asks for. Raises Unreadable.

    `content_type` is that of the body; without it a form has no boundary.
    """
    read_form = _FORMS.get(request_type)
    if read_form is not None:
        return read_form(*read_multipart(body, content_type))
    try:
        whole: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as wrong:
        raise Unreadable(f"We could not parse the JSON body of your request: {wrong}") from None
    if not isinstance(whole, dict):
        raise Unreadable("The JSON body must be an object.")
    return _JSON[request_type](cast(dict[str, object], whole))


def is_form(request_type: str) -> bool:
    """Whether such a request is a form with files (wire-contract 1.1)."""
    return request_type in _FORMS


def whole_number(fields: Mapping[str, object], name: str, default: int, low: int, high: int) -> int:
    """A field as an integer within bounds, of JSON or of a form. Raises Unreadable."""
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not (isinstance(value, int) and low <= value <= high):
        raise Unreadable(f"{name} must be an integer from {low} to {high}")
    return value


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a decoded JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Whether a decoded JSON value is an array."""
    return isinstance(value, list)


# JSON


def _chat(fields: Mapping[str, object]) -> Asked:
    return Asked((_last_user_text(fields.get("messages")),), fields)


def _responses(fields: Mapping[str, object]) -> Asked:
    return Asked((_last_user_text(fields.get("input")),), fields)


def _text(fields: Mapping[str, object]) -> Asked:
    return Asked(_items(fields.get("prompt")), fields)


def _embedding(fields: Mapping[str, object]) -> Asked:
    whole_number(fields, "dimensions", 1, 1, MAX_DIM)
    return Asked(_items(fields.get("input")), fields)


def _speech(fields: Mapping[str, object]) -> Asked:
    return Asked((_string(fields, "input"),), fields)


def _image_generation(fields: Mapping[str, object]) -> Asked:
    return Asked((_string(fields, "prompt"),), fields)


def _rerank(fields: Mapping[str, object]) -> Asked:
    documents = fields.get("documents")
    if not is_list(documents) or not 1 <= len(documents) <= _MAX_ITEMS:
        raise Unreadable(f"documents must be a list of 1 to {_MAX_ITEMS} texts")
    texts = tuple(map(_document_text, documents))
    return Asked((_string(fields, "query"),), fields, documents=texts)


def _document_text(document: object) -> str:
    """A text, or the text of an object (wire-contract 1.14)."""
    text = document.get("text") if is_object(document) else document
    if not isinstance(text, str):
        raise Unreadable("every document must be a string or an object with a text")
    return text


def _ocr(fields: Mapping[str, object]) -> Asked:
    document = fields.get("document")
    if not is_object(document):
        raise Unreadable("document must be an object")
    address = document.get("document_url") or document.get("image_url")
    if is_object(address):
        address = address.get("url")
    if not isinstance(address, str):
        raise Unreadable("document must have a document_url or an image_url")
    if len(address) > _MAX_SHOWN:
        digest = hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
        address = f"{address[:20]}…, {len(address)} characters, sha256 {digest}"
    return Asked((address,), fields)


def _string(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise Unreadable(f"{name} must be a string")
    return value


def _last_user_text(messages: object) -> str:
    if isinstance(messages, str):
        return messages
    if not is_list(messages):
        raise Unreadable("messages (or input) must be a list, or a string for responses")
    found = [cast(dict[str, object], m) for m in messages if isinstance(m, dict)]
    users = [message for message in found if message.get("role") == "user"]
    last = (users or found)[-1:]
    return content_text(last[0].get("content")) if last else ""


def content_text(content: object) -> str:
    """The text of a message: a string, or the text of its blocks."""
    if isinstance(content, str):
        return content
    if not is_list(content):
        return ""
    texts = [block.get("text") for block in content if is_object(block)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _items(value: object) -> tuple[str, ...]:
    """A string, a list of them, the tokens of one text, or a list of those (wire-contract 1.8)."""
    if isinstance(value, str):
        return (value,)
    if not is_list(value):
        raise Unreadable("prompt (or input) must be a string or a list")
    if value and isinstance(value[0], int):
        return (_token_text(value),)
    if len(value) > _MAX_ITEMS:
        raise Unreadable(f"at most {_MAX_ITEMS} items in one request")
    return tuple(item if isinstance(item, str) else _token_text(item) for item in value)


def _token_text(tokens: object) -> str:
    if not is_list(tokens):
        raise Unreadable("every item of prompt (or input) must be a string or a list of integers")
    return " ".join(map(str, tokens))


_JSON: Final[dict[str, Callable[[Mapping[str, object]], Asked]]] = {
    CHAT: _chat,
    TEXT: _text,
    RESPONSES: _responses,
    EMBEDDING: _embedding,
    SPEECH: _speech,
    IMAGE_GENERATION: _image_generation,
    RERANK: _rerank,
    OCR: _ocr,
}


# Forms


def read_multipart(
    body: bytes, content_type: str | None
) -> tuple[Mapping[str, str], tuple[Upload, ...]]:
    """The fields and the files of a form (RFC 7578). Raises Unreadable."""
    try:
        form = fields_and_files(body, content_type or "")
    except (Refused, UnicodeDecodeError) as wrong:
        raise Unreadable(f"We could not parse the form of your request: {wrong}") from None
    files = [
        Upload(part.name, part.filename, part.content_type or _UNLABELLED, contents)
        for part, contents in form.files
    ]
    return dict(form.fields), tuple(files)


def _form(fields: Mapping[str, str], files: tuple[Upload, ...], *needed: str) -> Asked:
    if not any(file.name in needed for file in files):
        raise Unreadable(f"a file {needed[0]} is required")
    prompt = fields.get("prompt")
    return Asked((prompt,) if prompt else (), fields, files)


def _transcription(fields: Mapping[str, str], files: tuple[Upload, ...]) -> Asked:
    return _form(fields, files, "file")


def _image_form(fields: Mapping[str, str], files: tuple[Upload, ...]) -> Asked:
    return _form(fields, files, "image", "image[]")


_FORMS: Final[dict[str, Callable[[Mapping[str, str], tuple[Upload, ...]], Asked]]] = {
    TRANSCRIPTION: _transcription,
    IMAGE_EDIT: _image_form,
    IMAGE_VARIATION: _image_form,
}
KINDS: Final = (*_JSON, *_FORMS)
"""Every request type that the mock answers."""
