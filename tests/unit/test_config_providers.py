"""The `providers` section of the file, and the providers found in the environment."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermod.config import Loaded, load
from hermod.config.addresses import address_fault, header_value_fault, host_address, is_loopback
from hermod.domain.errors import ConfigError
from hermod.domain.provider import ProviderSettings, Secret
from hermod.providers.registry import KNOWN_PROVIDERS, load_rows

ROWS = load_rows()
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBezCCASGgAwIBAgIUQcgRyN9I/5Rf3DVsf8BRivtTT3wwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHdGVzdCBDQTAgFw0yNjExMjEwODI0NDFaGA8yMTI2MTAyODA4
MjQ0MVowEjEQMA4GA1UEAwwHdGVzdCBDQTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABM/0FRLiPcseichecxJq//w+c30IFwC1c/6y43c6Q8PDbHW5HNqKTdhwqR6d
Iy9onFGjKXjcHOud3NIu+w5z97qjUzBRMB0GA1UdDgQWBBSAhjpWGXEsnvATJG6u
FxHoH8QapzAfBgNVHSMEGDAWgBSAhjpWGXEsnvATJG6uFxHoH8QapzAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIFfZvjW58uVM7OjUslIvLlYQy15J
mTY6VUwXoDqsKqPZAiEAvQBAuVTkhB/aTcSbVtIUvNOJXiD3zAFT0QZIEit9I6E=
-----END CERTIFICATE-----
"""
"""Of a made-up authority."""


def read(app_dir: Path, providers: object, environ: Mapping[str, str] | None = None) -> Loaded:
    """Load a file that has only this `providers` section."""
    (app_dir / "config.json").write_text(json.dumps({"providers": providers}), "utf-8")
    return load({"app_dir": str(app_dir)}, environ or {}, rows=ROWS, known=KNOWN_PROVIDERS)


def one(
    app_dir: Path, config: object, environ: Mapping[str, str] | None = None, name: str = "openai"
) -> ProviderSettings:
    """The settings of one provider."""
    return read(app_dir, {name: config}, environ).settings.providers[name]


