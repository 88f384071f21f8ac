"""Tokens of Google's accounts: who asks for them, how often, and what becomes of failures."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.auth import jwt

from hermod.calls.credentials import CredentialError
from hermod.calls.credentials_google import GoogleTokens
from hermod.clock import SystemClock
from hermod.domain.provider import KeySettings, Secret, VertexKey
from tests.net.upstream import Peer, Received, client, reply_bytes, upstream

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
Told = dict[str, Any]


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
    """Google, and a source of tokens that asks it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.url = ""
        self.asked: list[Received] = []
        self.answers: list[bytes] = []
        """In turn, then good ones."""
        self.held: asyncio.Event | None = None
        self.was_asked = asyncio.Event()
        self.tokens: GoogleTokens

    async def serve(self, peer: Peer) -> None:
        while True:
            self.asked.append(await peer.request())
            self.was_asked.set()
            if self.held is not None:
                await self.held.wait()
            body = b'{"expires_in":3599,"access_token":"tok-%d"}' % len(self.asked)
            await peer.send(self.answers.pop(0) if self.answers else reply_bytes(body))

    async def token(self, told: Told | None = None) -> str:
        written = "" if told is None else json.dumps(told).replace("{url}", self.url)
        vertex = VertexKey(project_id="p", auth_credentials=Secret(written))
        return await self.tokens.token(KeySettings("main", "main", Secret(), vertex=vertex))

    def form(self, at: int = -1) -> dict[str, str]:
        """What a request said."""
        return dict(parse_qsl(self.asked[at].body.decode()))

    def target(self, at: int = -1) -> str:
        return self.asked[at].lines[0].split()[1].decode()

    def header(self, name: str, at: int = -1) -> str | None:
        lines = (line.decode().partition(": ") for line in self.asked[at].lines[1:])
        return next((value for found, _, value in lines if found.lower() == name), None)


@asynccontextmanager
async def stage(environ: Mapping[str, str] | None = None) -> AsyncGenerator[Stage]:
    """`{here}` in `environ` is Google's address."""
    found = Stage(Clock())
    async with upstream(found.serve) as server, client() as http:
        found.url = f"http://localhost:{server.port}"
        here = f"localhost:{server.port}"
        given = {name: text.format(here=here) for name, text in (environ or {}).items()}
        found.tokens = GoogleTokens(http, found.clock, given)
        yield found


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def account(**members: Any) -> Told:
    return {
        "type": "service_account",
        "client_email": "robot@p.iam.example",
        "private_key_id": "key-7",
        "private_key": pem_of(rsa_key()),
        "token_uri": "{url}/token",
    } | members


USER = {
    "type": "authorized_user",
    "client_id": "client-1",
    "client_secret": "the-clients-secret",
    "refresh_token": "the-users-token",
    "token_uri": "{url}/token",
}


def impersonated(source: Told) -> Told:
    return {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": "{url}/v1/accounts/other:generateAccessToken",
        "delegates": ["between"],
        "source_credentials": source,
    }


def external(source: Told) -> Told:
    return {
        "type": "external_account",
        "audience": "//iam.example/pools/one",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "{url}/sts",
        "credential_source": source,
    }


