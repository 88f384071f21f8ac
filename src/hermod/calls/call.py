"""Route, build, send, parse: one upstream call from request to outcome."""

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from hermod.calls.faults import (
    attempt_timed_out,
    cannot_carry,
    missing_headers,
    net_fault,
    not_configured,
    unsupported,
)
from hermod.calls.forward import Forwarded, Stream, forward, streamed_answer
from hermod.calls.keys import choose_key, session_chance
from hermod.calls.redact import redacted
from hermod.domain.beside import BESIDE_BYTES, beside
from hermod.domain.clock import Clock
from hermod.domain.deadlines import job_deadline_failure
from hermod.domain.failure import Failure
from hermod.domain.forwarding import merged
from hermod.domain.live import Live
from hermod.domain.options import NO_OPTIONS, Options
from hermod.domain.outcome import Fault, Outcome
from hermod.domain.provider import KeySettings, ProviderSettings
from hermod.domain.retry import RetryPolicy
from hermod.kinds.kind import AnyKind
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.net.client import HttpClient
from hermod.net.messages import Headers, NetError, Reason, Reply, Request, Trust
from hermod.providers import mock, replies
from hermod.providers.adapter import CannotCarry, Dialect, Outgoing, Prepared
from hermod.providers.adapters import dialect_of, mock_dialect
from hermod.providers.prepare import build_headers, key_header, upstream_model
from hermod.providers.registry import MOCK, endpoint, offers

log = logging.getLogger(__name__)

_MOCK_BYTES: Final = 64 * 1024 * 1024
"""It reads the whole body in memory."""
_LARGE_MEDIA: Final = "bytes="
"""The mock's option for the size of what it makes."""
_EVENTS: Final = "text/event-stream"
_SECRET: Final = re.compile(
    "auth|key|token|secret|cookie|passw|credential|signature", re.IGNORECASE
)
"""Headers whose values are masked where an upstream repeats them. To mask a title or a referer
would change what models say."""


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
    live: Live | None = None
    """Who waits for the answer, and may take it in pieces."""


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


