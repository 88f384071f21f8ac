"""Embeddings on Amazon Bedrock: Titan's and Cohere's formats, through InvokeModel.

Source: Amazon Bedrock user guide, "Amazon Titan Text Embeddings models", "Amazon Titan Multimodal
Embeddings G1", "Cohere Embed v3", "Cohere Embed v4". Titan embeds one text at a time. Cohere wants
to know what for: what OpenAI's clients embed is taken for documents unless they say otherwise
(`input_type`).
"""

import struct
from base64 import b64encode
from typing import Any, Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds.kind import AnyKind
from hermod.providers import replies
from hermod.providers.adapter import Answered, CannotCarry, Dialect, Outgoing, Prepared
from hermod.providers.bedrock import dialect as bedrock
from hermod.providers.bedrock.model import name_of, path_of
from hermod.providers.cargo import Cargo
from hermod.providers.lenient import count, items, members

_BASE64: Final = "base64"


class _Asked(msgspec.Struct, gc=False):
    encoding_format: str | None = None


_read_asked: Final = msgspec.json.Decoder(_Asked).decode


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    cargo = Cargo(kind, outgoing)
    given = cargo.take("input")
    texts: list[Any] = [given] if isinstance(given, str) else items(given)
    if not all(isinstance(each, str) for each in texts):
        raise CannotCarry("input: Bedrock embeds texts, not tokens", "input")
    if cargo.take("encoding_format") not in (None, "float", _BASE64):
        raise CannotCarry("encoding_format: expected float or base64", "encoding_format")
    told = cargo.take("dimensions")
    dimensions = None if told is None else int(told)
    name = name_of(outgoing, cargo.members)
    if "cohere" in name:
        sent: dict[str, Any] = {"texts": texts, "input_type": "search_document"}
        sent["embedding_types"] = ["float"]
        if dimensions is not None:
            sent["output_dimension"] = dimensions
    else:
        if len(texts) != 1:
            raise CannotCarry("input: this model embeds one text in a request", "input")
        sent = {"inputText": texts[0]}
        if dimensions is not None and "embed-image" in name:
            sent["embeddingConfig"] = {"outputEmbeddingLength": dimensions}
        elif dimensions is not None:
            sent["dimensions"] = dimensions
    sent |= cargo.unknown()
    path = path_of(outgoing, "invoke")
    return Prepared("application/json", msgspec.json.encode(sent), path, dropped=cargo.finish())


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`."""
    told = replies.object_in(content_type, body)
    if isinstance(told, Failure):
        return told
    found = told.get("embeddings")
    # By their type where one was asked for.
    vectors = items(members(found).get("float")) or items(found) or [told.get("embedding")]
    packs = _read_asked(outgoing.body).encoding_format == _BASE64
    try:
        data = [_shown(vector, index, packs=packs) for index, vector in enumerate(vectors)]
    except (ValueError, OverflowError, struct.error):
        return replies.invalid(replies.UNREADABLE, "an embedding is no array of numbers")
    answer: dict[str, object] = {"object": "list", "data": data, "model": outgoing.model}
    usage = None
    if "inputTextTokenCount" in told:
        tokens = count(told["inputTextTokenCount"])
        answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        usage = Usage(tokens)
    return Answered(msgspec.json.encode(answer), usage=usage)


def _shown(vector: object, index: int, *, packs: bool) -> dict[str, object]:
    """One embedding as it was asked for; packed are floats of four bytes, the smallest first.

    Raises ValueError, OverflowError or struct.error for what is none.
    """
    numbers = items(vector)
    if not numbers:
        raise ValueError(vector)
    packed = struct.pack(f"<{len(numbers)}f", *numbers)
    shown = b64encode(packed).decode() if packs else numbers
    return {"object": "embedding", "index": index, "embedding": shown}


DIALECT: Final = Dialect("bedrock_embed", build, read, bedrock.refusal)
"""Embeddings on Amazon Bedrock."""
