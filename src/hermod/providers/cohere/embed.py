"""Cohere's dialect of embeddings (`POST /v2/embed`).

Format: Cohere's API reference, "Embed (v2)". `input_type` is required there; what OpenAI's clients
embed is taken for documents unless they say otherwise. A text that is an image's data URL is an
image. Vectors in base64 are made here, in OpenAI's form: 32-bit floats, the lowest byte first.
"""

import re
import struct
from base64 import b64encode
from typing import Any, Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds.kind import AnyKind
from hermod.providers import replies
from hermod.providers.adapter import Answered, CannotCarry, Dialect, Outgoing, Prepared
from hermod.providers.cargo import Cargo
from hermod.providers.cohere.chat import refusal
from hermod.providers.lenient import count, items, members, text

_NATIVE: Final = frozenset({"texts", "images", "inputs"})
"""Cohere's own ways to say what to embed."""
_TYPES: Final = ("float", "int8", "uint8", "binary", "ubinary", "base64")
_is_image: Final = re.compile(r"data:image/[a-z0-9.+-]+;base64,").match


class _Asked(msgspec.Struct, gc=False):
    """What of the request decides on the shape of the answer."""

    input: object = None
    encoding_format: str | None = None


_read_asked: Final = msgspec.json.Decoder(_Asked).decode
_vectors_of: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_floats_of: Final = msgspec.json.Decoder(list[float]).decode


class _Reply(msgspec.Struct, gc=False):
    embeddings: dict[str, msgspec.Raw]
    """By type. A number's digits are not ours to change."""
    id: object = None
    meta: object = None


_read_reply: Final = msgspec.json.Decoder(_Reply).decode


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    cargo = Cargo(kind, outgoing)
    given = cargo.take("input")
    if cargo.take("encoding_format") not in (None, "float", "base64"):
        raise CannotCarry("encoding_format: must be float or base64", "encoding_format")
    sent: dict[str, Any] = {
        "model": outgoing.model,
        "input_type": "search_document",
        "embedding_types": ["float"],
    }
    if (dimensions := cargo.take("dimensions")) is not None:
        sent["output_dimension"] = int(dimensions)
    extras = cargo.unknown()
    if not _NATIVE & extras.keys():
        sent |= _inputs([given] if isinstance(given, str) else items(given))
    elif given:
        raise CannotCarry("input: must be empty beside texts, images or inputs", "input")
    elif "images" in extras:
        sent["input_type"] = "image"
    sent |= extras
    return Prepared("application/json", msgspec.json.encode(sent), dropped=cargo.finish())


def _inputs(given: list[Any]) -> dict[str, object]:
    if not all(isinstance(each, str) for each in given):
        raise CannotCarry("input: Cohere embeds texts and images, no tokens", "input")
    images = [each for each in given if _is_image(each)]
    if not images:
        return {"texts": given}
    if len(images) == len(given):
        return {"images": images, "input_type": "image"}
    return {"inputs": [{"content": [_content(each)]} for each in given]}


def _content(given: str) -> dict[str, object]:
    if _is_image(given):
        return {"type": "image_url", "image_url": {"url": given}}
    return {"type": "text", "text": given}


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`. There must be a vector for each input."""
    checked = replies.object_in(content_type, body)
    if isinstance(checked, Failure):
        return checked
    asked = _read_asked(outgoing.body)
    try:
        reply = _read_reply(body)
        found = {
            each: _vectors_of(reply.embeddings[each])
            for each in _TYPES
            if each in reply.embeddings and bytes(reply.embeddings[each]) != b"null"
        }
        if not found:
            return replies.invalid(replies.UNREADABLE, "`embeddings` has no vectors")
        main = found[next(iter(found))]
        if asked.encoding_format == "base64" and "float" in found:
            main = [msgspec.Raw(b'"%b"' % _packed(each)) for each in main]
    except (msgspec.DecodeError, OverflowError) as error:
        return replies.invalid(replies.UNREADABLE, str(error))
    wanted = 1 if isinstance(asked.input, str) else len(items(asked.input))
    if not main or (asked.input and len(main) != wanted):
        return replies.invalid(replies.UNREADABLE, f"{len(main)} vectors for {wanted} inputs")
    data: list[dict[str, object]] = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(main)
    ]
    if len(found) > 1:
        for index, item in enumerate(data):
            item["embeddings"] = {
                each: vectors[index] for each, vectors in found.items() if index < len(vectors)
            }
    billed = members(members(reply.meta).get("billed_units"))
    tokens = count(billed.get("input_tokens")) + count(billed.get("image_tokens"))
    answer: dict[str, object] = {
        "object": "list",
        "data": data,
        "model": outgoing.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    if reply_id := text(reply.id):
        answer["id"] = reply_id
    return Answered(msgspec.json.encode(answer), usage=Usage(tokens) if billed else None)


def _packed(vector: msgspec.Raw) -> bytes:
    numbers = _floats_of(vector)
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers))


DIALECT: Final = Dialect("cohere_embed", build, read, refusal)
"""Embeddings with Cohere's own models."""