def problems(
    app_dir: Path, providers: object, environ: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """What stops the start."""
    with pytest.raises(ConfigError) as caught:
        read(app_dir, providers, environ)
    return caught.value.problems


# Defaults


def test_what_the_file_does_not_say_comes_from_our_own_section(tmp_path: Path) -> None:
    ours = {
        "attempt_timeout_s": 11,
        "max_retries": 5,
        "retry_backoff_initial_ms": 70,
        "retry_backoff_max_ms": 80,
        "worker_slots": 9,
    }
    text = json.dumps({"hermod": ours, "providers": {"vllm": {}}})
    (tmp_path / "config.json").write_text(text)
    loaded = load({"app_dir": str(tmp_path)}, {}, rows=ROWS, known=KNOWN_PROVIDERS)
    vllm = loaded.settings.providers["vllm"]
    assert vllm.attempt_timeout_s == ours["attempt_timeout_s"]
    assert vllm.max_retries == ours["max_retries"]
    assert vllm.retry_backoff_initial_ms == ours["retry_backoff_initial_ms"]
    assert vllm.retry_backoff_max_ms == ours["retry_backoff_max_ms"]
    assert vllm.concurrency == ours["worker_slots"]
    assert vllm.base_url == ROWS["vllm"].base_url
    assert vllm.origin == "config.json"
    assert vllm.row is ROWS["vllm"]


def test_an_imported_retry_count_keeps_its_value_even_when_it_is_zero(tmp_path: Path) -> None:
    assert one(tmp_path, {"network_config": {"max_retries": 0}}, name="vllm").max_retries == 0


def test_zeros_of_an_exported_file_mean_not_set(tmp_path: Path) -> None:
    exported = {
        "network_config": {
            "base_url": "",
            "default_request_timeout_in_seconds": 0,
            "retry_backoff_initial": 0,
            "retry_backoff_max": 0,
        },
        "concurrency_and_buffer_size": {"concurrency": 0, "buffer_size": 0},
    }
    vllm = one(tmp_path, exported, name="vllm")
    assert (vllm.base_url, vllm.attempt_timeout_s) == (ROWS["vllm"].base_url, 600)
    assert (vllm.retry_backoff_initial_ms, vllm.retry_backoff_max_ms) == (500, 5000)
    assert vllm.concurrency == 1000


@pytest.mark.parametrize(
    ("network", "initial", "longest"),
    [
        ({"retry_backoff_initial": 200, "retry_backoff_max": 900}, 200, 900),
        ({"retry_backoff_initial_ms": 200, "retry_backoff_max_ms": 900}, 200, 900),
        ({"retry_backoff_initial": "250ms", "retry_backoff_max": "1m1.5s"}, 250, 61_500),
        # One written, the other a default that gives way.
        ({"retry_backoff_max": 100}, 100, 100),
        ({"retry_backoff_initial": 9000}, 9000, 9000),
    ],
)
def test_backoffs_are_read_in_every_spelling(
    tmp_path: Path, network: dict[str, object], initial: int, longest: int
) -> None:
    loaded = read(tmp_path, {"vllm": {"network_config": network}})
    vllm = loaded.settings.providers["vllm"]
    assert (vllm.retry_backoff_initial_ms, vllm.retry_backoff_max_ms) == (initial, longest)
    assert loaded.warnings == ()


# Keys


def test_a_key_is_read_whole(tmp_path: Path) -> None:
    written = {
        "id": "k-1",
        "name": "main",
        "value": "sk-1",
        "models": ["a", "b"],
        "blacklisted_models": ["b"],
        "weight": 0.25,
        "concurrency": 7,
        "enabled": False,
    }
    (key,) = one(tmp_path, {"keys": [written]}).keys
    assert (key.name, key.id, key.value, key.weight) == ("main", "k-1", Secret("sk-1"), 0.25)
    assert key.concurrency == 7
    assert not key.enabled
    assert [key.allows(model) for model in ("a", "b", "c")] == [True, False, False]


@pytest.mark.parametrize("models", [None, [], ["*"], ["a", "*"]])
def test_no_models_and_a_star_mean_all(tmp_path: Path, models: list[str] | None) -> None:
    (key,) = one(tmp_path, {"keys": [{"value": "x", "models": models}]}).keys
    assert key.allows("anything")


@pytest.mark.parametrize("written", [{}, {"concurrency": 0}])
def test_a_key_has_no_cap_of_its_own_unless_it_says_so(
    tmp_path: Path, written: dict[str, int]
) -> None:
    (key,) = one(tmp_path, {"keys": [{"value": "x", **written}]}).keys
    assert key.concurrency is None


def test_a_star_among_the_refused_models_refuses_all(tmp_path: Path) -> None:
    (key,) = one(tmp_path, {"keys": [{"value": "x", "blacklisted_models": ["*"]}]}).keys
    assert not key.allows("anything")


def test_an_empty_list_of_models_is_warned_of(tmp_path: Path) -> None:
    models: list[str] = []
    warnings = read(tmp_path, {"xai": {"keys": [{"value": "x", "models": models}]}}).warnings
    assert "an empty list means all models" in warnings[0]


def test_keys_without_names_are_told_apart(tmp_path: Path) -> None:
    keys = one(tmp_path, {"keys": [{"value": "a"}, {"value": "b", "id": "second"}]}).keys
    assert [(key.name, key.id) for key in keys] == [
        ("openai-key-1", "openai-key-1"),
        ("second", "second"),
    ]


def test_two_keys_of_one_name_are_warned_of(tmp_path: Path) -> None:
    keys = [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]
    assert "same name" in read(tmp_path, {"xai": {"keys": keys}}).warnings[0]


@pytest.mark.parametrize("key", [{"id": "header-provided"}, {"name": "header-provided"}])
def test_no_key_is_called_as_those_that_callers_bring(tmp_path: Path, key: dict[str, str]) -> None:
    (member,) = key
    (problem,) = problems(tmp_path, {"openai": {"keys": [{**key, "value": "a"}]}})
    assert f"providers.openai.keys[0].{member}: is what a key is called that " in problem


@pytest.mark.parametrize(
    "written",
    [
        "env.THE_KEY",
        {"value": "", "env_var": "env.THE_KEY", "from_env": True},
        {"value": "env.THE_KEY", "env_var": "env.THE_KEY", "from_env": False},
        {"value": "stale", "env_var": "THE_KEY", "from_env": True},
        {"value": "sk-9", "env_var": "", "from_env": False},
    ],
)
def test_a_secret_is_read_in_every_form(tmp_path: Path, written: object) -> None:
    (key,) = one(tmp_path, {"keys": [{"value": written}]}, {"THE_KEY": "sk-9"}).keys
    assert key.value.reveal() == "sk-9"


def test_an_unset_variable_gives_an_empty_secret_and_warnings(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"openai": {"keys": [{"name": "a", "value": "env.NO_KEY"}]}})
    assert not loaded.settings.providers["openai"].keys[0].value
    places = [warning.split(" ", 1)[1] for warning in loaded.warnings]
    assert places == [
        "providers.openai.keys: has no usable key: its jobs will fail until it has one",
        "providers.openai.keys[0].value: env.NO_KEY is not set in the environment, "
        "so this is empty",
    ]


