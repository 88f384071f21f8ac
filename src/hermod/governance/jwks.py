"""Keys that an issuer publishes, fetched when they are needed and kept for a while."""

import asyncio
import logging
from collections.abc import Sequence
from math import inf
from typing import Final

from hermod.domain.clock import Clock
from hermod.domain.errors import ConfigError
from hermod.domain.jwt import JwtIssuer
from hermod.governance.jwt import KeysUnavailable, Trusted, fixed_source
from hermod.governance.token_keys import BadKey, TokenKey, chosen, keys_of_set, problems_of
from hermod.net.client import HttpClient
from hermod.net.messages import Limits, NetError, Request

_FRESH_S: Final = 3600.0
_STALE_S: Final = 24 * 3600.0
"""How long keys are good while the issuer does not answer."""
_AGAIN_S: Final = 60.0
"""Between two questions while there are keys: whoever makes up key ids causes no storm."""
_FAILED_S: Final = 5.0
"""The same while there are none."""
TIMEOUT_S: Final = 5.0
"""How long an issuer may hold those who need a key of it that is not known."""
_LIMITS: Final = Limits(reply_bytes=256 * 1024)
_ACCEPT: Final = (("Accept", "application/jwk-set+json, application/json"),)

_log = logging.getLogger(__name__)


class PublishedKeys:
    """The key set at a URL.

    Who brings a key that is known never waits for the issuer, unless nothing was heard of it for
    a day; everybody else waits for one and the same question, for `timeout_s` at most.
    """

    def __init__(self, url: str, client: HttpClient, clock: Clock, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._client = client
        self._clock = clock
        self._keys: tuple[TokenKey, ...] | None = None
        self._heard_s = -inf
        self._asked_s = -inf
        """When `_keys` came, and when they were last asked for, by the monotonic clock."""
        self._asking: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> TokenKey | None:
        """The key that a token names. Raises KeysUnavailable when none at all can be had."""
        now_s = self._clock.monotonic()
        keys = self._good(now_s)
        if keys is None:
            await self._ask(now_s, _FAILED_S)
            keys = self._good(self._clock.monotonic())
            if keys is None:
                raise KeysUnavailable(f"no keys from {self._url}")
        elif now_s - self._heard_s >= _FRESH_S:
            self._begin(now_s, _AGAIN_S)
        found = chosen(keys, kid, algorithm)
        if found is None and kid is not None:
            await self._ask(now_s, _AGAIN_S)
            found = chosen(self._keys or (), kid, algorithm)
        return found

    def _good(self, now_s: float) -> tuple[TokenKey, ...] | None:
        is_good = self._keys is not None and now_s - self._heard_s < _STALE_S
        return self._keys if is_good else None

    async def _ask(self, now_s: float, pause_s: float) -> None:
        """The answer to the question under way, or to a new one, unless there just was one."""
        self._begin(now_s, pause_s)
        if self._asking is not None:
            # Who gives up must not take the answer from the others.
            await asyncio.shield(self._asking)

    def _begin(self, now_s: float, pause_s: float) -> None:
        if self._asking is None and now_s - self._asked_s >= pause_s:
            self._asked_s = now_s
            self._asking = asyncio.get_running_loop().create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            reply = await self._client.send(
                Request("GET", self._url, _ACCEPT), timeout_s=self._timeout_s, limits=_LIMITS
            )
            if reply.status != 200:
                raise BadKey(f"HTTP {reply.status}")
            # A hundred keys take milliseconds, and the library a tenth of a second to load.
            self._keys = await asyncio.to_thread(keys_of_set, reply.body)
            self._heard_s = self._clock.monotonic()
        except (NetError, BadKey) as error:
            _log.warning("the keys at %s could not be fetched: %s", self._url, error)
        finally:
            self._asking = None


def trusted_issuers(
    issuers: Sequence[JwtIssuer],
    client: HttpClient,
    clock: Clock,
    *,
    timeout_s: float = TIMEOUT_S,
) -> tuple[Trusted, ...]:
    """Issuers of the configuration with their keys. Nothing is fetched yet.

    Raises ConfigError where tokens could not be judged safely.
    """
    trusted: list[Trusted] = []
    problems: list[str] = []
    for issuer in issuers:
        if found := problems_of(issuer):
            problems += [f"auth.jwt.issuers: {issuer.issuer}: {problem}" for problem in found]
        elif issuer.jwks_url:
            keys = PublishedKeys(issuer.jwks_url, client, clock, timeout_s)
            trusted.append(Trusted(issuer, keys))
        else:
            trusted.append(Trusted(issuer, fixed_source(issuer)))
    if problems:
        raise ConfigError(problems)
    return tuple(trusted)
