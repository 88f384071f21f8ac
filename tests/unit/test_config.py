"""Where settings come from, what is accepted, and how a broken file is reported.

Long, because it holds one table: every documented key of a whole file, and ten broken ones.
"""

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from hermod.config import HermodSettings, Loaded, load
from hermod.domain.errors import ConfigError
from hermod.domain.provider import Secret
from hermod.providers.registry import KNOWN_PROVIDERS, load_rows

ROWS = load_rows()
TOKEN = {"HERMOD_ADMIN_TOKEN": "a long secret of the operator"}


def read(
    app_dir: Path,
    config: object = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded:
    """Load with this `config.json` in the app directory (an object, or its text)."""
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config)
        (app_dir / "config.json").write_text(text, "utf-8")
    given = {"app_dir": str(app_dir), **(flags or {})}
    return load(given, environ or {}, rows=ROWS, known=KNOWN_PROVIDERS)


def problems(
    app_dir: Path,
    config: object = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> list[str]:
    """What stops the start, without the directory in front of each place."""
    with pytest.raises(ConfigError) as caught:
        read(app_dir, config, environ, flags)
    return [text.replace(f"{app_dir}/", "") for text in caught.value.problems]


# Nothing given


def test_a_fresh_machine_gets_every_default(tmp_path: Path) -> None:
    loaded = read(tmp_path)
    settings = loaded.settings
    assert (settings.host, settings.port, settings.base_path) == ("127.0.0.1", 8080, "")
    assert (settings.role, settings.processes, settings.log_level) == ("all", 1, "INFO")
    assert settings.database_path == tmp_path / "hermod.db"
    assert settings.loopback
    assert settings.config_file is None
    assert settings.client.async_job_result_ttl == 3600
    assert settings.client.max_request_body_size_mb == 100
    assert settings.hermod == HermodSettings()
    assert not settings.providers
    assert (loaded.warnings, loaded.ignored) == ((), ())


def test_the_app_directory_is_beside_us_by_default() -> None:
    settings = load({}, {}, rows=ROWS, known=KNOWN_PROVIDERS).settings
    assert settings.app_dir == Path("hermod-data")
    assert settings.database == "sqlite:///hermod-data/hermod.db"


def test_the_default_drain_leaves_room_before_a_service_manager_kills() -> None:
    assert HermodSettings().drain_s <= 25


# Precedence


class Sources(NamedTuple):
    """One setting, written differently in every place it can be."""

    name: str
    flag: object
    variable: str
    file: object
    default: str


SOURCES = [
    Sources("host", "127.0.0.3", "127.0.0.2", "localhost", "127.0.0.1"),
    Sources("port", 3, "2", 1, "8080"),
    Sources("base_path", "/flag", "/env", "/file", ""),
    Sources("database", "sqlite:///c", "sqlite:///b", "sqlite:///a", "sqlite:///{}/hermod.db"),
    Sources("log_level", "ERROR", "WARNING", "DEBUG", "INFO"),
    Sources("role", "worker", "api", "worker", "all"),
    Sources("processes", 4, "3", 2, "1"),
]


@pytest.mark.parametrize("given", SOURCES, ids=[source.name for source in SOURCES])
def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(
    tmp_path: Path, given: Sources
) -> None:
    name = given.name
    file = {"hermod": {name: given.file}}
    environ = {f"HERMOD_{name.upper()}": given.variable}
    read_as = [
        str(getattr(loaded.settings, name))
        for loaded in (
            read(tmp_path),
            read(tmp_path, file),
            read(tmp_path, file, environ),
            read(tmp_path, file, environ, {name: given.flag}),
        )
    ]
    default = given.default.format(tmp_path)
    assert read_as == [default, str(given.file), given.variable, str(given.flag)]


@pytest.mark.parametrize("name", ["role", "processes"])
def test_a_flag_hides_a_wrong_value_of_the_environment(tmp_path: Path, name: str) -> None:
    default = getattr(read(tmp_path).settings, name)
    assert problems(tmp_path, environ={f"HERMOD_{name.upper()}": "0"})
    assert read(tmp_path, environ={f"HERMOD_{name.upper()}": "0"}, flags={name: default})


def test_the_app_directory_and_the_file_can_come_from_the_environment(tmp_path: Path) -> None:
    named = tmp_path / "other.json"
    named.write_text('{"client": {"async_job_result_ttl": 7}}')
    environ = {"HERMOD_APP_DIR": str(tmp_path), "HERMOD_CONFIG": str(named)}
    settings = load({}, environ, rows=ROWS, known=KNOWN_PROVIDERS).settings
    assert settings.app_dir == tmp_path
    assert settings.config_file == named
    assert settings.client.async_job_result_ttl == 7


def test_an_empty_variable_is_one_that_is_not_set(tmp_path: Path) -> None:
    assert read(tmp_path, environ={"HERMOD_PORT": "", "OPENAI_API_KEY": ""}).settings.port == 8080


def test_a_misspelt_variable_is_warned_of(tmp_path: Path) -> None:
    loaded = read(tmp_path, environ={"HERMOD_PROT": "9", "HERMOD_UNRELATED_THING": "1"})
    assert loaded.warnings == (
        'environment HERMOD_PROT: unknown variable, not read, did you mean "HERMOD_PORT"?',
    )


# Flags, and their twins in the environment


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_secret(tmp_path: Path, host: str) -> None:
    assert read(tmp_path, flags={"host": host}).settings.loopback


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "gateway.example", "::ffff:10.0.0.1"]
)
def test_any_other_host_needs_an_admin_secret(tmp_path: Path, host: str) -> None:
    (problem,) = problems(tmp_path, flags={"host": host})
    assert problem.startswith(f"--host: {host} can be reached from other machines")
    assert "HERMOD_ADMIN_TOKEN" in problem
    settings = read(tmp_path, environ=TOKEN, flags={"host": host}).settings
    assert not settings.loopback
    assert settings.admin_token.reveal() == TOKEN["HERMOD_ADMIN_TOKEN"]


