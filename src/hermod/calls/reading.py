"""What a call came to, read from its reply."""

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
from hermod.providers import replies
from hermod.providers.adapter import Prepared

Price = Callable[[str, str, Usage | None, str | None], int | None]
"""The cost of a usage in nano-dollars, None when it is not known: of a provider's model by the
upstream's name for it, and by the caller's (`hermod.prices.prices.Prices.cost`)."""


class ReplyReader:
    """Reads replies, beside the event loop where they are large."""

    def __init__(self, clock: Clock, price: Price | None) -> None:
        self._clock = clock
        self._price = price

    async def read(self, call: OneCall, reply: Reply, prepared: Prepared) -> Outcome:
        """What a whole reply comes to."""
        provider, options, spec = call.outgoing.provider, call.options, call.spec
        shows_request = provider is not None and provider.send_back_raw_request
        shows_response = provider is not None and provider.send_back_raw_response
        if options.raw_request is not None:
            shows_request = options.raw_request
        if options.raw_response is not None:
            shows_response = options.raw_response
        dialect = call.way.dialect
        read = partial(
            replies.parse_reply,
            call.kind,
            reply.status,
            reply.content_type,
            reply.body,
            reply.retry_after,
            provider=spec.provider,
            model=spec.model,
            latency_ms=self._latency_ms(call),
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
        size = len(reply.body) + (len(prepared.body) if shows_request else 0)
        return read() if size <= BESIDE_BYTES else await beside(size, read)

    def _priced(self, call: OneCall) -> Callable[[Usage | None], int | None] | None:
        price, provider, asked = self._price, call.spec.provider, call.spec.model
        if price is None:
            return None
        return lambda usage: price(provider, call.outgoing.model, usage, asked)

    def streamed(self, call: OneCall, forwarded: Forwarded) -> Outcome:
        """What is kept of an answer that its caller has had already."""
        spec = call.spec
        if forwarded.failed or not forwarded.is_whole:
            what = "brought an error" if forwarded.failed else "ended before its last event"
            failure = replies.invalid(f"the stream {what}")
            return Fault(
                failure.of(provider=spec.provider, model=spec.model, request_type=spec.kind),
                told=forwarded.failed,
            )
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
