"""Providers that come, change and go while calls are made."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest

from hermod.calls.call import Caller
from hermod.calls.models import ModelLists
from hermod.calls.roster import KnownProviders, Providers, Roster
from hermod.calls.spec import Called, CallSettings, CallSpec
from hermod.clock import SystemClock
from hermod.config.provider_object import read_object
from hermod.config.settings import HermodSettings
from hermod.domain.document import Document
from hermod.domain.outcome import Answer, Fault, Retryable
from hermod.domain.provider import ProviderRead, ProviderSettings, Secret
from hermod.domain.retry import RetryPolicy
from hermod.governance.provider_documents import Members, Stored, about, encode, taken_apart
from hermod.net.client import HttpClient
from hermod.providers.registry import KNOWN_PROVIDERS
from hermod.vault import Vault
from hermod.worker.lanes import Lanes
from tests.providers.recorded import settings_of
from tests.support.config import ROWS
from tests.support.pages import Page, Pages
from tests.support.upstream import Reply, Upstream

KEY: Final = Secret("the operator's encryption key")
CANARY: Final = "sk-canary-0123456789-abcdefghij"
BODY: Final = b'{"model":"%b","messages":[{"role":"user","content":"hi"}]}'


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Where calls go."""
    with Upstream() as running:
        yield running


def vault(key: Secret = KEY) -> Vault:
    """One that derives its keys at once."""
    return Vault(key, cost=2)


def members(url: str = "https://a.example", *values: str) -> Members:
    """A provider of one's own at this address, with keys."""
    keys: list[object] = [
        {"id": f"k{number}", "name": f"k{number}", "value": value}
        for number, value in enumerate(values or (CANARY,))
    ]
    return {
        "custom_provider_config": {"base_provider_type": "openai"},
        "network_config": {"base_url": url, "allow_private_network": True, "max_retries": 0},
        "keys": keys,
    }


async def document(
    name: str, told: Members, version: int = 1, sealing: Vault | None = None
) -> Document:
    """What the store has of it."""
    shown, secrets = taken_apart(told)
    sealed = await (sealing or vault()).seal(secrets, about(name))
    return encode(name, Stored(shown, sealed, 1, 2), version)


@dataclass
class Followed:
    """A roster with the documents that it follows."""

    documents: list[Document] = field(default_factory=list[Document])
    from_file: Mapping[str, ProviderSettings] = field(default_factory=dict[str, ProviderSettings])
    vault: Vault = field(default_factory=vault)
    retry_s: float = 60.0
    read: list[str] = field(default_factory=list[str])
    told: list[Providers] = field(default_factory=list[Providers])

    def __post_init__(self) -> None:
        self.roster = Roster(
            self.from_file,
            self._read,
            self.vault,
            lambda: tuple(self.documents),
            retry_s=self.retry_s,
        )
        self.roster.on_change(self.told.append)

    async def now(self, *documents: Document) -> Providers:
        """What there is once these are the documents."""
        self.documents = list(documents)
        self.roster.note_change()
        await self.roster.settled()
        return self.roster.providers

    def _read(self, name: str, told: Mapping[str, object]) -> ProviderRead:
        self.read.append(name)
        usual = HermodSettings()
        return read_object(name, told, defaults=usual, rows=ROWS, known=KNOWN_PROVIDERS)


async def test_a_document_becomes_a_provider_and_everybody_is_told() -> None:
    followed = Followed()
    found = await followed.now(await document("mine", members()))
    assert found["mine"].keys[0].value.reveal() == CANARY
    assert followed.told == [found]
    assert await followed.now() == {}
    assert len(followed.told) == 2


async def test_only_what_has_changed_is_opened_again() -> None:
    followed = Followed()
    one, two = await document("one", members()), await document("two", members())
    before = await followed.now(one, two)
    after = await followed.now(one, await document("two", members("https://b.example"), 2))
    assert followed.read == ["one", "two", "two"]
    assert after["one"] is before["one"]
    assert after["two"].base_url == "https://b.example"