def test_a_disabled_key_is_no_usable_key(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"groq": {"keys": [{"value": "x", "enabled": False}]}})
    assert "has no usable key" in loaded.warnings[0]


@pytest.mark.parametrize("name", ["ollama", "vllm", "sgl"])
def test_a_server_of_ones_own_needs_no_key(tmp_path: Path, name: str) -> None:
    loaded = read(tmp_path, {name: {"keys": [{"name": "a", "value": ""}]}})
    assert loaded.warnings == ()
    assert loaded.settings.providers[name].keyless


@pytest.mark.parametrize("name", ["ollama", "sgl", "vllm"])
def test_a_key_may_bring_its_own_server(tmp_path: Path, name: str) -> None:
    served = {"url": "env.SERVER", "model_name": "m"}
    key = {"name": "a", "models": ["*"], f"{name}_key_config": served}
    provider = one(tmp_path, {"keys": [key]}, {"SERVER": "http://10.0.0.9:1/"}, name=name)
    assert provider.keys[0].base_url == "http://10.0.0.9:1"
    assert provider.keys[0].models == {"m"}


# Network


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("https://x.example/", "https://x.example"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("env.ADDRESS", "http://10.1.2.3"),
    ],
)
def test_an_address_loses_the_slash_at_its_end(tmp_path: Path, written: str, kept: str) -> None:
    network = {"network_config": {"base_url": written}}
    assert one(tmp_path, network, {"ADDRESS": "http://10.1.2.3"}).base_url == kept


def test_an_address_in_an_unset_variable_stops_the_start(tmp_path: Path) -> None:
    """The default address would be sent a key that was meant for another."""
    (problem,) = problems(tmp_path, {"openai": {"network_config": {"base_url": "env.NO_URL"}}})
    assert "the environment variable it names is not set" in problem


def test_headers_are_kept_as_secrets(tmp_path: Path) -> None:
    network = {"extra_headers": {"x-a": "1", "x-b": "env.B", "x-c": "env.NO_C"}}
    provider = one(tmp_path, {"network_config": network}, {"B": "caf\u00e9"})
    assert provider.extra_headers == (("x-a", Secret("1")), ("x-b", Secret("caf\u00e9")))


def test_an_authority_of_ones_own_is_kept(tmp_path: Path) -> None:
    provider = one(tmp_path, {"network_config": {"ca_cert_pem": "env.CA"}}, {"CA": CERTIFICATE})
    assert provider.ca_cert_pem == CERTIFICATE


def test_skipping_verification_contradicts_an_authority(tmp_path: Path) -> None:
    network = {"insecure_skip_verify": True, "ca_cert_pem": CERTIFICATE}
    (problem,) = problems(tmp_path, {"openai": {"network_config": network}})
    assert "contradicts ca_cert_pem" in problem


def test_skipping_verification_is_warned_of(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"vllm": {"network_config": {"insecure_skip_verify": True}}})
    assert loaded.settings.providers["vllm"].insecure_skip_verify
    assert "insecure_skip_verify: anybody on the way can read the key" in loaded.warnings[0]


def test_a_proxy_is_read_and_listed_as_not_used_yet(tmp_path: Path) -> None:
    written = {"type": "socks5", "url": "socks5://p:1", "username": "u", "password": "env.PW"}
    loaded = read(tmp_path, {"vllm": {"proxy_config": written}}, {"PW": "pw"})
    proxy = loaded.settings.providers["vllm"].proxy
    assert proxy is not None
    assert (proxy.type, proxy.password.reveal()) == ("socks5", "pw")
    assert [place for place, _ in loaded.ignored] == ["providers.vllm.proxy_config"]


# Names and custom providers


def test_names_are_read_in_lower_case(tmp_path: Path) -> None:
    assert set(read(tmp_path, {"VLLM": {}}).settings.providers) == {"vllm"}


