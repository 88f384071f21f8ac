"""Where AWS credentials come from, with real servers for STS and metadata."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from hermod.calls.credentials import CredentialError, Credentials
from hermod.calls.credentials_aws import AwsSigner
from hermod.domain.provider import BedrockKey, KeySettings, Secret
from hermod.net.client import HttpClient
from hermod.net.messages import Request
from tests.calls.aws_server import REFUSED, Asked, AwsServer, Says, sts, told
from tests.providers.recorded import settings_of

NOW_S = 1_790_000_000
"""21 September 2026, 14:13:20 UTC."""
ROLE = "arn:aws:iam::123456789012:role/caller"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "of-environment"}
REQUEST = Request(
    "POST",
    "https://bedrock-runtime.eu-west-1.amazonaws.com/model/a%3A0/converse",
    (("Content-Type", "application/json"),),
    b"{}",
)
TOKEN = "/latest/api/token"
ROLES = "/latest/meta-data/iam/security-credentials/"


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = float(NOW_S)

    def now(self) -> int:
        return int(self.now_s * 1_000_000)

    def monotonic(self) -> float:
        return self.now_s


class World:
    """One signer, the server it may ask, and its environment."""

    def __init__(self, server: AwsServer, client: HttpClient, environ: dict[str, str]) -> None:
        self.server = server
        self.time = Time()
        self.signer = AwsSigner(client, self.time, environ)

    async def access_key(self, key: BedrockKey | None = None) -> str:
        """Whose signature a request gets."""
        headers = dict(await self.signer.headers(a_key(key), REQUEST))
        return headers["Authorization"].partition("Credential=")[2].partition("/")[0]

    async def error(self, key: BedrockKey | None = None) -> str:
        with pytest.raises(CredentialError) as caught:
            await self.access_key(key)
        return str(caught.value)


def a_key(bedrock: BedrockKey | None = None, value: str = "") -> KeySettings:
    return KeySettings("main", "main", Secret(value), bedrock=bedrock)


@asynccontextmanager
async def a_world(
    tmp_path: Path, answers: dict[str, Says] | None = None, **environ: str
) -> AsyncIterator[World]:
    """Without any credentials but those that `environ` leads to; `{url}` in it is the server's."""
    async with AwsServer(answers or {}) as server:
        client = HttpClient()
        base = {
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL_STS": server.url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url,
        }
        named = {name: value.replace("{url}", server.url) for name, value in environ.items()}
        try:
            yield World(server, client, base | named)
        finally:
            await client.close()


# Whose credentials


async def test_the_keys_own_credentials_win_and_nobody_is_asked(tmp_path: Path) -> None:
    own = BedrockKey(Secret("AKIDOWN"), Secret("s"))
    async with a_world(tmp_path, None, **ENVIRONMENT) as world:
        assert await world.access_key(own) == "AKIDOWN"
        assert world.server.asked == []


async def test_a_request_is_signed_as_botocore_signs_it(tmp_path: Path) -> None:
    own = BedrockKey(Secret("AKIDOWN"), Secret("s"), Secret("token"))
    async with a_world(tmp_path) as world:
        ours = dict(await world.signer.headers(a_key(own), REQUEST))
    request = AWSRequest("POST", REQUEST.url, dict(REQUEST.headers), REQUEST.body)
    with pytest.MonkeyPatch.context() as patch:
        now = datetime.datetime.fromtimestamp(NOW_S, datetime.UTC)
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_: now)
        keys = BotoCredentials("AKIDOWN", "s", "token")
        botocore.auth.SigV4Auth(keys, "bedrock", "eu-west-1").add_auth(request)
    theirs: dict[str, Any] = dict(request.headers.items())
    assert ours.items() <= theirs.items()
    assert ours.keys() == theirs.keys() - {"Content-Type"}


async def test_half_a_pair_of_keys_is_a_mistake(tmp_path: Path) -> None:
    async with a_world(tmp_path, None, **ENVIRONMENT) as world:
        assert "both access_key and secret_key" in await world.error(BedrockKey(Secret("A")))