def test_a_blank_admin_secret_is_none(tmp_path: Path) -> None:
    assert problems(tmp_path, environ={"HERMOD_ADMIN_TOKEN": "  "}, flags={"host": "0.0.0.0"})


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"role": "wroker"}, '--role: expected all, api or worker, did you mean "worker"?'),
        ({"processes": 0}, "--processes: expected a whole number from 1 to 1024"),
        ({"port": 65536}, "--port: expected a whole number from 0 to 65535"),
        ({"port": "http"}, "--port: expected a whole number from 0 to 65535"),
        ({"log_level": "infos"}, "--log-level: expected one of debug, info, "),
        ({"base_path": "gw"}, "--base-path: expected a path such as /gateway"),
        ({"base_path": "/a//b"}, "--base-path: expected a path such as /gateway"),
        ({"base_path": "/../etc"}, "--base-path: expected a path such as /gateway"),
        ({"database": "mysql://u:pw@h/d"}, "--database: expected sqlite:///FILE"),
        ({"database": "sqlite:///:memory:"}, "--database: a database in memory cannot keep"),
        ({"database": "sqlite:///a?mode=ro"}, "--database: expected sqlite:///FILE"),
    ],
)
def test_a_flag_that_cannot_be_followed_stops_the_start(
    tmp_path: Path, flags: dict[str, object], says: str
) -> None:
    (problem,) = problems(tmp_path, flags=flags)
    assert problem.startswith(says)
    assert "pw" not in problem


def test_a_named_file_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"--config: there is no file /no/such\.json"):
        load({"config": "/no/such.json"}, {}, rows=ROWS, known=KNOWN_PROVIDERS)


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, environ={"HERMOD_PORT": "80 80"})
    assert problem.startswith("environment HERMOD_PORT: ")


def test_a_number_in_the_file_is_not_a_string(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, {"hermod": {"port": "8081"}})
    assert problem.startswith("config.json:1:13 hermod.port: expected a whole number")


@pytest.mark.parametrize(("written", "read_as"), [("/", ""), ("/gw/", "/gw"), ("/a/b.c", "/a/b.c")])
def test_the_base_path_loses_the_slash_at_its_end(
    tmp_path: Path, written: str, read_as: str
) -> None:
    assert read(tmp_path, flags={"base_path": written}).settings.base_path == read_as