def test_a_provider_whose_adapter_is_to_come_is_listed_and_not_configured(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"runway": {"keys": [{"vertex_key_config": 5}]}})
    assert not loaded.settings.providers
    assert loaded.warnings == ()
    assert [place for place, _ in loaded.ignored] == ["providers.runway"]


def test_a_custom_provider_speaks_like_its_base(tmp_path: Path) -> None:
    custom = {
        "base_provider_type": "openai",
        "is_key_less": True,
        "allowed_requests": {"chat_completion": True, "embedding": False, "speech_stream": True},
        "request_path_overrides": {
            "chat_completion": "v2/chat",
            "embedding": "https://e.example/e?v=1",
        },
    }
    loaded = read(tmp_path, {"my-lab": {"custom_provider_config": custom}})
    lab = loaded.settings.providers["my-lab"]
    assert lab.row is ROWS["openai"]
    assert lab.base_url == ROWS["openai"].base_url
    assert lab.keyless
    assert lab.custom is not None
    assert lab.custom.allowed_requests == {"chat_completion"}
    assert dict(lab.custom.path_overrides) == {
        "chat_completion": "/v2/chat",
        "embedding": "https://e.example/e?v=1",
    }
    assert loaded.settings.custom_names == {"my-lab"}
    assert loaded.warnings == ()


def test_a_custom_provider_without_a_list_may_do_everything(tmp_path: Path) -> None:
    custom = {"base_provider_type": "openai", "is_key_less": True}
    settings = one(tmp_path, {"custom_provider_config": custom}, name="lab").custom
    assert settings is not None
    assert settings.allowed_requests is None


def test_an_empty_list_of_requests_allows_none_and_is_warned_of(tmp_path: Path) -> None:
    none: dict[str, bool] = {}
    custom = {"base_provider_type": "openai", "is_key_less": True, "allowed_requests": none}
    loaded = read(tmp_path, {"lab": {"custom_provider_config": custom}})
    settings = loaded.settings.providers["lab"].custom
    assert settings is not None
    assert settings.allowed_requests == frozenset()
    assert "allows no request at all" in loaded.warnings[0]


def test_a_custom_provider_on_a_base_to_come_keeps_its_name_and_is_listed(tmp_path: Path) -> None:
    config = {"providers": {"lab": {"custom_provider_config": {"base_provider_type": "gemini"}}}}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    rows = {name: row for name, row in ROWS.items() if name != "gemini"}
    loaded = load({"app_dir": str(tmp_path)}, {}, rows=rows, known=KNOWN_PROVIDERS)
    assert loaded.settings.custom_names == {"lab"}
    assert not loaded.settings.providers
    assert loaded.ignored == (("providers.lab", "the gemini adapter comes in a later release"),)


CUSTOM_BASES = ("openai", "anthropic", "bedrock", "cohere", "gemini", "huggingface", "replicate")


@pytest.mark.parametrize("base", [name for name in CUSTOM_BASES if name in ROWS])
def test_every_base_of_a_custom_provider_gives_it_its_dialect(tmp_path: Path, base: str) -> None:
    custom = {"base_provider_type": base, "is_key_less": True}
    network = {"base_url": "http://10.0.0.4:8080"}
    lab = one(tmp_path, {"custom_provider_config": custom, "network_config": network}, name="lab")
    assert lab.row is ROWS[base]
    assert (lab.name, lab.base_url, lab.keyless) == ("lab", "http://10.0.0.4:8080", True)


@pytest.mark.parametrize(
    "override",
    [
        "/deployments/{model}/chat",
        "https://e.example/{model}/chat",
    ],
)
def test_a_path_with_the_models_place_is_read(tmp_path: Path, override: str) -> None:
    custom = {
        "base_provider_type": "openai",
        "is_key_less": True,
        "request_path_overrides": {"chat_completion": override, "speech_stream": "s"},
    }
    settings = one(tmp_path, {"custom_provider_config": custom}, name="lab").custom
    assert settings is not None
    assert dict(settings.path_overrides) == {"chat_completion": override, "speech_stream": "/s"}


# The environment


@pytest.mark.parametrize(
    "name", [name for name, row in ROWS.items() if not row.keyless and row.base_url]
)
def test_a_key_in_the_environment_configures_its_provider(tmp_path: Path, name: str) -> None:
    for variable in ROWS[name].key_env:
        providers = read(tmp_path, {}, {variable: "sk-1"}).settings.providers
        assert set(providers) == {name}
        assert providers[name].origin == variable
        assert [key.value.reveal() for key in providers[name].keys] == ["sk-1"]
        assert providers[name].base_url == ROWS[name].base_url