async def test_a_service_account_signs_for_itself() -> None:
    async with stage() as on:
        assert await on.token(account()) == "tok-1"
        form = on.form()
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        public = (
            rsa_key()
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        # Google's own library verifies the signature, the audience and the times.
        claims = jwt.decode(form["assertion"], {"key-7": public}, audience=f"{on.url}/token")
        assert claims["iss"] == "robot@p.iam.example"
        assert claims["scope"] == SCOPE
        assert claims["exp"] - claims["iat"] == 3600


async def test_a_user_shows_what_logging_in_left() -> None:
    async with stage() as on:
        assert await on.token(USER) == "tok-1"
        assert on.form() == {
            "grant_type": "refresh_token",
            "client_id": "client-1",
            "client_secret": "the-clients-secret",
            "refresh_token": "the-users-token",
        }


async def test_an_account_may_ask_in_the_name_of_another() -> None:
    async with stage() as on:
        until = datetime.fromtimestamp(on.clock.now() / 1e6 + 3600, UTC)
        told = {"accessToken": "of-the-other", "expireTime": f"{until:%Y-%m-%dT%H:%M:%SZ}"}
        on.answers += [
            reply_bytes(b'{"expires_in":3599,"access_token":"own"}'),
            reply_bytes(json.dumps(told).encode()),
        ]
        assert await on.token(impersonated(USER)) == "of-the-other"
        assert on.target() == "/v1/accounts/other:generateAccessToken"
        assert on.header("authorization") == "Bearer own"
        body = {"scope": [SCOPE], "lifetime": "3600s", "delegates": ["between"]}
        assert json.loads(on.asked[-1].body) == body
        on.clock.move(3000)
        assert await on.token(impersonated(USER)) == "of-the-other"


async def test_a_workload_shows_the_token_of_whoever_vouches_for_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("vouched\n")
    async with stage() as on:
        assert await on.token(external({"file": str(tmp_path / "token")})) == "tok-1"
        assert on.form() == {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": "//iam.example/pools/one",
            "scope": SCOPE,
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token": "vouched",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        }


async def test_such_a_token_may_be_asked_for_too_and_lead_to_another_account() -> None:
    source = {
        "url": "{url}/identity?a=b",
        "headers": {"Metadata": "True"},
        "format": {"type": "json", "subject_token_field_name": "value"},
    }
    told = external(source) | {"service_account_impersonation_url": "{url}/other"}
    async with stage() as on:
        on.answers += [reply_bytes(b'{"value":"vouched"}')]
        await on.token(told)
        assert on.target(0) == "/identity?a=b"
        assert on.header("metadata", 0) == "True"
        assert on.form(1)["subject_token"] == "vouched"
        assert [on.target(1), on.target(2)] == ["/sts", "/other"]


async def test_the_environment_names_a_file_where_the_key_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    async with stage({"GOOGLE_APPLICATION_CREDENTIALS": str(file)}) as on:
        file.write_text(json.dumps(USER).replace("{url}", on.url))
        assert await on.token() == "tok-1"
        assert on.form()["client_id"] == "client-1"


async def test_what_gcloud_left_is_found(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    async with stage({"HOME": str(tmp_path)}) as on:
        file = folder / "application_default_credentials.json"
        file.write_text(json.dumps(USER).replace("{url}", on.url))
        assert await on.token() == "tok-1"
        assert on.form()["client_id"] == "client-1"


async def test_else_the_machine_is_asked(tmp_path: Path) -> None:
    async with stage({"HOME": str(tmp_path), "GCE_METADATA_HOST": "{here}"}) as on:
        assert await on.token() == "tok-1"
        path, _, query = on.target().partition("?")
        assert path == "/computeMetadata/v1/instance/service-accounts/default/token"
        assert dict(parse_qsl(query)) == {"scopes": SCOPE}
        assert on.header("metadata-flavor") == "Google"


async def test_a_machine_without_an_account_says_what_to_do() -> None:
    async with stage({"GCE_METADATA_HOST": "localhost:1"}) as on:
        with pytest.raises(CredentialError, match="GOOGLE_APPLICATION_CREDENTIALS is not set"):
            await on.token()


async def test_a_token_is_kept_until_shortly_before_its_end() -> None:
    async with stage() as on:
        assert await on.token(USER) == "tok-1"
        on.clock.move(3000)
        assert await on.token(USER) == "tok-1"
        on.clock.move(300)
        assert await on.token(USER) == "tok-2"


async def test_many_callers_ask_once() -> None:
    async with stage() as on:
        found = await asyncio.gather(*[on.token(USER) for _ in range(20)])
        assert set(found) == {"tok-1"}
        assert len(on.asked) == 1


async def test_each_account_has_a_token_of_its_own() -> None:
    async with stage() as on:
        other = {**USER, "client_id": "client-2"}
        assert [await on.token(told) for told in (USER, other, USER)] == ["tok-1", "tok-2", "tok-1"]


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    async with stage() as on:
        on.held = asyncio.Event()
        first = asyncio.create_task(on.token(USER))
        await on.was_asked.wait()
        second = asyncio.create_task(on.token(USER))
        await asyncio.sleep(0)
        first.cancel()
        on.held.set()
        assert await second == "tok-1"
        assert len(on.asked) == 1


async def test_a_token_that_is_still_good_outlives_a_failure_to_renew_it() -> None:
    async with stage() as on:
        await on.token(USER)
        on.answers += [
            reply_bytes(b"{}", status=b"503 Busy"),
            reply_bytes(b"{}", status=b"503 Busy"),
        ]
        on.clock.move(3400)
        assert await on.token(USER) == "tok-1"
        on.clock.move(250)
        with pytest.raises(CredentialError, match="HTTP 503"):
            await on.token(USER)


async def test_a_failure_is_remembered_for_a_moment() -> None:
    async with stage() as on:
        on.answers += [reply_bytes(b'{"error":"invalid_grant"}', status=b"400 Bad")]
        for _ in range(3):
            with pytest.raises(CredentialError, match="invalid_grant"):
                await on.token(USER)
        assert len(on.asked) == 1
        on.clock.move(6)
        assert await on.token(USER) == "tok-2"


async def test_an_error_shows_its_reason_but_nothing_that_may_be_a_secret() -> None:
    async with stage() as on:
        told = {"error": "invalid_grant", "error_description": "Account was deleted."}
        on.answers += [reply_bytes(json.dumps(told).encode(), status=b"400 Bad")]
        with pytest.raises(CredentialError) as caught:
            await on.token(USER)
        assert str(caught.value) == "Google gave no token: invalid_grant (Account was deleted.)"
        on.clock.move(6)
        long = {"error": {"status": "DENIED", "message": f"no: {'x' * 60}"}}
        on.answers += [reply_bytes(json.dumps(long).encode(), status=b"403 No")]
        with pytest.raises(CredentialError) as caught:
            await on.token(USER)
        assert str(caught.value) == "Google gave no token: DENIED"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"access_token":5,"expires_in":3600}',
        b'{"access_token":"a\\nb","expires_in":3600}',
        b'{"access_token":"a"}',
        b'{"access_token":"a","expires_in":-1}',
        b'{"accessToken":"a","expireTime":"soon"}',
        b'{"accessToken":"a","expireTime":"2001-01-01T00:00:00Z"}',
    ],
)
async def test_an_answer_that_is_no_token_is_a_failure(body: bytes) -> None:
    async with stage() as on:
        on.answers.append(reply_bytes(body))
        with pytest.raises(CredentialError):
            await on.token(USER)


