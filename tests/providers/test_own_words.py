"""Requests in a vendor's own words: to whom they go, and what is read of the answers."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.failure import Failure
from hermod.kinds import own_words
from hermod.kinds.own_words import ANTHROPIC, GOOGLE, MEMBER, TRAVELS_AS
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import CannotCarry, Dialect, Outgoing, Prepared
from hermod.providers.adapters import way_of
from hermod.providers.prepare import upstream_model
from hermod.providers.registry import endpoint
from hermod.providers.speakers import speakers
from tests.providers.any_json import any_json
from tests.providers.recorded import settings_of

CLAUDES: dict[str, Any] = {
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [{"role": "user", "content": "Hi"}],
    "max_tokens": 50,
    "service_tier": "auto",
}
GOOGLES = {"contents": [{"parts": [{"text": "Hi"}]}], "cachedContent": "cachedContents/a"}
VERTEX = json.dumps({"value": "", "vertex_key_config": {"project_id": "p", "region": "global"}})
AZURE = json.dumps(
    {"azure_key_config": {"endpoint": "https://r.azure.com"}, "aliases": {"claude-x": "mine"}}
)
BETA: dict[str, Any] = {"anthropic-version": "2023-06-01", "anthropic-beta": "b"}
JSON = any_json(
    "type content text thinking usage stop_reason candidates parts usageMetadata finishReason error"
)


def outgoing(
    provider: str,
    model: str,
    api: str,
    request: Any,
    key: str = "{}",
    *,
    stream: bool = False,
    **headers: str,
) -> Outgoing:
    """A request that a door has handed on as it was."""
    found = settings_of(provider, key)
    words = {"api": api, "request": request, "headers": headers}
    whole = {"model": f"{provider}/{model}", **own_words.instead_of_ours(api), MEMBER: words}
    body = json.dumps(whole).encode()
    named = upstream_model(found.keys[0], model)
    return Outgoing(body, None, named, True, "", found, found.keys[0], stream)


def dialect_for(asked: Outgoing, request_type: str) -> Dialect:
    """How it is sent."""
    assert asked.provider is not None
    way = way_of(asked.provider, request_type, text_to_chat=False, chat_to_responses=False)
    assert way is not None
    return way.dialect


def built(asked: Outgoing, api: str) -> tuple[Prepared, Any, str | None]:
    """What is sent, its body, and where to."""
    request_type = TRAVELS_AS[api]
    prepared = dialect_for(asked, request_type).build(KIND_BY_TYPE[request_type], asked)
    assert asked.provider is not None
    url = endpoint(
        asked.provider,
        "chat_completion",
        asked.key,
        model=asked.model,
        path=prepared.path,
        stream=asked.stream,
    )
    return prepared, json.loads(prepared.body), url


def test_anthropic_gets_the_clients_request_with_its_headers() -> None:
    asked = outgoing("anthropic", "claude-opus-5", ANTHROPIC, CLAUDES, stream=True, **BETA)
    prepared, body, url = built(asked, ANTHROPIC)
    assert body == CLAUDES | {"model": "claude-opus-5", "stream": True}
    assert dict(prepared.headers) == BETA
    assert url == "https://api.anthropic.com/v1/messages"


def test_a_client_that_names_no_version_or_limit_gets_the_usual_ones() -> None:
    request = {"messages": CLAUDES["messages"]}
    prepared, body, _ = built(outgoing("anthropic", "c", ANTHROPIC, request), ANTHROPIC)
    assert body["max_tokens"] == 32_000
    assert dict(prepared.headers) == {"anthropic-version": "2023-06-01"}


def test_claude_on_vertex_has_its_version_in_the_body() -> None:
    asked = outgoing("vertex", "claude-opus-5@1", ANTHROPIC, CLAUDES, VERTEX, **BETA)
    prepared, body, url = built(asked, ANTHROPIC)
    expected = CLAUDES | {"anthropic_version": "vertex-2023-10-16"}
    assert body == {name: value for name, value in expected.items() if name != "service_tier"}
    assert prepared.headers == (("anthropic-beta", "b"),)
    assert url is not None
    assert url.endswith("/publishers/anthropic/models/claude-opus-5@1:rawPredict")


def test_claude_on_azure_is_called_by_its_deployment() -> None:
    asked = outgoing("azure", "claude-x", ANTHROPIC, CLAUDES, AZURE)
    _, body, url = built(asked, ANTHROPIC)
    assert body == CLAUDES | {"model": "mine"}
    assert url == "https://r.azure.com/anthropic/v1/messages"


@pytest.mark.parametrize(("provider", "key"), [("gemini", "{}"), ("vertex", VERTEX)])
def test_gemini_gets_the_clients_request_at_either_of_googles_doors(
    provider: str, key: str
) -> None:
    asked = outgoing(provider, "gemini-3-pro", GOOGLE, GOOGLES, key, stream=True)
    _, body, url = built(asked, GOOGLE)
    assert body == GOOGLES
    assert url is not None
    assert url.endswith("/models/gemini-3-pro:streamGenerateContent?alt=sse")


@pytest.mark.parametrize(
    ("provider", "key", "model", "api", "expected"),
    [
        ("anthropic", "{}", "claude-opus-5", ANTHROPIC, True),
        ("anthropic", "{}", "claude-opus-5", GOOGLE, False),
        ("vertex", VERTEX, "claude-opus-5", ANTHROPIC, True),
        ("vertex", VERTEX, "gemini-3-pro", ANTHROPIC, False),
        ("vertex", VERTEX, "gemini-3-pro", GOOGLE, True),
        ("vertex", VERTEX, "claude-opus-5", GOOGLE, False),
        ("azure", AZURE, "claude-x", ANTHROPIC, True),
        ("azure", AZURE, "gpt-5", ANTHROPIC, False),
        ("gemini", "{}", "gemini-3-pro", GOOGLE, True),
        ("openai", "{}", "claude-opus-5", ANTHROPIC, False),
        ("openrouter", "{}", "anthropic/claude-opus-5", ANTHROPIC, False),
    ],
)
def test_who_is_asked_in_a_vendors_own_words(
    provider: str, key: str, model: str, api: str, expected: bool
) -> None:
    speaks = speakers({provider: settings_of(provider, key)})
    assert speaks(f"{provider}/{model}", api) is expected


def test_nobody_configured_speaks_nothing() -> None:
    assert speakers({})("anthropic/claude-opus-5", ANTHROPIC) is False


@pytest.mark.parametrize(
    ("provider", "api", "request_"),
    [("gemini", ANTHROPIC, CLAUDES), ("anthropic", GOOGLE, GOOGLES), ("cohere", GOOGLE, GOOGLES)],
)
def test_whoever_speaks_otherwise_is_not_asked_at_all(
    provider: str, api: str, request_: Any
) -> None:
    """Not even when the config has changed since the job was accepted."""
    with pytest.raises(CannotCarry):
        built(outgoing(provider, "m", api, request_), api)


def test_a_provider_with_openais_words_never_sees_the_member() -> None:
    asked = outgoing("openai", "m", ANTHROPIC, CLAUDES)
    body = json.loads(asked.body) | {"input": "Hi"}
    translated = asked._replace(body=json.dumps(body).encode())
    sent = dialect_for(translated, "responses").build(KIND_BY_TYPE["responses"], translated)
    assert json.loads(sent.body) == {"model": "m", "input": "Hi"}


@pytest.mark.parametrize("provider", ["gemini", "bedrock", "cohere", "groq"])
def test_a_fallback_that_speaks_otherwise_gets_the_translation_alone(provider: str) -> None:
    asked = outgoing(provider, "m", ANTHROPIC, CLAUDES)
    body = json.loads(asked.body) | {"input": "Hi there"}
    translated = asked._replace(body=json.dumps(body).encode())
    sent = dialect_for(translated, "responses").build(KIND_BY_TYPE["responses"], translated)
    assert b"Hi there" in sent.body
    assert b"hermod" not in sent.body
    assert b"Be brief" not in sent.body


WAYS = [("anthropic", ANTHROPIC, CLAUDES), ("gemini", GOOGLE, GOOGLES)]


@pytest.mark.parametrize(("provider", "api", "request_"), WAYS)
@settings(max_examples=60, deadline=None)
@given(reply=st.binary(max_size=20) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_reply_is_an_answer_or_a_failure(
    provider: str, api: str, request_: Any, reply: bytes
) -> None:
    asked = outgoing(provider, "m", api, request_)
    kind = KIND_BY_TYPE[TRAVELS_AS[api]]
    found = dialect_for(asked, kind.request_type).read(kind, asked, "application/json", reply)
    if not isinstance(found, Failure):
        assert json.loads(found.body)[MEMBER] == {"api": api, "answer": json.loads(reply)}


@pytest.mark.parametrize(("provider", "api", "request_"), WAYS)
@settings(max_examples=60, deadline=None)
@given(events=st.lists(JSON, max_size=4), junk=st.binary(max_size=10), cut=st.integers(1, 40))
def test_any_stream_is_passed_on_or_fails(
    provider: str, api: str, request_: Any, events: list[Any], junk: bytes, cut: int
) -> None:
    asked = outgoing(provider, "m", api, request_, stream=True)
    opened = dialect_for(asked, TRAVELS_AS[api]).open_stream
    assert opened is not None
    stream = opened(KIND_BY_TYPE[TRAVELS_AS[api]], asked)
    whole = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + junk
    out = b"".join(stream.feed(whole[at : at + cut]) for at in range(0, len(whole), cut))
    for line in (out + stream.end()).splitlines():
        if line.startswith(b"data: {"):
            assert json.loads(line[6:]).keys() <= {MEMBER, "error"}
