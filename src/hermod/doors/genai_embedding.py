"""Google's embedContent and batchEmbedContents in front of embeddings (Gemini API, v1beta).

Dropped, as they only tune: `taskType`, `title`, `autoTruncate`. The models inside of a batch are
not looked at: the one of the path counts.
"""

import base64
import binascii
import struct
from collections.abc import Container
from typing import Final

import msgspec

from hermod.doors import told
from hermod.doors.asked import Value, read
from hermod.doors.genai_contents import camel, text_of
from hermod.doors.genai_request import model_named

_FLOAT_BYTES: Final = 4


def to_embedding(model: str, body: bytes, known_providers: Container[str], *, batch: bool) -> bytes:
    """The embeddings request that asks for the same. `model` is the one of the path.

    Raises `Refused` (400) naming the place: for a wrong type, for anything but text, and for a
    batch that asks for vectors of different sizes.
    """
    asked = read(body, camel)
    requests = [item.fields() for item in asked.need("requests").items()] if batch else [asked]
    sizes = {_size(request.get("outputDimensionality")): request for request in requests}
    if len(sizes) > 1:
        raise asked.need("requests").refused("all must have the same outputDimensionality")
    out: dict[str, object] = {
        "model": model_named(model, known_providers),
        "input": [text_of(request.need("content")) for request in requests],
    }
    for size in sizes:
        if size is not None:
            out["dimensions"] = size
    return msgspec.json.encode(out)


def _size(value: Value | None) -> int | None:
    return None if value is None else value.integer()


def from_embedding(result: bytes, *, batch: bool) -> bytes:
    """The vectors in Google's shape, in the order of the request. Never raises."""
    whole = told.members(result)
    data = [told.members(item) for item in told.items(whole.get("data"))]
    data.sort(key=lambda item: told.count(item.get("index")))
    vectors = [{"values": _values(item.get("embedding"))} for item in data]
    out: dict[str, object] = (
        {"embeddings": vectors} if batch else {"embedding": vectors[0] if vectors else {}}
    )
    spent = told.members(whole.get("usage")).get("prompt_tokens")
    if spent is not None:
        out["usageMetadata"] = {"promptTokenCount": told.count(spent)}
    return msgspec.json.encode(out)


def _values(embedding: told.Json) -> object:
    """The numbers as they were written; those of an upstream that answers in base64, decoded."""
    if not told.is_text(embedding):
        return [] if embedding is None else embedding
    try:
        packed = base64.b64decode(told.text(embedding), validate=True)
    except (binascii.Error, ValueError):
        return []
    whole = len(packed) // _FLOAT_BYTES
    return struct.unpack(f"<{whole}f", packed[: whole * _FLOAT_BYTES])
