"""`hermod keys` and `hermod secrets`, the installed program, beside a gateway that runs."""

import itertools
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.program import HERMOD, Gateway, chat, client, submit, wait_done
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until

ASYNC: Final = "/v1/async/chat/completions"
ADMIN: Final = "an-admin-token-of-some-length"
IN_FILE: Final = "sk-bf-0000-of-the-file"
UPSTREAM_KEY: Final = "sk-canary-of-the-upstream-0123456789"
NUMBERS: Final = itertools.count()
CALLERS: Final = "sk-canary-of-a-caller-0123456789"
CONFIG: Final[dict[str, Any]] = {
    "client": {"enforce_auth_on_inference": True, "allow_direct_keys": True},
    "governance": {
        "virtual_keys": [
            {
                "id": "vk-file",
                "name": "of the file",
                "value": IN_FILE,
                "provider_configs": [
                    {"provider": "mock", "allowed_models": ["*"], "key_ids": ["*"]}
                ],
            }
        ]
    },
    "hermod": {"upkeep_s": 0.1},
}


class Cli:
    """`hermod`, on the app directory of a gateway."""

    def __init__(self, app_dir: Path, environ: Mapping[str, str] | None = None) -> None:
        self.app_dir = app_dir
        self._environ = {"PATH": os.environ["PATH"], **(environ or {})}

    def __call__(self, *arguments: str, code: int = 0, **environ: str) -> tuple[str, str]:
        """Its output and its errors, without the line's end."""
        done = subprocess.run(
            [str(HERMOD), *arguments, "--app-dir", str(self.app_dir)],
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
            env={**self._environ, **environ},
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert UPSTREAM_KEY not in done.stdout + done.stderr
        return done.stdout.rstrip("\n"), done.stderr

    def json(self, *arguments: str) -> Any:
        """What it prints as JSON."""
        return json.loads(self(*arguments, "--json")[0])


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One where everybody needs a credential."""
    app_dir = tmp_path_factory.mktemp("keys") / "app"
    with Gateway(app_dir, config=CONFIG, environ={"HERMOD_ADMIN_TOKEN": ADMIN}) as running:
        yield running
        assert "Traceback" not in running.output


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    """Of that gateway."""
    with client(gateway) as opened:
        yield opened


@pytest.fixture(scope="module")
def cli(gateway: Gateway) -> Cli:
    gateway.wait_ready()
    return Cli(gateway.app_dir)


def asked(http: httpx.Client, credential: str, model: str = "mock/echo") -> int:
    """The status of a request with this credential."""
    headers = {"authorization": f"Bearer {credential}"}
    return http.post(ASYNC, json=chat(model=model), headers=headers).status_code


# Virtual keys


def test_a_key_that_is_made_is_good_until_it_is_revoked(cli: Cli, http: httpx.Client) -> None:
    value, told = cli("keys", "create", "alice", "--provider", "mock")
    assert value.startswith("sk-bf-")
    assert value not in told
    wait_until(lambda: asked(http, value) == 202)
    cli("keys", "revoke", "alice")
    wait_until(lambda: asked(http, value) == 403)


def test_another_value_takes_the_place_of_the_first(cli: Cli, http: httpx.Client) -> None:
    first, _ = cli("keys", "create", "bob")
    second, _ = cli("keys", "rotate", "bob")
    assert second != first
    wait_until(lambda: asked(http, second) == 202)
    assert asked(http, first) == 403


def test_a_key_that_is_deleted_is_gone(cli: Cli, http: httpx.Client) -> None:
    made = cli.json("keys", "create", "carol")
    cli("keys", "revoke", made["id"], "--delete")
    assert "carol" not in cli("keys", "list")[0]
    wait_until(lambda: asked(http, made["value"]) == 403)


@pytest.mark.parametrize("name", ["of the file", "vk-file", "dora"])
def test_a_token_is_the_key(cli: Cli, http: httpx.Client, name: str) -> None:
    if name == "dora":
        cli("keys", "create", "dora")
    token, told = cli("keys", "token", name, "--life", "1h")
    assert token.count(".") == 2
    assert token not in told
    wait_until(lambda: asked(http, token) == 202)


def test_tokens_of_the_last_signing_key_stay_good_and_no_older_ones(
    cli: Cli, http: httpx.Client
) -> None:
    token, _ = cli("keys", "token", "vk-file")
    wait_until(lambda: asked(http, token) == 202)
    first, _ = cli("keys", "signing", "rotate")
    newer, _ = cli("keys", "token", "vk-file")
    wait_until(lambda: asked(http, newer) == 202)
    assert asked(http, token) == 202
    second, _ = cli("keys", "signing", "rotate")
    assert first != second
    wait_until(lambda: asked(http, token) == 401)


def test_all_that_can_be_said_of_a_key_is_kept(cli: Cli) -> None:
    limits = ("--budget", "10/1d", "--requests", "100/1m", "--tokens", "100000/1h")
    counts = ("--parallel", "3", "--pending", "7", "--on-limit", "reject", "--expires", "30d")
    made = cli.json(
        "keys", "create", "eve", "--provider", "openai", "--models", "a,b", *limits, *counts
    )
    kept = cli.json("keys", "show", made["id"])
    assert {**made, "value": kept["value"]} == kept
    (config,) = kept["provider_configs"]
    assert (config["provider"], config["allowed_models"]) == ("openai", ["a", "b"])
    assert config["weight"] == 1
    assert (kept["budget"]["max_limit"], kept["budget"]["reset_duration"]) == (10, "1d")
    assert kept["rate_limit"]["request_max_limit"] == 100
    assert kept["rate_limit"]["token_reset_duration"] == "1h"
    assert (kept["max_parallel_jobs"], kept["max_pending_jobs"]) == (3, 7)
    assert (kept["on_limit"], kept["is_active"]) == ("reject", True)
    assert kept["expires_at"] > kept["created_at"]


def test_the_list_has_what_an_operator_looks_for(cli: Cli) -> None:
    until = "2999-01-31T00:00:00Z"
    value, _ = cli("keys", "create", "frank", "--budget", "2.5/1M", "--expires", until)
    table, _ = cli("keys", "list")
    (line,) = [each for each in table.splitlines() if each.startswith("frank ")]
    for part in (value[-4:], "active", until, "$0 of $2.5 per 1M"):
        assert part in line
    assert value not in table
    assert "active, file" in table


WRONG: Final = {
    "an unknown key": (("revoke", "alise-2"), "there is no virtual key 'alise-2'"),
    "a key of the file": (("revoke", "vk-file"), "managed by file: change governance.virtual_keys"),
    "an unknown provider": (("create", "x", "--provider", "opnai"), 'did you mean "openai"?'),
    "no period": (("create", "x", "--budget", "10"), "--budget: expected an amount and a period"),
    "half a request": (("create", "x", "--requests", "1.5/1m"), "--requests: expected a whole"),
    "no instant": (("create", "x", "--expires", "soon"), "--expires: expected a time"),
    "an unknown team": (("create", "x", "--team", "t"), "--team: there is no team 't'"),
    "too long a life": (("token", "vk-file", "--life", "9999w"), "--life: a token lives between"),
    "a name that is taken": (("create", "of the file"), "already exists"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_with_its_place(cli: Cli, what: str) -> None:
    arguments, told = WRONG[what]
    output, errors = cli("keys", *arguments, code=1)
    assert told in errors
    assert output == ""


def test_a_database_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    _, errors = Cli(tmp_path / "nowhere")("keys", "list", code=1)
    assert "there is no database at" in errors
    assert not (tmp_path / "nowhere").exists()


def test_what_is_done_leaves_a_trace(cli: Cli, http: httpx.Client) -> None:
    made = cli.json("keys", "create", "grace")
    admin = {"authorization": f"Bearer {ADMIN}"}
    entries = http.get("/api/governance/audit", headers=admin).text
    assert made["id"] in entries
    assert '"cli"' in entries
    assert made["value"] not in entries


# The encryption key


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def made_over_the_api(http: httpx.Client, upstream: Upstream) -> None:
    provider = {
        "provider": "mine",
        "keys": [{"name": "main", "value": UPSTREAM_KEY, "weight": 1}],
        "network_config": {"base_url": upstream.url, "allow_private_network": True},
        "custom_provider_config": {"base_provider_type": "openai"},
    }
    admin = {"authorization": f"Bearer {ADMIN}"}
    response = http.post("/api/providers", json=provider, headers=admin)
    assert response.status_code in (200, 201), response.text


def works(http: httpx.Client, upstream: Upstream) -> None:
    """A job of the provider is called with its key."""
    model = f"model-{next(NUMBERS)}"
    job_id = submit(http, chat(model=f"mine/{model}"))
    assert wait_done(http, job_id)["status"] == "completed"
    assert upstream.the_call(model).headers["authorization"] == f"Bearer {UPSTREAM_KEY}"


def open_config() -> dict[str, Any]:
    return {"client": {"allow_direct_keys": True}, "hermod": {"upkeep_s": 0.1}}


def opened(app_dir: Path, **environ: str) -> Gateway:
    """A gateway that nobody needs a credential for."""
    return Gateway(app_dir, config=open_config(), environ={"HERMOD_ADMIN_TOKEN": ADMIN, **environ})


def key_files(app_dir: Path) -> dict[str, str]:
    return {each.name: each.read_text("ascii") for each in app_dir.glob("encryption.key*")}


def test_a_gateway_runs_on_while_its_key_is_changed(tmp_path: Path, upstream: Upstream) -> None:
    cli = Cli(tmp_path)
    with opened(tmp_path) as gateway, client(gateway) as http:
        made_over_the_api(http, upstream)
        works(http, upstream)
        old = key_files(tmp_path)
        cli("secrets", "rotate", "--wait", "0")
        new = key_files(tmp_path)
        assert new.keys() == old.keys() == {"encryption.key"}
        assert new != old
        works(http, upstream)
        callers = {"authorization": f"Bearer {CALLERS}"}
        job = http.post(ASYNC, json=chat(model="mine/callers"), headers=callers).json()
        wait_done(http, job["id"])
        assert upstream.the_call("callers").headers["authorization"] == f"Bearer {CALLERS}"
        assert "cannot be" not in gateway.output
    with opened(tmp_path) as gateway, client(gateway) as http:
        works(http, upstream)
    told = cli.json("secrets", "status")
    assert told["secrets"] == {"provider": {"current": 1, "older": 0, "unknown": 0}}


def test_jobs_that_wait_are_called_with_their_callers_keys(
    tmp_path: Path, upstream: Upstream
) -> None:
    cli = Cli(tmp_path)
    provider = {
        "keys": [{"name": "main", "value": UPSTREAM_KEY}],
        "network_config": {"base_url": upstream.url},
        "custom_provider_config": {"base_provider_type": "openai"},
    }
    config = {**open_config(), "providers": {"here": provider}}
    models = [f"waits-{n}" for n in range(3)]
    headers = {"authorization": f"Bearer {CALLERS}"}
    with Gateway(tmp_path, "--role", "api", config=config) as gateway, client(gateway) as http:
        for model in models:
            response = http.post(ASYNC, json=chat(model=f"here/{model}"), headers=headers)
            assert response.status_code == 202, response.text
        cli("secrets", "rotate", "--check")
        cli("secrets", "rotate", "--wait", "0")
        told = cli.json("secrets", "status")
        assert told["secrets"]["job"] == {"current": 3, "older": 0, "unknown": 0}
    with Gateway(tmp_path, config=config) as gateway:
        for model in models:
            wait_until(lambda model=model: len(upstream.calls(model)) == 1)
            call = upstream.the_call(model)
            assert call.headers["authorization"] == f"Bearer {CALLERS}"
        assert gateway.process.poll() is None


@pytest.mark.parametrize(
    "point", ["change_documents.before_commit", "change_documents.after_commit"]
)
def test_a_change_that_is_killed_is_finished_by_the_next(
    tmp_path: Path, upstream: Upstream, point: str
) -> None:
    cli = Cli(tmp_path)
    with opened(tmp_path) as gateway, client(gateway) as http:
        made_over_the_api(http, upstream)
        cli("secrets", "rotate", code=-signal.SIGKILL, HERMOD_FAILPOINTS=f"{point}=kill")
        assert key_files(tmp_path).keys() == {"encryption.key", "encryption.key.previous"}
        works(http, upstream)
        before = key_files(tmp_path)
        _, told = cli("secrets", "rotate", "--wait", "0")
        assert "begun before" in told
        assert key_files(tmp_path) == {"encryption.key": before["encryption.key"]}
    with opened(tmp_path) as gateway, client(gateway) as http:
        works(http, upstream)


def test_the_operators_key_is_changed_without_a_gap(tmp_path: Path, upstream: Upstream) -> None:
    old, new = {"HERMOD_ENCRYPTION_KEY": "the old one"}, {"HERMOD_ENCRYPTION_KEY": "the new one"}
    both = {**new, "HERMOD_ENCRYPTION_KEY_PREVIOUS": "the old one"}
    with opened(tmp_path, **old) as gateway, client(gateway) as http:
        made_over_the_api(http, upstream)
    cli = Cli(tmp_path, both)
    with opened(tmp_path, **both) as gateway, client(gateway) as http:
        works(http, upstream)
        cli("secrets", "rotate", "--check", code=1)
        cli("secrets", "rotate")
        cli("secrets", "rotate", "--check")
        works(http, upstream)
    with opened(tmp_path, **new) as gateway, client(gateway) as http:
        works(http, upstream)
    assert key_files(tmp_path) == {}


def test_a_key_to_come_can_be_named(tmp_path: Path, upstream: Upstream) -> None:
    with opened(tmp_path) as gateway, client(gateway) as http:
        made_over_the_api(http, upstream)
    Cli(tmp_path)("secrets", "rotate", "--new-key-env", "COMING", COMING="the new one")
    with opened(tmp_path, HERMOD_ENCRYPTION_KEY="the new one") as gateway, client(gateway) as http:
        works(http, upstream)
    _, errors = Cli(tmp_path)("secrets", "rotate", "--new-key-env", "MISSING", code=1)
    assert "MISSING is not set" in errors
