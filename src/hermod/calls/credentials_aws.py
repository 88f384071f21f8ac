"""Credentials for AWS: the key's own, or those that AWS's usual chain finds, and roles."""

import re
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Final

from hermod.calls.aws_profiles import SharedFiles, keys_in
from hermod.calls.aws_sources import AwsSources, Expiring, RoleToAssume
from hermod.calls.credentials import CredentialError
from hermod.calls.kept import Fetched, Kept, lasting
from hermod.domain.beside import beside
from hermod.domain.clock import Clock
from hermod.domain.provider import BedrockKey, KeySettings, Secret
from hermod.net.client import HttpClient
from hermod.net.messages import Headers, Request
from hermod.providers.bedrock.sign import AwsCredentials, sign
from hermod.providers.registry import region_of

_SERVICE: Final = "bedrock"
_SESSION: Final = "hermod"
"""The name of a session that the operator gave none."""
_REGION: Final = re.compile(r"https?://[a-z-]+\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?[:/]")
_NONE_FOUND: Final = (
    "no AWS credentials in the key, the environment, the shared files or a metadata service"
)

_Fetch = Callable[[], Awaitable[Expiring]]


class AwsSigner:
    """Signs requests to Bedrock. `environ` is the process's environment, as config read it."""

    def __init__(self, client: HttpClient, clock: Clock, environ: Mapping[str, str]) -> None:
        self._clock = clock
        self._environ = environ
        self._files = SharedFiles(environ)
        self._sources = AwsSources(client, clock, environ)
        self._kept: dict[tuple[object, ...], Kept[AwsCredentials]] = {}
        """By source; as many as the configuration has keys."""

    async def headers(self, key: KeySettings, request: Request) -> Headers:
        """What signs this request. Raises CredentialError."""
        found = _REGION.match(request.url)
        region = found[1] if found else region_of(key)
        credentials = await self._credentials(key.bedrock or BedrockKey(), region)
        return await beside(
            len(request.body),
            sign,
            request.method,
            request.url,
            request.headers,
            request.body,
            credentials,
            region=region,
            service=_SERVICE,
            now_s=self._clock.now() // 1_000_000,
        )

    async def _credentials(self, key: BedrockKey, region: str) -> AwsCredentials:
        own = _own(key)
        if key.role_arn is None:
            return own or await self._keep(("chain", region), lambda: self._chain(region)).get()
        role = RoleToAssume(key.role_arn, key.role_session_name or _SESSION, key.external_id)

        async def assume() -> Expiring:
            source = own or await self._keep(("chain", region), lambda: self._chain(region)).get()
            return await self._sources.assume_role(role, source, region)

        return await self._keep(("role", role, own, region), assume).get()

    def _keep(self, source: tuple[object, ...], fetch: _Fetch) -> Kept[AwsCredentials]:
        async def fetched() -> Fetched[AwsCredentials]:
            found = await fetch()
            if found.expires_at_s is None:
                return lasting(found.credentials, inf, self._clock)
            left_s = found.expires_at_s - self._clock.now() / 1e6
            if left_s <= 0:
                raise CredentialError("the AWS credentials that were found have expired")
            return lasting(found.credentials, left_s, self._clock)

        kept = self._kept.get(source)
        if kept is None:
            kept = self._kept[source] = Kept(self._clock, fetched)
        return kept

    async def _chain(self, region: str) -> Expiring:
        """The first that the usual places hold, in the order of AWS's SDKs."""
        found = self._environment()
        if found is not None:
            return Expiring(found)
        identity = self._web_identity()
        if identity is not None:
            return await self._sources.assume_role_with_web_identity(*identity, region)
        profile = await self._profile(self._files.profile, region, ())
        if profile is not None:
            return profile
        elsewhere = await self._sources.container() or await self._sources.instance()
        if elsewhere is None:
            raise CredentialError(_NONE_FOUND)
        return elsewhere

    def _environment(self) -> AwsCredentials | None:
        access_key = self._environ.get("AWS_ACCESS_KEY_ID")
        secret_key = self._environ.get("AWS_SECRET_ACCESS_KEY")
        if not access_key or not secret_key:
            return None
        token = self._environ.get("AWS_SESSION_TOKEN", "")
        return AwsCredentials(access_key, Secret(secret_key), Secret(token))

    def _web_identity(self) -> tuple[RoleToAssume, str] | None:
        token_file = self._environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
        role_arn = self._environ.get("AWS_ROLE_ARN")
        if not token_file or not role_arn:
            return None
        name = self._environ.get("AWS_ROLE_SESSION_NAME") or _SESSION
        return RoleToAssume(role_arn, name), token_file

    async def _profile(self, name: str, region: str, before: tuple[str, ...]) -> Expiring | None:
        """What a profile leads to; `before` are the profiles that led to it."""
        if name in before:
            raise CredentialError(f"the AWS profile {name} is its own source")
        profile = await self._files.read(name)
        role_arn = profile.get("role_arn")
        keys = keys_in(profile)
        if role_arn is None:
            return Expiring(keys) if keys else None
        role = RoleToAssume(
            role_arn, profile.get("role_session_name") or _SESSION, profile.get("external_id")
        )
        token_file = profile.get("web_identity_token_file")
        if token_file:
            return await self._sources.assume_role_with_web_identity(role, token_file, region)
        source = await self._source(name, profile, keys, region, before)
        return await self._sources.assume_role(role, source, region)

    async def _source(
        self,
        name: str,
        profile: Mapping[str, str],
        keys: AwsCredentials | None,
        region: str,
        before: tuple[str, ...],
    ) -> AwsCredentials:
        """What a profile's role is asked for with."""
        found: Expiring | None = None
        source = profile.get("source_profile")
        if source == name:
            found = Expiring(keys) if keys else None
        elif source is not None:
            found = await self._profile(source, region, (*before, name))
        else:
            match profile.get("credential_source"):
                case "Environment":
                    own = self._environment()
                    found = Expiring(own) if own else None
                case "EcsContainer":
                    found = await self._sources.container()
                case "Ec2InstanceMetadata":
                    found = await self._sources.instance()
                case _:
                    pass
        if found is None:
            raise CredentialError(f"the AWS profile {name} has a role and no credentials for it")
        return found.credentials


def _own(key: BedrockKey) -> AwsCredentials | None:
    """The credentials that the configuration gives the key itself."""
    if not key.access_key and not key.secret_key:
        return None
    if not key.access_key or not key.secret_key:
        raise CredentialError("bedrock_key_config needs both access_key and secret_key, or neither")
    return AwsCredentials(key.access_key.reveal(), key.secret_key, key.session_token)
