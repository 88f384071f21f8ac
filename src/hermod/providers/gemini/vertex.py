"""Vertex AI (Gemini Enterprise Agent Platform): models of Google and of others under one roof.

Gemini speaks as it does everywhere, Claude and Mistral speak as at home (`:rawPredict`), and all
others through an endpoint in OpenAI's shape. Which it is shows in the model's name, with or without
its publisher in front. Paths: Google's REST reference, `projects.locations.publishers.models` and
`projects.locations.endpoints`; "Call open model APIs"; Mistral's "Vertex AI".
"""

import re
from dataclasses import replace
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.provider import Row, VertexKey
from hermod.kinds.kind import AnyKind
from hermod.kinds.own_words import Words
from hermod.providers import openai_shaped
from hermod.providers.adapter import (
    Answered,
    CannotCarry,
    Dialect,
    Outgoing,
    Prepared,
    StreamTranslator,
)
from hermod.providers.anthropic import answer as anthropic_answer
from hermod.providers.anthropic import dialect as anthropic
from hermod.providers.anthropic.request import messages_body
from hermod.providers.anthropic.stream import Stream
from hermod.providers.as_it_comes import AsItComes
from hermod.providers.gemini import dialect as gemini
from hermod.providers.gemini import images as gemini_images
from hermod.providers.gemini.embedding import Method, embedding_request, read_embedding, texts_of
from hermod.providers.lenient import members, text
from hermod.providers.replies import object_in

_JSON: Final = "application/json"
_GOOGLE: Final = "google"
_CLAUDE: Final = "anthropic"
_MISTRAL: Final = "mistralai"
_CLAUDE_VERSION: Final = "vertex-2023-10-16"
_NO_VERTEX: Final = VertexKey()
_EVERYWHERE: Final = "global"

_is_number: Final = re.compile(r"[0-9]{6,}").fullmatch
"""A model of one's own: its endpoint has a number."""
_is_googles: Final = re.compile(
    r"(?:gemini|imagen|imagegeneration|text-embedding|text-multilingual-embedding|textembedding"
    r"|multimodalembedding)"
).match
_is_mistrals: Final = re.compile(
    r"(?:open-)?(?:mistral|codestral|ministral|magistral|mixtral)"
).match

_MISTRAL_ROW: Final = Row(
    name=_MISTRAL,
    base_url="",
    key_env=(),
    url_env=(),
    keyless=False,
    paths={},
    drops=frozenset({"safety_identifier", "store", "stream_options", "user", "verbosity"}),
    renames={
        "max_completion_tokens": "max_tokens",
        "seed": "random_seed",
        "reasoning.effort": "reasoning_effort",
    },
    roles={"developer": "system"},
)
"""What Mistral refuses and calls otherwise, as in its own row."""


class _Model(NamedTuple):
    """A model, and who speaks there."""

    publisher: str
    """Empty where OpenAI's words are understood."""
    name: str


