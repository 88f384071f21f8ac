"""The program itself: commands, flags, start, banner, signals."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from hermod import __version__
from tests.support.database import attempts_of
from tests.support.program import (
    HERMOD,
    Gateway,
    MockUpstream,
    Program,
    chat,
    client,
    openai_config,
    submit,
    wait_done,
)
from tests.support.waiting import wait_until
from tests.support.wire import ROUTES

CHAT_PATH = "/v1/async/chat/completions"
SECRETS = {
    "OPENAI_API_KEY": "sk-canary-environment",
    "MY_VARIABLE": "sk-canary-named",
    "HERMOD_ADMIN_TOKEN": "canary-admin-token-0123456789",
    "HERMOD_ENCRYPTION_KEY": "canary-encryption-key",
}


def run(
    *arguments: str, cwd: Path, environ: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """The program run to its end."""
    return subprocess.run(
        [str(HERMOD), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=cwd,
        check=False,
        env={"PATH": os.environ["PATH"], **(environ or {})},
    )


# Commands and flags


def test_it_says_its_version(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"hermod, version {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--help"], ["serve", "mock-upstream", "--version"]),
        (["-h"], ["serve", "mock-upstream"]),
        (
            ["serve", "--help"],
            [
                "--host",
                "--port",
                "--base-path",
                "--app-dir",
                "--config",
                "--database",
                "--role",
                "--processes",
                "--log-level",
                "HERMOD_",
                "8080",
                "./hermod-data",
            ],
        ),
        (["mock-upstream", "--help"], ["--port", "--latency-ms", "--error-rate", "--echo"]),
    ],
)
def test_it_helps(tmp_path: Path, arguments: list[str], says: list[str]) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for word in says:
        assert word in done.stdout
    assert not any(tmp_path.iterdir())


def test_it_runs_as_a_module_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hermod", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == f"hermod, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["serve", "--nope"], "No such option '--nope'"),
        (["--nope"], "No such option '--nope'"),
        (["serve", "extra"], "Got unexpected extra argument"),
        (["--port", "abc"], "'abc' is not a valid integer"),
        (["serve", "--port"], "requires an argument"),
        (["mock-upstream", "--error-rate", "2"], "is not in the range"),
    ],
)
def test_a_wrong_command_line_is_explained(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not any(tmp_path.iterdir())


# What keeps it from starting


def test_every_mistake_in_the_configuration_is_told_at_once(tmp_path: Path) -> None:
    config = {
        "providers": {
            "opnai": {},
            "openai": {
                "keys": [{"value": "sk-canary-config\n"}],
                "network_config": {"base_url": "x"},
            },
        },
        "hermod": {"lease_s": "long", "worker_slots": 0},
        "client": {"async_job_result_ttl": 0},
    }
    app_dir = tmp_path / "data"
    app_dir.mkdir()
    (app_dir / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    done = run(
        "serve",
        "--app-dir",
        str(app_dir),
        "--port",
        "70000",
        cwd=tmp_path,
        environ={"HERMOD_ROLE": "aip", "HERMOD_HOST": "0.0.0.0"},
    )
    assert done.returncode == 1
    for place in (
        "--port",
        "environment HERMOD_ROLE",
        "environment HERMOD_HOST",
        "providers.opnai",
        "providers.openai.keys[0].value",
        "providers.openai.network_config.base_url",
        "hermod.lease_s",
        "hermod.worker_slots",
        "client.async_job_result_ttl",
    ):
        assert place in done.stderr
    assert done.stderr.endswith("9 problems. Nothing was started.\n")
    assert len(done.stderr.splitlines()) == 10
    assert "canary" not in done.stderr
    assert [path.name for path in app_dir.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"client":\n{"x" 1}}', "config.json:2:6 not JSON"),
        (b"[]", "expected one JSON object"),
        (b"\xff", "not UTF-8"),
        (b"", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_told_with_its_place(
    tmp_path: Path, text: bytes, says: str
) -> None:
    (tmp_path / "config.json").write_bytes(text)
    done = run("--app-dir", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_configuration_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    done = run("--config", "nowhere.json", cwd=tmp_path)
    assert done.returncode == 1
    assert "--config: there is no file nowhere.json" in done.stderr


def test_an_open_address_needs_an_admin_token(tmp_path: Path) -> None:
    done = run("--host", "0.0.0.0", "--port", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert "HERMOD_ADMIN_TOKEN" in done.stderr


@pytest.mark.parametrize("command", ["serve", "mock-upstream"])
def test_a_port_that_is_taken_is_told_in_a_sentence(tmp_path: Path, command: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run(command, "--port", port, cwd=tmp_path)
    assert done.returncode == (2 if command == "serve" else 1)
    (line,) = done.stderr.splitlines()
    assert port in line
    assert line.lower().endswith("address already in use")
    assert "Errno" not in line
    assert done.stdout == ""


def test_a_database_that_is_none_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "hermod.db").write_bytes(os.urandom(8192))
    done = run("--app-dir", str(tmp_path), "--port", "0", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"hermod: cannot open the database {tmp_path}/hermod.db: ")


def test_an_app_dir_that_is_a_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("--app-dir", str(tmp_path / "file"), "--port", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert f"--app-dir: {tmp_path}/file is not a directory" in done.stderr


def test_one_that_cannot_listen_has_touched_no_job(tmp_path: Path) -> None:
    config = {"hermod": {"worker_slots": 1, "upkeep_s": 0.1}}
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        jobs = [submit(http, chat(model="mock/slow?seconds=0.5")) for _ in range(4)]
        place = ("--host", "localhost", "--port", str(gateway.port))
        done = run("--app-dir", str(tmp_path), *place, cwd=tmp_path)
        assert done.returncode == 2
        for job_id in jobs:
            assert wait_done(http, job_id)["status"] == "completed"
            assert attempts_of(tmp_path, job_id) == [(1, "succeeded", None)]


# The start


def test_with_nothing_at_all_it_listens_and_says_how_to_use_it(tmp_path: Path) -> None:
    # The default port may be taken on this machine; everything else is the default.
    with Program("--port", "0", ready=r"fetch", cwd=tmp_path) as program:
        program.wait_ready()
        assert f"hermod {__version__}   sqlite 3." in program.output
        assert re.search(r"listening  http://127\.0\.0\.1:\d+ ", program.output)
        assert "providers  mock (always on)\n" in program.output
        assert "access     open (loopback only)" in program.output
        assert "WARNING" not in program.output
    assert {path.name for path in (tmp_path / "hermod-data").iterdir()} >= {"hermod.db"}
    assert (tmp_path / "hermod-data" / "hermod.db").stat().st_mode & 0o077 == 0


def test_the_banner_names_the_providers_and_no_secret(tmp_path: Path) -> None:
    config = {
        "providers": {
            "groq": {"keys": [{"value": "sk-canary-config"}]},
            "Mine": {
                "keys": [{"value": "env.MY_VARIABLE"}],
                "network_config": {"base_url": "http://127.0.0.1:1", "max_retries": 0},
                "custom_provider_config": {"base_provider_type": "openai"},
            },
        }
    }
    flags = ("--host", "0.0.0.0", "--log-level", "debug")
    with Gateway(tmp_path, *flags, config=config, environ=SECRETS) as gateway:
        gateway.wait_ready()
        headers = {"Authorization": f"Bearer {SECRETS['HERMOD_ADMIN_TOKEN']}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}", headers=headers) as http:
            assert wait_done(http, submit(http, chat(model="mine/x")))["status"] == "failed"
        gateway.send(signal.SIGTERM)
        assert gateway.wait_exit() == 0
        for name in ("mock (always on)", "groq (config.json)", "mine (config.json)"):
            assert name in gateway.output
        assert "openai (OPENAI_API_KEY)" in gateway.output
        assert "access     bearer token HERMOD_ADMIN_TOKEN" in gateway.output
        assert "canary" not in gateway.output


def test_without_the_mock_and_any_key_it_says_that_nothing_can_be_answered(tmp_path: Path) -> None:
    with Gateway(tmp_path, config={"hermod": {"mock": False}}) as gateway:
        gateway.wait_ready()
        wait_until(lambda: "fetch" in gateway.output)
        assert "providers  none: no job can be answered" in gateway.output


@pytest.mark.parametrize(
    ("flags", "environ"),
    [
        ([], {}),
        (["--base-path", "/ai/gw"], {}),
        (["--host", "0.0.0.0"], {"HERMOD_ADMIN_TOKEN": "a token with 'quotes' and $(signs)"}),
    ],
    ids=["plain", "base-path", "open"],
)
def test_the_commands_of_the_banner_work_as_they_stand(
    tmp_path: Path, flags: list[str], environ: dict[str, str]
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed on this machine")
    with Gateway(tmp_path, *flags, environ=environ) as gateway:
        gateway.wait_ready()
        wait_until(lambda: "fetch" in gateway.output)
        commands = dict(re.findall(r"^  (submit|fetch) +(curl .*)$", gateway.output, re.MULTILINE))

        def paste(command: str) -> dict[str, Any]:
            shell = {"PATH": os.environ["PATH"], **environ}
            done = subprocess.run(
                ["/bin/sh", "-c", command], capture_output=True, text=True, env=shell, check=True
            )
            return json.loads(done.stdout)

        job = paste(commands["submit"])
        assert job["status"] == "pending"
        fetch = commands["fetch"].replace("<id>", job["id"])
        wait_until(lambda: paste(fetch)["status"] == "completed", every_s=0.1)
        assert paste(fetch)["result"]["choices"][0]["message"]["content"]


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    app_dir = tmp_path / "data"
    app_dir.mkdir()
    (app_dir / "config.json").write_text('{"hermod":{"base_path":"/file","log_level":"debug"}}')
    environ = {
        "HERMOD_PORT": "1",
        "HERMOD_APP_DIR": str(app_dir),
        "HERMOD_BASE_PATH": "/environment",
        "HERMOD_LOG_LEVEL": "error",
        "HERMOD_DATABASE": f"sqlite:///{tmp_path}/other.db",
    }
    ready = r"listening +(http://\S+)"
    with Program("--port", "0", ready=ready, environ=environ, cwd=tmp_path) as program:
        url = program.wait_ready()[1]
        assert url.endswith("/environment")
        assert httpx.post(f"{url}{CHAT_PATH}", json=chat()).status_code == 202
        assert (tmp_path / "other.db").exists()
    assert not (app_dir / "hermod.db").exists()


def test_routes_health_and_openapi_agree(tmp_path: Path) -> None:
    with Gateway(tmp_path, "--base-path", "/gw") as gateway, client(gateway) as http:
        document = http.get("/openapi.json").json()
        assert document["openapi"].startswith("3.")
        probes = {"/health", "/health/liveness", "/health/liveliness", "/health/readiness"}
        wanted = probes | {"/metrics", "/openapi.json"}
        for route in ROUTES:
            wanted |= {f"/v1/async/{route.path}", f"/v1/async/{route.path}/{{job_id}}"}
        assert wanted <= set(document["paths"])
        for path in wanted:
            for method, operation in document["paths"][path].items():
                response = http.request(method, path.format(job_id=uuid.uuid4()))
                assert str(response.status_code) in operation["responses"], path
        origin = gateway.url.removesuffix("/gw")
        for path in probes:
            assert httpx.get(f"{origin}{path}").json()["status"] == "ok"
        assert "hermod_build_info" in httpx.get(f"{origin}/metrics").text


# Two at once


def test_two_on_one_app_dir_share_the_work_and_each_shows_all_jobs(tmp_path: Path) -> None:
    config = {"hermod": {"worker_slots": 2, "upkeep_s": 0.1}}
    with Gateway(tmp_path, config=config) as first, Gateway(tmp_path, config=config) as second:
        with client(first) as one, client(second) as other:
            body = chat(model="mock/slow?seconds=0.2")
            jobs = [submit(http, body) for _ in range(10) for http in (one, other)]
            for job_id in jobs:
                assert wait_done(other, job_id) == wait_done(one, job_id)
                assert attempts_of(tmp_path, job_id) == [(1, "succeeded", None)]
        for gateway in (first, second):
            gateway.send(signal.SIGTERM)
            assert gateway.wait_exit() == 0
            assert "Traceback" not in gateway.output


def test_the_jobs_of_one_that_was_killed_are_finished_by_the_other(tmp_path: Path) -> None:
    config = {"hermod": {"worker_slots": 2, "upkeep_s": 0.1}}
    with (
        Gateway(tmp_path, config=config) as first,
        Gateway(tmp_path, config=config) as second,
        client(first) as one,
        client(second) as other,
    ):
        jobs = [submit(one, chat(model="mock/slow?seconds=1")) for _ in range(4)]
        first.kill()
        for job_id in jobs:
            assert wait_done(other, job_id)["status"] == "completed"


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_exit_code_0(tmp_path: Path, number: signal.Signals) -> None:
    with Gateway(tmp_path) as gateway, client(gateway) as http:
        assert wait_done(http, submit(http, chat()))["status"] == "completed"
        gateway.send(number)
        assert gateway.wait_exit() == 0
        assert "drained" in gateway.output
        assert "Traceback" not in gateway.output


def test_a_signal_to_the_whole_group_does_too(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        gateway.wait_ready()
        os.killpg(gateway.process.pid, signal.SIGTERM)
        assert gateway.wait_exit() == 0


def test_a_second_signal_gives_running_jobs_back_at_once(tmp_path: Path) -> None:
    config = {"hermod": {"drain_s": 3600}}
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        job_id = submit(http, chat(model="mock/slow?seconds=3000"))
        gateway.send(signal.SIGINT)
        wait_until(lambda: "draining" in gateway.output)
        gateway.send(signal.SIGINT)
        assert gateway.wait_exit() == 0
        assert "Traceback" not in gateway.output
    assert attempts_of(tmp_path, job_id) == [(1, "unknown", "drained")]


def test_the_mock_upstream_ends_with_exit_code_0(tmp_path: Path) -> None:
    with MockUpstream() as upstream, Gateway(tmp_path, config=openai_config(upstream)) as gateway:
        with client(gateway) as http:
            assert wait_done(http, submit(http, chat(model="openai/x")))["status"] == "completed"
        upstream.send(signal.SIGINT)
        assert upstream.wait_exit() == 0


def test_closed_standard_streams_are_no_accident_waiting(tmp_path: Path) -> None:
    # Else the next files opened, sockets and the database among them, would become the streams.
    command = 'exec "$0" serve --port 0 --app-dir data <&- >&- 2>&-'
    with subprocess.Popen(["/bin/sh", "-c", command, HERMOD], cwd=tmp_path) as process:
        try:
            wait_until((tmp_path / "data" / "hermod.db-wal").exists)
            streams = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
            assert streams == ["/dev/null"] * 3
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