async def test_nobody_is_told_where_nothing_has_changed() -> None:
    followed = Followed()
    one = await document("one", members())
    await followed.now(one)
    await followed.now(one._replace(version=2))  # the same again
    assert len(followed.told) == 1


async def test_the_files_provider_counts(caplog: pytest.LogCaptureFixture) -> None:
    ours = settings_of("openai")
    followed = Followed(from_file={"openai": ours})
    stored = await document("openai", {"keys": [{"value": CANARY}]})
    for _ in range(2):
        assert await followed.now(stored) == {"openai": ours}
    assert caplog.text.count("does not count") == 1


@pytest.mark.parametrize("broken", ["another key", "another name", "damaged", "no provider"])
async def test_what_cannot_be_opened_is_passed_over_and_told_once(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = await document("bad", members())
    match broken:
        case "another key":
            bad = await document("bad", members(), 1, vault(Secret("other")))
        case "another name":  # a sealed text that was moved
            bad = bad._replace(body=(await document("other", members())).body)
        case "damaged":
            bad = bad._replace(body=b"[]")
        case _:
            bad = await document("bad", {**members(), "unknown": 1})
    followed = Followed()
    good = await document("good", members())
    for _ in range(2):
        assert list(await followed.now(bad, good)) == ["good"]
    assert caplog.text.count("provider bad cannot be used") == 1
    assert CANARY[5:-5] not in caplog.text


async def test_a_key_that_cannot_be_read_just_now_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "encryption.key"
    sealing = Vault(key_file=path, cost=2)
    one = await document("one", members(), 1, sealing)
    text = path.read_text()
    path.unlink()
    path.mkdir()  # reading it is an OSError
    followed = Followed(vault=Vault(key_file=path, cost=2), retry_s=0.01)
    assert await followed.now(one) == {}
    path.rmdir()
    path.write_text(text)
    async with asyncio.timeout(10):
        while "one" not in followed.roster.providers:
            await asyncio.sleep(0.01)
    await followed.roster.close()


async def test_prefixes_are_those_of_now() -> None:
    followed = Followed()
    known = KnownProviders(frozenset({"openai"}), followed.roster)
    assert "mine" not in known
    await followed.now(await document("mine", members()))
    assert "mine" in known
    assert "openai" in known
    assert set(known) == {"mine", "openai"}


# Those who make calls


def settings(url: str, *values: str, name: str = "mine", **changes: object) -> ProviderSettings:
    """A provider as the roster has it."""
    told: Members = {**members(url, *values), **changes}
    usual = HermodSettings()
    found = read_object(name, told, defaults=usual, rows=ROWS, known=KNOWN_PROVIDERS).settings
    assert found is not None
    return found


@asynccontextmanager
async def caller(*providers: ProviderSettings) -> AsyncIterator[Caller]:
    """One with a way out."""
    client = HttpClient()
    usual = CallSettings(True, 60.0, RetryPolicy(0, 0.01, 0.01), mock=True)
    try:
        yield Caller({each.name: each for each in providers}, client, SystemClock(), usual)
    finally:
        await client.close()


async def asked(caller: Caller, model: str, provider: str = "mine") -> Called:
    """One call."""
    return await caller.call(
        CallSpec("chat_completion", provider, model, BODY % model.encode(), None, "job", 1, 60.0)
    )


def proofs(upstream: Upstream, model: str) -> list[str]:
    """How the calls for a model proved themselves."""
    return [call.headers["authorization"] for call in upstream.calls(model)]


async def test_the_next_call_uses_the_key_of_now(upstream: Upstream) -> None:
    async with caller(settings(upstream.url, "sk-one")) as ours:
        for value in ("sk-one", "sk-two"):
            ours.reconfigure({"mine": settings(upstream.url, value)})
            assert isinstance((await asked(ours, "m")).outcome, Answer)
    assert proofs(upstream, "m") == ["Bearer sk-one", "Bearer sk-two"]


async def test_a_provider_that_is_gone_is_not_configured(upstream: Upstream) -> None:
    async with caller(settings(upstream.url, "sk-one")) as ours:
        ours.reconfigure({})
        outcome = (await asked(ours, "m")).outcome
    assert isinstance(outcome, Fault)
    assert outcome.failure.message == "failed to get config for provider: not found"
    assert not upstream.calls("m")


async def test_a_call_under_way_counts_against_the_new_cap(upstream: Upstream) -> None:
    held = threading.Event()
    upstream.plan("slow", Reply(held=held))
    async with caller(settings(upstream.url, "sk-one")) as ours:
        calling = asyncio.create_task(asked(ours, "slow"))
        async with asyncio.timeout(10):
            while not upstream.calls("slow"):
                await asyncio.sleep(0.01)
        capped = settings(upstream.url, "sk-two", concurrency_and_buffer_size={"concurrency": 1})
        ours.reconfigure({"mine": capped})
        assert ours.out("mine") == 1
        assert ours.room("mine")[0] == 0
        held.set()
        assert isinstance((await calling).outcome, Answer)
        assert ours.out("mine") == 0


async def test_what_is_known_of_the_others_stays(upstream: Upstream) -> None:
    too_much = Reply(429, b'{"error":{"message":"slow"}}', headers={"retry-after": "60"})
    upstream.plan("a", too_much)
    one, two = settings(upstream.url, "sk-one"), settings(upstream.url, "sk-x", name="other")
    async with caller(one, two) as ours:
        await asked(ours, "a")
        ours.reconfigure({"mine": one, "other": replace(two, max_retries=3)})
        outcome = (await asked(ours, "b")).outcome
        assert isinstance(outcome, Fault)
        assert outcome.retryable is Retryable.HELD
        # A key is added: the one that was told to wait still waits.
        ours.reconfigure({"mine": settings(upstream.url, "sk-one", "sk-new"), "other": two})
        await asked(ours, "b")
        # It is another one now.
        ours.reconfigure({"mine": settings(upstream.url, "sk-else"), "other": two})
        await asked(ours, "b")
    assert proofs(upstream, "b") == ["Bearer sk-new", "Bearer sk-else"]


async def test_a_list_of_models_is_asked_for_anew_where_the_provider_has_changed() -> None:
    page = Page({"data": [{"id": "m", "created": 1}]})
    with Pages({"/v1/models": page}) as pages:
        client = HttpClient()
        one = settings(pages.url, "sk-one")
        lists = ModelLists({"mine": one}, client, SystemClock(), with_mock=False)
        assert [model.id for model in await lists.models()] == ["mine/m"]
        lists.reconfigure({"mine": one})
        await lists.models()
        assert len(pages.asked) == 1
        lists.reconfigure({"mine": settings(pages.url, "sk-two")})
        await lists.models()
        assert len(pages.asked) == 2
        lists.reconfigure({})
        assert await lists.models() == ()
        await client.close()


async def test_a_list_that_was_asked_of_the_old_provider_is_forgotten() -> None:
    held = threading.Event()
    page = Page({"data": [{"id": "old", "created": 1}]}, held=held)
    with Pages({"/v1/models": page}) as pages:
        client = HttpClient()
        lists = ModelLists(
            {"mine": settings(pages.url, "sk-one")}, client, SystemClock(), with_mock=False
        )
        asking = asyncio.create_task(lists.models())
        async with asyncio.timeout(10):
            while not pages.asked:
                await asyncio.sleep(0.01)
        lists.reconfigure({"mine": settings(pages.url, "sk-two")})
        pages.pages["/v1/models"] = Page({"data": [{"id": "new", "created": 1}]})
        held.set()
        await asking
        assert [model.id for model in await lists.models()] == ["mine/new"]
        await client.close()


def test_lanes_take_the_caps_of_now() -> None:
    lanes = Lanes(10, {"mine": 2})
    lane = lanes["mine"]
    lane.taken = 2
    lanes.resize({"mine": 5})
    assert lane.free == 3
    lanes.resize({"mine": 1, "new": 4})
    assert lane.free == 0
    assert lanes["new"].cap == 4
    lanes.resize({})
    assert lane.cap == 10
