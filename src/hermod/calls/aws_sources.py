"""Where AWS credentials come from when a key has none: metadata servers and STS, over HTTP.

Formats: AWS, "Container credential provider" and "IMDS credential provider" (SDKs and tools
reference guide), "AssumeRole" and "AssumeRoleWithWebIdentity" (STS API reference). Metadata servers
live at private addresses on purpose.
"""

import asyncio
import html
import logging
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from hermod.calls.credentials import CredentialError
from hermod.calls.redact import redacted
from hermod.domain.clock import Clock
from hermod.domain.provider import Secret
from hermod.net.client import HttpClient
from hermod.net.messages import Headers, Limits, NetError, Reply, Request
from hermod.providers.bedrock.sign import AwsCredentials, sign

log = logging.getLogger(__name__)

_STS_TIMEOUT_S: Final = 10.0
_METADATA_TIMEOUT_S: Final = 2.0
"""It is on this machine or does not exist."""
_LIMITS: Final = Limits(reply_bytes=256 * 1024)
_ECS: Final = "http://169.254.170.2"
_CONTAINER_HOSTS: Final = frozenset(
    {"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "127.0.0.1", "::1", "localhost"}
)
"""Who may be asked for a container's credentials without TLS."""
_IMDS: Final = "http://169.254.169.254"
_IMDS_V6: Final = "http://[fd00:ec2::254]"
_IMDS_ROLES: Final = "/latest/meta-data/iam/security-credentials/"
_IMDS_SESSION_S: Final = 21_600
_FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"
_ROLE_NAME: Final = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)


class Expiring(NamedTuple):
    """Credentials, and how long they are good."""

    credentials: AwsCredentials
    expires_at_s: float | None = None
    """Seconds since the epoch; None for what does not expire."""


class RoleToAssume(NamedTuple):
    """A role, and how it is asked for."""

    arn: str
    session_name: str
    external_id: str | None = None


class _Told(msgspec.Struct):
    """What a metadata server says; in both its names for the token."""

    AccessKeyId: str = ""
    SecretAccessKey: str = ""
    Token: str = ""
    Expiration: str = ""


_read_told: Final = msgspec.json.Decoder(_Told).decode


