"""The table of OpenAI-shaped providers, and where their requests go."""

import pytest

from hermod.domain.provider import (
    CustomSettings,
    KeySettings,
    ProviderSettings,
    Secret,
)
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapters import Way, way_of
from hermod.providers.registry import KNOWN_PROVIDERS, climbs, endpoint, load_rows, parse_rows

ROWS = load_rows()
ROW = """
[{name}]
base_url = "{base_url}"
key_env = {key_env}
{more}
[{name}.paths]
{paths}
"""


def table(
    *,
    name: str = "openai",
    base_url: str = "https://a.example",
    key_env: str = '["A_KEY"]',
    more: str = "",
    paths: str = 'embedding = "/v1/embeddings"',
) -> str:
    """A table of one row."""
    return ROW.format(name=name, base_url=base_url, key_env=key_env, more=more, paths=paths)


def provider(
    name: str = "openai", *, base_url: str | None = None, custom: CustomSettings | None = None
) -> ProviderSettings:
    """A configured provider of this row."""
    return ProviderSettings(
        name=name,
        origin="config.json",
        row=ROWS[name],
        base_url=base_url or ROWS[name].base_url,
        keys=(),
        attempt_timeout_s=1,
        max_retries=0,
        retry_backoff_initial_ms=1,
        retry_backoff_max_ms=1,
        concurrency=1,
        custom=custom,
    )


def custom(
    *, allowed: frozenset[str] | None = None, paths: dict[str, str] | None = None
) -> CustomSettings:
    """A provider of the operator's own."""
    return CustomSettings(
        "openai", keyless=True, allowed_requests=allowed, path_overrides=paths or {}
    )


# The table


def test_the_table_has_the_providers_that_speak_openais_format() -> None:
    assert ROWS.keys() >= {
        "openai", "azure", "groq", "mistral", "openrouter", "together", "fireworks", "deepseek",
        "xai", "cerebras", "perplexity", "nebius", "parasail", "ollama", "vllm", "sgl",
    }  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_every_provider_offers_a_request_type_of_ours(name: str) -> None:
    assert ROWS[name].paths.keys() & KIND_BY_TYPE.keys()
    assert name in KNOWN_PROVIDERS


def test_no_two_providers_read_the_same_variable() -> None:
    names = [name for row in ROWS.values() for name in (*row.key_env, *row.url_env)]
    assert len(names) == len(set(names))


def test_the_keyless_ones_are_the_servers_of_ones_own() -> None:
    assert {name for name, row in ROWS.items() if row.keyless} == {"ollama", "vllm", "sgl"}


def test_bifrosts_names_are_all_known() -> None:
    """wire-contract 8.2."""
    missing = {
        "anthropic", "azure", "bedrock", "cerebras", "cohere", "elevenlabs", "fireworks",
        "gemini", "groq", "huggingface", "mistral", "nebius", "ollama", "openai", "openrouter",
        "parasail", "perplexity", "replicate", "runway", "sgl", "vertex", "vllm", "xai",
        "bedrock_mantle", "deepseek", "opencode-go", "opencode-zen", "runware", "sarvam",
        "wafer", "gigachat", "mock", "together",
    } - KNOWN_PROVIDERS  # fmt: skip
    assert not missing


