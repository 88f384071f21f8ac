"""`/api/session`: logging in with a browser (wire-contract 10.4)."""

import base64
import re
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.support.inprocess import gateway
from tests.support.management import (
    ADMIN,
    ENVIRON,
    KEYS,
    LOGIN,
    PASSWORD,
    ROOT,
    USERNAME,
    refused,
    well,
)

DAY_S: Final = 86_400
COOKIE: Final = re.compile(
    r"token=([0-9a-f-]{36}); Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict(; Secure)?"
)


async def logged_in(http: httpx.AsyncClient, **headers: str) -> httpx.Response:
    body = {"username": USERNAME, "password": PASSWORD}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post("/api/session/login", json=body, headers=named)


async def test_a_login_opens_the_management_api_by_cookie_and_by_bearer(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        http = running.http
        assert refused(await http.get(KEYS), 401) == "Unauthorized"
        response = await logged_in(http)
        assert well(response) == {"message": "Login successful"}
        found = COOKIE.fullmatch(response.headers["set-cookie"])
        assert found is not None
        assert found[2] is None  # it came without TLS
        well(await http.get(KEYS))
        http.cookies.clear()
        refused(await http.get(KEYS), 401)
        well(await http.get(KEYS, headers={"Authorization": f"Bearer {found[1]}"}))


async def test_the_cookie_is_for_tls_only_where_the_browser_came_by_it(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        response = await logged_in(running.http, x_forwarded_proto="https")
        found = COOKIE.fullmatch(response.headers["set-cookie"])
        assert found is not None
        assert found[2] == "; Secure"


async def test_the_cookie_is_for_the_base_path_only(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN, base_path="/ai/gw") as running:
        body = {"username": USERNAME, "password": PASSWORD}
        response = await running.http.post("/ai/gw/api/session/login", json=body)
        assert "; Path=/ai/gw; " in response.headers["set-cookie"]
        well(await running.http.get(f"/ai/gw{KEYS}"))


async def test_after_the_logout_the_session_is_dead_and_others_are_not(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        http = running.http
        tokens: list[str] = []
        for _ in range(2):
            well(await logged_in(http))
            tokens.append(http.cookies["token"])
        mine, other = ({"Authorization": f"Bearer {token}"} for token in tokens[::-1])
        response = await http.post("/api/session/logout")
        assert well(response) == {"message": "Logout successful"}
        assert "token=; " in response.headers["set-cookie"]
        assert "Max-Age=0" in response.headers["set-cookie"]
        refused(await http.get(KEYS, headers=mine), 401)
        well(await http.get(KEYS, headers=other))
        well(await http.post("/api/session/logout", headers=other))
        refused(await http.get(KEYS, headers=other), 401)


async def test_a_session_ends_after_thirty_days_and_a_later_login_clears_it_away(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        http = running.http
        well(await logged_in(http))
        running.clock.ahead_s = 30 * DAY_S - 60
        well(await http.get(KEYS))
        running.clock.ahead_s = 30 * DAY_S + 60
        refused(await http.get(KEYS), 401)
        well(await logged_in(http))
        _, documents = await running.service.store.read_documents()
        assert [document.type for document in documents] == ["session"]


async def test_a_session_outlives_a_restart_and_its_token_is_not_stored(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        well(await logged_in(running.http))
        token = running.http.cookies["token"]
        _, (document,) = await running.service.store.read_documents()
        assert token not in repr(document)
    async with gateway(tmp_path, config=LOGIN) as running:
        well(await running.http.get(KEYS, headers={"Authorization": f"Bearer {token}"}))


@pytest.mark.parametrize(
    "changed",
    [{"admin_password": "another horse"}, {"admin_username": "boss"}, {"is_enabled": False}],
)
async def test_a_session_ends_with_the_password_that_opened_it(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    async with gateway(tmp_path, config=LOGIN, environ=ENVIRON) as running:
        well(await logged_in(running.http))
        token = running.http.cookies["token"]
        _, (document,) = await running.service.store.read_documents()
        assert PASSWORD.encode() not in document.body
    config = {"auth_config": {**LOGIN["auth_config"], **changed}}
    async with gateway(tmp_path, config=config, environ=ENVIRON) as running:
        for shown in ({"Cookie": f"token={token}"}, {"Authorization": f"Bearer {token}"}):
            refused(await running.http.get(KEYS, headers=shown), 401)
            here = "/api/session/is-auth-enabled"
            assert not well(await running.http.get(here, headers=shown))["has_valid_token"]
        well(await running.http.get(KEYS, headers=ADMIN))


async def test_a_password_in_a_header_opens_too(tmp_path: Path) -> None:
    word = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    async with gateway(tmp_path, config=LOGIN) as running:
        for scheme in ("Basic", "Bearer"):
            well(await running.http.get(KEYS, headers={"Authorization": f"{scheme} {word}"}))


async def test_without_a_password_nobody_logs_in(tmp_path: Path) -> None:
    async with gateway(tmp_path, environ=ENVIRON) as running:
        for password in ("", "x", PASSWORD):
            body = {"username": "", "password": password}
            response = await running.http.post("/api/session/login", json=body)
            assert refused(response, 403) == "Authentication is not enabled"


async def test_whether_a_login_is_needed_is_told_to_everybody(tmp_path: Path) -> None:
    here = "/api/session/is-auth-enabled"
    async with gateway(tmp_path / "open") as running:
        told = {"is_auth_enabled": False, "has_valid_token": False}
        assert well(await running.http.get(here)) == told
    async with gateway(tmp_path / "locked", config=LOGIN, environ=ENVIRON) as running:
        told = {"is_auth_enabled": True, "has_valid_token": False}
        assert well(await running.http.get(here)) == told
        wrong = {"Authorization": "Bearer wrong"}
        assert well(await running.http.get(here, headers=wrong)) == told
        told["has_valid_token"] = True
        assert well(await running.http.get(here, headers=ADMIN)) == told
        well(await logged_in(running.http))
        assert well(await running.http.get(here)) == told


async def test_there_are_no_tickets_for_web_sockets(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        response = await running.http.post("/api/session/ws-ticket")
        assert refused(response, 501) == "There are no web sockets in this gateway"


async def test_logins_and_logouts_leave_a_trace(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN, environ=ENVIRON) as running:
        http = running.http
        well(await logged_in(http))
        well(await http.post("/api/session/logout"))
        http.cookies.clear()
        entries = well(await http.get(f"{ROOT}/audit", headers=ADMIN))["entries"]
        told = [(entry["action"], entry["subject"]) for entry in entries]
        subject = f"admin:{USERNAME}"
        assert told == [("session.delete", subject), ("session.create", subject)]
