"""How a key is tried for nothing: by its provider's list of models, or by what else is free.

Sources: OpenRouter's "Get current API key" and Perplexity's "List Models" (whose lists are for
everybody, as Hugging Face's is), Hugging Face's Hub API ("whoami-v2"), Google's "Count tokens" (no
charge for it).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from hermod.domain.provider import KeySettings, ProviderSettings
from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.providers.adapter import Outgoing
from hermod.providers.gemini import vertex
from hermod.providers.lenient import members
from hermod.providers.model_lists import FreeCall, all_lists
from hermod.providers.prepare import upstream_model
from hermod.providers.registry import endpoint

_PUBLIC: Final = frozenset({"huggingface", "openrouter", "perplexity"})
"""Rows whose lists are for everybody."""
_OWN_PATH: Final[Mapping[str, str]] = {"openrouter": "/v1/key"}
_ELSEWHERE: Final[Mapping[str, str]] = {"huggingface": "https://huggingface.co/api/whoami-v2"}
"""For keys of the provider's own address."""
_SOME_MODEL: Final = "gemini-2.5-flash"


def free_call(provider: ProviderSettings, key: KeySettings | None) -> FreeCall | None:
    """A request that proves the key and costs nothing; None where there is none.

    With `needs_key` False it only shows that the provider is there. Raises CannotCarry when the
    key's configuration lacks what every call with it needs.
    """
    row = provider.row
    if row.dialect == "vertex":
        return _counting(provider, key)
    if row.name in _OWN_PATH:
        url = endpoint(provider, "chat_completion", key, path=_OWN_PATH[row.name])
        return FreeCall(url) if url else None
    if row.name in _ELSEWHERE and provider.base_url == row.base_url:
        return FreeCall(_ELSEWHERE[row.name])
    lists = all_lists(provider, key)
    return lists[0]._replace(needs_key=row.name not in _PUBLIC) if lists else None


def _counting(provider: ProviderSettings, key: KeySettings | None) -> FreeCall | None:
    """Have the tokens of a word counted."""
    allowed = sorted((key.models if key else frozenset[str]()) - {"*"})
    googles = [name for each in allowed if (name := upstream_model(key, each)).startswith("gemini")]
    body = msgspec.json.encode({"messages": [{"role": "user", "content": "hello"}]})
    outgoing = Outgoing(
        body, None, next(iter(googles), _SOME_MODEL), False, "", provider, key, False, True, 0
    )
    made = vertex.build(CHAT_COMPLETION, outgoing)
    path, found, _ = (made.path or "").rpartition(":generateContent")
    url = endpoint(provider, "chat_completion", key, path=f"{path}:countTokens") if found else None
    if url is None:
        return None
    contents = members(msgspec.json.decode(made.body)).get("contents")
    return FreeCall(url, body=msgspec.json.encode({"contents": contents}))