def test_a_whole_row_is_read() -> None:
    more = """
        url_env = ["A_HOST"]
        keyless = true
        drops = ["store"]
        renames = { seed = "random_seed" }
        roles = { developer = "system" }
        models_path = ""
    """
    row = parse_rows(table(name="ollama", more=more))["ollama"]
    assert (row.name, row.base_url, row.key_env) == ("ollama", "https://a.example", ("A_KEY",))
    assert (row.url_env, row.keyless) == (("A_HOST",), True)
    assert dict(row.paths) == {"embedding": "/v1/embeddings"}
    assert (row.drops, dict(row.renames)) == ({"store"}, {"seed": "random_seed"})
    assert (dict(row.roles), row.models_path) == ({"developer": "system"}, "")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (table(name="nobody"), "nobody: unknown name"),
        (table(more="speed = 3"), "openai: unknown or missing fields"),
        (table(base_url="https://a.example/"), "openai: base_url"),
        (table(base_url="https://a.example/v1"), "openai: base_url"),
        (table(base_url="a.example"), "openai: base_url"),
        (table(base_url="https://u@a.example"), "openai: base_url"),
        (table(key_env='["a-key"]'), "openai: key_env, url_env"),
        (table(key_env="5"), "openai: key_env, url_env"),
        (table(key_env="[]"), "openai: key_env: a provider that needs a key"),
        (table(more='keyless = "yes"'), "openai: keyless"),
        (table(paths=""), "openai: paths"),
        (table(paths='embeddings = "/v1/embeddings"'), "openai: paths"),
        (table(paths='embedding = "v1/embeddings"'), "openai: paths"),
        (table(paths="embedding = 1"), "openai: paths"),
        ("openai = 1", "openai: base_url"),
    ],
)
def test_a_wrong_row_is_refused_by_name(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        parse_rows(text)


# Where requests go


@pytest.mark.parametrize(
    ("name", "request_type", "url"),
    [
        ("openai", "chat_completion", "https://api.openai.com/v1/chat/completions"),
        ("openai", "text_completion", "https://api.openai.com/v1/completions"),
        ("openai", "responses", "https://api.openai.com/v1/responses"),
        ("openai", "embedding", "https://api.openai.com/v1/embeddings"),
        ("groq", "chat_completion", "https://api.groq.com/openai/v1/chat/completions"),
        ("groq", "embedding", None),
        ("mistral", "responses", None),
        ("openrouter", "responses", "https://openrouter.ai/api/v1/responses"),
        ("fireworks", "embedding", "https://api.fireworks.ai/inference/v1/embeddings"),
        ("perplexity", "responses", "https://api.perplexity.ai/v1/responses"),
        ("perplexity", "chat_completion", "https://api.perplexity.ai/v1/responses"),
        ("openrouter", "image_generation", "https://openrouter.ai/api/v1/images"),
        ("deepseek", "responses", "https://api.deepseek.com/responses"),
        ("mistral", "ocr", "https://api.mistral.ai/v1/ocr"),
        ("deepseek", "text_completion", "https://api.deepseek.com/beta/completions"),
        ("parasail", "embedding", None),
        ("vllm", "embedding", "http://localhost:8000/v1/embeddings"),
        ("sgl", "image_generation", None),
        ("openai", "ocr", None),
    ],
)
def test_a_request_goes_to_its_providers_path(
    name: str, request_type: str, url: str | None
) -> None:
    assert endpoint(provider(name), request_type) == url


@pytest.mark.parametrize(
    "base_url",
    [
        "http://10.0.0.5:9000",
        "http://10.0.0.5:9000/",
        "http://10.0.0.5:9000/v1",
        "http://10.0.0.5:9000/v1/",
    ],
)
def test_a_version_at_the_end_of_an_address_is_not_doubled(base_url: str) -> None:
    url = endpoint(provider(base_url=base_url), "chat_completion")
    assert url == "http://10.0.0.5:9000/v1/chat/completions"


def test_only_a_whole_version_segment_is_taken_for_one() -> None:
    assert (
        endpoint(provider(base_url="http://h/api-v1"), "embedding")
        == "http://h/api-v1/v1/embeddings"
    )


def test_a_version_in_the_address_of_an_unversioned_path_is_dropped() -> None:
    deepseek = provider("deepseek", base_url="https://api.deepseek.com/v1")
    assert endpoint(deepseek, "responses") == "https://api.deepseek.com/responses"


def test_a_key_brings_its_own_address_along() -> None:
    key = KeySettings(name="a", id="a", value=Secret(), base_url="http://gpu-2:8000/v1")
    assert endpoint(provider("vllm"), "embedding", key) == "http://gpu-2:8000/v1/embeddings"
    plain = KeySettings(name="b", id="b", value=Secret())
    assert endpoint(provider("vllm"), "embedding", plain) == "http://localhost:8000/v1/embeddings"


def way(of: ProviderSettings, request_type: str) -> Way | None:
    """How requests of a type go there, with no switch of `client.compat` on."""
    return way_of(of, request_type, text_to_chat=False, chat_to_responses=False)


def test_a_custom_provider_offers_only_what_it_allows() -> None:
    lab = provider(custom=custom(allowed=frozenset({"embedding"})))
    assert way(lab, "embedding") is not None
    assert way(lab, "chat_completion") is None


@pytest.mark.parametrize(
    ("base_url", "override", "url"),
    [
        ("https://h", "/api/chat", "https://h/api/chat"),
        ("https://h/v1", "/chat", "https://h/v1/chat"),
        ("https://h/v1", "/v1/chat", "https://h/v1/chat"),
        ("https://h/v1", "/v1beta/chat", "https://h/v1/v1beta/chat"),
        ("https://h", "https://other.example/c?x=1", "https://other.example/c?x=1"),
    ],
)
def test_a_custom_path_replaces_the_usual_one(base_url: str, override: str, url: str) -> None:
    lab = provider(base_url=base_url, custom=custom(paths={"chat_completion": override}))
    assert endpoint(lab, "chat_completion") == url
    assert endpoint(lab, "embedding") == "https://h/v1/embeddings"


@pytest.mark.parametrize(
    ("override", "url"),
    [
        ("/m/{model}/chat", "https://h/m/org%2Fm%3A1/chat"),
        ("https://e.example/{model}?v=1", "https://e.example/org%2Fm%3A1?v=1"),
    ],
)
def test_a_custom_path_may_name_the_model(override: str, url: str) -> None:
    lab = provider(base_url="https://h", custom=custom(paths={"chat_completion": override}))
    assert endpoint(lab, "chat_completion", model="org/m:1") == url


def test_a_custom_path_wins_over_a_dialects_own() -> None:
    lab = provider(base_url="https://h", custom=custom(paths={"chat_completion": "/mine"}))
    assert endpoint(lab, "chat_completion", path="/theirs") == "https://h/mine"


def test_streams_may_have_a_custom_path_of_their_own() -> None:
    paths = {"chat_completion": "/whole", "chat_completion_stream": "/pieces"}
    lab = provider(base_url="https://h", custom=custom(paths=paths))
    assert endpoint(lab, "chat_completion", stream=True) == "https://h/pieces"
    assert endpoint(lab, "chat_completion") == "https://h/whole"
    one = provider(base_url="https://h", custom=custom(paths={"chat_completion": "/whole"}))
    assert endpoint(one, "chat_completion", stream=True) == "https://h/whole"


def test_a_path_for_streams_alone_leaves_the_others_as_they_are() -> None:
    lab = provider(base_url="https://h", custom=custom(paths={"embedding_stream": "/s"}))
    assert endpoint(lab, "embedding") == "https://h/v1/embeddings"


def test_a_custom_path_is_no_way_around_what_is_allowed() -> None:
    lab = provider(custom=custom(allowed=frozenset(), paths={"embedding": "/e"}))
    assert way(lab, "embedding") is None


@pytest.mark.parametrize(
    ("url", "does"),
    [
        ("https://h/v1beta/models/../x:y", True),
        ("https://h/v1beta/models/..", True),
        ("https://h/./x", True),
        ("https://h/models/x?a=/../", False),
        ("https://h/.well-known/..x/x../.x/...", False),
        ("https://h.example/v1/gpt-4.1", False),
    ],
)
def test_an_address_with_steps_up_is_another_one(url: str, does: bool) -> None:
    assert climbs(url) is does
