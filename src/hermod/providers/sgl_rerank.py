"""SGLang's rerank: Cohere's request, and an array of scores instead of an object with results.

Format: SGLang's native API, "Rerank (cross encoder)": `[{"score", "document", "index"}, …]`, best
first.
"""

from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds import json_guard
from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import Answered, Dialect, Outgoing
from hermod.providers.cohere import rerank as cohere_rerank

_DEPTH_MAX: Final = 64


class _Scored(msgspec.Struct, gc=False):
    index: int
    score: msgspec.Raw
    """As it came: a number's digits are not ours to change."""


_read_scored: Final = msgspec.json.Decoder(list[_Scored]).decode


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`. What is no such array is read as Cohere's, an error among them."""
    if body.lstrip()[:1] == b"[" and json_guard.problem(body, _DEPTH_MAX) is None:
        try:
            scored = _read_scored(body)
        except msgspec.DecodeError:
            return cohere_rerank.read(kind, outgoing, content_type, body)
        results = [{"index": each.index, "relevance_score": each.score} for each in scored]
        body = msgspec.json.encode({"results": results})
    return cohere_rerank.read(kind, outgoing, content_type, body)


DIALECT: Final = Dialect("sgl_rerank", cohere_rerank.build, read)
"""Rerank as SGLang speaks it."""
