"""S5: a password cannot be guessed by trying: ten failures a minute for each address."""

import base64
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from hermod.domain.errors import Refused
from hermod.http.guesses import Guesses
from tests.support.inprocess import gateway
from tests.support.management import ADMIN, ENVIRON, KEYS, LOGIN, PASSWORD, USERNAME, refused, well

TEN: Final = 10


class ManualClock:
    """Stands still until it is put forward."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now(self) -> int:
        return int(self.at_s * 1_000_000)

    def monotonic(self) -> float:
        return self.at_s


def scope(address: str = "192.0.2.1") -> dict[str, Any]:
    return {"client": (address, 1)}


def basic(username: str = USERNAME, password: str = PASSWORD) -> dict[str, str]:
    word = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {word}"}


async def login(http: httpx.AsyncClient, username: str, password: str) -> httpx.Response:
    body = {"username": username, "password": password}
    return await http.post("/api/session/login", json=body)


# Over HTTP


@pytest.mark.parametrize("username", [USERNAME, "nobody"], ids=["known", "unknown"])
async def test_the_eleventh_failed_login_of_a_minute_is_429_also_with_the_right_password(
    tmp_path: Path, username: str
) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        for _ in range(TEN):
            response = await login(running.http, username, "wrong")
            assert refused(response, 401) == "Invalid username or password"
        response = await login(running.http, USERNAME, PASSWORD)
        assert refused(response, 429) == "too many failed logins; try again later"
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert "set-cookie" not in response.headers


async def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        answers = [
            await login(running.http, *shown)
            for shown in (("nobody", PASSWORD), (USERNAME, "wrong"), ("", ""), ("nobody", ""))
        ]
        assert len({answer.content for answer in answers}) == 1
        headers = {frozenset((dict(each.headers) | {"date": ""}).items()) for each in answers}
        assert len(headers) == 1


async def test_guesses_in_a_header_count_like_those_at_the_login(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        http = running.http
        wrong = basic(password="wrong")
        as_bearer = {"Authorization": wrong["Authorization"].replace("Basic", "Bearer")}
        for number in range(TEN):
            response = await http.get(KEYS, headers=as_bearer if number % 2 else wrong)
            assert refused(response, 401) == "Unauthorized"
        refused(await http.get(KEYS, headers=wrong), 429)
        refused(await http.get(KEYS, headers=as_bearer), 429)
        refused(await http.get(KEYS, headers=basic()), 429)
        refused(await login(http, USERNAME, PASSWORD), 429)


async def test_who_shows_a_token_is_not_kept_out_by_guesses(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN, environ=ENVIRON) as running:
        for _ in range(TEN + 1):
            await login(running.http, USERNAME, "wrong")
        well(await running.http.get(KEYS, headers=ADMIN))
        refused(await running.http.get(KEYS), 401)


async def test_tokens_that_are_none_are_not_guesses_of_a_password(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        for _ in range(TEN + 1):
            headers = {"Authorization": "Bearer 01890000-0000-7000-8000-000000000000"}
            refused(await running.http.get(KEYS, headers=headers), 401)
        well(await running.http.get(KEYS, headers=basic()))


async def test_good_passwords_are_never_too_many(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN) as running:
        for _ in range(TEN + 1):
            well(await running.http.get(KEYS, headers=basic()))


# By the clock


def failed(guesses: Guesses, times: int, address: str = "192.0.2.1") -> None:
    for _ in range(times):
        guesses.check(scope(address))
        guesses.note(scope(address))


def test_after_a_minute_there_is_another_try() -> None:
    clock = ManualClock()
    guesses = Guesses(clock)
    failed(guesses, TEN)
    clock.at_s += 59.5
    with pytest.raises(Refused) as caught:
        guesses.check(scope())
    assert (caught.value.failure.status_code, caught.value.retry_after_s) == (429, 1)
    clock.at_s += 0.5
    guesses.check(scope())
    assert not guesses._failed


def test_failures_older_than_a_minute_are_forgotten_one_by_one() -> None:
    clock = ManualClock()
    guesses = Guesses(clock)
    for _ in range(3 * TEN):
        failed(guesses, 1)
        clock.at_s += 6
    failed(guesses, 0)


def test_each_address_counts_for_itself_and_a_network_of_ipv6_as_one() -> None:
    guesses = Guesses(ManualClock())
    failed(guesses, TEN)
    guesses.check(scope("192.0.2.2"))
    failed(guesses, TEN, "2001:db8::1")
    guesses.check(scope("2001:db8:0:1::1"))
    for address in ("2001:db8::2", "2001:db8::ffff:1%eth0", "::ffff:192.0.2.1"):
        with pytest.raises(Refused):
            guesses.check(scope(address))


def test_however_many_addresses_fail_memory_is_bounded() -> None:
    guesses = Guesses(ManualClock())
    for number in range(10_100):
        guesses.note(scope(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
    assert len(guesses._failed) == 10_000
