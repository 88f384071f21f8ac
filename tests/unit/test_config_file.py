"""The file as a whole, its secrets, its `client` section, and rules between settings."""

import dataclasses
from pathlib import Path

import pytest

from hermod.config import CompatSettings
from hermod.domain.forwarding import HeaderFilter, Names
from hermod.domain.provider import Secret
from tests.support.config import problems, read

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


PREVIOUS: list[tuple[dict[str, str], str | None, str]] = [
    ({"HERMOD_ENCRYPTION_KEY_PREVIOUS": "ours"}, "file", "ours"),
    ({"NAMED": "x"}, "env.NAMED", "x"),
    ({}, None, ""),
]


@pytest.mark.parametrize(("environ", "written", "key"), PREVIOUS)
def test_the_key_before_is_ours_then_the_files(
    tmp_path: Path, environ: dict[str, str], written: str | None, key: str
) -> None:
    loaded = read(tmp_path, {"encryption_key_previous": written}, environ)
    assert loaded.settings.encryption_key_previous == Secret(key)
    assert loaded.warnings == ()


def test_settings_never_show_a_secret(tmp_path: Path) -> None:
    config = {
        "encryption_key": "hush-1",
        "encryption_key_previous": "hush-0",
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


# The client section


def test_header_rules_are_read(tmp_path: Path) -> None:
    config = {
        "client": {
            "header_filter_config": {"allowlist": ["X-A", "anthropic-*"], "denylist": [" x-b "]},
            "logging_headers": ["X-Team"],
            "required_headers": ["X-Tenant"],
            "prometheus_labels": ["team"],
        }
    }
    loaded = read(tmp_path, config)
    client = loaded.settings.client
    assert client.header_filter == HeaderFilter(Names.of(["x-a", "anthropic-*"]), Names.of(["x-b"]))
    assert client.logging_headers == ("X-Team",)
    assert client.required_headers == ("X-Tenant",)
    assert client.prometheus_labels == ("team",)
    assert (loaded.warnings, loaded.ignored) == ((), ())


@pytest.mark.parametrize(
    ("client", "says"),
    [
        ({"required_headers": ["x-a", "x b"]}, "client.required_headers[1]: is not a header name"),
        ({"logging_headers": ["x-*"]}, "client.logging_headers[0]: a * may not stand in a name"),
        ({"prometheus_labels": [""]}, "client.prometheus_labels[0]: is not a header name"),
        ({"required_headers": [7, "x:"]}, "client.required_headers[0]: expected a string"),
        (
            {"header_filter_config": {"denylist": ["x-*-secret"]}},
            "client.header_filter_config.denylist[0]: a * may stand only at the end of a name",
        ),
        (
            {"header_filter_config": {"allowlist": "x-a"}},
            "client.header_filter_config.allowlist: expected an array of strings",
        ),
    ],
)
def test_what_is_no_header_name_is_a_problem_with_its_place(
    tmp_path: Path, client: dict[str, object], says: str
) -> None:
    assert problems(tmp_path, {"client": client})[0].split(" ", 1)[1].startswith(says)


def test_a_header_that_is_never_forwarded_or_logged_is_warned_of(tmp_path: Path) -> None:
    config = {
        "client": {
            "header_filter_config": {"allowlist": ["Cookie"]},
            "logging_headers": ["Authorization"],
        }
    }
    loaded = read(tmp_path, config)
    assert [text.split(" ", 1)[1] for text in loaded.warnings] == [
        "client.header_filter_config.allowlist[0]: is never forwarded",
        "client.logging_headers[0]: is never logged",
    ]
    # Nothing else is forwarded either: the list is not an empty one.
    assert loaded.settings.client.header_filter.allowed


def test_nothing_of_a_request_is_changed_to_fit_unless_the_operator_says_so(tmp_path: Path) -> None:
    assert read(tmp_path).settings.client.compat == CompatSettings(
        convert_text_to_chat=False, convert_chat_to_responses=False, should_drop_params=False
    )


@pytest.mark.parametrize(
    "name", ["convert_text_to_chat", "convert_chat_to_responses", "should_drop_params"]
)
def test_each_switch_of_compat_is_read(tmp_path: Path, name: str) -> None:
    loaded = read(tmp_path, {"client": {"compat": {name: True}}})
    assert loaded.settings.client.compat == CompatSettings(**{name: True})
    assert (loaded.warnings, loaded.ignored) == ((), ())


def test_an_unknown_switch_of_compat_is_warned_of(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"client": {"compat": {"should_drop_param": True}}})
    assert [text.split(" ", 1)[1] for text in loaded.warnings] == [
        'client.compat.should_drop_param: unknown key, not read, did you mean "should_drop_params"?'
    ]


def test_a_switch_of_compat_that_is_no_truth_value_is_a_problem(tmp_path: Path) -> None:
    found = problems(tmp_path, {"client": {"compat": {"should_drop_params": "yes"}}})
    assert found[0].split(" ", 1)[1].startswith("client.compat.should_drop_params: expected true")


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