def test_a_worker_answers_nothing_that_needs_an_admin_secret(tmp_path: Path) -> None:
    flags = {"host": "0.0.0.0", "role": "worker"}
    assert not read(tmp_path, flags=flags).settings.loopback


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:s3cret@h/d", "postgresql://u@h/d"),
        ("postgres://u:s3cret@h:5433/d?sslmode=require", "postgres://u@h:5433/d?sslmode=require"),
        ("postgresql://h/d?user=u&password=s3cret&target_session_attrs=read-write", None),
        ("postgresql://u:s3cret%40%2F@a:1,[::1]:2,c/d", "postgresql://u@a:1,[::1]:2,c/d"),
        ("postgresql://u:s3cret@/d?host=/run/pg", "postgresql://u@/d?host=/run/pg"),
        ("postgresql://:s3cret@h/d", "postgresql://h/d"),
    ],
)
def test_the_url_of_a_server_is_kept_whole_and_shown_without_its_password(
    tmp_path: Path, url: str, shown: str | None
) -> None:
    settings = read(tmp_path, flags={"database": url}).settings
    assert settings.database_url.reveal() == url
    assert settings.database_path is None
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.database
    assert shown is None or settings.database == shown


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:s3cret@/d", "the host is missing: expected postgresql://USER:PASSWORD@"),
        ("postgresql:///d", "the host is missing"),
        ("postgresql://u:s3cret@a,,b/d", "the host is missing or malformed"),
        ("postgresql://u:s3cret@h:/d", "the port must be a number from 1 to 65535"),
        ("postgresql://u:s3cret@h:70000/d", "the port must be a number from 1 to 65535"),
        ("postgresql://u:s3cret/2@h/d", "the port must be a number from 1 to 65535"),
        ("postgresql://u:s3@cret@h/d", "more than one @ before the host"),
        ("postgresql://u:s3cret#1@h/d", "a blank or a # cannot stand in a URL"),
        ("postgresql://u:s3cret 1@h/d", "a blank or a # cannot stand in a URL"),
        ("postgresql://u:s3cret@[::1/d", "not a URL"),
        ("postgresql://u:s3cret@h/d?sslmode", "not a URL"),
        ("postgresql://u:s3cret@h/d?sslmode=on", "sslmode: expected one of disable, allow"),
        ("postgresql://u:s3cret@h/d?connect_timeout=3", "connect_timeout: not understood here"),
        ("postgresql://u:s3cret@h/d?sslrootcert=system", "sslrootcert: there is no file system"),
        ("postgresql://u:s3cret@h/d?sslmode=require&sslkey=/no%2Fkey", "sslkey: there is no file"),
        ("postgresql+asyncpg://u:s3cret@h/d", "expected sqlite:///FILE (four slashes before"),
    ],
)
def test_what_is_wrong_with_the_url_of_a_server_is_said_without_repeating_it(
    tmp_path: Path, url: str, says: str
) -> None:
    (problem,) = problems(tmp_path, environ={"HERMOD_DATABASE": url})
    assert problem.startswith(f"environment HERMOD_DATABASE: {says}")
    assert "s3cret" not in problem


def test_a_database_path_may_be_absolute_and_escaped(tmp_path: Path) -> None:
    settings = read(tmp_path, flags={"database": "sqlite:////var/lib/my%20jobs.db"}).settings
    assert settings.database_path == Path("/var/lib/my jobs.db")


def test_the_default_database_lies_in_an_app_directory_of_any_name(tmp_path: Path) -> None:
    odd = tmp_path / "a b#c%20?d"
    odd.mkdir()
    assert read(odd).settings.database_path == odd / "hermod.db"


def test_the_app_directory_must_not_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match=r"--app-dir: .* is not a directory"):
        load({"app_dir": str(file)}, {}, rows=ROWS, known=KNOWN_PROVIDERS)


# Secrets

KEY_ORDER: list[tuple[dict[str, str], str | None, str]] = [
    ({"HERMOD_ENCRYPTION_KEY": "ours", "BIFROST_ENCRYPTION_KEY": "theirs"}, "file", "ours"),
    ({"BIFROST_ENCRYPTION_KEY": "theirs"}, "file", "file"),
    ({"BIFROST_ENCRYPTION_KEY": "theirs"}, None, "theirs"),
    ({"NAMED": "x"}, "env.NAMED", "x"),
    ({}, None, ""),
]