class _Call(NamedTuple):
    """One call, with what was looked up for it."""

    kind: AnyKind
    spec: CallSpec
    options: Options
    dialect: Dialect
    outgoing: Outgoing
    provider: ProviderSettings | None
    """None for the mock inside this process."""
    started_s: float


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
        options = NO_OPTIONS if spec.options is None else Options.decode(spec.options)
        if options.missing_headers:
            return Called(missing_headers(options.missing_headers))
        provider = self._providers.get(spec.provider)
        is_mock = spec.provider == MOCK and self._settings.mock
        if provider is None and not is_mock:
            return Called(not_configured())
        outgoing = Outgoing(
            spec.body,
            options.content_type,
            spec.model,
            self._settings.forward_unknown_fields
            if options.passthrough is None
            else options.passthrough,
            f"hermod-{self._chance()}-{spec.job_id}" if options.content_type else "",
        )
        started_s = self._clock.monotonic()
        if provider is None:
            dialect = mock_dialect(spec.kind)
            return await self._call_mock(
                _Call(kind, spec, options, dialect, outgoing, None, started_s)
            )
        if not offers(provider, spec.kind):
            return Called(unsupported(spec.kind, provider.name))
        key = choose_key(
            provider,
            spec.model,
            session_chance(options.session_id) if options.session_id else self._chance(),
            name=options.key_name,
            key_id=options.key_id,
        )
        if isinstance(key, Failure):
            return Called(Fault(key, sent=False))
        outgoing = outgoing._replace(
            model=upstream_model(key, spec.model),
            provider=provider,
            key=key,
            stream=spec.live is not None and spec.live.sink is not None,
            now_s=self._clock.now() // 1_000_000,
        )
        dialect = dialect_of(provider.row, spec.kind)
        call = _Call(kind, spec, options, dialect, outgoing, provider, started_s)
        return await self._call_upstream(call, provider, key)

    async def _call_upstream(
        self, call: _Call, provider: ProviderSettings, key: KeySettings | None
    ) -> Called:
        spec, outgoing = call.spec, call.outgoing
        key_name = key.name if key is not None else None
        try:
            if len(spec.body) <= BESIDE_BYTES:
                prepared = call.dialect.build(call.kind, outgoing)
            else:
                prepared = await beside(len(spec.body), call.dialect.build, call.kind, outgoing)
        except CannotCarry as error:
            return Called(cannot_carry(error.message, error.param), key_name)
        url = endpoint(
            provider,
            spec.kind,
            key,
            model=outgoing.model,
            path=prepared.path,
            stream=outgoing.stream,
        )
        if url is None:
            return Called(unsupported(spec.kind, provider.name))
        request = Request(
            "POST",
            url,
            _headers(provider, key, call, prepared),
            prepared.body,
            Trust(not provider.insecure_skip_verify, provider.ca_cert_pem),
        )
        timeout_s = min(provider.attempt_timeout_s, spec.remaining_s)
        secrets = _secrets(provider, key)
        try:
            reply = await self._send(call, request, timeout_s, secrets)
        except NetError as error:
            log.info("job %s: %s: %s", spec.job_id, provider.name, error)
            by_deadline = spec.remaining_s <= provider.attempt_timeout_s
            fault = net_fault(error, timeout_s=timeout_s, by_job_deadline=by_deadline)
            return Called(fault, key_name)
        if isinstance(reply, Forwarded):
            return Called(self._streamed(call, reply), key_name)
        body = redacted(reply.body, secrets)
        outcome = await self._read(
            call, reply.status, reply.content_type, body, reply.retry_after, prepared
        )
        return Called(outcome, key_name)

    async def _send(
        self, call: _Call, request: Request, timeout_s: float, secrets: list[str]
    ) -> Reply | Forwarded:
        """The whole reply, or that it went to the caller in pieces. Raises NetError."""
        live = call.spec.live
        if live is None or live.sink is None:
            return await self._client.send(request, timeout_s=timeout_s)
        async with self._client.stream(request, timeout_s=timeout_s) as reply:
            if 200 <= reply.status < 300 and reply.content_type == _EVENTS:
                stream = Stream(_EVENTS, reply.pieces())
                left_s = max(timeout_s - (self._clock.monotonic() - call.started_s), 0.0)
                return await forward(stream, live, live.sink, secrets, timeout_s=left_s)
            # Some upstreams know no streams, and errors come whole: the caller gets what there is.
            return Reply(reply.status, reply.headers, await reply.read())

    async def _call_mock(self, call: _Call) -> Called:
        """The provider inside this process: the same request and the same reply, no network."""
        spec = call.spec
        if len(spec.body) > _MOCK_BYTES:
            text = f"the mock provider takes bodies of up to {_MOCK_BYTES} bytes"
            return Called(Fault(Failure(text, status_code=413), sent=False))
        prepared = await beside(len(spec.body), call.dialect.build, call.kind, call.outgoing)
        reply = await beside(
            BESIDE_BYTES + 1 if _LARGE_MEDIA in spec.model else len(spec.body),
            mock.reply,
            call.kind.request_type,
            spec.model,
            prepared.body,
            content_type=prepared.content_type,
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
        live = spec.live
        if reply.pieces and live is not None and live.sink is not None:
            try:
                stream = Stream(_EVENTS, _mock_pieces(reply))
                forwarded = await forward(stream, live, live.sink, (), timeout_s=limit_s)
                return Called(self._streamed(call, forwarded))
            except NetError as error:
                fault = net_fault(error, timeout_s=limit_s, by_job_deadline=False)
                return Called(fault)
        if reply.cut:
            cut = NetError(Reason.BROKEN, "the mock breaks its reply off", sent=True)
            return Called(net_fault(cut, timeout_s=limit_s, by_job_deadline=False))
        headers = dict(reply.headers)
        outcome = await self._read(
            call,
            reply.status,
            headers.get("content-type"),
            reply.body,
            headers.get("retry-after"),
            prepared,
        )
        return Called(outcome)

    async def _read(
        self,
        call: _Call,
        status: int,
        content_type: str | None,
        body: bytes,
        retry_after: str | None,
        prepared: Prepared,
    ) -> Outcome:
        provider, options = call.provider, call.options
        shows_request = provider is not None and provider.send_back_raw_request
        shows_response = provider is not None and provider.send_back_raw_response
        if options.raw_request is not None:
            shows_request = options.raw_request
        if options.raw_response is not None:
            shows_response = options.raw_response
        read = partial(
            replies.parse_reply,
            call.kind,
            status,
            content_type,
            body,
            retry_after,
            provider=call.spec.provider,
            model=call.spec.model,
            latency_ms=self._latency_ms(call),
            now_at=self._clock.now(),
            read=partial(call.dialect.read, call.kind, call.outgoing),
            refuse=call.dialect.refusal,
            resolved=call.outgoing.model,
            dropped=prepared.dropped,
            raw_request=prepared.body if shows_request else None,
            show_raw_response=shows_response,
        )
        size = len(body) + (len(prepared.body) if shows_request else 0)
        return read() if size <= BESIDE_BYTES else await beside(size, read)

    def _streamed(self, call: _Call, forwarded: Forwarded) -> Outcome:
        """What is kept of an answer that its caller has had already."""
        if forwarded.failed or not forwarded.is_whole:
            what = "brought an error" if forwarded.failed else "ended before its last event"
            failure = replies.invalid(f"the stream {what}")
            return Fault(
                failure.of(
                    provider=call.spec.provider,
                    model=call.spec.model,
                    request_type=call.kind.request_type,
                ),
                told=forwarded.failed,
            )
        return streamed_answer(
            call.kind.request_type,
            call.spec.provider,
            call.spec.model,
            latency_ms=self._latency_ms(call),
            size=forwarded.size,
        )

    def _latency_ms(self, call: _Call) -> int:
        return int((self._clock.monotonic() - call.started_s) * 1000)


async def _mock_pieces(reply: mock.MockReply) -> AsyncIterator[bytes]:
    for piece in reply.pieces:
        yield piece
        await asyncio.sleep(reply.pause_s)
    if reply.cut:
        raise NetError(Reason.BROKEN, "the mock breaks its stream", sent=True)


def _secrets(provider: ProviderSettings, key: KeySettings | None) -> list[str]:
    found = [value.reveal() for name, value in provider.extra_headers if _SECRET.search(name)]
    if key is not None:
        found.append(key.value.reveal())
    return found


def _headers(
    provider: ProviderSettings, key: KeySettings | None, call: _Call, prepared: Prepared
) -> Headers:
    """With the one place that opens a provider's secrets."""
    extra = {name: value.reveal() for name, value in provider.extra_headers}
    secret = key.value.reveal() if key is not None else None
    shown = key_header(provider.row.auth, secret) if secret else None
    tag = f"{call.spec.job_id}/{call.spec.attempt}"
    own = build_headers(shown, extra, tag, prepared.content_type, prepared.headers)
    if not call.options.forward:
        return tuple(own.items())
    theirs = {name.lower() for name in extra}
    if "user-agent" not in theirs and any(name == "user-agent" for name, _ in call.options.forward):
        del own["User-Agent"]  # ours only stands in where nobody named one
    return merged(tuple(own.items()), call.options.forward)
