"""Tokens of Entra ID: who asks for them, how often, and what becomes of failures."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from hermod.calls.credentials import CredentialError
from hermod.calls.credentials_azure import AzureTokens
from hermod.clock import SystemClock
from hermod.domain.provider import AzureKey, KeySettings, Secret
from tests.net.upstream import Peer, Received, client, reply_bytes, upstream

SECRET = "the-clients-own-secret"
AZURE = AzureKey(client_id="client-1", client_secret=Secret(SECRET), tenant_id="tenant-1")
KEY = KeySettings(name="main", id="main", value=Secret(), azure=AZURE)


class Clock(SystemClock):
    """The real one, which can be put forward."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def move(self, seconds: float) -> None:
        self._ahead_s += seconds

    def now(self) -> int:
        return super().now() + int(self._ahead_s * 1_000_000)

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead_s


class Stage:
    """An authority, and a source of tokens that asks it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[Received] = []
        self.answers: list[bytes] = []
        """In turn, then good ones."""
        self.held: asyncio.Event | None = None
        self.was_asked = asyncio.Event()
        self.tokens: AzureTokens

    async def serve(self, peer: Peer) -> None:
        while True:
            self.asked.append(await peer.request())
            self.was_asked.set()
            if self.held is not None:
                await self.held.wait()
            body = b'{"expires_in":3599,"access_token":"tok-%d"}' % len(self.asked)
            await peer.send(self.answers.pop(0) if self.answers else reply_bytes(body))

    def form(self) -> dict[str, str]:
        """What the last request said."""
        return dict(parse_qsl(self.asked[-1].body.decode()))

    def target(self) -> str:
        return self.asked[-1].lines[0].split()[1].decode()


@asynccontextmanager
async def stage(environ: Mapping[str, str] | None = None) -> AsyncGenerator[Stage]:
    """`{url}` in `environ` is the authority's address."""
    found = Stage(Clock())
    async with upstream(found.serve) as server, client() as http:
        url = f"http://localhost:{server.port}"
        given = {name: text.format(url=url) for name, text in (environ or {}).items()}
        found.tokens = AzureTokens(http, found.clock, {"AZURE_AUTHORITY_HOST": url, **given})
        yield found


async def test_a_client_shows_its_secret_and_gets_a_token() -> None:
    async with stage() as on:
        assert await on.tokens.token(KEY) == "tok-1"
        assert on.target() == "/tenant-1/oauth2/v2.0/token"
        assert on.form() == {
            "grant_type": "client_credentials",
            "client_id": "client-1",
            "client_secret": SECRET,
            "scope": "https://cognitiveservices.azure.com/.default",
        }


async def test_a_key_may_name_another_scope() -> None:
    async with stage() as on:
        scoped = replace(AZURE, scopes=("https://ai.azure.com/.default",))
        await on.tokens.token(replace(KEY, azure=scoped))
        assert on.form()["scope"] == "https://ai.azure.com/.default"


async def test_a_token_is_kept_until_shortly_before_its_end() -> None:
    async with stage() as on:
        assert await on.tokens.token(KEY) == "tok-1"
        on.clock.move(3000)
        assert await on.tokens.token(KEY) == "tok-1"
        on.clock.move(300)
        assert await on.tokens.token(KEY) == "tok-2"


async def test_many_callers_ask_once() -> None:
    async with stage() as on:
        found = await asyncio.gather(*[on.tokens.token(KEY) for _ in range(20)])
        assert set(found) == {"tok-1"}
        assert len(on.asked) == 1


async def test_who_gives_up_does_not_keep_the_others_from_their_token() -> None:
    async with stage() as on:
        on.held = asyncio.Event()
        first = asyncio.create_task(on.tokens.token(KEY))
        second = asyncio.create_task(on.tokens.token(KEY))
        await on.was_asked.wait()
        first.cancel()
        on.held.set()
        assert (await second).startswith("tok-")


async def test_two_clients_have_two_tokens() -> None:
    async with stage() as on:
        other = replace(KEY, azure=replace(AZURE, client_id="client-2"))
        assert await on.tokens.token(KEY) != await on.tokens.token(other)


async def test_a_workload_shows_the_token_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("federated-1\n")
    environ = {
        "AZURE_FEDERATED_TOKEN_FILE": str(file),
        "AZURE_TENANT_ID": "tenant-w",
        "AZURE_CLIENT_ID": "client-w",
    }
    async with stage(environ) as on:
        await on.tokens.token(replace(KEY, azure=None))
        assert on.target() == "/tenant-w/oauth2/v2.0/token"
        form = on.form()
        assert form["client_assertion"] == "federated-1"
        assert form["client_assertion_type"].endswith(":jwt-bearer")
        assert "client_secret" not in form
        file.write_text("federated-2\n")
        on.clock.move(3599)
        await on.tokens.token(replace(KEY, azure=None))
        assert on.form()["client_assertion"] == "federated-2"


