"""Lists of models: how often they are asked for, and what happens where nobody answers."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from hermod.calls.credentials import CredentialError, Credentials
from hermod.calls.models import Model, ModelLists
from hermod.clock import SystemClock
from hermod.domain.provider import KeySettings, ProviderSettings
from hermod.net.client import HttpClient
from hermod.net.messages import Headers, Request
from tests.providers.recorded import settings_of
from tests.support.pages import Page, Pages

LIST = Page({"data": [{"id": "m", "created": 1_700_000_000}]})


class Clock(SystemClock):
    """The real one, which can be put forward."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class NoCredentials:
    """Has none for anybody."""

    async def headers(self, key: KeySettings, request: Request) -> Headers:
        raise CredentialError("there is none")

    async def token(self, key: KeySettings) -> str:
        raise CredentialError("there is none")


@pytest.fixture
def pages() -> Iterator[Pages]:
    """An upstream with one model."""
    with Pages({"/v1/models": LIST}) as running:
        yield running


@asynccontextmanager
async def lists(*providers: ProviderSettings, clock: Clock) -> AsyncGenerator[ModelLists]:
    """Those of these providers."""
    client, none = HttpClient(), NoCredentials()
    settings = {each.name: each for each in providers}
    credentials = Credentials(none, none, none)
    try:
        yield ModelLists(settings, client, clock, with_mock=False, credentials=credentials)
    finally:
        await client.close()


async def test_many_callers_share_a_question_and_its_answer_lasts_a_minute(pages: Pages) -> None:
    clock, held = Clock(), threading.Event()
    pages.pages["/v1/models"] = LIST._replace(held=held)
    async with lists(replace(settings_of("openai"), base_url=pages.url), clock=clock) as known:
        asking = [asyncio.create_task(known.models()) for _ in range(5)]
        await asyncio.sleep(0)
        held.set()
        for found in await asyncio.gather(*asking):
            assert found == (Model("openai/m", "openai", 1_700_000_000),)
        clock.ahead_s = 59
        await known.models()
        assert len(pages.asked) == 1
        clock.ahead_s = 61
        await known.models()
        assert len(pages.asked) == 2


async def test_a_list_that_cannot_be_had_any_more_stays_as_it_was(pages: Pages) -> None:
    clock = Clock()
    async with lists(replace(settings_of("openai"), base_url=pages.url), clock=clock) as known:
        before = await known.models()
        pages.pages["/v1/models"] = Page("<html>", 503)
        clock.ahead_s = 100
        assert await known.models() == before
        assert len(pages.asked) == 2


async def test_without_a_credential_a_provider_has_the_models_of_its_keys() -> None:
    region = '{"value": "", "bedrock_key_config": {"region": "eu-west-1"}, "aliases": {"a": "b"}}'
    async with lists(settings_of("bedrock", region), clock=Clock()) as known:
        assert await known.models() == (Model("bedrock/a", "bedrock", 0),)


async def test_a_list_without_an_end_is_cut(pages: Pages) -> None:
    pages.pages["/v1/models"] = Page({"data": [{"id": "m"}], "has_more": True, "last_id": "m"})
    pages.pages["/v1/models?after_id=m"] = Page(
        {"data": [{"id": "n"}], "has_more": True, "last_id": "n"}
    )
    pages.pages["/v1/models?after_id=n"] = pages.pages["/v1/models"]
    async with lists(replace(settings_of("openai"), base_url=pages.url), clock=Clock()) as known:
        assert {model.id for model in await known.models()} == {"openai/m", "openai/n"}
    assert len(pages.asked) == 20
