"""Rerank on Amazon Bedrock: Cohere's format, which Amazon's own models speak too.

Source: Amazon Bedrock user guide, "Rerank 3.5" (its model card: InvokeModel on `bedrock-runtime`),
and Cohere's documentation, "Cohere on Amazon Bedrock". Not through the Rerank operation of
`bedrock-agent-runtime`: that is on another host, takes no API keys and wants ARNs.
"""

from typing import Final

import msgspec

from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import Dialect, Outgoing, Prepared
from hermod.providers.bedrock import dialect as bedrock
from hermod.providers.bedrock.model import name_of, path_of
from hermod.providers.cargo import Cargo
from hermod.providers.cohere import rerank as cohere_rerank
from hermod.providers.lenient import items, members, text

_API_VERSION: Final = 2


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`. What documents have beside their text stays here."""
    cargo = Cargo(kind, outgoing)
    documents = [text(members(each).get("text")) for each in items(cargo.take("documents"))]
    sent: dict[str, object] = {"query": cargo.take("query"), "documents": documents}
    top_n = cargo.take("top_n")
    if top_n is not None:
        sent["top_n"] = min(int(top_n), len(documents))
    cargo.pass_over(("return_documents", "priority"))
    if "amazon" not in name_of(outgoing, cargo.members):
        sent["api_version"] = _API_VERSION
        limit = cargo.take("max_tokens_per_doc")
        if limit is not None:
            sent["max_tokens_per_doc"] = int(limit)
    sent |= cargo.unknown()
    path = path_of(outgoing, "invoke")
    return Prepared("application/json", msgspec.json.encode(sent), path, dropped=cargo.finish())


DIALECT: Final = Dialect("bedrock_rerank", build, cohere_rerank.read, bedrock.refusal)
"""Rerank on Amazon Bedrock."""
