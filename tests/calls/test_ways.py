"""Which key, which path and which reading a call gets, in one process."""

import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from hermod.calls.call import Caller
from hermod.calls.spec import Called, CallSettings, CallSpec
from hermod.clock import SystemClock
from hermod.domain.live import Live
from hermod.domain.outcome import Answer, Fault
from hermod.domain.retry import RetryPolicy
from hermod.net.client import HttpClient
from tests.support.config import read
from tests.support.upstream import Reply, Upstream

CHAT: Final = b'{"model":"x/m","messages":[{"role":"user","content":"hi"}],"stream":true}'
CLAUDE: Final = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text",'
    b'"text":"ok"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}'
)


class Ear:
    """A caller who takes a stream."""

    def __init__(self) -> None:
        self.heard = b""

    def begin(self, content_type: str) -> None:
        del content_type

    async def write(self, piece: bytes) -> None:
        self.heard += piece


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Where all calls go."""
    with Upstream() as running:
        yield running


@asynccontextmanager
async def caller(
    tmp_path: Path, providers: Mapping[str, Any], dice: Callable[[], float] = random.random
) -> AsyncIterator[Caller]:
    """One with these providers of a config file."""
    found = read(tmp_path, {"providers": providers}).settings.providers
    client = HttpClient()
    settings = CallSettings(True, 60.0, RetryPolicy(0, 0.01, 0.01), mock=False)
    try:
        yield Caller(found, client, SystemClock(), settings, dice)
    finally:
        await client.close()


async def called(
    by: Caller, provider: str, kind: str, body: bytes, live: Live | None = None
) -> Called:
    return await by.call(CallSpec(kind, provider, "m", body, None, "job", 1, 60.0, live))


@pytest.mark.parametrize("names", [{}, {"name": "same"}, {"id": "same"}])
async def test_keys_that_are_named_alike_keep_their_own_secrets(
    tmp_path: Path, upstream: Upstream, names: dict[str, str]
) -> None:
    keys = [{**names, "value": value, "weight": 1} for value in ("sk-one", "sk-two")]
    providers = {"openai": {"keys": keys, "network_config": {"base_url": upstream.url}}}
    # Both in one process: what is kept of one must not serve the other.
    async with caller(tmp_path, providers, itertools.cycle((0.1, 0.9)).__next__) as by:
        for _ in range(8):
            await called(by, "openai", "chat_completion", CHAT)
    shown = {call.headers["authorization"] for call in upstream.calls("m")}
    assert shown == {"Bearer sk-one", "Bearer sk-two"}


async def test_what_is_allowed_may_go_over_a_type_that_is_not(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.plan("m", Reply(200, CLAUDE))
    custom = {"base_provider_type": "anthropic", "allowed_requests": {"responses": True}}
    mine = {
        "keys": [{"value": "sk"}],
        "network_config": {"base_url": upstream.url},
        "custom_provider_config": custom,
    }
    async with caller(tmp_path, {"mine": mine}) as by:
        answer = await called(by, "mine", "responses", b'{"model":"mine/m","input":"hi"}')
        assert isinstance(answer.outcome, Answer), answer.outcome
        refused = await called(by, "mine", "chat_completion", CHAT)
        assert isinstance(refused.outcome, Fault)
        assert refused.outcome.failure.code == "unsupported_operation"


async def test_a_page_for_people_is_no_stream(tmp_path: Path, upstream: Upstream) -> None:
    upstream.plan("m", Reply(200, b"<html>Log in first</html>", "text/html"))
    there = {"keys": [{"value": "sk"}], "network_config": {"base_url": upstream.url}}
    async with caller(tmp_path, {"anthropic": there}) as by:
        ear = Ear()
        found = await called(by, "anthropic", "chat_completion", CHAT, Live(ear))
    assert isinstance(found.outcome, Fault)
    assert found.outcome.failure.message == "HTML response received from provider"
    assert ear.heard == b""


async def test_when_keys_that_are_named_alike_are_all_refused_there_is_no_other(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.plan("m", Reply(401, b'{"error":{"message":"who are you"}}'))
    keys = [{"name": "same", "value": value} for value in ("sk-one", "sk-two")]
    providers = {"openai": {"keys": keys, "network_config": {"base_url": upstream.url}}}
    async with caller(tmp_path, providers) as by:
        dead: tuple[str, ...] = ()
        others: list[int] = []
        for _ in keys:
            spec = CallSpec("chat_completion", "openai", "m", CHAT, None, "j", 1, 60.0, dead=dead)
            found = await by.call(spec)
            assert found.key_id is not None
            dead, others = (*dead, found.key_id), [*others, found.other_keys]
    assert others == [1, 0]
    shown = {call.headers["authorization"] for call in upstream.calls("m")}
    assert shown == {"Bearer sk-one", "Bearer sk-two"}
