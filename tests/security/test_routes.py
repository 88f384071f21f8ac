"""S2: every route, as the route table has it, is closed to whoever it is not for."""

import re
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from hermod.http.app import App, Level, Route
from hermod.http.browsers import Browsers
from hermod.http.message import Request, Response
from tests.support.inprocess import Running, gateway
from tests.support.management import ADMIN, ENVIRON, LOGIN, ROOT, made
from tests.support.raw_http import ask, serving

MADE_UP: Final = "01890000-0000-7000-8000-000000000000"
PUBLIC: Final = {
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/api/session/is-auth-enabled"),
    ("GET", "/docs"),
    ("GET", "/docs/{file}"),
    ("GET", "/health"),
    ("GET", "/health/liveliness"),
    ("GET", "/health/liveness"),
    ("GET", "/health/readiness"),
    ("GET", "/openapi.json"),
    ("POST", "/api/session/login"),
}
"""All that anybody may reach on an address that others can reach."""
MISLEADING: Final = (
    "Host: localhost\r\nX-HTTP-Method-Override: GET",
    "Host: localhost\r\nX-Original-URL: /health\r\nX-Rewrite-URL: /health",
    "Host: localhost\r\nX-Forwarded-Prefix: /health\r\nX-Forwarded-For: 127.0.0.1",
    "Host: x/?a=",
    "Host: localhost/health?",
    "Host: 127.0.0.1:8080@other",
    "Host: [::1]",
)


@asynccontextmanager
async def locked(app_dir: Path) -> AsyncGenerator[Running]:
    """On an address that others can reach, with every way to log in."""
    async with gateway(app_dir, config=LOGIN, environ=ENVIRON, host="0.0.0.0") as running:
        yield running


def path_of(route: Route) -> str:
    """A path that leads there."""
    return re.sub(r"\{[^}]*\}", MADE_UP, route.path)


def at(running: Running, *levels: Level) -> Iterable[Route]:
    return [route for route in running.service.routes if route.access in levels]


async def test_what_anybody_may_reach_is_this_list_and_no_more(tmp_path: Path) -> None:
    async with locked(tmp_path) as running:
        assert {(route.method, route.path) for route in at(running, Level.PUBLIC)} == PUBLIC


async def test_the_management_api_is_for_administrators(tmp_path: Path) -> None:
    async with locked(tmp_path) as running:
        for route in running.service.routes:
            is_management = route.path.startswith("/api/") or route.path == "/metrics"
            if (route.method, route.path) not in PUBLIC:
                assert (route.access is Level.ADMIN) == is_management, route


async def test_who_shows_nothing_is_refused_wherever_it_is_not_public(tmp_path: Path) -> None:
    async with locked(tmp_path) as running:
        for route in at(running, Level.CALLER, Level.ADMIN):
            response = await running.http.request(route.method, path_of(route))
            assert response.status_code == 401, (route, response.text)
            assert "Unauthorized" in response.text
            assert response.headers["www-authenticate"].startswith("Bearer")


async def test_who_shows_something_that_is_none_is_refused_by_the_management_api(
    tmp_path: Path,
) -> None:
    async with locked(tmp_path) as running:
        wrong: list[dict[str, str]] = [
            {"Authorization": "Bearer dummy"},
            {"Authorization": "Basic cm9vdDp3cm9uZw"},
            {"x-bf-vk": "sk-bf-made-up"},
            {"Cookie": f"token={MADE_UP}"},
        ]
        for route in at(running, Level.ADMIN):
            for headers in wrong:
                path = path_of(route)
                response = await running.http.request(route.method, path, headers=headers)
                assert response.status_code == 401, (route, headers, response.text)


async def test_a_virtual_key_manages_nothing(tmp_path: Path) -> None:
    async with locked(tmp_path) as running:
        running.http.headers.update(ADMIN)
        key = await made(running.http)
        del running.http.headers["Authorization"]
        for headers in ({"x-bf-vk": key["value"]}, {"Authorization": f"Bearer {key['value']}"}):
            for route in at(running, Level.ADMIN):
                path = path_of(route)
                response = await running.http.request(route.method, path, headers=headers)
                assert response.status_code == 403, (route, response.text)


async def test_an_administrator_gets_past_the_door_everywhere(tmp_path: Path) -> None:
    async with locked(tmp_path) as running:
        for route in at(running, Level.ADMIN):
            response = await running.http.request(route.method, path_of(route), headers=ADMIN)
            assert response.status_code not in (401, 403), (route, response.text)
            assert response.status_code != 500, (route, response.text)


async def test_a_path_in_disguise_leads_nowhere_or_to_the_same_door(tmp_path: Path) -> None:
    disguises: tuple[Callable[[str], str], ...] = (
        lambda path: "/" + path,
        lambda path: "/." + path,
        lambda path: "/x/.." + path,
        lambda path: path.replace("/api/", "/api//"),
        lambda path: path.replace("/api/", "/api/./"),
        lambda path: path.replace("/api/", "/api%2f"),
        lambda path: path.replace("/api/", "/api%5c"),
        lambda path: path.replace("/api/", "/API/"),
        lambda path: path.replace("/api/", "/%61pi/"),
        lambda path: path + "/",
        lambda path: path + ";x=1",
        lambda path: path + "%00",
        lambda path: path + "?x=/health",
        lambda path: "/health/.." + path,
        lambda path: "/v1/models/.." + path,
        lambda path: "http://localhost" + path,
        lambda path: "http://other" + path,
    )
    async with locked(tmp_path) as running:
        before = await running.service.store.documents_revision()
        for route in at(running, Level.ADMIN):
            for disguise in disguises:
                target = disguise(path_of(route))
                request = (
                    f"{route.method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
                )
                response = await ask(running.service._server, f"{request}\r\n".encode())
                assert response.status in (400, 401, 404, 405), (target, response)
        assert await running.service.store.documents_revision() == before


async def test_no_header_leads_past_the_door(tmp_path: Path) -> None:
    async with locked(tmp_path) as running:
        for route in at(running, Level.ADMIN):
            for headers in MISLEADING:
                request = f"{route.method} {path_of(route)} HTTP/1.1\r\n{headers}\r\n"
                response = await ask(
                    running.service._server, f"{request}Content-Length: 0\r\n\r\n".encode()
                )
                assert response.status in (400, 401), (route, response)


async def test_no_body_is_read_before_it_is_known_who_manages(tmp_path: Path) -> None:
    async with locked(tmp_path) as running:
        request = f"POST {ROOT}/teams HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        response = await ask(running.service._server, request.encode())
        assert response.status == 401


async def test_a_worker_serves_nothing_but_probes(tmp_path: Path) -> None:
    async with gateway(tmp_path, role="worker") as running:
        assert {route.path for route in running.service.routes} == {
            "/health",
            "/health/liveliness",
            "/health/liveness",
            "/health/readiness",
            "/metrics",
        }


async def test_a_worker_that_others_can_reach_needs_no_secret(tmp_path: Path) -> None:
    async with gateway(tmp_path, role="worker", host="0.0.0.0") as running:
        for route in running.service.routes:
            assert (await running.http.get(route.path)).status_code == 200


# What is not said is closed


async def answered(_: Request) -> Response:
    return Response(200, b"{}")


async def test_a_route_that_says_nothing_is_for_administrators() -> None:
    assert Route("GET", "/x", answered).access is Level.ADMIN


async def test_without_a_gatekeeper_nobody_manages() -> None:
    app = App([Route("GET", "/x", answered)], Browsers((), loopback=True))
    async with serving(app) as server:
        response = await ask(server, b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert response.status == 401