def _model_of(outgoing: Outgoing) -> _Model:
    given = outgoing.model.removeprefix("publishers/").replace("/models/", "/")
    publisher, _, name = given.rpartition("/")
    if publisher in (_GOOGLE, _CLAUDE):
        return _Model(publisher, name)
    if publisher in (_MISTRAL, "mistral", "mistral-ai"):
        return _Model(_MISTRAL, name)
    if publisher:
        return _Model("", given)
    if name.startswith("claude"):
        return _Model(_CLAUDE, name)
    if _is_mistrals(name):
        return _Model(_MISTRAL, name)
    if _is_googles(name) or _is_number(name):
        return _Model(_GOOGLE, name)
    return _Model("", name)


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `hermod.providers.adapter.Dialect.build`."""
    model = _model_of(outgoing)
    if kind.request_type == "embedding":
        return _embedding(kind, outgoing, model)
    named = outgoing._replace(model=model.name)
    if model.publisher == _GOOGLE or kind.request_type != "chat_completion":
        if kind.request_type == "image_generation" and gemini_images.is_imagen(model.name):
            body, dropped = gemini_images.predict_request(kind, named)
            method = "predict"
        else:
            body, dropped = gemini.content_request(kind, named, chooses_format=True)
            method = "generateContent"
        if outgoing.stream and kind.request_type == "chat_completion":
            method = "streamGenerateContent?alt=sse"
        path = _model_path(outgoing, _GOOGLE, model.name, method)
        return Prepared(_JSON, msgspec.json.encode(body), path, dropped=dropped)
    if model.publisher == _CLAUDE:
        made = messages_body(kind, named, version=_CLAUDE_VERSION)
        path = _model_path(outgoing, _CLAUDE, model.name, _raw(outgoing))
        return Prepared(_JSON, msgspec.json.encode(made.body), path, dropped=made.dropped)
    return _in_openais_words(kind, named, outgoing, model)


def _in_openais_words(
    kind: AnyKind, named: Outgoing, outgoing: Outgoing, model: _Model
) -> Prepared:
    row = outgoing.provider.row if outgoing.provider is not None else None
    path = f"{_place(outgoing)}/endpoints/openapi/chat/completions"
    if model.publisher == _MISTRAL:
        row = _MISTRAL_ROW
        path = _model_path(outgoing, _MISTRAL, model.name, _raw(outgoing))
    body = openai_shaped.build_body(
        kind, named.body, model.name, forward_unknown=named.forward_unknown, row=row
    )
    return Prepared(_JSON, body, path)


def _raw(outgoing: Outgoing) -> str:
    return "streamRawPredict" if outgoing.stream else "rawPredict"


def _embedding(kind: AnyKind, outgoing: Outgoing, model: _Model) -> Prepared:
    publisher, _, bare = model.name.rpartition("/")
    named = outgoing._replace(model=bare)
    method = Method.PREDICT
    # As Google's own SDK tells them apart.
    if "gemini" in bare or "maas" in bare:
        asked = members(msgspec.json.decode(outgoing.body))
        is_one = len(texts_of(asked.get("input"))) == 1
        method = Method.VERTEX_ONE if is_one else Method.VERTEX_BATCH
    body, dropped = embedding_request(kind, named, method)
    called = method.value.rpartition(":")[2]
    path = _model_path(outgoing, model.publisher or publisher or _GOOGLE, bare, called)
    return Prepared(_JSON, msgspec.json.encode(body), path, dropped=dropped)


def _model_path(outgoing: Outgoing, publisher: str, name: str, method: str) -> str:
    vertex = _vertex_of(outgoing)
    if _is_number(name):
        where = _place(outgoing, vertex.project_number)
        return f"{where}/endpoints/{name}:{method}"
    # An @ stands before the date of a version.
    published = f"publishers/{quote(publisher, safe='')}/models/{quote(name, safe='@')}:{method}"
    key = outgoing.key
    if key is not None and key.value and not _project_of(vertex):
        return f"/v1/{published}"  # a key of express mode has its project with it
    return f"{_place(outgoing)}/{published}"


def _place(outgoing: Outgoing, project: str | None = None) -> str:
    """Raises CannotCarry where nothing says which project pays."""
    vertex = _vertex_of(outgoing)
    found = project or _project_of(vertex)
    if not found:
        raise CannotCarry("vertex_key_config.project_id is missing in the key's configuration")
    region = vertex.region or _EVERYWHERE
    return f"/v1/projects/{quote(found, safe=':')}/locations/{quote(region, safe='')}"


def _vertex_of(outgoing: Outgoing) -> VertexKey:
    key = outgoing.key
    return (key.vertex if key is not None else None) or _NO_VERTEX


def _project_of(vertex: VertexKey) -> str:
    """The operator's word, or the project that a service account belongs to."""
    if vertex.project_id or not vertex.auth_credentials:
        return vertex.project_id or ""
    try:
        told: object = msgspec.json.decode(vertex.auth_credentials.reveal())
    except msgspec.DecodeError:
        return ""
    found = members(told)
    return text(found.get("project_id")) or text(found.get("quota_project_id"))


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `hermod.providers.adapter.Dialect.read`."""
    model = _model_of(outgoing)
    if kind.request_type == "embedding":
        reply = object_in(content_type, body)
        return reply if isinstance(reply, Failure) else read_embedding(outgoing, reply)
    if model.publisher == _GOOGLE or kind.request_type != "chat_completion":
        return gemini.read(kind, outgoing._replace(model=model.name), content_type, body)
    if model.publisher == _CLAUDE:
        return anthropic_answer.answered(outgoing, content_type, body)
    return openai_shaped.read(kind, outgoing, content_type, body)


def open_stream(kind: AnyKind, outgoing: Outgoing) -> StreamTranslator:
    """See `hermod.providers.adapter.Dialect.open_stream`."""
    model = _model_of(outgoing)
    if model.publisher == _GOOGLE:
        return gemini.open_stream(kind, outgoing._replace(model=model.name))
    return Stream(outgoing) if model.publisher == _CLAUDE else AsItComes()


def _is_claude(outgoing: Outgoing) -> bool:
    return _model_of(outgoing).publisher == _CLAUDE


def _is_of_google(outgoing: Outgoing) -> bool:
    return _model_of(outgoing).publisher == _GOOGLE


def _build_claudes_own(outgoing: Outgoing, words: Words) -> Prepared:
    body = anthropic.own_body(outgoing, words, version=_CLAUDE_VERSION)
    path = _model_path(outgoing, _CLAUDE, _model_of(outgoing).name, _raw(outgoing))
    betas = tuple(each for each in words.headers.items() if each[0] != anthropic.VERSION[0])
    return Prepared(_JSON, body, path, headers=betas)


def _build_googles_own(outgoing: Outgoing, words: Words) -> Prepared:
    name = _model_of(outgoing).name
    path = _model_path(outgoing, _GOOGLE, name, gemini.own_method(outgoing))
    return Prepared(_JSON, bytes(words.request), path)


_OWN: Final = (
    replace(
        anthropic.OWN,
        speaks=_is_claude,
        build=_build_claudes_own,
    ),
    replace(
        gemini.OWN,
        speaks=_is_of_google,
        build=_build_googles_own,
        read=read,
        open_stream=open_stream,
    ),
)

DIALECT: Final = Dialect(
    "vertex", build, read, gemini.refusal, open_stream, gemini.retry_after, own=_OWN
)
"""Vertex AI's, whoever speaks there."""
