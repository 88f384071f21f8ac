"""A provider over the API: the rules of the file, and the stricter ones (design.md 3.4)."""

import pytest

from hermod.config.provider_object import read_object
from hermod.config.settings import HermodSettings
from hermod.domain.provider import ProviderRead
from hermod.providers.registry import KNOWN_PROVIDERS
from tests.support.config import ROWS


def read(name: str, **members: object) -> ProviderRead:
    """What comes of this object."""
    usual = HermodSettings()
    return read_object(name, members, defaults=usual, rows=ROWS, known=KNOWN_PROVIDERS)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"unknown": 1}, "unknown: unknown field"),
        ({"tenant": "x"}, "tenant: unknown field"),
        ({"network_config": {"base_url": "ftp://x"}}, "network_config.base_url"),
        ({"network_config": {"base_url": "http://x/?a=1"}}, "network_config.base_url"),
        ({"network_config": {"base_url": "http://u:p@x/"}}, "network_config.base_url"),
        ({"network_config": {"base_url": "http://127.1/"}}, "allow_private_network"),
        ({"network_config": {"base_url": "http://[::ffff:10.0.0.1]/"}}, "allow_private_network"),
        ({"network_config": {"base_url": "http://169.254.169.254"}}, "allow_private_network"),
        ({"network_config": {"base_url": "http://localhost."}}, "allow_private_network"),
        ({"network_config": {"nonsense": 1}}, "network_config.nonsense"),
        ({"network_config": {"allow_private_network": "yes"}}, "allow_private_network"),
        ({"keys": [{"value": "env.HOME"}]}, "keys[0].value"),
        (
            {"keys": [{"value": {"value": "", "env_var": "HOME", "from_env": True}}]},
            "keys[0].value",
        ),
        ({"keys": [{"value": "a\nb"}]}, "keys[0].value"),
        ({"keys": [{"value": "a", "weight": -1}]}, "keys[0].weight"),
        ({"keys": [{"value": "a", "owner": "x"}]}, "keys[0].owner"),
        ({"keys": [{"id": "header-provided", "value": "a"}]}, "keys[0].id"),
        ({"keys": {}}, "keys"),
        ({"keys": [3]}, "keys[0]"),
        ({"proxy_config": {"type": "http", "url": "http://p"}}, "proxy_config"),
        (
            {
                "custom_provider_config": {
                    "base_provider_type": "openai",
                    "request_path_overrides": {"embedding": "http://127.0.0.1/x"},
                }
            },
            "request_path_overrides.embedding",
        ),
    ],
)
def test_what_cannot_be_is_a_problem_with_its_place(changes: dict[str, object], place: str) -> None:
    usual: dict[str, object] = {
        "custom_provider_config": {"base_provider_type": "openai"},
        "network_config": {"base_url": "https://api.example.com"},
    }
    found = read("mine", **(usual | changes))
    assert found.settings is None
    assert place in "; ".join(found.problems)


@pytest.mark.parametrize(
    ("name", "key", "place"),
    [
        ("bedrock", {"bedrock_key_config": {"region": "us-east-1"}}, "no credential of its own"),
        ("azure", {"azure_key_config": {"endpoint": "https://a.example"}}, "no credential"),
        ("vertex", {"vertex_key_config": {"region": "us", "project_id": "p"}}, "no credential"),
        (
            "bedrock",
            {"value": "x", "bedrock_key_config": {"region": "evil.example/"}},
            "bedrock_key_config.region",
        ),
        (
            "vertex",
            {
                "vertex_key_config": {
                    "auth_credentials": '{"type":"external_account","credential_source":'
                    '{"file":"/etc/passwd"}}'
                }
            },
            "service_account",
        ),
        (
            "vertex",
            {
                "vertex_key_config": {
                    "auth_credentials": '{"type":"service_account",'
                    '"token_uri":"https://evil.example/googleapis.com"}'
                }
            },
            "token_uri",
        ),
    ],
)
def test_the_gateways_own_identity_and_files_are_out_of_reach(
    name: str, key: dict[str, object], place: str
) -> None:
    assert place in "; ".join(read(name, keys=[key]).problems)


@pytest.mark.parametrize("name", ["mock", "mine", "runway", "Open AI", "a/b", "", "x" * 101])
def test_a_name_that_cannot_be_is_a_problem(name: str) -> None:
    assert read(name).problems


def test_a_private_default_address_needs_a_word_too() -> None:
    assert "allow_private_network" in "; ".join(read("ollama").problems)
    found = read("ollama", network_config={"allow_private_network": True}).settings
    assert found is not None
    assert not found.public_only


def test_what_comes_over_the_api_stays_among_public_addresses() -> None:
    found = read("openai", keys=[{"value": "x"}]).settings
    assert found is not None
    assert found.public_only
    assert found.ways_out() == frozenset()


def test_the_environment_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERMOD_CANARY", "sk-canary")
    for value in ("env.HERMOD_CANARY", {"value": "env.HERMOD_CANARY"}, "vault.x"):
        found = read("openai", keys=[{"value": value}])
        assert found.settings is None
        assert "sk-canary" not in str(found)


def test_what_has_no_effect_is_told() -> None:
    found = read(
        "openai",
        keys=[{"value": "x"}],
        concurrency_and_buffer_size={"concurrency": 5, "buffer_size": 10},
    )
    assert found.settings is not None
    assert found.settings.concurrency == 5
    assert any("buffer_size" in warning for warning in found.warnings)


def test_ways_out_are_all_addresses_but_the_tables_own() -> None:
    found = read(
        "mine",
        custom_provider_config={
            "base_provider_type": "openai",
            "request_path_overrides": {"embedding": "https://b.example/x", "rerank": "/y"},
        },
        network_config={
            "base_url": "https://a.example",
            "insecure_skip_verify": True,
            "allow_private_network": True,
        },
        keys=[{"value": "x", "vllm_key_config": {"url": "https://c.example"}}],
    ).settings
    assert found is not None
    assert found.ways_out() == {
        "https://a.example",
        "https://b.example/x",
        "https://c.example",
        "allow_private_network",
        "insecure_skip_verify",
    }
