"""Embeddings of Google's models, in the three shapes that they are asked for.

Gemini API: `:batchEmbedContents`. Vertex AI: `:embedContent` and `:batchEmbedContents` with an
`embedContentConfig` for Gemini's, `:predict` for those before ("Text embeddings API").
"""

import struct
from base64 import b64encode
from enum import StrEnum
from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds.kind import AnyKind
from hermod.providers import replies
from hermod.providers.adapter import Answered, CannotCarry, Outgoing
from hermod.providers.cargo import Cargo
from hermod.providers.lenient import Members, count, items, members, number


class Method(StrEnum):
    """What is called."""

    BATCH = "batchEmbedContents"
    """Of the Gemini API: each request names its model."""
    VERTEX_BATCH = "vertex:batchEmbedContents"
    VERTEX_ONE = "embedContent"
    PREDICT = "predict"


_TUNING: Final = {
    "task_type": "taskType",
    "title": "title",
    "auto_truncate": "autoTruncate",
}
"""Google's own, in either spelling."""


def embedding_request(
    kind: AnyKind, outgoing: Outgoing, method: Method
) -> tuple[Members, tuple[str, ...]]:
    """The request for the vectors of all inputs, and what was dropped.

    Raises:
        CannotCarry: for tokens, which are numbers of another vendor's.
    """
    cargo = Cargo(kind, outgoing)
    inputs = texts_of(cargo.take("input"))
    tuned: Members = {}
    size = cargo.take("dimensions")
    if size is not None:
        tuned["outputDimensionality"] = int(size)
    given = cargo.unknown()
    for ours, theirs in _TUNING.items():
        for name in (ours, theirs):
            if given.get(name) is not None:
                tuned[theirs] = given[name]
    if cargo.take("encoding_format") not in (None, "float", "base64"):
        raise CannotCarry("encoding_format: not one of float, base64", "encoding_format")
    return _body(inputs, tuned, outgoing.model, method), cargo.finish()


def texts_of(given: object) -> list[str]:
    """The inputs of a request. Raises CannotCarry for tokens."""
    inputs = [given] if isinstance(given, str) else items(given)
    if not inputs or not all(isinstance(each, str) for each in inputs):
        raise CannotCarry("input: expected texts; tokens are another model's", "input")
    return inputs


def _body(inputs: list[str], tuned: Members, model: str, method: Method) -> Members:
    contents = [{"parts": [{"text": each}]} for each in inputs]
    config = {"embedContentConfig": tuned} if tuned else {}
    match method:
        case Method.BATCH:
            named = model if "/" in model else f"models/{model}"
            tuned.pop("autoTruncate", None)  # Vertex AI's alone
            return {"requests": [{"model": named, "content": each, **tuned} for each in contents]}
        case Method.VERTEX_BATCH:
            return {"requests": [{"content": each, **config} for each in contents]}
        case Method.VERTEX_ONE:
            return {"content": contents[0], **config}
        case Method.PREDICT:
            about = {
                name: tuned[theirs]
                for name, theirs in (("task_type", "taskType"), ("title", "title"))
                if theirs in tuned
            }
            body: Members = {"instances": [{"content": each, **about} for each in inputs]}
            names = ("outputDimensionality", "autoTruncate")
            parameters = {name: tuned[name] for name in names if name in tuned}
            return body | ({"parameters": parameters} if parameters else {})


def read_embedding(outgoing: Outgoing, reply: Members) -> Answered | Failure:
    """The vectors, one for each input, in the form that was asked for."""
    asked = members(msgspec.json.decode(outgoing.body))
    wanted = asked.get("input")
    expected = 1 if isinstance(wanted, str) else len(items(wanted))
    told = members(reply.get("usageMetadata"))
    tokens = count(told.get("promptTokenCount"))
    vectors: list[list[float]] = []
    for each in _embeddings(reply):
        values = [number(value) for value in items(each.get("values"))]
        vectors.append([value for value in values if value is not None])
        statistics = members(each.get("statistics"))
        tokens += count(statistics.get("token_count") or statistics.get("tokenCount"))
        if not values or len(vectors[-1]) != len(values):
            return replies.invalid(replies.UNREADABLE, "a vector is not made of numbers")
    if len(vectors) != expected:
        why = f"there are {len(vectors)} vectors for {expected} inputs"
        return replies.invalid(replies.UNREADABLE, why)
    try:
        data = [_shown(vector, asked.get("encoding_format")) for vector in vectors]
    except (OverflowError, struct.error):
        return replies.invalid(replies.UNREADABLE, "a vector is not made of numbers")
    answer = {
        "object": "list",
        "model": outgoing.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": each}
            for index, each in enumerate(data)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return Answered(msgspec.json.encode(answer), usage=Usage(tokens) if tokens else None)


def _embeddings(reply: Members) -> list[Members]:
    if "predictions" in reply:
        found = (members(each) for each in items(reply["predictions"]))
        return [members(each.get("embeddings")) for each in found]
    if "embedding" in reply:
        return [members(reply["embedding"])]
    return [members(each) for each in items(reply.get("embeddings"))]


def _shown(vector: list[float], encoding: object) -> object:
    """As numbers, or as OpenAI packs them: 32-bit floats, little-endian, in base64."""
    if encoding != "base64":
        return vector
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
