"""Route, build, send, parse: one upstream call from request to outcome."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from hermod.calls.faults import attempt_timed_out, net_fault, not_configured, unsupported
from hermod.calls.keys import choose_key
from hermod.calls.redact import redacted
from hermod.domain.clock import Clock
from hermod.domain.deadlines import job_deadline_failure
from hermod.domain.failure import Failure
from hermod.domain.outcome import Fault, Outcome
from hermod.domain.provider import KeySettings, ProviderSettings
from hermod.domain.retry import RetryPolicy
from hermod.kinds.kind import Kind
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.net.client import HttpClient
from hermod.net.messages import Headers, NetError, Request, Trust
from hermod.providers import mock, openai_shaped
from hermod.providers.registry import MOCK, endpoint

log = logging.getLogger(__name__)


_MOCK_BYTES: Final = 16 * 1024 * 1024
"""It reads the whole body on the event loop."""


class CallSpec(NamedTuple):
    """What to call, and how long it may take."""

    kind: str
    provider: str
    model: str
    body: bytes
    options: str | None
    job_id: str
    attempt: int
    remaining_s: float
    """Until the job's deadline."""


class Called(NamedTuple):
    """What came of it, and with which key."""

    outcome: Outcome
    key_name: str | None = None


class CallSettings(NamedTuple):
    """The operator's word on calls, where a provider has none of its own."""

    forward_unknown_fields: bool
    attempt_timeout_s: float
    retry_policy: RetryPolicy
    mock: bool


class _Options(msgspec.Struct):
    """What a job keeps of its headers."""

    passthrough: bool | None = None


_read_options: Final = msgspec.json.Decoder(_Options).decode


class Caller:
    """Makes upstream calls. It never raises for what an upstream does."""

    def __init__(
        self,
        providers: Mapping[str, ProviderSettings],
        client: HttpClient,
        clock: Clock,
        settings: CallSettings,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._providers = providers
        self._client = client
        self._clock = clock
        self._settings = settings
        self._chance = chance

    def retry_policy(self, provider: str) -> RetryPolicy:
        """How often, and how long apart, calls to this provider are repeated."""
        settings = self._providers.get(provider)
        if settings is None:
            return self._settings.retry_policy
        return RetryPolicy(
            settings.max_retries,
            settings.retry_backoff_initial_ms / 1000,
            settings.retry_backoff_max_ms / 1000,
        )

    async def call(self, spec: CallSpec) -> Called:
        """One call. Cancelling it closes its connection."""
        kind = KIND_BY_TYPE.get(spec.kind)
        if kind is None:
            return Called(Fault(Failure(f"unknown request type: {spec.kind}"), sent=False))
        if spec.provider == MOCK:
            return await self._call_mock(kind, spec)
        provider = self._providers.get(spec.provider)
        if provider is None:
            return Called(not_configured())
        return await self._call_upstream(kind, provider, spec)

    async def _call_upstream(
        self, kind: Kind, provider: ProviderSettings, spec: CallSpec
    ) -> Called:
        key = choose_key(provider, spec.model, self._chance())
        if isinstance(key, Failure):
            return Called(Fault(key, sent=False))
        url = endpoint(provider, kind.request_type, key)
        if url is None:
            return Called(unsupported(kind.request_type, provider.name))
        key_name = key.name if key is not None else None
        request = Request(
            "POST",
            url,
            _headers(provider, key, spec),
            self._body(kind, spec),
            Trust(not provider.insecure_skip_verify, provider.ca_cert_pem),
        )
        timeout_s = min(provider.attempt_timeout_s, spec.remaining_s)
        started_s = self._clock.monotonic()
        try:
            reply = await self._client.send(request, timeout_s=timeout_s)
        except NetError as error:
            log.info("job %s: %s: %s", spec.job_id, provider.name, error)
            by_deadline = spec.remaining_s <= provider.attempt_timeout_s
            fault = net_fault(error, timeout_s=timeout_s, by_job_deadline=by_deadline)
            return Called(fault, key_name)
        outcome = openai_shaped.parse_reply(
            kind,
            reply.status,
            reply.content_type,
            redacted(reply.body, _secrets(provider, key)),
            reply.retry_after,
            provider=provider.name,
            model=spec.model,
            latency_ms=int((self._clock.monotonic() - started_s) * 1000),
            now_at=self._clock.now(),
        )
        return Called(outcome, key_name)

    async def _call_mock(self, kind: Kind, spec: CallSpec) -> Called:
        """The provider inside this process: the same request and the same reply, no network."""
        if not self._settings.mock:
            return Called(not_configured())
        if len(spec.body) > _MOCK_BYTES:
            text = f"the mock provider takes bodies of up to {_MOCK_BYTES} bytes"
            return Called(Fault(Failure(text, status_code=413), sent=False))
        started_s = self._clock.monotonic()
        reply = mock.reply(
            kind.request_type,
            spec.model,
            self._body(kind, spec),
            attempt=spec.attempt,
            job_id=spec.job_id,
            now_at=self._clock.now(),
        )
        limit_s = min(self._settings.attempt_timeout_s, spec.remaining_s)
        await asyncio.sleep(min(reply.delay_s, limit_s))
        if reply.delay_s > limit_s:
            if spec.remaining_s <= self._settings.attempt_timeout_s:
                return Called(Fault(job_deadline_failure(), unknown=True, job_deadline=True))
            return Called(attempt_timed_out(limit_s, sent=True))
        headers = dict(reply.headers)
        outcome = openai_shaped.parse_reply(
            kind,
            reply.status,
            headers.get("content-type"),
            reply.body,
            headers.get("retry-after"),
            provider=MOCK,
            model=spec.model,
            latency_ms=int((self._clock.monotonic() - started_s) * 1000),
            now_at=self._clock.now(),
        )
        return Called(outcome)

    def _body(self, kind: Kind, spec: CallSpec) -> bytes:
        forward = self._settings.forward_unknown_fields
        if spec.options is not None:
            asked = _read_options(spec.options).passthrough
            forward = forward if asked is None else asked or forward
        return openai_shaped.build_body(kind, spec.body, spec.model, forward_unknown=forward)


def _secrets(provider: ProviderSettings, key: KeySettings | None) -> list[str]:
    found = [value.reveal() for _, value in provider.extra_headers]
    if key is not None:
        found.append(key.value.reveal())
    return found


def _headers(provider: ProviderSettings, key: KeySettings | None, spec: CallSpec) -> Headers:
    """With the one place that opens a provider's secrets."""
    extra = {name: value.reveal() for name, value in provider.extra_headers}
    secret = key.value.reveal() if key is not None else None
    tag = f"{spec.job_id}/{spec.attempt}"
    return tuple(openai_shaped.build_headers(secret, extra, tag).items())
