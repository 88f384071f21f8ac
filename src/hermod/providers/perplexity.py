"""Perplexity's chats over its Agent API: OpenAI's responses, with what was found on the web.

Format: Perplexity's API reference, "Agent API" (`/v1/responses` is its name for OpenAI's clients),
and "Migrating from Sonar". `search_results` and `citations` stand where Sonar's answers had them.
Presets and tools for the search go along as they are (`preset`, `tools`).
"""

from dataclasses import replace
from typing import Any, Final, cast

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds.kind import AnyKind
from hermod.providers import openai_shaped
from hermod.providers.adapter import Answered, Outgoing, Prepared
from hermod.providers.bridge.bridge import chat_over_responses
from hermod.providers.lenient import items, members, text

_OVER_RESPONSES: Final = chat_over_responses(openai_shaped.DIALECT)
_SONAR: Final = "sonar"


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    if outgoing.model == _SONAR:
        # The one model of Sonar's that is left has another name there.
        outgoing = outgoing._replace(model=f"perplexity/{_SONAR}")
    return _OVER_RESPONSES.build(kind, outgoing)


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`."""
    found = _OVER_RESPONSES.read(kind, outgoing, content_type, body)
    if isinstance(found, Failure):
        return found
    output = items(members(msgspec.json.decode(body)).get("output"))
    results = [
        result
        for item in output
        if members(item).get("type") == "search_results"
        for result in items(members(item).get("results"))
    ]
    if not results:
        return found
    answer = cast("dict[str, Any]", msgspec.json.decode(found.body))
    answer["search_results"] = results
    answer["citations"] = [url for each in results if (url := text(members(each).get("url")))]
    return found._replace(body=msgspec.json.encode(answer))


DIALECT: Final = replace(_OVER_RESPONSES, name="perplexity_chat", build=build, read=read)
"""Chats, where only agents are."""
