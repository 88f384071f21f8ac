"""Which models there are: what the providers list, and what the operator named."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from hermod.domain.clock import Clock
from hermod.domain.provider import KeySettings, ProviderSettings
from hermod.kinds import json_guard
from hermod.net.client import HttpClient
from hermod.net.messages import NetError, Request, Trust
from hermod.providers import mock
from hermod.providers.prepare import build_headers, key_header
from hermod.providers.registry import MOCK, models_url

log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 5.0
_FRESH_S: Final = 60.0
"""How long a list is taken to be current."""
_DEPTH_MAX: Final = 64
_MODELS_MAX: Final = 10_000
"""Of one provider."""


class Model(NamedTuple):
    """A model that requests can name."""

    id: str
    """With its provider in front."""
    provider: str
    created_s: int


class _Listed(msgspec.Struct):
    id: str = ""
    name: str = ""
    created: int | float | None = None


class _List(msgspec.Struct):
    data: list[_Listed] = []
    models: list[_Listed] = []


_read: Final = msgspec.json.Decoder(_List).decode


class ModelLists:
    """Asks every provider now and then, and answers with what is known (design.md 8, 8)."""

    def __init__(
        self,
        providers: Mapping[str, ProviderSettings],
        client: HttpClient,
        clock: Clock,
        *,
        with_mock: bool,
    ) -> None:
        self._providers = providers
        self._client = client
        self._clock = clock
        self._with_mock = with_mock
        self._known: dict[str, tuple[Model, ...]] = {}
        self._asked_s: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def models(self, provider: str | None = None) -> tuple[Model, ...]:
        """Every model, or those of one provider. Never raises for what a provider does."""
        asked = [each for name, each in self._providers.items() if provider in {None, name}]
        await asyncio.gather(*[self._refresh(each) for each in asked])
        found: dict[str, Model] = {}
        for each in asked:
            for model in (*self._known.get(each.name, ()), *_named(each)):
                found.setdefault(model.id, model)
        if self._with_mock and provider in {None, MOCK}:
            for name in mock.models():
                found[f"{MOCK}/{name}"] = Model(f"{MOCK}/{name}", MOCK, 0)
        return tuple(found.values())

    async def _refresh(self, provider: ProviderSettings) -> None:
        """Ask again if the last answer is old; callers at the same time share one question."""
        now_s = self._clock.monotonic()
        asked_s = self._asked_s.get(provider.name)
        if asked_s is not None and now_s - asked_s < _FRESH_S:
            return
        task = self._asking.get(provider.name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(provider))
            self._asking[provider.name] = task
            task.add_done_callback(lambda _: self._asking.pop(provider.name, None))
        await asyncio.shield(task)

    async def _ask(self, provider: ProviderSettings) -> None:
        key = next((key for key in provider.keys if key.enabled and key.value), None)
        url = models_url(provider, key)
        if url is None:
            return
        request = Request(
            "GET",
            url,
            _headers(provider, key),
            b"",
            Trust(not provider.insecure_skip_verify, provider.ca_cert_pem),
        )
        try:
            reply = await self._client.send(request, timeout_s=_TIMEOUT_S)
        except NetError as error:
            log.info("models of %s: %s", provider.name, error)
        else:
            if reply.status == 200:
                self._known[provider.name] = _listed(provider.name, reply.body)
            else:
                log.info("models of %s: status %d", provider.name, reply.status)
        self._asked_s[provider.name] = self._clock.monotonic()


def _headers(provider: ProviderSettings, key: KeySettings | None) -> tuple[tuple[str, str], ...]:
    extra = {name: value.reveal() for name, value in provider.extra_headers}
    secret = key.value.reveal() if key is not None else None
    shown = key_header(provider.row.auth, secret) if secret else None
    headers = build_headers(shown, extra, "models")
    return tuple((name, value) for name, value in headers.items() if name != "Content-Type")


def _listed(provider: str, body: bytes) -> tuple[Model, ...]:
    """What an upstream's list says; nothing where it cannot be read."""
    if json_guard.problem(body, _DEPTH_MAX) is not None:
        return ()
    try:
        read = _read(body)
    except msgspec.DecodeError as error:
        log.info("models of %s: %s", provider, error)
        return ()
    found: list[Model] = []
    for listed in (read.data or read.models)[:_MODELS_MAX]:
        name = (listed.id or listed.name).removeprefix("models/")  # Google's prefix
        if name:
            found.append(Model(f"{provider}/{name}", provider, int(listed.created or 0)))
    return tuple(found)


def _named(provider: ProviderSettings) -> Iterable[Model]:
    """What the operator's keys may be used for."""
    for key in provider.keys:
        for name in sorted(key.models - {"*"}):
            yield Model(f"{provider.name}/{name}", provider.name, 0)