async def test_the_environment_comes_before_the_files(tmp_path: Path) -> None:
    write_files(tmp_path)
    async with a_world(tmp_path, None, **ENVIRONMENT) as world:
        assert await world.access_key() == "AKIDENV"


@pytest.mark.parametrize(
    ("profile", "expected"), [(None, "AKIDDEFAULT"), ("work", "AKIDWORK"), ("config", "AKIDCONF")]
)
async def test_the_shared_files_have_profiles(
    tmp_path: Path, profile: str | None, expected: str
) -> None:
    write_files(tmp_path)
    async with a_world(tmp_path, None, **({"AWS_PROFILE": profile} if profile else {})) as world:
        assert await world.access_key() == expected


async def test_a_profile_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with a_world(tmp_path, AWS_PROFILE="gone") as world:
        assert await world.error() == "the AWS profile gone is in neither of the shared files"


async def test_a_profile_may_take_a_role_with_anothers_keys(tmp_path: Path) -> None:
    write_files(tmp_path)
    async with a_world(tmp_path, {"/": sts("ASIAROLE")}, AWS_PROFILE="role") as world:
        assert await world.access_key() == "ASIAROLE"
        (asked,) = world.server.asked
        assert "AKIDWORK" in asked.headers["authorization"]
        assert asked.form["RoleArn"] == ROLE


async def test_profiles_that_lead_to_each_other_are_noticed(tmp_path: Path) -> None:
    write_files(tmp_path)
    async with a_world(tmp_path, AWS_PROFILE="ring") as world:
        assert await world.error() == "the AWS profile ring is its own source"


async def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("no section")
    async with a_world(
        tmp_path, AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "broken"), AWS_PROFILE="x"
    ) as world:
        assert await world.error() == "the AWS file broken is not well-formed"


async def test_a_web_identity_becomes_a_role(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a.web.token\n")
    answers = {"/": sts("ASIAWEB", action="AssumeRoleWithWebIdentity")}
    async with a_world(
        tmp_path,
        answers,
        AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "token"),
        AWS_ROLE_ARN=ROLE,
        AWS_ROLE_SESSION_NAME="pod",
    ) as world:
        assert await world.access_key() == "ASIAWEB"
        (asked,) = world.server.asked
        assert "authorization" not in asked.headers
        assert asked.form == {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": ROLE,
            "RoleSessionName": "pod",
            "WebIdentityToken": "a.web.token",
        }


async def test_a_container_shows_its_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-the-pod\n")
    async with a_world(
        tmp_path,
        {"/v1/credentials": told("ASIAECS")},
        AWS_CONTAINER_CREDENTIALS_FULL_URI="{url}/v1/credentials",
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(tmp_path / "token"),
    ) as world:
        assert await world.access_key() == "ASIAECS"
        assert world.server.asked[0].headers["authorization"] == "of-the-pod"


async def test_a_containers_token_goes_to_no_stranger(tmp_path: Path) -> None:
    async with a_world(
        tmp_path,
        AWS_CONTAINER_CREDENTIALS_FULL_URI="http://example.com/v1",
        AWS_CONTAINER_AUTHORIZATION_TOKEN="t",
    ) as world:
        assert "must be https or lead to this machine" in await world.error()


async def test_an_instance_is_asked_in_the_second_version_of_the_protocol(tmp_path: Path) -> None:
    answers = {
        TOKEN: Says("session"),
        ROLES: Says("caller\n"),
        f"{ROLES}caller": told("ASIAEC2"),
    }
    async with a_world(tmp_path, answers) as world:
        assert await world.access_key() == "ASIAEC2"
        methods = [(each.method, each.path) for each in world.server.asked]
        assert methods == [("PUT", TOKEN), ("GET", ROLES), ("GET", f"{ROLES}caller")]
        assert world.server.asked[0].headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"
        assert world.server.asked[2].headers["x-aws-ec2-metadata-token"] == "session"


