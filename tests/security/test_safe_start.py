"""S8: what is unsafe does not start, what is made is private, and every answer is careful."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from hermod.domain.errors import ConfigError
from hermod.http.browsers import HEADERS
from tests.support.inprocess import gateway
from tests.support.management import (
    ADMIN,
    ENVIRON,
    KEYS,
    LOGIN,
    PASSWORD,
    USERNAME,
    made,
    refused,
    well,
)
from tests.support.raw_http import ask

ELSEWHERE: Final = (
    "0.0.0.0",
    "::",
    " ",
    "[::]",
    "192.0.2.1",
    "127.0.0.1.example",
    "localhost.example",
)
NO_SECRET: Final[list[dict[str, Any]]] = [
    {},
    {"auth_config": {**LOGIN["auth_config"], "is_enabled": False}},
    {"client": {"enforce_auth_on_inference": True}},
    {"client": {"allowed_origins": ["*"]}},
]


@pytest.mark.parametrize("host", ELSEWHERE)
@pytest.mark.parametrize("config", NO_SECRET)
async def test_nothing_is_opened_to_others_without_a_secret(
    tmp_path: Path, host: str, config: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="HERMOD_ADMIN_TOKEN"):
        async with gateway(tmp_path, config=config, host=host):
            pytest.fail("it has started")


async def test_calls_are_never_open_to_others_though_the_file_says_so(tmp_path: Path) -> None:
    login = {"auth_config": {**LOGIN["auth_config"], "disable_auth_on_inference": True}}
    with pytest.raises(ConfigError, match="disable_auth_on_inference"):
        async with gateway(tmp_path, config=login, environ=ENVIRON, host="0.0.0.0"):
            pytest.fail("it has started")


@pytest.fixture
def generous() -> Iterator[None]:
    """As most machines are set up: what a program makes, everybody may read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("generous")
async def test_nobody_else_on_the_machine_can_read_what_it_makes(tmp_path: Path) -> None:
    app_dir = tmp_path / "app"
    body = {"model": "mock/hello", "messages": [{"role": "user", "content": "hi"}]}
    provider = {"provider": "openai", "keys": [{"name": "k", "value": "sk-0123456789abcdef"}]}
    async with gateway(app_dir, environ=ENVIRON) as running:
        well(await running.http.post("/api/providers", json=provider, headers=ADMIN))
        assert (await running.http.post("/v1/async/chat/completions", json=body)).status_code == 202
        made_here = {path.name: path for path in app_dir.rglob("*") if path.name != "config.json"}
        modes = {name: stat.S_IMODE(path.stat().st_mode) for name, path in made_here.items()}
    assert {"hermod.db", "encryption.key", "workers", "uploads"} <= modes.keys()
    assert {name for name, mode in modes.items() if mode & 0o077} == set()


async def test_every_answer_of_every_route_has_the_headers_for_browsers(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN, environ=ENVIRON, host="0.0.0.0") as running:
        asked = [(route.method, re.sub(r"\{[^}]*\}", "x", route.path), headers)
                 for route in running.service.routes for headers in ({}, ADMIN)]  # fmt: skip
        asked += [("GET", "/nowhere", {}), ("PATCH", "/health", {}), ("GET", "/a%2fb", {}),
                  ("OPTIONS", KEYS, {}), ("HEAD", "/health", {})]  # fmt: skip
        for method, path, headers in asked:
            response = await running.http.request(method, path, headers=headers)
            for name, value in HEADERS:
                assert value in response.headers.get_list(name), (method, path, name)
            assert "server" not in response.headers
            assert "x-powered-by" not in response.headers
        response = await ask(running.service._server, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        assert response.status == 400
        assert {name for name, _ in HEADERS} <= response.headers.keys()


async def test_pages_run_no_script_but_the_gateways_own(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for route in running.service.routes:
            path = re.sub(r"\{[^}]*\}", "index.html", route.path)
            if route.method != "GET":
                continue
            response = await running.http.get(path, headers={"accept": "text/html"})
            if "html" not in response.headers.get("content-type", ""):
                continue
            policy = "; ".join(response.headers.get_list("content-security-policy"))
            assert "default-src 'none'" in policy, path
            assert "frame-ancestors 'none'" in policy, path
            for unsafe in ("unsafe-inline", "unsafe-eval", "http:", "https:", "*"):
                assert unsafe not in policy, path


async def test_what_is_managed_is_in_no_cache(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN, environ=ENVIRON) as running:
        for route in running.service.routes:
            if not route.path.startswith("/api/"):
                continue
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            for headers in ({}, ADMIN):
                response = await running.http.request(route.method, path, headers=headers)
                assert response.headers["cache-control"] == "no-store", (route, response.text)


async def test_a_cookie_opens_nothing_but_what_is_managed(tmp_path: Path) -> None:
    """So no page of another site can make calls with it either."""
    config = {**LOGIN, "client": {"enforce_auth_on_inference": True}}
    async with gateway(tmp_path, config=config, environ=ENVIRON) as running:
        http = running.http
        well(
            await http.post("/api/session/login", json={"username": USERNAME, "password": PASSWORD})
        )
        well(await http.get(KEYS))
        body = {"model": "mock/hello", "messages": [{"role": "user", "content": "hi"}]}
        for path in ("/v1/chat/completions", "/v1/async/chat/completions", "/v1/models"):
            response = await http.request("GET" if "models" in path else "POST", path, json=body)
            refused(response, 401)
        http.cookies.clear()
        http.cookies.set("token", (await made_key(running))["value"])
        refused(await http.get(KEYS), 401)


async def made_key(running: Any) -> dict[str, Any]:
    running.http.headers.update(ADMIN)
    key = await made(running.http, name="k")
    del running.http.headers["Authorization"]
    return key