@pytest.mark.parametrize(("environ", "written", "key"), KEY_ORDER)
def test_the_encryption_key_is_ours_then_the_files_then_bifrosts(
    tmp_path: Path, environ: dict[str, str], written: str | None, key: str
) -> None:
    settings = read(tmp_path, {"encryption_key": written}, environ).settings
    assert settings.encryption_key == Secret(key)


def test_settings_never_show_a_secret(tmp_path: Path) -> None:
    config = {
        "encryption_key": "hush-1",
        "providers": {
            "openai": {
                "keys": [{"name": "main", "value": "hush-2"}],
                "network_config": {"extra_headers": {"x-token": "hush-3"}},
                "proxy_config": {"type": "http", "url": "http://u:hush-4@p", "password": "hush-5"},
            }
        },
    }
    environ = {"HERMOD_ADMIN_TOKEN": "hush-6", "GROQ_API_KEY": "hush-7"}
    loaded = read(tmp_path, config, environ)
    openai = dataclasses.asdict(loaded.settings.providers["openai"].keys[0])
    assert "hush" not in f"{loaded!r} {loaded} {openai}"
    assert loaded.settings.providers["openai"].keys[0].value.reveal() == "hush-2"


# The file as a whole


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "config.json:1:1 not JSON"),
        ('{\n  "client": {,}\n}', "config.json:2:14 not JSON"),
        ("[]", "config.json:1:1 expected one JSON object"),
        ('{"client": {"async_job_result_ttl": NaN}}', "config.json: not JSON: NaN is not a JSON"),
        ("[" * 100_000, "config.json: nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "config.json: not JSON"),
    ],
)
def test_an_unreadable_file_is_one_problem_with_its_place(
    tmp_path: Path, text: str, says: str
) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(says)


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'{\n"a": "\xe9"}')
    (problem,) = problems(tmp_path)
    assert problem.startswith("config.json:2: not UTF-8")


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'\xef\xbb\xbf{"client": {"async_job_result_ttl": 9}}')
    assert read(tmp_path).settings.client.async_job_result_ttl == 9


def test_an_unreadable_file_does_not_hide_the_other_problems(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "{", flags={"port": -1, "host": "0.0.0.0"})) == 3


def test_an_unknown_key_is_warned_of_with_its_place_and_a_guess(tmp_path: Path) -> None:
    config = '{\n  "client": {\n    "async_job_resul_ttl": 5\n  },\n  "zzz": 1\n}'
    first, second = read(tmp_path, config).warnings
    assert first == (
        f"{tmp_path}/config.json:3:5 client.async_job_resul_ttl: unknown key, not read, "
        'did you mean "async_job_result_ttl"?'
    )
    assert second == f"{tmp_path}/config.json:5:3 zzz: unknown key, not read"


def test_remarks_are_not_unknown_keys(tmp_path: Path) -> None:
    config = {"$schema": "https://www.getbifrost.ai/schema", "_comment": 1, "//": "why"}
    assert read(tmp_path, config).warnings == ()


def test_a_member_written_twice_is_warned_of_and_the_last_one_counts(tmp_path: Path) -> None:
    loaded = read(tmp_path, '{"client": {}, "client": {"async_job_result_ttl": 5}}')
    assert loaded.settings.client.async_job_result_ttl == 5
    assert loaded.warnings == (
        f"{tmp_path}/config.json:1:16 client: written twice, the last one counts",
    )


def test_null_is_absence(tmp_path: Path) -> None:
    config = {"client": None, "providers": None, "hermod": {"lease_s": None}, "webhooks": None}
    loaded = read(tmp_path, config)
    assert loaded.settings.hermod.lease_s == 30
    assert (loaded.warnings, loaded.ignored) == ((), ())


# Rules between settings


@pytest.mark.parametrize(
    ("hermod", "says"),
    [
        ({"renew_s": 15}, "hermod.renew_s: a lease of 30 s must be renewed at least twice"),
        ({"lease_s": 20}, "hermod.lease_s: a lease of 20 s must be renewed at least twice"),
        ({"upkeep_s": 0}, "hermod.upkeep_s: expected a number from 0.01 to 3600, got 0"),
        ({"retry_backoff_initial_ms": 6000}, "hermod.retry_backoff_initial_ms: the first wait"),
        ({"body_budget_mb": 50}, "hermod.body_budget_mb: one body of client.max_request_body_size"),
    ],
)
def test_settings_that_contradict_each_other_stop_the_start(
    tmp_path: Path, hermod: dict[str, object], says: str
) -> None:
    (problem,) = problems(tmp_path, {"hermod": hermod})
    assert problem.split(" ", 1)[1].startswith(says)


