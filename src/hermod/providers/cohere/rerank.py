"""Cohere's dialect of rerank (`POST /v2/rerank`): texts go out, indices come back.

Jina, vLLM, SGLang, Together and Fireworks speak it too, under `/v1/rerank`.

Format: Cohere's API reference, "Rerank API (v2)": `documents` is an array of strings, the reply has
`results` with `index` and `relevance_score`, and `meta.billed_units.search_units`.
"""

from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds.kind import AnyKind
from hermod.kinds.shapes import ABSENT, is_null
from hermod.providers import openai_shaped, replies
from hermod.providers.adapter import Answered, Dialect, Outgoing, Prepared

_AS_THEY_ARE: Final = ("query", "top_n", "max_tokens_per_doc", "priority")
_OURS: Final = frozenset(_AS_THEY_ARE) | {
    "model",
    "documents",
    "return_documents",
    "fallbacks",
}

_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Document(msgspec.Struct, gc=False):
    text: str


class _Asked(msgspec.Struct, gc=False):
    documents: list[msgspec.Raw]
    return_documents: bool | None = None


class _Result(msgspec.Struct, gc=False):
    index: int
    relevance_score: msgspec.Raw
    """As it came: a number's digits are not ours to change."""


class _Billed(msgspec.Struct, gc=False):
    search_units: int | float | None = None
    input_tokens: int | float | None = None


class _Meta(msgspec.Struct, gc=False):
    billed_units: _Billed | None = None


class _Reply(msgspec.Struct, gc=False):
    results: list[_Result]
    id: str | None = None
    meta: _Meta | None = None
    usage: msgspec.Raw = ABSENT
    """Other servers of this dialect count in OpenAI's way."""


_read_asked: Final = msgspec.json.Decoder(_Asked).decode
_read_document: Final = msgspec.json.Decoder(_Document).decode
_read_reply: Final = msgspec.json.Decoder(_Reply).decode


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Adapter.build`."""
    members = _members_of(outgoing.body)
    asked = _read_asked(outgoing.body)
    sent: dict[str, object] = {
        "model": outgoing.model,
        "documents": [_read_document(document).text for document in asked.documents],
    }
    sent |= {name: members[name] for name in _AS_THEY_ARE if name in members}
    if outgoing.forward_unknown:
        sent |= {name: value for name, value in members.items() if name not in _OURS}
    return Prepared("application/json", msgspec.json.encode(sent))


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Adapter.read`. Documents are put back in when they were asked for."""
    checked = openai_shaped.read(kind, outgoing, content_type, body)
    if isinstance(checked, Failure):
        return checked
    asked = _read_asked(outgoing.body)
    try:
        reply = _read_reply(checked.body)
    except msgspec.ValidationError as error:
        return replies.invalid(replies.UNREADABLE, str(error))
    results: list[dict[str, object]] = []
    for result in reply.results:
        if not 0 <= result.index < len(asked.documents):
            return replies.invalid(replies.UNREADABLE, f"there is no document {result.index}")
        shown: dict[str, object] = {
            "index": result.index,
            "relevance_score": result.relevance_score,
        }
        if asked.return_documents:
            shown["document"] = asked.documents[result.index]
        results.append(shown)
    answer: dict[str, object] = {"results": results, "model": outgoing.model}
    if reply.id is not None:
        answer["id"] = reply.id
    billed = reply.meta.billed_units if reply.meta else None
    if not is_null(reply.usage):
        answer["usage"] = reply.usage
    elif billed is not None:
        tokens = int(billed.input_tokens or 0)
        usage: dict[str, object] = {"prompt_tokens": tokens, "total_tokens": tokens}
        if billed.search_units is not None:
            usage["completion_tokens_details"] = {"num_search_queries": int(billed.search_units)}
        answer["usage"] = usage
    return Answered(msgspec.json.encode(answer))


DIALECT: Final = Dialect("cohere_rerank", build, read)
"""Rerank as Cohere and others speak it."""
