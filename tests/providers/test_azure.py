"""Azure: which of its paths a request takes, who is behind a deployment, what errors say."""

import json
from typing import Any

import pytest

from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Outgoing, Prepared
from hermod.providers.adapters import dialect_of
from hermod.providers.azure import refusal
from hermod.providers.prepare import upstream_model
from hermod.providers.registry import endpoint
from tests.providers.recorded import settings_of

BODIES: dict[str, dict[str, object]] = {
    "chat_completion": {"messages": [{"role": "user", "content": "Hello."}]},
    "responses": {"input": "Hello."},
    "embedding": {"input": "a"},
    "speech": {"input": "a", "voice": "v"},
    "image_generation": {"prompt": "a"},
    "text_completion": {"prompt": "a"},
}
OPENAI_STREAM = (
    b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\ndata: [DONE]\n\n'
)


def outgoing(request_type: str, model: str = "gpt-x", **config: Any) -> Outgoing:
    """A request with a key whose `azure_key_config` has these members."""
    aliases = config.pop("aliases", {})
    azure = {"endpoint": "https://res.openai.azure.com", **config}
    settings = settings_of("azure", json.dumps({"azure_key_config": azure, "aliases": aliases}))
    key = settings.keys[0]
    body = json.dumps({"model": f"azure/{model}", **BODIES[request_type]}).encode()
    return Outgoing(body, None, upstream_model(key, model), True, "b", settings, key)


def built(request_type: str, asked: Outgoing) -> tuple[Prepared, str | None]:
    """The request and its URL."""
    assert asked.provider is not None
    kind = KIND_BY_TYPE[request_type]
    prepared = dialect_of(asked.provider.row, request_type).build(kind, asked)
    url = endpoint(asked.provider, request_type, asked.key, model=asked.model, path=prepared.path)
    return prepared, url


@pytest.mark.parametrize("version", ["", "v1", "preview", "latest"])
def test_without_a_date_the_paths_are_v1s(version: str) -> None:
    _, url = built("chat_completion", outgoing("chat_completion", api_version=version))
    assert url == "https://res.openai.azure.com/openai/v1/chat/completions"


@pytest.mark.parametrize(
    ("request_type", "path"),
    [
        ("chat_completion", "deployments/gpt-x/chat/completions"),
        ("text_completion", "deployments/gpt-x/completions"),
        ("embedding", "deployments/gpt-x/embeddings"),
        ("speech", "deployments/gpt-x/audio/speech"),
        ("image_generation", "deployments/gpt-x/images/generations"),
        ("responses", "responses"),
    ],
)
@pytest.mark.parametrize("version", ["2024-10-21", "2025-04-01-preview"])
def test_with_a_date_the_deployment_is_in_the_path(
    request_type: str, path: str, version: str
) -> None:
    _, url = built(request_type, outgoing(request_type, api_version=version))
    assert url == f"https://res.openai.azure.com/openai/{path}?api-version={version}"


@pytest.mark.parametrize(
    "address",
    [
        "https://res.openai.azure.com",
        "https://res.openai.azure.com/",
        "https://res.openai.azure.com/openai",
        "https://res.openai.azure.com/openai/v1/",
    ],
)
def test_an_address_may_have_the_beginning_of_the_path(address: str) -> None:
    _, url = built("embedding", outgoing("embedding", endpoint=address))
    assert url == "https://res.openai.azure.com/openai/v1/embeddings"


def test_a_model_is_called_by_its_deployment() -> None:
    asked = outgoing("embedding", "text-embedding-3-small", aliases={"text-embedding-3-small": "d"})
    prepared, _ = built("embedding", asked)
    assert json.loads(prepared.body)["model"] == "d"


@pytest.mark.parametrize(
    ("model", "aliases"),
    [
        ("claude-sonnet-5", {}),
        ("claude-sonnet-5", {"claude-sonnet-5": "prod"}),
        ("best", {"best": "our-Claude"}),
    ],
)
@pytest.mark.parametrize("request_type", ["chat_completion", "responses"])
def test_claude_is_spoken_to_in_its_own_words(
    request_type: str, model: str, aliases: dict[str, str]
) -> None:
    asked = outgoing(request_type, model, aliases=aliases, api_version="2024-10-21")
    prepared, url = built(request_type, asked)
    assert url == "https://res.openai.azure.com/anthropic/v1/messages"
    assert "anthropic-version" in dict(prepared.headers)
    sent = json.loads(prepared.body)
    assert sent["model"] == aliases.get(model, model)
    assert sent["max_tokens"] > 0


def test_a_stream_of_another_model_comes_as_it_is() -> None:
    asked = outgoing("chat_completion")._replace(stream=True)
    assert asked.provider is not None
    open_stream = dialect_of(asked.provider.row, "chat_completion").open_stream
    assert open_stream is not None
    stream = open_stream(KIND_BY_TYPE["chat_completion"], asked)
    pieces = [OPENAI_STREAM[at : at + 7] for at in range(0, len(OPENAI_STREAM), 7)]
    assert b"".join([*map(stream.feed, pieces), stream.end()]) == OPENAI_STREAM
    assert stream.usage is not None
    assert (stream.usage.input_tokens, stream.usage.output_tokens) == (3, 2)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"m","innererror":5}}',
        b'{"error":"innererror","innererror":{}}',
        b'[{"error":{"message":"m","innererror":{"code":"c"}}}]',
        b'{"error":{"message":"m","innererror":{',
        b'"innererror"',
    ],
)
def test_an_error_in_another_form_is_still_one(body: bytes) -> None:
    failure = refusal(400, "application/json", body)
    assert failure.status_code == 400
    assert failure.message


def test_a_long_finding_of_the_filter_is_cut() -> None:
    error = {"message": "m", "code": "content_filter", "innererror": {"x": "y" * 10_000}}
    failure = refusal(400, "application/json", json.dumps({"error": error}).encode())
    assert failure.cause is not None
    assert len(failure.cause) <= 4096