def test_an_imported_body_limit_widens_the_default_budget(tmp_path: Path) -> None:
    settings = read(tmp_path, {"client": {"max_request_body_size_mb": 700}}).settings
    assert settings.hermod.body_budget_mb == 700


def test_an_attempt_that_outlasts_its_job_is_warned_of(tmp_path: Path) -> None:
    config = {
        "hermod": {"job_deadline_s": 60},
        "providers": {"vllm": {"network_config": {"default_request_timeout_in_seconds": 90}}},
    }
    warnings = " ".join(read(tmp_path, config).warnings)
    assert "hermod.attempt_timeout_s: 600 s is longer than a whole job may take" in warnings
    assert "providers.vllm: an attempt of 90 s is longer than a whole job may take" in warnings


DEMANDS: list[dict[str, object]] = [
    {"client": {"enforce_auth_on_inference": True}},
    {"client": {"enforce_governance_header": True}},
    {"governance": {"auth_config": {"is_enabled": True, "admin_username": "a"}}},
    {"auth_config": {"is_enabled": True}},
    {"hermod": {"auth": {"jwt": {}}}},
]


@pytest.mark.parametrize("config", DEMANDS)
def test_asked_for_authentication_warns_on_loopback_and_refuses_elsewhere(
    tmp_path: Path, config: object
) -> None:
    assert "cannot check callers yet" in " ".join(read(tmp_path, config).warnings)
    (problem,) = problems(tmp_path, config, TOKEN, {"host": "0.0.0.0"})
    assert "cannot check callers yet" in problem


def test_admin_authentication_alone_does_not_ask_to_check_callers(tmp_path: Path) -> None:
    auth = {"is_enabled": True, "disable_auth_on_inference": True}
    assert read(tmp_path, {"governance": {"auth_config": auth}}).warnings == ()


# Every documented key (wire-contract 9)

