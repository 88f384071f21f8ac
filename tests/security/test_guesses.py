"""S5: whichever route and header takes a password, guesses of it are counted."""

import base64
import re
from pathlib import Path
from typing import Any, Final

import pytest

from hermod.http.app import Level, Route
from tests.support.inprocess import gateway
from tests.support.management import ADMIN, ENVIRON, KEYS, LOGIN, PASSWORD, USERNAME, refused, well

TEN: Final = 10
HEADERS: Final = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
WHO_ASKS: Final = "/api/session/is-auth-enabled"
OPEN_CALLS: Final[dict[str, Any]] = {
    "auth_config": LOGIN["auth_config"] | {"disable_auth_on_inference": True}
}


def shown(header: str, password: str, scheme: str = "Bearer") -> dict[str, str]:
    """The password, as this header takes it."""
    word = base64.b64encode(f"{USERNAME}:{password}".encode()).decode()
    return {header: f"{scheme} {word}" if header == "authorization" else word}


def takes_passwords(route: Route) -> bool:
    """Whether what headers show there makes any difference."""
    return route.access is not Level.PUBLIC or route.path == WHO_ASKS


@pytest.mark.parametrize("config", [LOGIN, OPEN_CALLS], ids=["locked", "open calls"])
async def test_a_guess_at_any_route_in_any_header_counts(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    async with gateway(tmp_path, config=config, environ=ENVIRON) as running:
        http, guesses = running.http, running.service._guesses
        for number, route in enumerate(filter(takes_passwords, running.service.routes)):
            path, header = re.sub(r"\{[^}]*\}", "x", route.path), HEADERS[number % 4]
            for _ in range(TEN - 1):
                guesses.note({"client": ("127.0.0.1", 1)})
            wrong = shown(header, "wrong", "Basic")
            response = await http.request(route.method, path, headers=wrong)
            assert response.status_code != 429, (route, response.text)
            response = await http.request(route.method, path, headers=shown(header, PASSWORD))
            assert response.status_code == 429, (route, response.text)
            guesses._failed.clear()


@pytest.mark.parametrize("path", [KEYS, "/v1/models", "/v1/async/chat/completions/x"])
async def test_after_ten_guesses_the_right_one_is_too_late_everywhere(
    tmp_path: Path, path: str
) -> None:
    async with gateway(tmp_path, config=OPEN_CALLS, environ=ENVIRON) as running:
        http = running.http
        for number in range(TEN):
            response = await http.get(path, headers=shown(HEADERS[number % 4], "wrong", "Basic"))
            assert response.status_code != 429
        for header in HEADERS:
            for other in (path, KEYS, "/openai/v1/responses/x"):
                refused(await http.get(other, headers=shown(header, PASSWORD)), 429)
        well(await http.get(KEYS, headers=ADMIN))


async def test_whether_a_password_is_right_cannot_be_asked_for_ever(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        for _ in range(TEN):
            told = await running.http.get(WHO_ASKS, headers=shown("api-key", "wrong"))
            assert well(told)["has_valid_token"] is False
        refused(await running.http.get(WHO_ASKS, headers=shown("api-key", PASSWORD)), 429)


async def test_probes_are_no_guesses(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        wrong = shown("authorization", "wrong", "Basic")
        for path in ("/health", "/docs", "/openapi.json"):
            for _ in range(TEN + 1):
                assert (await running.http.get(path, headers=wrong)).status_code == 200
        well(await running.http.get(KEYS, headers=shown("authorization", PASSWORD)))


async def test_where_there_is_no_password_nothing_is_a_guess(tmp_path: Path) -> None:
    async with gateway(tmp_path, environ=ENVIRON) as running:
        for _ in range(TEN + 1):
            refused(await running.http.get(KEYS, headers=shown("authorization", "wrong")), 401)
