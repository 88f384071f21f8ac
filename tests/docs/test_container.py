"""Dockerfile and compose.yaml, as far as they can be judged without an engine to run them."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermod.config.launch import SERVE_FLAGS
from tests.support.program import Gateway, chat, client, submit
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
DOCKERFILE = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
STEPS = re.sub(r" *\\\n *", " ", DOCKERFILE).splitlines()
"""One instruction each."""
COMPOSE = re.sub(r"(^| )#.*", "", (ROOT / "compose.yaml").read_text("utf-8"), flags=re.MULTILINE)
DRAIN_S = 25
KNOWN = {f"HERMOD_{flag.upper()}" for flag in SERVE_FLAGS} | {
    "HERMOD_ADMIN_TOKEN",
    "HERMOD_ENCRYPTION_KEY",
}


def arguments(instruction: str) -> list[str]:
    """What follows each of these instructions of the Dockerfile, in order."""
    found = (re.fullmatch(rf"{instruction} +(.*)", step) for step in STEPS)
    return [match[1] for match in found if match]


def section(key: str, text: str = COMPOSE) -> str:
    """The lines under a key of compose.yaml, without their common indent."""
    found = re.search(rf"^{key}:.*\n((?:(?: .*)?\n)*)", text, re.MULTILINE)
    assert found, key
    return re.sub(r"^  ", "", found[1], flags=re.MULTILINE)


def service(name: str) -> str:
    """A service, and what it has in common with the others."""
    own = section(name, section("services"))
    return own + section("x-hermod") if "<<: *hermod" in own else own


# The image


def test_every_stage_is_a_slim_python_that_we_support() -> None:
    ((name, default),) = re.findall(r"(\w+)=(\S+)", " ".join(arguments("ARG")))
    stages = arguments("FROM")
    assert [re.sub(r" AS \w+$", "", stage) for stage in stages] == [f"python:${{{name}}}-slim"] * 2
    assert tuple(map(int, default.split("."))) >= (3, 11)


def test_every_package_of_the_image_is_pinned_and_its_hash_checked() -> None:
    installs = [step for step in STEPS if "pip install" in step]
    assert len(installs) == 2
    assert "--require-hashes -r requirements/runtime.txt" in installs[0]
    assert "--no-index --no-deps" in installs[1]


def test_the_image_runs_as_a_user_that_is_not_root() -> None:
    (user,) = arguments("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert all(f"--{kind} {user.split(':')[0]} " in DOCKERFILE for kind in ("uid", "gid"))


def test_the_image_is_stopped_by_the_signal_that_drains() -> None:
    assert arguments("STOPSIGNAL") == ["SIGTERM"]


def test_the_image_holds_nothing_but_what_it_is_built_from() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copied = [name for step in arguments("COPY") for name in step.split()[:-1]]
    ours = [name for name in copied if not name.startswith(("--from", "/"))]
    assert "*" in ignored
    assert sorted(allowed) == sorted(ours)
    assert all((ROOT / name).exists() for name in ours)


# The health check


def health(environ: Mapping[str, str]) -> int:
    """The exit code of the image's health check."""
    (check,) = arguments("HEALTHCHECK")
    command: list[str] = json.loads(check[check.index("[") :])
    assert command[0] == "python"
    ended = subprocess.run(
        [sys.executable, *command[1:]],
        check=False,
        env={**os.environ, **environ},
        stderr=subprocess.DEVNULL,
        timeout=30,
    )
    return ended.returncode


def test_the_health_check_is_content_with_a_gateway_that_is_ready(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        proxy = {"http_proxy": "http://127.0.0.1:1"}
        assert health({"HERMOD_PORT": str(gateway.port), **proxy}) == 0


def test_the_health_check_is_not_content_with_one_that_drains(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        with client(gateway) as http:
            submit(http, chat(model="mock/slow?seconds=60"))
        gateway.send(signal.SIGTERM)
        wait_until(lambda: "draining" in gateway.output)
        assert health({"HERMOD_PORT": str(gateway.port)}) != 0
        assert gateway.process.poll() is None


def test_the_health_check_is_not_content_with_nobody() -> None:
    assert health({"HERMOD_PORT": "1"}) != 0


# Compose


@pytest.mark.parametrize(
    ("name", "role"), [("gateway-1", "api"), ("gateway-2", "api"), ("worker", "worker")]
)
def test_a_service_of_ours_runs_its_role(name: str, role: str) -> None:
    text = service(name)
    assert f"HERMOD_ROLE: {role} " in text
    assert "condition: service_healthy" in text
    assert re.search(r"^read_only: true$", text, re.MULTILINE)


def test_there_are_two_gateways_with_a_port_each_and_two_workers() -> None:
    ports = [re.findall(r":(\d+):8080\"", service(name)) for name in ("gateway-1", "gateway-2")]
    assert ports == [["8080"], ["8081"]]
    assert "replicas: 2" in service("worker")


def test_a_stopped_service_has_time_to_drain() -> None:
    (grace,) = re.findall(r"^stop_grace_period: (\d+)s$", section("x-hermod"), re.MULTILINE)
    assert int(grace) >= DRAIN_S + 5


def test_the_database_keeps_its_data_and_says_when_it_is_ready() -> None:
    text = service("postgres")
    (image,) = re.findall(r"^image: postgres:(\d+)$", text, re.MULTILINE)
    assert int(image) >= 18, "before 18 the volume belongs elsewhere"
    assert "- postgres:/var/lib/postgresql\n" in text
    assert '["CMD", "pg_isready", "--host=127.0.0.1"' in text
    assert {"hermod:", "postgres:"} == set(section("volumes").split())


@pytest.mark.parametrize("secret", ["HERMOD_ADMIN_TOKEN", "POSTGRES_PASSWORD"])
def test_a_secret_has_no_default_and_must_be_given(secret: str) -> None:
    used = re.findall(rf"\${{{secret}\b(..)", COMPOSE)
    assert used
    assert set(used) == {":?"}
    assert re.findall(rf"{secret}: (?!\$)", COMPOSE) == []


def test_every_setting_has_a_name_that_we_read() -> None:
    settings = set(re.findall(r"\bHERMOD_\w+(?=[=:] ?[^?-])", DOCKERFILE + COMPOSE))
    assert {"HERMOD_HOST", "HERMOD_DATABASE", "HERMOD_ROLE"} <= settings
    assert settings - KNOWN == set()