FULL: dict[str, object] = {
    "$schema": "https://www.getbifrost.ai/schema",
    "version": 1,
    "encryption_key": "env.THE_KEY",
    "client": {
        "async_job_result_ttl": 120,
        "drop_excess_requests": True,
        "initial_pool_size": 300,
        "prometheus_labels": ["team"],
        "logging_headers": ["x-a"],
        "required_headers": ["x-b"],
        "whitelisted_routes": ["/x"],
        "allowed_headers": ["x-c"],
        "allowed_origins": ["https://app.example"],
        "enable_logging": True,
        "disable_content_logging": False,
        "log_retention_days": 30,
        "enforce_auth_on_inference": False,
        "enforce_governance_header": False,
        "enforce_scim_auth": False,
        "allow_direct_keys": False,
        "max_request_body_size_mb": 20,
        "header_filter_config": {"allowlist": [], "denylist": ["x-d"]},
        "webhook_config": {"delivery_history_retention_days": 30},
    },
    "providers": {
        "openai": {
            "keys": [
                {
                    "id": "k-1",
                    "name": "main",
                    "value": "env.MAIN_KEY",
                    "models": ["gpt-4o"],
                    "blacklisted_models": ["gpt-3"],
                    "weight": 0.5,
                    "enabled": True,
                    "use_for_batch_api": False,
                    "azure_key_config": {},
                    "bedrock_key_config": {},
                    "vertex_key_config": {},
                    "vllm_key_config": None,
                    "replicate_key_config": {},
                }
            ],
            "network_config": {
                "base_url": "https://proxy.example/openai",
                "extra_headers": {"x-team": "blue"},
                "default_request_timeout_in_seconds": 45,
                "max_retries": 0,
                "retry_backoff_initial": 250,
                "retry_backoff_max": 4000,
                "insecure_skip_verify": False,
                "ca_cert_pem": "",
                "max_conns_per_host": 100,
                "allow_private_network": False,
            },
            "concurrency_and_buffer_size": {"concurrency": 7, "buffer_size": 50},
            "proxy_config": {"type": "none", "url": "", "username": "", "password": ""},
            "send_back_raw_request": True,
            "send_back_raw_response": True,
            "store_raw_request_response": False,
        },
        "lab": {
            "keys": [],
            "network_config": {"base_url": "http://10.0.0.5:9000/v1"},
            "custom_provider_config": {
                "base_provider_type": "openai",
                "is_key_less": True,
                "allowed_requests": {"chat_completion": True, "chat_completion_stream": True},
                "request_path_overrides": {"chat_completion": "/chat"},
            },
        },
        "anthropic": {"keys": [{"name": "claude", "value": "env.NOT_SET"}]},
    },
    "config_store": {"enabled": True, "type": "sqlite", "config": {"path": "config.db"}},
    "logs_store": {"enabled": True, "type": "postgres", "config": {"host": "db"}},
    "governance": {
        "virtual_keys": [{"id": "vk-1", "name": "a", "value": "env.NOT_SET"}],
        "teams": [],
        "customers": [],
        "budgets": [],
        "rate_limits": [],
        "model_configs": [],
        "providers": [],
        "routing_rules": [],
        "auth_config": {
            "admin_username": "env.NOT_SET",
            "admin_password": "env.NOT_SET",
            "is_enabled": False,
            "disable_auth_on_inference": True,
        },
    },
    "auth_config": {"is_enabled": False},
    "webhooks": [{"name": "w", "url": "https://example.com", "events": ["async.completed"]}],
    "plugins": [{"name": "telemetry", "enabled": True}],
    "mcp": {"client_configs": []},
    "vector_store": {"enabled": False},
    "framework": {"pricing": {"pricing_sync_interval": 86400}},
    "hermod": {
        "host": "localhost",
        "port": 9999,
        "base_path": "/gw",
        "database": "sqlite:////var/jobs.db",
        "role": "api",
        "processes": 3,
        "log_level": "warning",
        "lease_s": 6,
        "renew_s": 2,
        "upkeep_s": 0.5,
        "worker_slots": 64,
        "attempt_timeout_s": 100,
        "idle_timeout_s": 20,
        "connect_timeout_s": 3,
        "max_reply_mb": 5,
        "job_deadline_s": 1000,
        "queue_wait_s": 2000,
        "drain_s": 9.5,
        "database_wait_s": 12,
        "max_retries": 1,
        "retry_backoff_initial_ms": 10,
        "retry_backoff_max_ms": 20,
        "forward_unknown_fields": False,
        "body_budget_mb": 128,
        "synchronous": "NORMAL",
        "mock": False,
        "on_limit": "delay",
    },
}
FULL_ENVIRON = {"MAIN_KEY": "sk-main", "THE_KEY": "at rest"}


def test_a_file_with_every_documented_key_loads_without_a_warning(tmp_path: Path) -> None:
    assert read(tmp_path, FULL, FULL_ENVIRON).warnings == ()


def test_every_setting_of_ours_is_read_from_the_file(tmp_path: Path) -> None:
    settings = read(tmp_path, FULL, FULL_ENVIRON).settings
    ours = FULL["hermod"]
    assert isinstance(ours, dict)
    names = [field.name for field in dataclasses.fields(HermodSettings)]
    assert {name: getattr(settings.hermod, name) for name in names} == {
        name: ours[name] for name in names
    }


def test_what_this_release_does_not_act_on_is_listed_with_a_reason(tmp_path: Path) -> None:
    ignored = read(tmp_path, FULL, FULL_ENVIRON).ignored
    assert all(reason for _, reason in ignored)
    assert {place for place, _ in ignored} == {
        "client.drop_excess_requests",
        "client.initial_pool_size",
        "client.prometheus_labels",
        "client.logging_headers",
        "client.required_headers",
        "client.whitelisted_routes",
        "client.allowed_headers",
        "client.log_retention_days",
        "client.header_filter_config",
        "client.webhook_config",
        "providers.openai.network_config.max_conns_per_host",
        "providers.openai.concurrency_and_buffer_size.buffer_size",
        "providers.anthropic",
        "config_store",
        "logs_store",
        "governance",
        "webhooks",
        "plugins",
        "mcp",
        "vector_store",
        "framework",
        "hermod.on_limit",
    }