class AwsSources:
    """Asks for credentials; keeps none."""

    def __init__(self, client: HttpClient, clock: Clock, environ: Mapping[str, str]) -> None:
        self._client = client
        self._clock = clock
        self._environ = environ

    async def assume_role(
        self, role: RoleToAssume, source: AwsCredentials, region: str
    ) -> Expiring:
        """The credentials of a role, asked for with those of `source`. Raises CredentialError."""
        form = {"RoleArn": role.arn, "RoleSessionName": role.session_name}
        if role.external_id:
            form["ExternalId"] = role.external_id
        return await self._sts("AssumeRole", form, region, source)

    async def assume_role_with_web_identity(
        self, role: RoleToAssume, token_file: str, region: str
    ) -> Expiring:
        """The credentials of a role, for the token in a file. Raises CredentialError."""
        try:
            token = (await asyncio.to_thread(Path(token_file).read_text, "utf-8")).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialError("the AWS web identity token file cannot be read") from error
        form = {
            "RoleArn": role.arn,
            "RoleSessionName": role.session_name,
            "WebIdentityToken": token,
        }
        return await self._sts("AssumeRoleWithWebIdentity", form, region, None)

    async def container(self) -> Expiring | None:
        """The credentials of this container (ECS, EKS); None outside of one.

        Raises CredentialError.
        """
        relative = self._environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        full = self._environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if not relative and not full:
            return None
        url = f"{_ECS}{relative}" if relative else str(full)
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _CONTAINER_HOSTS:
            raise CredentialError(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https or lead to this machine"
            )
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        token_file = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        if token_file:
            try:
                token = await asyncio.to_thread(Path(token_file).read_text, "utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise CredentialError("the token file of this container cannot be read") from error
        headers: Headers = (("Authorization", token.strip()),) if token.strip() else ()
        return _told_in(await self._metadata("GET", url, headers), "the container's credentials")

    async def instance(self) -> Expiring | None:
        """The credentials of this machine's role (EC2, IMDSv2); None where it has none.

        Raises CredentialError: there is a role, and its credentials cannot be had.
        """
        if self._environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return None
        is_v6 = self._environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower() == "ipv6"
        root = self._environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
        root = (root or (_IMDS_V6 if is_v6 else _IMDS)).rstrip("/")
        try:
            token = await self._metadata(
                "PUT",
                f"{root}/latest/api/token",
                (("X-aws-ec2-metadata-token-ttl-seconds", str(_IMDS_SESSION_S)),),
            )
            shown: Headers = (("X-aws-ec2-metadata-token", token.body.decode("latin-1").strip()),)
            roles = await self._metadata("GET", f"{root}{_IMDS_ROLES}", shown)
        except CredentialError as error:
            log.debug("this machine has no metadata service: %s", error)
            return None
        role = roles.body.decode("latin-1").partition("\n")[0].strip()
        if _ROLE_NAME.fullmatch(role) is None:
            raise CredentialError("the instance metadata service names no usable role")
        found = await self._metadata("GET", f"{root}{_IMDS_ROLES}{quote(role)}", shown)
        return _told_in(found, "the credentials of this instance")

    async def _metadata(self, method: str, url: str, headers: Headers) -> Reply:
        """Raises CredentialError unless the answer is a good one."""
        try:
            reply = await self._client.send(
                Request(method, url, headers), timeout_s=_METADATA_TIMEOUT_S, limits=_LIMITS
            )
        except NetError as error:
            raise CredentialError("the AWS metadata service does not answer") from error
        if reply.status != 200:
            raise CredentialError(f"the AWS metadata service answered with {reply.status}")
        return reply

    async def _sts(
        self, action: str, form: Mapping[str, str], region: str, source: AwsCredentials | None
    ) -> Expiring:
        suffix = ".cn" if region.startswith("cn-") else ""
        named = self._environ.get("AWS_ENDPOINT_URL_STS") or self._environ.get("AWS_ENDPOINT_URL")
        url = (named or f"https://sts.{region}.amazonaws.com{suffix}").rstrip("/") + "/"
        body = urlencode({"Action": action, "Version": "2011-06-15", **form}).encode()
        headers: Headers = (("Content-Type", _FORM),)
        if source is not None:
            headers += sign(
                "POST",
                url,
                headers,
                body,
                source,
                region=region,
                service="sts",
                now_s=self._clock.now() // 1_000_000,
            )
        try:
            reply = await self._client.send(
                Request("POST", url, headers, body), timeout_s=_STS_TIMEOUT_S, limits=_LIMITS
            )
        except NetError as error:
            raise CredentialError(f"AWS STS does not answer in {region}") from error
        # What is wrong with a signature is explained with the request that was signed.
        sent = [form.get("WebIdentityToken", "")]
        if source is not None:
            sent += [source.secret_key.reveal(), source.session_token.reveal()]
        text = redacted(reply.body, sent).decode("utf-8", "replace")
        if reply.status != 200:
            log.warning("%s: status %d: %s", action, reply.status, _tag(text, "Message")[:500])
            code = _tag(text, "Code")[:100] or f"status {reply.status}"
            raise CredentialError(f"AWS STS refused {action} of the key's role: {code}")
        return _expiring(
            _tag(text, "AccessKeyId"),
            _tag(text, "SecretAccessKey"),
            _tag(text, "SessionToken"),
            _tag(text, "Expiration"),
            f"the answer of AWS STS to {action}",
        )


def _tag(xml: str, name: str) -> str:
    """The text of the only such element. Not worth a parser, whose entities are a danger."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", xml)
    return html.unescape(found[1]).strip() if found else ""


def _told_in(reply: Reply, what: str) -> Expiring:
    try:
        told = _read_told(reply.body)
    except msgspec.DecodeError as error:
        raise CredentialError(f"{what} cannot be read") from error
    return _expiring(told.AccessKeyId, told.SecretAccessKey, told.Token, told.Expiration, what)


def _expiring(access_key: str, secret: str, token: str, expiration: str, what: str) -> Expiring:
    if not access_key or not secret:
        raise CredentialError(f"{what} cannot be read")
    expires_at_s = None
    if expiration:
        try:
            when = datetime.fromisoformat(expiration)
            expires_at_s = when.timestamp()
        except (ValueError, OverflowError) as error:
            raise CredentialError(f"{what} cannot be read") from error
    return Expiring(AwsCredentials(access_key, Secret(secret), Secret(token)), expires_at_s)
