"""Calls with a key, or with headers, that a caller has sent along (wire-contract 2.2, 2.4).

They lie sealed with the job. This is the one place that opens them.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from hermod.domain.failure import Failure
from hermod.domain.job_secrets import JobSecrets
from hermod.domain.options import Options
from hermod.domain.outcome import Fault, Retryable
from hermod.domain.provider import HEADER_PROVIDED, KeySettings, ProviderSettings
from hermod.providers.registry import root_of
from hermod.vault import Vault, VaultError

log = logging.getLogger(__name__)

_UNREADABLE: Final = (
    "the provider key or the headers of this request cannot be decrypted ({}): the gateway's "
    "encryption key is not what it was when the request came; send it again"
)
_NO_ADDRESS: Final = (
    "{} has no address that a key from a header could be used at: the gateway's config has to name "
    "one (providers.{}.network_config.base_url)"
)


class Opened(NamedTuple):
    """What a call goes by."""

    options: Options
    """With the headers for the upstream."""
    provider: ProviderSettings | None
    """With the caller's key as its only one, if there is one for it; None if nobody configured
    it."""


class DirectKeys:
    """Opens what callers have sent along."""

    def __init__(
        self,
        vault: Vault | None = None,
        unconfigured: Mapping[str, ProviderSettings] | None = None,
    ) -> None:
        """`unconfigured`: providers that can be called with a caller's key only."""
        self._vault = vault or Vault()
        self.unconfigured = unconfigured or {}

    async def opened(
        self, options: Options, name: str, configured: ProviderSettings | None, job_id: str
    ) -> Opened | Fault:
        """The options and the provider of that name for one call; nothing was sent if it fails."""
        if options.sealed is None:
            return Opened(options, configured)
        try:
            plain = await self._vault.open(options.sealed, job_id)
            secrets = JobSecrets.decode(plain)
        except (VaultError, ValueError) as error:
            log.warning("job %s: its secrets cannot be opened: %s", job_id, error)
            failure = Failure(_UNREADABLE.format(error), 500, error_type="secrets_unreadable")
            return Fault(failure, sent=False)
        except OSError as error:
            log.error("job %s: the encryption key cannot be read: %s", job_id, error)
            failure = Failure(_UNREADABLE.format("its file"), 500, error_type="secrets_unreadable")
            return Fault(failure, Retryable.BACKOFF, sent=False)
        if secrets.forward:
            options = options._replace(forward=secrets.forward)
        key = secrets.key_for(name)
        provider = configured or self.unconfigured.get(name)
        if not key or provider is None:
            return Opened(options, configured)
        direct = KeySettings(HEADER_PROVIDED, HEADER_PROVIDED, key)
        if not root_of(provider, direct):
            return Fault(Failure(_NO_ADDRESS.format(name, name), 400), sent=False)
        options = options._replace(key_name=None, key_id=None)
        return Opened(options, replace(provider, keys=(direct,)))


def pace_of(key: KeySettings | None) -> str | None:
    """Under which name a key's limits are known: of several callers' keys each has its own."""
    if key is None or key.id != HEADER_PROVIDED:
        return key and key.id
    digest = hashlib.sha256(key.value.reveal().encode()).hexdigest()
    return f"{HEADER_PROVIDED}\n{digest}"
