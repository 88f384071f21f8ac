"""`GET /v1/models`: what the providers list and what the operator named."""

from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from tests.support.program import Gateway, MockUpstream, client


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Generator[httpx.Client]:
    """A gateway with an upstream that lists its models, and one that is away."""
    folder: Path = tmp_path_factory.mktemp("models")
    with MockUpstream() as upstream:
        away = {
            "keys": [{"name": "k", "value": "sk-away-secret", "models": ["small", "large"]}],
            "network_config": {"base_url": "http://127.0.0.1:9"},
        }
        config = {"providers": {"openai": upstream.provider(), "groq": away}}
        with Gateway(folder, config=config) as gateway, client(gateway) as opened:
            yield opened


def ids(response: httpx.Response) -> set[str]:
    """The ids of a list."""
    assert response.status_code == 200
    assert response.json()["object"] == "list"
    return {model["id"] for model in response.json()["data"]}


def test_the_list_has_every_provider(http: httpx.Client) -> None:
    found = ids(http.get("/v1/models"))
    assert "mock/hello" in found
    assert any(name.startswith("openai/") for name in found)


def test_a_provider_that_is_away_has_the_models_of_its_keys(http: httpx.Client) -> None:
    assert ids(http.get("/v1/models?provider=groq")) == {"groq/small", "groq/large"}


def test_every_listed_model_can_be_looked_up(http: httpx.Client) -> None:
    for name in ids(http.get("/v1/models")):
        assert http.get(f"/v1/models/{name}").json()["id"] == name


def test_an_unknown_model_is_404(http: httpx.Client) -> None:
    response = http.get("/v1/models/openai/nothing-of-the-kind")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


def test_googles_list_names_the_same_models(http: httpx.Client) -> None:
    models = http.get("/genai/v1beta/models").json()["models"]
    names = {model["name"].removeprefix("models/") for model in models}
    assert names == ids(http.get("/v1/models"))
