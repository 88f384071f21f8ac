"""Rerank (wire-contract 1.14). `stream` is not looked at (1.4)."""

from collections.abc import Container, Sequence
from typing import Annotated, Final

import msgspec

from hermod.domain.errors import bad_request
from hermod.kinds.kind import Body, Checked, JsonKind, Reader, Reply, split_model
from hermod.kinds.shapes import (
    ABSENT,
    Documented,
    Integer,
    Object,
    Text,
    begins,
    is_blank,
    wrong_type,
)


class _Document(msgspec.Struct, frozen=True, gc=False):
    text: Annotated[msgspec.Raw, Documented("str | null")] = ABSENT
    id: str | None = None
    meta: Object | None = None


class _Rerank(Body, frozen=True, gc=False):
    query: Text = ABSENT
    documents: list[_Document] | None = None
    top_n: Integer = None
    max_tokens_per_doc: Integer = None
    priority: Integer = None
    return_documents: bool | None = None


_READER: Final = Reader(_Rerank)


def _check(body: bytes, known_providers: Container[str]) -> Checked:
    asked = _READER.read(body)
    documents = asked.documents or ()
    blank_at = _first_blank(documents)
    checked = split_model(asked.model, known_providers)
    if is_blank(asked.query):
        raise bad_request("query is required for rerank")
    if not documents:
        raise bad_request("documents are required for rerank")
    if blank_at is not None:
        raise bad_request(f"document text is required for rerank at index {blank_at}")
    if asked.top_n is not None and asked.top_n < 1:
        raise bad_request("top_n must be at least 1")
    return checked


def _first_blank(documents: Sequence[_Document]) -> int | None:
    """The first document without a text; they come by the thousand, so they are looked at once."""
    first = None
    for index, document in enumerate(documents):
        if begins(document.text) not in 'n"':
            raise wrong_type("str | null", f"$.documents[{index}].text")
        if first is None and is_blank(document.text):
            first = index
    return first


RERANK: Final = JsonKind(
    path="rerank",
    request_type="rerank",
    struct=_Rerank,
    described={
        "documents": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "pattern": r"\S"},
                    "id": {"type": ["string", "null"]},
                    "meta": {"type": ["object", "null"]},
                },
                "required": ["text"],
            },
        }
    },
    check=_check,
    example={
        "model": "cohere/rerank-v3.5",
        "query": "The capital of Norway?",
        "documents": [{"text": "Bergen is on the coast."}, {"text": "Oslo is the capital."}],
    },
    # There is at least one document to rank, so a ranking of none is no answer.
    reply=Reply(essential="results"),
)
