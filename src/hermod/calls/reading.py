"""What a call came to, read from its reply."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from hermod.calls.forward import Forwarded, streamed_answer
from hermod.calls.limit_headers import wait_asked_s
from hermod.calls.spec import OneCall
from hermod.domain.beside import BESIDE_BYTES, beside
from hermod.domain.clock import Clock
from hermod.domain.outcome import Answer, Fault, Outcome, Retryable
from hermod.domain.usage import Usage
from hermod.net.messages import Headers, Reply
from hermod.prices.prices import Prices
from hermod.providers import replies
from hermod.providers.adapter import Prepared


class ReplyReader:
    """Reads replies, beside the event loop where they are large."""

    def __init__(self, clock: Clock, prices: Prices | None) -> None:
        self._clock = clock
        self._prices = prices
        self._preparing: asyncio.Task[None] | None = None

    def prepare(self, provider: str) -> None:
        """Have what prices need by the time the reply is there."""
        prices = self._prices
        if prices is None or self._preparing is not None or prices.is_ready(provider):
            return
        self._preparing = asyncio.ensure_future(prices.ready(provider))

    async def read(self, call: OneCall, reply: Reply, prepared: Prepared) -> Outcome:
        """What a whole reply comes to."""
        latency_ms = self._latency_ms(call)
        prices, provider = self._prices, call.spec.provider
        if prices is not None and not prices.is_ready(provider):
            await prices.ready(provider)
        size = len(reply.body) + len(prepared.body)
        if call.way.request_type != call.spec.kind:
            size += len(call.spec.body)  # a bridge looks at the request again
        if size <= BESIDE_BYTES:
            return self._read(call, reply, prepared, latency_ms)
        return await beside(size, self._read, call, reply, prepared, latency_ms)

    def _read(self, call: OneCall, reply: Reply, prepared: Prepared, latency_ms: int) -> Outcome:
        provider, options, spec = call.outgoing.provider, call.options, call.spec
        shows_request = provider is not None and provider.send_back_raw_request
        shows_response = provider is not None and provider.send_back_raw_response
        if options.raw_request is not None:
            shows_request = options.raw_request
        if options.raw_response is not None:
            shows_response = options.raw_response
        dialect = call.way.dialect
        return replies.parse_reply(
            call.kind,
            reply.status,
            reply.content_type,
            reply.body,
            reply.retry_after,
            provider=spec.provider,
            model=spec.model,
            latency_ms=latency_ms,
            now_at=self._clock.now(),
            read=partial(dialect.read, call.kind, call.outgoing),
            refuse=dialect.refusal,
            retry_after_in=dialect.retry_after,
            resolved=call.outgoing.model,
            dropped=prepared.dropped,
            price=self._priced(call),
            raw_request=prepared.body if shows_request else None,
            show_raw_response=shows_response,
        )

    async def _prepared(self, provider: str) -> None:
        prices = self._prices
        if prices is not None and not prices.is_ready(provider):
            await prices.ready(provider)

    def _priced(self, call: OneCall) -> Callable[[Usage | None], int | None] | None:
        prices, provider, asked = self._prices, call.spec.provider, call.spec.model
        if prices is None:
            return None
        return lambda usage: prices.cost(provider, call.outgoing.model, usage, asked)

    async def streamed(self, call: OneCall, forwarded: Forwarded) -> Outcome:
        """What is kept of an answer that its caller has had already."""
        spec = call.spec
        if forwarded.failed or not forwarded.is_whole:
            what = "brought an error" if forwarded.failed else "ended before its last event"
            failure = replies.invalid(f"the stream {what}")
            return Fault(
                failure.of(provider=spec.provider, model=spec.model, request_type=spec.kind),
                told=forwarded.failed,
            )
        await self._prepared(spec.provider)
        return streamed_answer(
            spec.kind,
            spec.provider,
            spec.model,
            latency_ms=self._latency_ms(call),
            forwarded=forwarded,
            price=self._priced(call),
        )

    def _latency_ms(self, call: OneCall) -> int:
        return int((self._clock.monotonic() - call.started_s) * 1000)

    def with_wait(self, outcome: Outcome, told: Headers) -> Outcome:
        """The outcome with the wait that a vendor asks for in headers of its own."""
        if isinstance(outcome, Answer) or outcome.retryable is not Retryable.RATE_LIMITED:
            return outcome
        if outcome.retry_after_s is not None:
            return outcome
        return replace(outcome, retry_after_s=wait_asked_s(told, self._clock.now()))
