"""Embeddings (wire-contract 1.8). `stream` is not looked at (1.4)."""

from collections.abc import Container
from typing import Annotated, Final

import msgspec

from hermod.domain.errors import bad_request
from hermod.kinds.kind import Body, Checked, JsonKind, Reader, Reply, split_model
from hermod.kinds.shapes import (
    ABSENT,
    Documented,
    Integer,
    is_null,
    is_text_or_strings,
    is_token_ids,
)

_INPUT: Final = Documented("str | array<str> | array<int> | array<array<int>> | null")


class _Embedding(Body, frozen=True, gc=False):
    input: Annotated[msgspec.Raw, _INPUT] = ABSENT
    encoding_format: str | None = None
    dimensions: Integer = None


_READER: Final = Reader(_Embedding)


def _check(body: bytes, known_providers: Container[str]) -> Checked:
    asked = _READER.read(body)
    if not is_text_or_strings(asked.input) and not is_token_ids(asked.input):
        raise bad_request("invalid request format: unsupported embedding input shape")
    checked = split_model(asked.model, known_providers)
    # An empty text and an empty array are inputs (wire-contract 1.4).
    if is_null(asked.input):
        raise bad_request("input is required for embeddings")
    return checked


EMBEDDING: Final = JsonKind(
    path="embeddings",
    request_type="embedding",
    struct=_Embedding,
    check=_check,
    example={"model": "openai/text-embedding-3-small", "input": ["one", "two"]},
    reply=Reply(essential="data"),
)