def test_a_resource_of_ones_own_is_found_by_its_address_and_not_by_a_key(tmp_path: Path) -> None:
    assert not read(tmp_path, {}, {"AZURE_OPENAI_API_KEY": "x"}).settings.providers
    address = "https://res.openai.azure.com"
    environ = {"AZURE_OPENAI_API_KEY": "x", "AZURE_OPENAI_ENDPOINT": f"{address}/"}
    azure = read(tmp_path, {}, environ).settings.providers["azure"]
    assert (azure.base_url, azure.origin) == (address, "AZURE_OPENAI_ENDPOINT")
    assert [key.value.reveal() for key in azure.keys] == ["x"]


def test_the_first_of_several_variables_counts(tmp_path: Path) -> None:
    environ = {"OPENAI_KEY": "second", "OPENAI_API_KEY": "first"}
    (key,) = read(tmp_path, {}, environ).settings.providers["openai"].keys
    assert (key.name, key.value.reveal()) == ("OPENAI_API_KEY", "first")


def test_the_file_wins_over_the_environment(tmp_path: Path) -> None:
    providers = read(tmp_path, {"openai": {"keys": []}}, {"OPENAI_API_KEY": "x"}).settings.providers
    assert providers["openai"].keys == ()
    assert providers["openai"].origin == "config.json"


def test_ollama_is_found_by_its_address_and_not_by_a_key(tmp_path: Path) -> None:
    assert not read(tmp_path, {}, {"OLLAMA_API_KEY": "x"}).settings.providers
    environ = {"OLLAMA_HOST": "10.0.0.7", "OLLAMA_API_KEY": "x"}
    ollama = read(tmp_path, {}, environ).settings.providers["ollama"]
    assert (ollama.origin, ollama.base_url) == ("OLLAMA_HOST", "http://10.0.0.7:11434")
    assert [key.value.reveal() for key in ollama.keys] == ["x"]


def test_a_key_in_the_environment_that_cannot_be_sent_stops_the_start(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, {}, {"GROQ_API_KEY": "gsk-secret\n"})
    assert problem.startswith("environment GROQ_API_KEY: cannot be sent in a header: it holds")
    assert "gsk" not in problem


def test_an_address_in_the_environment_that_is_none_stops_the_start(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, {}, {"OLLAMA_HOST": "http://me:pw@host"})
    assert problem.startswith("environment OLLAMA_HOST: must not hold a user name")


# Addresses and header values


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://localhost:11434"),
        ("0.0.0.0:5000", "http://localhost:5000"),
        ("[::]:5000", "http://localhost:5000"),
        (":5000", "http://localhost:5000"),
        ("[fd00::1]", "http://[fd00::1]:11434"),
        ("gpu.lan:80", "http://gpu.lan:80"),
        ("http://gpu.lan", "http://gpu.lan"),
        ("https://gpu.lan/ollama/", "https://gpu.lan/ollama"),
    ],
)
def test_an_address_without_scheme_or_port_is_filled_in(text: str, address: str) -> None:
    assert host_address(text, "http://localhost:11434") == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x.example",
        "ftp://x.example",
        "https://",
        "https://:80",
        "https://u@x.example",
        "https://u:p@x.example",
        "https://x.example?",
        "https://x.example/?a=1",
        "https://x.example/#",
        "https://x.example:99999",
        "https://x.example:0",
        "https://x.example/a b",
        "https://x.example/\n",
        "https://x.example\\@y.example",
        "https://b\u00fccher.example",
        "https://[::1",
    ],
)
def test_what_is_no_upstream_address_is_refused(url: str) -> None:
    assert address_fault(url)


@pytest.mark.parametrize("value", ["", "sk-1", "with blank", "tab\there", "\u00e9\u00ff"])
def test_what_can_be_sent_in_a_header_is_taken(value: str) -> None:
    assert header_value_fault(value) == ""


@pytest.mark.parametrize("value", ["a\r", "a\nb", "\0", "\x7f", "\x1b[0m", "\u0100", "\U0001f511"])
def test_what_cannot_be_sent_in_a_header_is_refused(value: str) -> None:
    assert header_value_fault(value)


@pytest.mark.parametrize("host", ["127.1.2.3", "::1", "::ffff:127.0.0.1", "LOCALHOST"])
def test_an_address_of_this_machine_alone_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "::", "0.0.0.0", "192.168.1.2", "localhost.example"])
def test_any_other_address_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)