async def test_without_any_source_the_places_are_named(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        assert await world.error() == (
            "no AWS credentials in the key, the environment, the shared files or a metadata service"
        )


async def test_a_machine_may_forbid_to_ask_it(tmp_path: Path) -> None:
    async with a_world(tmp_path, AWS_EC2_METADATA_DISABLED="true") as world:
        await world.error()
        assert world.server.asked == []


# Roles


async def test_the_keys_role_is_asked_for_with_a_signed_request(tmp_path: Path) -> None:
    key = BedrockKey(
        region="eu-central-1", role_arn=ROLE, external_id="ours", role_session_name="jobs"
    )
    async with a_world(tmp_path, {"/": sts("ASIAROLE")}, **ENVIRONMENT) as world:
        assert await world.access_key(key) == "ASIAROLE"
        (asked,) = world.server.asked
        assert asked.form == {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": ROLE,
            "RoleSessionName": "jobs",
            "ExternalId": "ours",
        }
        assert_signed_by(asked, world.server.url, "AKIDENV", "of-environment", "eu-west-1")


async def test_a_roles_secret_is_unescaped_and_its_token_shown(tmp_path: Path) -> None:
    key = BedrockKey(role_arn=ROLE)
    async with a_world(tmp_path, {"/": sts("ASIAROLE")}, **ENVIRONMENT) as world:
        headers = dict(await world.signer.headers(a_key(key), REQUEST))
        assert headers["X-Amz-Security-Token"] == "token of ASIAROLE"
    own = BedrockKey(Secret("ASIAROLE"), Secret("a&b"), Secret("token of ASIAROLE"))
    async with a_world(tmp_path) as world:
        assert dict(await world.signer.headers(a_key(own), REQUEST)) == headers


async def test_a_refused_role_says_why_and_no_more(tmp_path: Path) -> None:
    async with a_world(tmp_path, {"/": REFUSED}, **ENVIRONMENT) as world:
        message = await world.error(BedrockKey(role_arn=ROLE))
        assert message == "AWS STS refused AssumeRole of the key's role: AccessDenied"


async def test_two_keys_with_roles_of_their_own_do_not_share(tmp_path: Path) -> None:
    async with a_world(tmp_path, {"/": sts("ASIAONE")}, **ENVIRONMENT) as world:
        assert await world.access_key(BedrockKey(role_arn=ROLE)) == "ASIAONE"
        world.server.answers["/"] = sts("ASIATWO")
        assert await world.access_key(BedrockKey(role_arn=f"{ROLE}2")) == "ASIATWO"
        assert await world.access_key(BedrockKey(role_arn=ROLE)) == "ASIAONE"


# Time


async def test_credentials_are_fetched_again_shortly_before_they_expire(tmp_path: Path) -> None:
    answers = {"/": sts("ASIAONE", "2026-09-21T15:13:20Z")}
    async with a_world(tmp_path, answers, **ENVIRONMENT) as world:
        key = BedrockKey(role_arn=ROLE)
        assert await world.access_key(key) == "ASIAONE"
        world.time.now_s += 3600 - 301
        assert await world.access_key(key) == "ASIAONE"
        assert len(world.server.asked) == 1
        world.server.answers["/"] = sts("ASIATWO")
        world.time.now_s += 2
        assert await world.access_key(key) == "ASIATWO"


async def test_what_is_still_good_is_used_when_no_new_ones_can_be_had(tmp_path: Path) -> None:
    answers = {"/": sts("ASIAONE", "2026-09-21T15:13:20Z")}
    async with a_world(tmp_path, answers, **ENVIRONMENT) as world:
        key = BedrockKey(role_arn=ROLE)
        await world.access_key(key)
        world.server.answers["/"] = REFUSED
        world.time.now_s += 3600 - 100
        assert await world.access_key(key) == "ASIAONE"
        world.time.now_s += 101
        assert "AccessDenied" in await world.error(key)


async def test_a_thousand_calls_at_once_ask_once(tmp_path: Path) -> None:
    async with a_world(tmp_path, {"/": sts("ASIAONE")}, **ENVIRONMENT) as world:
        world.server.held.clear()
        key = BedrockKey(role_arn=ROLE)
        calls = [asyncio.create_task(world.access_key(key)) for _ in range(1000)]
        while not world.server.asked:
            await asyncio.sleep(0.01)
        calls[0].cancel()
        world.server.held.set()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert set(found[1:]) == {"ASIAONE"}
        assert len(world.server.asked) == 1


async def test_a_failure_is_remembered_for_a_moment(tmp_path: Path) -> None:
    async with a_world(tmp_path, {"/": REFUSED}, **ENVIRONMENT) as world:
        key = BedrockKey(role_arn=ROLE)
        await world.error(key)
        await world.error(key)
        assert len(world.server.asked) == 1
        world.server.answers["/"] = sts("ASIAONE")
        world.time.now_s += 6
        assert await world.access_key(key) == "ASIAONE"


@pytest.mark.parametrize(
    "says",
    [
        Says("no"),
        Says("{}"),
        Says("[1]"),
        told("A", expires="soon"),
        Says("x", 500),
        Says("<AccessKeyId>A</AccessKeyId>"),
    ],
)
async def test_answers_that_make_no_sense_are_one_sentence(tmp_path: Path, says: Says) -> None:
    uri = "{url}/creds"
    answers = {"/creds": says, "/": says}
    async with a_world(tmp_path, answers, AWS_CONTAINER_CREDENTIALS_FULL_URI=uri) as world:
        message = await world.error()
        assert message
        assert "\n" not in message
    async with a_world(tmp_path, answers, **ENVIRONMENT) as world:
        assert await world.error(BedrockKey(role_arn=ROLE))


# Dispatch


class Tokens:
    """A source of tokens for another cloud."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def token(self, key: KeySettings) -> str:
        return f"{self.name} for {key.name}"


async def test_each_cloud_has_credentials_of_its_own(tmp_path: Path) -> None:
    async with a_world(tmp_path, None, **ENVIRONMENT) as world:
        all_of_them = Credentials(world.signer, Tokens("google"), Tokens("azure"))
        signed = await all_of_them.headers(settings_of("bedrock"), a_key(), REQUEST)
        assert dict(signed)["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDENV/")
        shown = await all_of_them.headers(settings_of("azure"), a_key(), REQUEST)
        assert shown == (("Authorization", "Bearer azure for main"),)
        plain = await all_of_them.headers(settings_of("openai"), a_key(), REQUEST)
        assert plain == ()


async def test_a_key_with_a_value_needs_no_more(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        all_of_them = Credentials(world.signer, Tokens("google"), Tokens("azure"))
        key = a_key(value="a-bedrock-api-key")
        assert await all_of_them.headers(settings_of("bedrock"), key, REQUEST) == ()


def write_files(home: Path) -> None:
    folder = home / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = d%d\n"
        "[work]\naws_access_key_id=AKIDWORK\naws_secret_access_key=w\naws_session_token=t\n"
    )
    (folder / "config").write_text(
        "[default]\nregion = eu-west-1\n[profile config]\naws_access_key_id = AKIDCONF\n"
        f"aws_secret_access_key = c\n[profile role]\nrole_arn = {ROLE}\nsource_profile = work\n"
        f"[profile ring]\nrole_arn = {ROLE}\nsource_profile = other\n"
        f"[profile other]\nrole_arn = {ROLE}\nsource_profile = ring\n"
    )


def assert_signed_by(asked: Asked, url: str, access_key: str, secret: str, region: str) -> None:
    """By botocore's judgement."""
    headers = {"Content-Type": asked.headers["content-type"]}
    request = AWSRequest("POST", f"{url}/", headers, asked.body.encode())
    with pytest.MonkeyPatch.context() as patch:
        now = datetime.datetime.fromtimestamp(NOW_S, datetime.UTC)
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_: now)
        botocore.auth.SigV4Auth(BotoCredentials(access_key, secret), "sts", region).add_auth(
            request
        )
    assert asked.headers["authorization"] == request.headers["Authorization"]