def without(told: Told, member: str) -> Told:
    return {name: value for name, value in told.items() if name != member}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: {"type": "api_key"}, "of a type that is not supported"),
        (lambda: without(USER, "refresh_token"), "has no refresh_token"),
        (lambda: account(private_key="none"), "no RSA key"),
        (
            lambda: account(private_key=pem_of(ec.generate_private_key(ec.SECP256R1()))),
            "no RSA key",
        ),
        (lambda: account(token_uri="http://tokens.example/"), "token_uri is not an https address"),
        (lambda: account(token_uri="http://[bad"), "token_uri is not an https address"),
        (lambda: impersonated(impersonated(USER)), "one impersonation of another"),
        (lambda: external({"environment_id": "aws1"}), "identities of AWS"),
        (lambda: external({"executable": {"command": "x"}}), "identities from a program"),
        (lambda: external({}), "neither file nor url"),
        (lambda: external({"file": "/nowhere/at/all"}), "token cannot be read"),
    ],
)
async def test_an_account_that_cannot_be_used_says_why(make: Callable[[], Told], says: str) -> None:
    async with stage() as on:
        told = make()
        with pytest.raises(CredentialError, match=says) as caught:
            await on.token(told)
        assert not on.asked
        for secret in ("private_key", "refresh_token", "client_secret"):
            assert str(told.get(secret, "\0")) not in str(caught.value)


async def test_a_file_that_is_missing_or_no_json_is_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    async with stage({"GOOGLE_APPLICATION_CREDENTIALS": str(file)}) as on:
        with pytest.raises(CredentialError, match="cannot be read"):
            await on.token()
        on.clock.move(6)
        file.write_text('["\\ud800"]')
        with pytest.raises(CredentialError, match="is no JSON object"):
            await on.token()
