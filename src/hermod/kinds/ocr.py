"""OCR (wire-contract 1.15). `stream` is not looked at (1.4)."""

from collections.abc import Container
from typing import Final

import msgspec

from hermod.domain.errors import bad_request
from hermod.kinds.kind import Body, Checked, JsonKind, Reader, Reply, split_model
from hermod.kinds.shapes import ABSENT, Integer, Integers, Object, Shapes, Text, is_empty_text


class _Document(msgspec.Struct, frozen=True, gc=False):
    """Of other types than the two that are documented nothing is asked."""

    type: str | None = None
    document_url: Text = ABSENT
    image_url: Text = ABSENT


class _Ocr(Body, frozen=True, gc=False):
    document: _Document | None = None
    id: str | None = None
    include_image_base64: bool | None = None
    include_blocks: bool | None = None
    extract_header: bool | None = None
    extract_footer: bool | None = None
    pages: Integers = ABSENT
    image_limit: Integer = None
    image_min_size: Integer = None
    table_format: str | None = None
    document_annotation_prompt: Text = ABSENT
    confidence_scores_granularity: str | None = None
    bbox_annotation_format: Object | None = None
    document_annotation_format: Object | None = None


_ADDRESSES: Final = ("document_url", "image_url")
"""Types of a document, and the members that hold its address."""
_READER: Final = Reader(_Ocr)
_DOCUMENT: Final = Shapes(_Document)
_NONE: Final = _Document()


def _check(body: bytes, known_providers: Container[str]) -> Checked:
    asked = _READER.read(body)
    document = asked.document or _NONE
    _DOCUMENT.check(document, "$.document")
    checked = split_model(asked.model, known_providers)
    if not document.type:
        raise bad_request("document type is required for ocr")
    address = document.type
    if address in _ADDRESSES and is_empty_text(getattr(document, address)):
        raise bad_request(f"{address} is required when document type is {address}")
    return checked


def _described(type_: dict[str, object], *addresses: str) -> dict[str, object]:
    """The JSON Schema of a document of this type, which has these addresses."""
    properties: dict[str, object] = {"type": type_}
    for name in _ADDRESSES:
        needed = name in addresses
        properties[name] = (
            {"type": "string", "minLength": 1} if needed else {"type": ["string", "null"]}
        )
    return {"type": "object", "properties": properties, "required": ["type", *addresses]}


OCR: Final = JsonKind(
    path="ocr",
    request_type="ocr",
    struct=_Ocr,
    described={
        "document": {
            "anyOf": [
                *(_described({"const": name}, name) for name in _ADDRESSES),
                _described({"type": "string", "minLength": 1, "not": {"enum": [*_ADDRESSES]}}),
            ]
        }
    },
    check=_check,
    example={
        "model": "mistral/mistral-ocr-latest",
        "document": {"type": "document_url", "document_url": "https://example.org/letter.pdf"},
    },
    # A request may ask for pages that the document does not have.
    reply=Reply(essential="pages", may_be_empty=True),
)