def leaves(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every scalar of a JSON value."""
    steps: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        steps = list(cast("dict[str | int, object]", value).items())
    elif isinstance(value, list):
        steps = list(enumerate(cast("list[object]", value)))
    else:
        return [path]
    return [leaf for step, inner in steps for leaf in leaves(inner, (*path, step))]


def with_value(config: object, path: tuple[str | int, ...], value: object) -> object:
    """A copy with one value replaced."""
    changed = copy.deepcopy(config)
    inner = cast("dict[str | int, Any]", changed)
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed


WRONG: list[object] = [{"x": [1]}, [[]], True, -1, 1.5, "\ud800\n", 10**400]


@pytest.mark.parametrize("turn", range(len(WRONG)))
def test_values_of_wrong_types_everywhere_are_problems_and_nothing_worse(
    tmp_path: Path, turn: int
) -> None:
    config: object = FULL
    for number, path in enumerate(leaves(FULL)):
        config = with_value(config, path, WRONG[(number + turn) % len(WRONG)])
    for problem in problems(tmp_path, config, FULL_ENVIRON):
        assert problem.startswith("config.json:1:")


def test_one_value_of_a_wrong_type_is_a_problem_or_taken(tmp_path: Path) -> None:
    for number, path in enumerate(leaves(FULL)):
        try:
            read(tmp_path, with_value(FULL, path, WRONG[number % len(WRONG)]), FULL_ENVIRON)
        except ConfigError as error:
            places = [problem.removeprefix(f"{tmp_path}/") for problem in error.problems]
            assert all(place.startswith("config.json:1:") for place in places)


# Broken files: every problem at once, each with its place

BROKEN = {
    "ranges": (
        """{
  "client": {"async_job_result_ttl": 0, "max_request_body_size_mb": -5},
  "hermod": {"worker_slots": 0, "drain_s": -1}
}""",
        [
            "2:14 client.async_job_result_ttl",
            "2:41 client.max_request_body_size_mb",
            "3:14 hermod.worker_slots",
            "3:33 hermod.drain_s",
        ],
    ),
    "types": (
        """{
  "client": {"allowed_origins": "*", "enable_logging": "yes"},
  "hermod": {"lease_s": "30s", "mock": 1, "max_retries": 1.5}
}""",
        [
            "2:14 client.allowed_origins",
            "2:38 client.enable_logging",
            "3:14 hermod.lease_s",
            "3:32 hermod.mock",
            "3:43 hermod.max_retries",
        ],
    ),
    "sections": (
        """{"client": [], "providers": [], "governance": 1,
 "webhooks": {}, "hermod": "x", "plugins": "none"}""",
        ["1:2 client", "1:16 providers", "1:33 governance", "2:2 webhooks", "2:18 hermod",
         "2:33 plugins"],
    ),
    "keys": (
        """{"providers": {"openai": {"keys": [
  {"name": 5, "value": ["sk"]},
  "sk-plain",
  {"name": "b", "value": "sk\\r\\nx: y", "weight": -0.1, "models": "gpt"},
  {"name": "c", "value": "k€y", "models": ["a", 7], "enabled": "no"}
]}}}""",
        [
            "2:4 providers.openai.keys[0].name",
            "2:15 providers.openai.keys[0].value",
            "3:3 providers.openai.keys[1]",
            "4:17 providers.openai.keys[2].value",
            "4:40 providers.openai.keys[2].weight",
            "4:56 providers.openai.keys[2].models",
            "5:17 providers.openai.keys[3].value",
            "5:49 providers.openai.keys[3].models[1]",
            "5:53 providers.openai.keys[3].enabled",
        ],
    ),
    "network": (
        """{"providers": {"groq": {"network_config": {
  "base_url": "https://u:p@groq.example", "max_retries": -1,
  "extra_headers": {"x y": "1", "x-a": "a\\nb", "content-length": "4"},
  "retry_backoff_initial": "soon", "ca_cert_pem": "nonsense"}}}}""",
        [
            "2:3 providers.groq.network_config.base_url",
            "2:43 providers.groq.network_config.max_retries",
            '3:21 providers.groq.network_config.extra_headers["x y"]',
            "3:33 providers.groq.network_config.extra_headers.x-a",
            "3:48 providers.groq.network_config.extra_headers.content-length",
            "4:3 providers.groq.network_config.retry_backoff_initial",
            "4:36 providers.groq.network_config.ca_cert_pem",
        ],
    ),
    "addresses": (
        """{"providers": {
  "openai": {"network_config": {"base_url": "ftp://files.example"}},
  "groq": {"network_config": {"base_url": "https://x.example/?key=1"}},
  "xai": {"network_config": {"base_url": "https://x.example/#top"}},
  "mistral": {"network_config": {"base_url": "api.mistral.ai"}},
  "nebius": {"network_config": {"base_url": "http://x.example:99999"}},
  "together": {"network_config": {"base_url": "https://a b"}},
  "vllm": {"network_config": {"base_url": "env.NO_SUCH_ADDRESS"}}
}}""",
        [
            "2:33 providers.openai.network_config.base_url",
            "3:31 providers.groq.network_config.base_url",
            "4:30 providers.xai.network_config.base_url",
            "5:34 providers.mistral.network_config.base_url",
            "6:33 providers.nebius.network_config.base_url",
            "7:35 providers.together.network_config.base_url",
            "8:31 providers.vllm.network_config.base_url",
        ],
    ),
    "custom": (
        """{"providers": {
  "a": {"custom_provider_config": {"base_provider_type": "opneai"}},
  "b": {"custom_provider_config": {"is_key_less": true}},
  "c": {"custom_provider_config": {"base_provider_type": "openai",
    "allowed_requests": {"chat_completion": "yes"},
    "request_path_overrides": {"embedding": "ftp://x.example/e", "responses": "/a b"}}},
  "openai": {"custom_provider_config": {"base_provider_type": "openai"}}
}}""",
        [
            "2:36 providers.a.custom_provider_config.base_provider_type",
            "3:9 providers.b.custom_provider_config.base_provider_type",
            "5:26 providers.c.custom_provider_config.allowed_requests.chat_completion",
            "6:32 providers.c.custom_provider_config.request_path_overrides.embedding",
            "6:66 providers.c.custom_provider_config.request_path_overrides.responses",
            "7:14 providers.openai.custom_provider_config",
        ],
    ),
    "names": (
        """{"providers": {
  "opnai": {}, "no slash/es": {}, "mock": {},
  "Groq": {}, "groq": {}
}}""",
        [
            "2:3 providers.opnai",
            '2:16 providers["no slash/es"]',
            "2:35 providers.mock",
            "3:15 providers.groq",
        ],
    ),
    "contradictions": (
        """{
  "hermod": {"lease_s": 4, "body_budget_mb": 1, "retry_backoff_max_ms": 1},
  "providers": {"openai": {"network_config": {
    "retry_backoff_initial": 900, "retry_backoff_max": "100ms"}}}
}""",
        [
            "2:14 hermod.lease_s",
            "2:28 hermod.body_budget_mb",
            "2:49 hermod.retry_backoff_max_ms",
            "4:5 providers.openai.network_config.retry_backoff_initial",
        ],
    ),
    "words": (
        """{
  "version": 3,
  "hermod": {"synchronous": "OFF", "role": "app", "processes": "4", "log_level": "loud"},
  "providers": {"xai": {"proxy_config": {"type": "sock5"}}}
}""",
        [
            "2:3 version",
            "3:14 hermod.synchronous",
            "3:36 hermod.role",
            "3:51 hermod.processes",
            "3:69 hermod.log_level",
            "4:42 providers.xai.proxy_config.type",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_reports_all_its_problems_at_once_with_their_places(
    tmp_path: Path, name: str
) -> None:
    text, places = BROKEN[name]
    found = [problem.split(": ")[0] for problem in problems(tmp_path, text)]
    assert found == [f"config.json:{place}" for place in places]


@pytest.mark.parametrize("name", BROKEN)
def test_a_problem_never_repeats_a_text_of_the_file(tmp_path: Path, name: str) -> None:
    report = " ".join(problems(tmp_path, BROKEN[name][0]))
    assert not any(word in report for word in ("sk-plain", "u:p@", "files.example", "nonsense"))


def test_a_misspelt_word_gets_a_guess(tmp_path: Path) -> None:
    report = " ".join(problems(tmp_path, BROKEN["custom"][0]))
    assert 'did you mean "openai"?' in report
