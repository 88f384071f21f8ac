"""What AWS's shared files say of a profile (`~/.aws/credentials`, `~/.aws/config`).

Format: AWS, "Shared config and credentials files" (SDKs and tools reference guide). Sections of the
config file are named `profile <name>`, but `default`.
"""

import asyncio
import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hermod.calls.credentials import CredentialError
from hermod.domain.provider import Secret
from hermod.providers.bedrock.sign import AwsCredentials

_DEFAULT: Final = "default"


class SharedFiles:
    """The two files as they are now; each reading sees what an operator changed."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        home = Path(environ.get("HOME") or "/")
        self._credentials = _file(environ, "AWS_SHARED_CREDENTIALS_FILE", home / ".aws/credentials")
        self._config = _file(environ, "AWS_CONFIG_FILE", home / ".aws/config")
        self._named = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")

    @property
    def profile(self) -> str:
        """The name of the profile to use."""
        return self._named or _DEFAULT

    async def read(self, profile: str) -> Mapping[str, str]:
        """The settings of a profile, empty where there is none that was not asked for.

        Raises CredentialError: a file cannot be understood, or a profile that somebody named is in
        neither.
        """
        found = await asyncio.to_thread(self._read, profile)
        if not found and (self._named or profile != _DEFAULT):
            raise CredentialError(f"the AWS profile {profile} is in neither of the shared files")
        return found

    def _read(self, profile: str) -> dict[str, str]:
        section = profile if profile == _DEFAULT else f"profile {profile}"
        # Of a setting in both, the credentials file's counts.
        return _section(self._config, section) | _section(self._credentials, profile)


def keys_in(profile: Mapping[str, str]) -> AwsCredentials | None:
    """The keys that a profile holds itself."""
    access_key = profile.get("aws_access_key_id")
    secret_key = profile.get("aws_secret_access_key")
    if not access_key or not secret_key:
        return None
    token = profile.get("aws_session_token", "")
    return AwsCredentials(access_key, Secret(secret_key), Secret(token))


def _file(environ: Mapping[str, str], name: str, default: Path) -> Path:
    named = environ.get(name)
    if not named:
        return default
    if named.startswith("~/"):
        return Path(environ.get("HOME") or "/") / named[2:]
    return Path(named)


def _section(path: Path, section: str) -> dict[str, str]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialError(f"the AWS file {path.name} cannot be read") from error
    parser = configparser.RawConfigParser(default_section="", strict=False)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise CredentialError(f"the AWS file {path.name} is not well-formed") from error
    if not parser.has_section(section):
        return {}
    return dict(parser.items(section))
