"""How providers list their models: what is asked, and what the answers say.

Formats: OpenAI's and Anthropic's "List models", Google's "models.list", Cohere's "List Models",
ElevenLabs' "List models", Replicate's "List deployments", AWS's ListFoundationModels and
ListInferenceProfiles, Hugging Face's "Inference Providers". Many speak OpenAI's form with members
missing or a bare array around it, so all are read alike, and leniently.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from hermod.domain.provider import KeySettings, ProviderSettings, Row
from hermod.kinds import json_guard
from hermod.providers.anthropic import dialect as anthropic
from hermod.providers.lenient import count, items, members, text
from hermod.providers.registry import endpoint, models_url

_DEPTH_MAX: Final = 64
_MODELS_MAX: Final = 10_000
"""Of one answer."""
_NAME_MAX: Final = 512
_LISTS: Final = ("data", "models", "results", "modelSummaries", "inferenceProfileSummaries")
_NAMES: Final = ("id", "model_id", "modelId", "inferenceProfileId", "name")
"""Where an entry has its name; a `name` beside an id is for people."""
_MADE: Final = ("created", "created_at", "createdAt")
_QUERY: Final[Mapping[str, tuple[str, str]]] = {
    "anthropic": ("limit", "1000"),
    "cohere_chat": ("page_size", "1000"),
}
"""How long a page may be, where a usual one is short."""
_HEADERS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {"anthropic": (anthropic.VERSION,)}
_NEXT: Final = (("nextPageToken", "pageToken"), ("next_page_token", "page_token"))
_SIGNED: Final = "bedrock"
_AT_BEDROCK: Final = ("/foundation-models", "/inference-profiles?maxResults=1000")
_RUNTIME: Final = "://bedrock-runtime."
_CONTROL: Final = "://bedrock."
_NOT_WHAT_IS_CALLED: Final = frozenset({"azure"})
"""Dialects whose list is of what could be deployed; what can be called are the deployments."""


class FreeCall(NamedTuple):
    """A request that costs nothing."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    """Beside those that show the key."""
    body: bytes = b""
    """Sent as JSON, with POST, unless it is empty."""
    needs_key: bool = True
    """Whether a good answer proves the key: some lists are for everybody."""


class Listed(NamedTuple):
    """A model in a list."""

    name: str
    """As it stands behind the provider's in a request."""
    created_s: int
    """Seconds since the epoch; 0 where the list does not say it."""


class Page(NamedTuple):
    """An answer, or a part of it."""

    models: tuple[Listed, ...]
    next_url: str | None
    """Where the list goes on."""


def list_calls(provider: ProviderSettings, key: KeySettings | None) -> tuple[FreeCall, ...]:
    """What is asked for the models that can be called with this key; nothing where none can say."""
    if provider.row.dialect in _NOT_WHAT_IS_CALLED:
        return ()
    return all_lists(provider, key)


def all_lists(provider: ProviderSettings, key: KeySettings | None) -> tuple[FreeCall, ...]:
    """The same, with lists of what could be deployed."""
    row = provider.row
    if row.dialect == _SIGNED:
        return tuple(FreeCall(url) for url in _at_bedrock(provider, key))
    url = models_url(provider, key)
    if url is None:
        return ()
    shape = _shape(row)
    if shape in _QUERY:
        url = _with(url, *_QUERY[shape])
    return (FreeCall(url, _HEADERS.get(shape, ())),)


def _at_bedrock(provider: ProviderSettings, key: KeySettings | None) -> tuple[str, ...]:
    """Models are listed by another host than they are called at."""
    root = (endpoint(provider, "chat_completion", key, path="/") or "").removesuffix("/")
    if _RUNTIME not in root:
        return ()  # an address of the operator's own: nobody knows what else is there
    return tuple(root.replace(_RUNTIME, _CONTROL) + path for path in _AT_BEDROCK)


def page_in(row: Row, url: str, body: bytes) -> Page | None:
    """What an answer from `url` lists; None when it is no list. Never raises."""
    if json_guard.problem(body, _DEPTH_MAX) is not None:
        return None
    try:
        told: object = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    whole = members(told)
    lists: tuple[object, ...] = (told, *(whole.get(name) for name in _LISTS))
    if not any(isinstance(each, list) for each in lists):
        return None
    entries = [entry for each in lists for entry in items(each)][:_MODELS_MAX]
    read = (_listed(_shape(row), members(each)) for each in entries)
    return Page(tuple(each for each in read if each is not None), _next(url, whole))


def _listed(shape: str, entry: Mapping[str, Any]) -> Listed | None:
    if shape == "replicate":
        name = f"deployments/{text(entry.get('owner'))}/{text(entry.get('name'))}"
    else:
        name = next((found for each in _NAMES if (found := text(entry.get(each)))), "")
        name = name.removeprefix("models/")  # Google's
    if not name or len(name) > _NAME_MAX or not name.isprintable() or _is_for_rent(entry):
        return None
    return Listed(name, _seconds(entry))


def _is_for_rent(entry: Mapping[str, Any]) -> bool:
    """Whether this model of Bedrock answers to its own name only on capacity that was bought."""
    types = entry.get("inferenceTypesSupported")
    return isinstance(types, list) and "ON_DEMAND" not in types


def _seconds(entry: Mapping[str, Any]) -> int:
    value: object = next((entry[name] for name in _MADE if name in entry), 0)
    if not isinstance(value, str):
        return count(value)
    try:
        return count(datetime.fromisoformat(value).timestamp())
    except (ValueError, OverflowError):
        return 0


def _next(url: str, whole: Mapping[str, Any]) -> str | None:
    """Where the rest is: always at the same address, whatever the answer says."""
    for told, asked in _NEXT:
        if token := text(whole.get(told)):
            return _with(url, asked, token)
    if whole.get("has_more") is True and (last := text(whole.get("last_id"))):
        return _with(url, "after_id", last)
    if token := text(whole.get("nextToken")):
        return _with(url, "nextToken", token)
    try:
        query = urlsplit(text(whole.get("next"))).query
        cursor = dict(parse_qsl(query)).get("cursor")
    except ValueError:
        return None
    return _with(url, "cursor", cursor) if cursor else None


def _with(url: str, name: str, value: str) -> str:
    """The URL with this in its query, instead of what it said under the name."""
    path, _, query = url.partition("?")
    kept = [pair for pair in parse_qsl(query) if pair[0] != name]
    return f"{path}?{urlencode([*kept, (name, value)])}"


def _shape(row: Row) -> str:
    return row.dialect_of("chat_completion")