async def test_a_missing_token_file_is_named_by_its_variable() -> None:
    environ = {"AZURE_FEDERATED_TOKEN_FILE": "/nowhere/at/all"}
    async with stage(environ) as on:
        azure = AzureKey(tenant_id="t", client_id="c")
        with pytest.raises(CredentialError, match="AZURE_FEDERATED_TOKEN_FILE cannot be read"):
            await on.tokens.token(replace(KEY, azure=azure))
        assert not on.asked


async def test_a_secret_in_the_environment_is_used() -> None:
    environ = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"}
    async with stage(environ) as on:
        await on.tokens.token(replace(KEY, azure=None))
        assert on.form()["client_secret"] == "s"


async def test_a_function_asks_the_endpoint_of_its_environment() -> None:
    environ = {"IDENTITY_ENDPOINT": "{url}/msi/token", "IDENTITY_HEADER": "h-1"}
    async with stage(environ) as on:
        until = on.clock.now() // 1_000_000 + 3600
        on.answers = [reply_bytes(b'{"access_token":"tok-m","expires_on":"%d"}' % until)]
        azure = AzureKey(client_id="user-assigned")
        assert await on.tokens.token(replace(KEY, azure=azure)) == "tok-m"
        target = urlsplit(on.target())
        assert target.path == "/msi/token"
        assert dict(parse_qsl(target.query)) == {
            "api-version": "2019-08-01",
            "resource": "https://cognitiveservices.azure.com",
            "client_id": "user-assigned",
        }
        assert b"X-IDENTITY-HEADER: h-1" in on.asked[0].lines


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            b"401 Unauthorized",
            {
                "error": "invalid_client",
                "error_description": f"AADSTS7000215: Invalid client secret {SECRET} provided.",
            },
            r"Entra ID gave no token: invalid_client \(AADSTS7000215\)",
        ),
        (b"500 Oops", {"error": SECRET.upper()}, "HTTP 500"),
        (b"200 OK", {"expires_in": 3599}, "HTTP 200"),
        (b"200 OK", {"access_token": "t", "expires_in": 0}, "cannot be used"),
        (b"200 OK", {"access_token": "t\r\nx: y", "expires_in": 60}, "cannot be used"),
        (b"200 OK", {"access_token": 5}, "HTTP 200"),
        (b"200 OK", [1], "HTTP 200"),
    ],
)
async def test_a_refusal_is_said_without_the_secret(status: bytes, body: object, said: str) -> None:
    async with stage() as on:
        on.answers = [reply_bytes(json.dumps(body).encode(), status=status)]
        with pytest.raises(CredentialError, match=said) as caught:
            await on.tokens.token(KEY)
        assert SECRET not in str(caught.value)


async def test_a_failure_is_remembered_for_a_moment() -> None:
    async with stage() as on:
        on.answers = [reply_bytes(b"{}", status=b"503 Away")]
        for _ in range(3):
            with pytest.raises(CredentialError):
                await on.tokens.token(KEY)
        assert len(on.asked) == 1
        on.clock.move(6)
        assert await on.tokens.token(KEY) == "tok-2"


async def test_a_token_that_is_still_good_survives_a_failed_renewal() -> None:
    async with stage() as on:
        await on.tokens.token(KEY)
        on.clock.move(3400)
        on.answers = [reply_bytes(b"{}", status=b"503 Away")]
        assert await on.tokens.token(KEY) == "tok-1"


@pytest.mark.parametrize(
    ("azure", "said"),
    [
        (replace(AZURE, tenant_id="a/../b"), "tenant_id is not the name"),
        (replace(AZURE, tenant_id=None), "needs a tenant_id"),
    ],
)
async def test_a_tenant_that_is_none_is_refused(azure: AzureKey, said: str) -> None:
    async with stage() as on:
        with pytest.raises(CredentialError, match=said):
            await on.tokens.token(replace(KEY, azure=azure))
        assert not on.asked


async def test_an_authority_elsewhere_must_be_https() -> None:
    async with stage({"AZURE_AUTHORITY_HOST": "http://login.example"}) as on:
        with pytest.raises(CredentialError, match="not an https address"):
            await on.tokens.token(KEY)
