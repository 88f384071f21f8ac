"""`GET /v1/models`: what the providers list and what the operator named."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.pages import Page, Pages
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


# Each vendor in its own way

KEY = "sk-canary-1234567890"


def keyed(url: str, **more: Any) -> dict[str, Any]:
    """A provider with one key at this address."""
    return {
        "keys": [{"name": "k", "value": KEY, **more}],
        "network_config": {"base_url": url},
    }


@pytest.fixture(scope="module")
def vendors() -> Generator[Pages]:
    """Lists in the forms of several vendors, one below each path."""
    second = "/anthropic/v1/models?limit=1000&after_id=claude-one"
    with Pages(
        {
            "/anthropic/v1/models": Page(
                {
                    "data": [{"id": "claude-one", "created_at": "2025-10-15T00:00:00Z"}],
                    "has_more": True,
                    "last_id": "claude-one",
                }
            ),
            second: Page({"data": [{"id": "claude-two"}], "has_more": False}),
            "/gemini/v1beta/models": Page({"models": [{"name": "models/gemini-x"}]}),
            "/cohere/v1/models": Page({"models": [{"name": "command-x"}]}),
            "/elevenlabs/v1/models": Page([{"model_id": "eleven_x", "name": "Eleven X"}]),
            "/replicate/v1/deployments": Page({"results": [{"owner": "acme", "name": "x"}]}),
            "/together/v1/models": Page([{"id": "meta/llama"}]),
            "/xai/v1/models": Page("<html>sorry</html>"),
            "/openai/v1/models": Page({"data": [{"id": name} for name in ("a", "b", "c", "d")]}),
            "/openai/v1/models sk-second": Page({"data": [{"id": "a"}, {"id": "of-the-second"}]}),
        }
    ) as running:
        yield running


@pytest.fixture(scope="module")
def listed(
    tmp_path_factory: pytest.TempPathFactory, vendors: Pages
) -> Generator[Callable[[str], set[str]]]:
    """The ids that a gateway in front of them lists, by provider."""
    names = ("anthropic", "gemini", "cohere", "elevenlabs", "replicate", "together", "xai")
    providers = {name: keyed(f"{vendors.url}/{name}") for name in names}
    azure = {"endpoint": f"{vendors.url}/azure"}
    providers["azure"] = keyed("", azure_key_config=azure, aliases={"gpt": "my-deployment"})
    providers["openai"] = {
        "keys": [
            {"name": "1", "value": KEY, "models": ["a", "b"], "blacklisted_models": ["b"]},
            {"name": "2", "value": "sk-second", "blacklisted_models": ["a"]},
            {"name": "3", "value": KEY, "enabled": False},
        ],
        "network_config": {"base_url": f"{vendors.url}/openai"},
    }
    with (
        Gateway(tmp_path_factory.mktemp("vendors"), config={"providers": providers}) as gateway,
        client(gateway) as http,
    ):
        yield lambda name: ids(http.get(f"/v1/models?provider={name}"))
        assert KEY not in gateway.output


@pytest.mark.parametrize(
    ("provider", "found"),
    [
        ("anthropic", {"anthropic/claude-one", "anthropic/claude-two"}),
        ("gemini", {"gemini/gemini-x"}),
        ("cohere", {"cohere/command-x"}),
        ("elevenlabs", {"elevenlabs/eleven_x"}),
        ("replicate", {"replicate/deployments/acme/x"}),
        ("together", {"together/meta/llama"}),
        ("xai", set[str]()),
        ("azure", {"azure/gpt"}),
    ],
)
def test_a_vendors_list_is_read(
    listed: Callable[[str], set[str]], provider: str, found: set[str]
) -> None:
    assert listed(provider) == found


def test_a_model_is_listed_if_one_key_that_sees_it_may_call_it(
    listed: Callable[[str], set[str]],
) -> None:
    assert listed("openai") == {"openai/a", "openai/of-the-second"}


def test_each_vendor_is_shown_the_key_in_its_way(
    listed: Callable[[str], set[str]], vendors: Pages
) -> None:
    listed("anthropic")
    listed("gemini")
    by_path = {asked.path.partition("?")[0]: asked for asked in vendors.asked}
    anthropic = by_path["/anthropic/v1/models"].headers
    assert (anthropic["x-api-key"], anthropic["anthropic-version"]) == (KEY, "2023-06-01")
    assert "authorization" not in anthropic
    assert by_path["/gemini/v1beta/models"].headers["x-goog-api-key"] == KEY
