"""Calls with keys that callers have brought, in one process."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from hermod.calls.call import Caller
from hermod.calls.direct import DirectKeys
from hermod.calls.spec import Called, CallSettings, CallSpec
from hermod.clock import SystemClock
from hermod.domain.job import Target
from hermod.domain.job_secrets import JobSecrets
from hermod.domain.options import Options
from hermod.domain.outcome import Answer, Fault, Retryable
from hermod.domain.provider import ProviderSettings, Secret
from hermod.domain.retry import RetryPolicy
from hermod.net.client import HttpClient
from hermod.vault import Vault
from tests.support.config import read
from tests.support.upstream import Reply, Upstream

JOB: Final = "0190-job"
BODY: Final = b'{"model":"openai/%b","messages":[{"role":"user","content":"hi"}]}'
VAULT: Final = Vault()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Where all calls go."""
    with Upstream() as running:
        yield running


def at(upstream: Upstream, tmp_path: Path, name: str = "openai") -> Mapping[str, ProviderSettings]:
    """That provider at this upstream, with a key of its own."""
    entry = {"keys": [{"name": "main", "value": "sk-ours"}], "network_config": {}}
    entry["network_config"] = {"base_url": upstream.url}
    return read(tmp_path, {"providers": {name: entry}}).settings.providers


@asynccontextmanager
async def caller(
    configured: Mapping[str, ProviderSettings], unconfigured: Mapping[str, ProviderSettings]
) -> AsyncIterator[Caller]:
    """One with a way out."""
    client = HttpClient()
    settings = CallSettings(True, 60.0, RetryPolicy(0, 0.01, 0.01), mock=True)
    direct = DirectKeys(VAULT, unconfigured)
    try:
        yield Caller(configured, client, SystemClock(), settings, direct=direct)
    finally:
        await client.close()


def spec(model: str, key: str | None, provider: str = "openai") -> CallSpec:
    """A call of a job at `openai` with this key of its caller's."""
    options = None
    if key is not None:
        plain = JobSecrets(direct_key=Secret(key), provider="openai").encode()
        options = Options(sealed=VAULT.seal_in_passing(plain, JOB)).encode()
    body = BODY % model.encode()
    return CallSpec("chat_completion", provider, model, body, options, JOB, 1, 60.0)


def shown(upstream: Upstream, model: str) -> list[str]:
    """How the calls for a model proved themselves."""
    return [call.headers["authorization"] for call in upstream.calls(model)]


async def test_a_provider_that_nobody_configured_is_called_with_its_callers_key_only(
    upstream: Upstream, tmp_path: Path
) -> None:
    async with caller({}, at(upstream, tmp_path)) as ours:
        called = await ours.call(spec("a", "sk-theirs"))
        assert isinstance(called.outcome, Answer)
        assert called.key_name == "header-provided"
        without = await ours.call(spec("b", None))
        assert isinstance(without.outcome, Fault)
        assert "failed to get config" in without.outcome.failure.message
    assert (shown(upstream, "a"), shown(upstream, "b")) == (["Bearer sk-theirs"], [])


async def test_callers_do_not_share_each_others_keys_or_limits(
    upstream: Upstream, tmp_path: Path
) -> None:
    too_much = Reply(429, b'{"error":{"message":"slow"}}', headers={"retry-after": "60"})
    upstream.plan("a", too_much)
    async with caller(at(upstream, tmp_path), {}) as ours:
        first = await ours.call(spec("a", "sk-first"))
        assert isinstance(first.outcome, Fault)
        assert first.outcome.retryable is Retryable.RATE_LIMITED
        for key, expected in (("sk-second", "Bearer sk-second"), (None, "Bearer sk-ours")):
            model = f"b-{key}"
            assert isinstance((await ours.call(spec(model, key))).outcome, Answer)
            assert shown(upstream, model) == [expected]
        held: Called = await ours.call(spec("c", "sk-first"))
        assert isinstance(held.outcome, Fault)
        assert held.outcome.retryable is Retryable.HELD
    assert not upstream.calls("c")


async def test_another_provider_never_sees_the_key(upstream: Upstream, tmp_path: Path) -> None:
    async with caller(at(upstream, tmp_path, "groq"), {}) as ours:
        await ours.call(spec("a", "sk-theirs", "groq"))
    for call in upstream.calls("a"):
        assert "sk-theirs" not in str(call.headers)


async def test_a_job_may_fall_back_to_its_own_provider_though_nobody_configured_it(
    upstream: Upstream, tmp_path: Path
) -> None:
    body = b'{"model":"openai/a","fallbacks":["openai/b","groq/c","mock/d","mistral/e"]}'
    unconfigured = {**at(upstream, tmp_path), **at(upstream, tmp_path, "mistral")}
    async with caller(at(upstream, tmp_path, "groq"), unconfigured) as ours:
        own, other, mock = Target("openai", "b"), Target("groq", "c"), Target("mock", "d")
        brought = spec("a", "sk-theirs").options
        assert await ours.fallbacks(body, brought, "openai") == (own, other, mock, None)
        assert await ours.fallbacks(body, None, "openai") == (None, other, mock, None)
