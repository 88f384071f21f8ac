"""S8: a page of another site changes nothing with what a browser adds by itself."""

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from hermod.http.app import Level
from tests.support.inprocess import Running, gateway
from tests.support.management import (
    ADMIN,
    ENVIRON,
    KEYS,
    LOGIN,
    PASSWORD,
    USERNAME,
    refused,
    well,
)

REFUSED: Final = "a page of another site may not do this"
FOREIGN: Final = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "anything"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "{own}"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
)
OWN: Final = (
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "{own}"},
    {"Origin": "{own}"},
)


def told(headers: dict[str, str], http: httpx.AsyncClient) -> dict[str, str]:
    """With the gateway's own origin where it is meant."""
    own = str(http.base_url).rstrip("/")
    return {name: value.replace("{own}", own) for name, value in headers.items()}


@asynccontextmanager
async def logged_in(app_dir: Path) -> AsyncGenerator[Running]:
    """A browser with a session, which may call from anywhere."""
    config = LOGIN | {"client": {"allowed_origins": ["*"]}}
    async with gateway(app_dir, config=config, environ=ENVIRON, host="0.0.0.0") as running:
        body = {"username": USERNAME, "password": PASSWORD}
        well(await running.http.post("/api/session/login", json=body))
        yield running


async def test_a_session_in_a_cookie_changes_nothing_for_a_page_of_another_site(
    tmp_path: Path,
) -> None:
    async with logged_in(tmp_path) as running:
        for route in running.service.routes:
            if route.access is not Level.ADMIN or route.method == "GET":
                continue
            path = route.path.replace("{id}", "x")
            for headers in FOREIGN:
                response = await running.http.request(
                    route.method, path, headers=told(headers, running.http)
                )
                assert refused(response, 403) == REFUSED, route
        assert well(await running.http.get(KEYS))["count"] == 0


async def test_a_session_in_a_cookie_changes_things_for_our_own_pages(tmp_path: Path) -> None:
    async with logged_in(tmp_path) as running:
        http = running.http
        for headers in OWN:
            well(await http.post(KEYS, json={"name": repr(headers)}, headers=told(headers, http)))


async def test_a_password_that_the_browser_remembers_is_no_better(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        word = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        for headers, status in (
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-origin"}, 200),
        ):
            headers |= {"Authorization": f"Basic {word}"}
            response = await running.http.post(KEYS, json={"name": "x"}, headers=headers)
            assert response.status_code == status, response.text


async def test_what_a_page_must_have_added_itself_needs_no_such_proof(tmp_path: Path) -> None:
    async with logged_in(tmp_path) as running:
        http = running.http
        token = http.cookies["token"]
        http.cookies.clear()
        for number, headers in enumerate((ADMIN, {"Authorization": f"Bearer {token}"})):
            for foreign in FOREIGN:
                name = f"{number} {foreign}"
                response = await http.post(
                    KEYS, json={"name": name}, headers=told(foreign, http) | headers
                )
                well(response)


async def test_nobody_is_logged_in_by_a_page_of_another_site(tmp_path: Path) -> None:
    async with logged_in(tmp_path) as running:
        http = running.http
        http.cookies.clear()
        for foreign in FOREIGN:
            body = {"username": USERNAME, "password": PASSWORD}
            response = await http.post("/api/session/login", json=body, headers=told(foreign, http))
            assert refused(response, 403) == REFUSED
            assert "set-cookie" not in response.headers


# An open gateway on loopback, which every page of its user can reach


@pytest.mark.parametrize("allowed", [[], ["*"]], ids=["closed", "any origin"])
async def test_no_page_of_another_site_manages_an_open_gateway(
    tmp_path: Path, allowed: list[str]
) -> None:
    config = {"client": {"allowed_origins": allowed}}
    async with gateway(tmp_path, config=config) as running:
        http = running.http
        for headers in FOREIGN:
            response = await http.post(KEYS, json={"name": "x"}, headers=told(headers, http))
            refused(response, 403)
        assert well(await http.get(KEYS))["count"] == 0


async def test_where_every_page_may_call_none_of_them_may_see_what_is_managed(
    tmp_path: Path,
) -> None:
    config = {"client": {"allowed_origins": ["*"]}}
    strangers = (
        {"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"},
    )  # fmt: skip
    async with gateway(tmp_path, config=config) as running:
        for route in running.service.routes:
            if route.access is not Level.ADMIN:
                continue
            path = route.path.replace("{id}", "x")
            for headers in strangers:
                response = await running.http.request(route.method, path, headers=headers)
                assert "is not allowed" in refused(response, 403), route


async def test_a_page_that_the_operator_named_may_look_at_an_open_gateway(tmp_path: Path) -> None:
    config = {"client": {"allowed_origins": ["https://board.example"]}}
    async with gateway(tmp_path, config=config) as running:
        response = await running.http.get(KEYS, headers={"Origin": "https://board.example"})
        assert response.headers["access-control-allow-origin"] == "https://board.example"
        well(response)


async def test_our_own_pages_manage_an_open_gateway(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        http = running.http
        for headers in OWN:
            well(await http.post(KEYS, json={"name": repr(headers)}, headers=told(headers, http)))
