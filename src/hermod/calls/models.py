"""Which models there are: what the providers list, and what the operator named."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple

from hermod.calls.credentials import CredentialError, Credentials
from hermod.calls.free import ask
from hermod.domain.beside import beside
from hermod.domain.clock import Clock
from hermod.domain.provider import KeySettings, ProviderSettings
from hermod.net.client import HttpClient
from hermod.net.messages import Limits, NetError
from hermod.providers.mock import mock
from hermod.providers.model_lists import FreeCall, Listed, list_calls, page_in
from hermod.providers.registry import MOCK

log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 5.0
"""For the whole list of one key."""
_FRESH_S: Final = 60.0
"""How long a list is taken to be current."""
_PAGES_MAX: Final = 20
_AT_ONCE: Final = 32
"""Lists being fetched."""
_LIMITS: Final = Limits(connect_s=_TIMEOUT_S, reply_bytes=16 * 1024 * 1024)

_Asked = tuple[str, str | None]
"""A provider's name and a key's id."""


class Model(NamedTuple):
    """A model that requests can name."""

    id: str
    """With its provider in front."""
    provider: str
    created_s: int


class ModelLists:
    """Asks every provider now and then, and answers with what is known (design.md 8, 8).

    Each key is asked: an account of its own may have models of its own.
    """

    def __init__(
        self,
        providers: Mapping[str, ProviderSettings],
        client: HttpClient,
        clock: Clock,
        *,
        with_mock: bool,
        credentials: Credentials | None = None,
    ) -> None:
        self._providers = providers
        self._client = client
        self._clock = clock
        self._with_mock = with_mock
        self._credentials = credentials
        self._known: dict[_Asked, tuple[Listed, ...]] = {}
        self._asked_s: dict[_Asked, float] = {}
        self._asking: dict[_Asked, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def reconfigure(self, providers: Mapping[str, ProviderSettings]) -> None:
        """Go by these from now on; what changed is asked anew."""
        before, self._providers = self._providers, providers
        for known in (self._known, self._asked_s, self._asking):
            for asked in [each for each in known if before.get(each[0]) != providers.get(each[0])]:
                del known[asked]

    async def models(self, provider: str | None = None) -> tuple[Model, ...]:
        """Every model, or those of one provider. Never raises for what a provider does."""
        asked = [each for name, each in self._providers.items() if provider in {None, name}]
        await asyncio.gather(*[self._refresh(each, key) for each in asked for key in _keys(each)])
        found: dict[str, Model] = {}
        for each in asked:
            for name, created_s in self._names(each):
                full = f"{each.name}/{name}"
                found.setdefault(full, Model(full, each.name, created_s))
        if self._with_mock and provider in {None, MOCK}:
            for name in mock.models():
                found[f"{MOCK}/{name}"] = Model(f"{MOCK}/{name}", MOCK, 0)
        return tuple(found.values())

    def _names(self, provider: ProviderSettings) -> Iterable[Listed]:
        """What was listed to a key and may be called with it; then what the operator named."""
        for key in _keys(provider):
            for listed in self._known.get((provider.name, key.id if key else None), ()):
                if key is None or key.allows(listed.name):
                    yield listed
        for key in provider.keys:
            for name in sorted((key.models - {"*"}) | key.aliases.keys()):
                if key.allows(name):
                    yield Listed(name, 0)

    async def _refresh(self, provider: ProviderSettings, key: KeySettings | None) -> None:
        """Ask again if the last answer is old; callers at the same time share one question."""
        asked = provider.name, key.id if key is not None else None
        asked_s = self._asked_s.get(asked)
        if asked_s is not None and self._clock.monotonic() - asked_s < _FRESH_S:
            return
        task = self._asking.get(asked)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(asked, provider, key))
            self._asking[asked] = task
            task.add_done_callback(partial(self._asked, asked))
        await asyncio.shield(task)

    def _asked(self, asked: _Asked, task: asyncio.Task[None]) -> None:
        if self._asking.get(asked) is task:
            del self._asking[asked]

    async def _ask(
        self, asked: _Asked, provider: ProviderSettings, key: KeySettings | None
    ) -> None:
        calls = list_calls(provider, key)
        if not calls:
            return
        found: list[Listed] = []
        answered = False
        for call in calls:
            try:
                async with self._turns, asyncio.timeout(_TIMEOUT_S):
                    found += await self._whole(provider, key, call)
                    answered = True
            except (_Unlisted, NetError, CredentialError) as error:
                log.info("models of %s: %s", provider.name, error)
            except TimeoutError:
                log.info("models of %s: no list within %g s", provider.name, _TIMEOUT_S)
        if self._providers.get(provider.name) is not provider:
            return  # it was changed meanwhile
        if answered:
            self._known[asked] = tuple(found)
        self._asked_s[asked] = self._clock.monotonic()

    async def _whole(
        self, provider: ProviderSettings, key: KeySettings | None, call: FreeCall
    ) -> list[Listed]:
        """All pages of a list. Raises _Unlisted, NetError or CredentialError."""
        found: list[Listed] = []
        for _ in range(_PAGES_MAX):
            reply = await ask(
                self._client,
                self._credentials,
                provider,
                key,
                call,
                timeout_s=_TIMEOUT_S,
                limits=_LIMITS,
            )
            if reply.status != 200:
                raise _Unlisted(f"status {reply.status}")
            body = reply.body
            page = await beside(len(body), page_in, provider.row, call.url, body)
            if page is None:
                raise _Unlisted("the answer is no list")
            found += page.models
            if page.next_url is None or page.next_url == call.url or not page.models:
                break
            call = call._replace(url=page.next_url)
        return found


class _Unlisted(Exception):
    """An answer without a list."""


def _keys(provider: ProviderSettings) -> tuple[KeySettings | None, ...]:
    """The keys that calls may be made with; None where there need not be one."""
    found = tuple(key for key in provider.keys if key.usable)
    return found or ((None,) if provider.keyless else ())
