"""Where settings come from: flags, the environment, the file, defaults."""

from pathlib import Path
from typing import NamedTuple

import pytest

from hermod.config import HermodSettings, load
from hermod.domain.errors import ConfigError
from hermod.providers.registry import KNOWN_PROVIDERS
from tests.support.config import ROWS, TOKEN, problems, read

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


# Keys that callers bring


def test_callers_may_bring_keys_for_every_other_provider_that_has_an_address(
    tmp_path: Path,
) -> None:
    config = {"client": {"allow_direct_keys": True}, "providers": {"openai": {"keys": []}}}
    settings = read(tmp_path, config).settings
    assert settings.client.allow_direct_keys
    assert settings.unconfigured.keys() >= {"anthropic", "gemini", "groq", "mistral"}
    assert not settings.unconfigured.keys() & {"openai", "azure", "mock"}
    anthropic = settings.unconfigured["anthropic"]
    assert (anthropic.base_url, anthropic.keys) == (ROWS["anthropic"].base_url, ())
    assert not read(tmp_path, {"providers": {}}).settings.unconfigured


def test_callers_keys_need_an_encryption_key_where_there_is_no_app_directory_for_one(
    tmp_path: Path,
) -> None:
    config = {"client": {"allow_direct_keys": True}}
    flags = {"database": "postgresql://u:p@127.0.0.1/hermod"}
    (warning,) = read(tmp_path, config, flags=flags).warnings
    assert "client.allow_direct_keys" in warning
    assert "encryption_key" in warning
    assert read(tmp_path, config | {"encryption_key": "k"}, flags=flags).warnings == ()
    assert read(tmp_path, config).warnings == ()
