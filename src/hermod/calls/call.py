"""Route, build, send, parse: one upstream call from request to outcome."""

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from msgspec import structs

from hermod.calls.credentials import CredentialError, Credentials, secrets_in
from hermod.calls.direct import DirectKeys, pace_of
from hermod.calls.fallbacks import fallbacks_of, targets_of
from hermod.calls.faults import (
    cannot_carry,
    credential_fault,
    held_back,
    missing_headers,
    net_fault,
    not_configured,
    unpriced,
    unsupported,
)
from hermod.calls.forward import Forwarded, Stream, forward
from hermod.calls.handles import opened, sealed
from hermod.calls.keys import Chosen, choose_key, may_use, session_chance
from hermod.calls.limits import Heard, Limits, sign_of
from hermod.calls.line import Line, line_of
from hermod.calls.mocked import EVENTS, MockCall, ask_mock, too_large
from hermod.calls.reading import ReplyReader
from hermod.calls.redact import redacted
from hermod.calls.spec import Called, CallSettings, CallSpec, OneCall
from hermod.domain.beside import BESIDE_BYTES, beside
from hermod.domain.clock import Clock
from hermod.domain.failure import Failure
from hermod.domain.job import Target
from hermod.domain.options import NO_OPTIONS, Options
from hermod.domain.outcome import Answer, Fault, Outcome, Retryable
from hermod.domain.provider import (
    HEADER_PROVIDED,
    CustomSettings,
    KeySettings,
    ProviderSettings,
    Row,
)
from hermod.domain.retry import RetryPolicy
from hermod.domain.usage import Usage
from hermod.kinds.kind import AnyKind
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.net.client import HttpClient
from hermod.net.messages import Headers, NetError, Reason, Reply, Request
from hermod.prices.prices import Prices
from hermod.providers.adapter import CannotCarry, Outgoing, Prepared, StreamTranslator
from hermod.providers.adapters import Way, mock_way, way_of
from hermod.providers.pending import Asking, Polling
from hermod.providers.prepare import upstream_model
from hermod.providers.registry import MOCK, climbs, endpoint, root_of

log = logging.getLogger(__name__)

_STREAMED: Final = re.compile(r"application/vnd\.amazon\.eventstream|audio/.*").fullmatch
"""What pieces may be, beside events, where a dialect translates them."""
_FAREWELL_S: Final = 5.0


class Caller:
    """Makes upstream calls. It never raises for what an upstream does."""

    def __init__(
        self,
        providers: Mapping[str, ProviderSettings],
        client: HttpClient,
        clock: Clock,
        settings: CallSettings,
        chance: Callable[[], float] = random.random,
        *,
        credentials: Credentials | None = None,
        prices: Prices | None = None,
        direct: DirectKeys | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._settings = settings
        self._chance = chance
        self._credentials = credentials
        self._direct = direct or DirectKeys()
        self._prices = prices
        self._reader = ReplyReader(clock, prices)
        self._limits = Limits(providers.values())
        self._lines: dict[tuple[str, str | None], tuple[ProviderSettings, Line]] = {}
        """Good for the provider beside them. One that began before a change may still look."""
        self._ways: dict[tuple[str, str], tuple[Row, CustomSettings | None, Way | None]] = {}
        self._go_by(providers)

    def knows(self, provider: str) -> bool:
        """Whether it is configured, or can be called without that."""
        if provider in self._providers or provider in self._direct.unconfigured:
            return True
        return provider == MOCK and self._settings.mock

    def reconfigure(self, providers: Mapping[str, ProviderSettings]) -> None:
        """Go by these from now on.

        Calls under way go on as they began; what is known of a provider that is as it was stays.
        """
        before = self._providers
        changed = frozenset(
            name
            for name in before.keys() | providers.keys()
            if before.get(name) != providers.get(name)
        )
        for name in changed:
            self._limits.reconfigure(name, before.get(name), providers.get(name))
        self._lines = {known: it for known, it in self._lines.items() if known[0] not in changed}
        self._ways = {known: it for known, it in self._ways.items() if known[0] not in changed}
        self._go_by(providers)

    def _go_by(self, providers: Mapping[str, ProviderSettings]) -> None:
        usable = {
            name: tuple(key for key in each.keys if key.usable) for name, each in providers.items()
        }
        self._providers = providers
        self._key_ids = {name: tuple(key.id for key in keys) for name, keys in usable.items()}
        self._only = {name: Chosen(keys[0]) for name, keys in usable.items() if len(keys) == 1}

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

    def room(self, lane: str) -> tuple[int | None, float]:
        """See `hermod.worker.lanes.Room`."""
        keys = self._key_ids.get(lane)
        if keys is None:
            return None, 0.0
        return self._limits.room(lane, keys, self._clock.monotonic())

    def out(self, lane: str) -> int:
        """See `hermod.worker.lanes.Room`."""
        return self._limits.in_flight(lane)

    def orders(self, kind: str, provider: str) -> bool:
        """Whether that provider takes such work first and gives the answer when it is asked."""
        settings = self._providers.get(provider) or self._direct.unconfigured.get(provider)
        way = self._way(settings, kind) if settings is not None else None
        return way is not None and way.dialect.polling is not None

    async def fallbacks(
        self, body: bytes, options: str | None, own: str
    ) -> tuple[Target | None, ...]:
        """Where else a request may go, in the caller's order (wire-contract 8.4).

        What names no model is passed over. None stands for providers that nobody configured, so
        that the others keep their places whatever is configured later; but not for the job's
        `own`, to which a caller may have brought a key.
        """
        asked = Options.decode(options)
        found = await beside(len(body), fallbacks_of, body, asked.content_type)
        if not found and asked.fallbacks:
            found = targets_of(asked.fallbacks)
        known = self._providers.keys() | ({MOCK} if self._settings.mock else set[str]())
        if asked.sealed is not None and own in self._direct.unconfigured:
            known |= {own}
        return tuple(each if each.provider in known else None for each in found)

    async def estimated_cost(self, target: Target, usage: Usage) -> int | None:
        """What such a call would cost, in nano-dollars; None when its price is unknown."""
        prices = self._prices
        if prices is None:
            return None
        await prices.ready(target.provider)
        return prices.cost(target.provider, target.model, usage, target.model)

    async def call(self, spec: CallSpec) -> Called:
        """One call. Cancelling it closes its connection."""
        kind = KIND_BY_TYPE.get(spec.kind)
        if kind is None:
            return Called(Fault(Failure(f"unknown request type: {spec.kind}"), sent=False))
        options = NO_OPTIONS if spec.options is None else Options.decode(spec.options)
        if options.missing_headers:
            return Called(missing_headers(options.missing_headers))
        provider = self._providers.get(spec.provider)
        if options.sealed is not None:
            found = await self._direct.opened(options, spec.provider, provider, spec.job_id)
            if isinstance(found, Fault):
                return Called(found)
            options, provider = found
        return await self._call(kind, spec, options, provider)

    async def _call(
        self, kind: AnyKind, spec: CallSpec, options: Options, provider: ProviderSettings | None
    ) -> Called:
        """The same for options that hide nothing."""
        if provider is None:
            if spec.provider == MOCK and self._settings.mock:
                return Called(await self._call_mock(kind, spec, options))
            return Called(not_configured())
        way = self._way(provider, spec.kind)
        if way is None:
            return Called(unsupported(spec.kind, provider.name))
        if way.dialect.polling is None or _orderer(provider, spec) is None:
            spec = spec if spec.handle is None else structs.replace(spec, handle=None)
        now_s = self._clock.monotonic()
        chosen = self._only_key(provider, spec, options, now_s)
        if chosen is None:
            chosen = await self._chosen_key(provider, spec, options)
            now_s = self._clock.monotonic()
        if isinstance(chosen, Failure):
            return Called(Fault(chosen, sent=False))
        key = chosen.key
        if chosen.wait_s > 0:
            fault = held_back(provider.name, chosen.wait_s)
            return Called(fault, key and key.name, chosen.others, key_id=key and key.id)
        out = self._limits.began(provider.name, pace_of(key), now_s)
        heard: Heard | None = None
        try:
            model = upstream_model(key, spec.model)
            outgoing = self._outgoing(spec, options, model, provider, key)
            call = OneCall(kind, spec, options, way, outgoing, now_s, [])
            if self._settings.strict_prices and not await self._has_price(provider, outgoing, spec):
                return Called(unpriced(f"{provider.name}/{spec.model}"))
            outcome, headers = await self._call_upstream(call, provider, key)
            sign = sign_of(outcome)
            if sign is not None:
                asked_s = None if isinstance(outcome, Answer) else outcome.retry_after_s
                heard = Heard(sign, headers, asked_s, self._clock.now())
        finally:
            self._limits.ended(out, heard, self._clock.monotonic())
        handle = None
        if call.ordered and isinstance(outcome, Fault) and outcome.retryable is not Retryable.NO:
            handle = call.ordered[-1]
        return Called(outcome, key and key.name, chosen.others, handle, key and key.id)

    async def _has_price(
        self, provider: ProviderSettings, outgoing: Outgoing, spec: CallSpec
    ) -> bool:
        if self._prices is None:
            return False
        await self._prices.ready(provider.name)
        return self._prices.knows(provider.name, outgoing.model, spec.model)

    async def call_off(
        self, kind: str, provider: str, stored: str, options: str | None, job_id: str
    ) -> None:
        """Tell the upstream that nobody wants the work with this handle any more. Never raises."""
        found = await self._direct.opened(
            Options.decode(options), provider, self._providers.get(provider), job_id
        )
        settings = None if isinstance(found, Fault) else found.provider
        way = self._way(settings, kind) if settings is not None else None
        polling = way.dialect.polling if way is not None else None
        if settings is None or polling is None:
            return
        key_id, handle = opened(stored)
        key = next((each for each in settings.keys if each.id == key_id), None)
        try:
            await self._ask(settings, key, polling.cancel(handle), _FAREWELL_S)
        except NetError as error:
            log.info("%s was not told to stop: %s", provider, error)

    def _way(self, provider: ProviderSettings, request_type: str) -> Way | None:
        known = provider.name, request_type
        found = self._ways.get(known)
        # A provider with a caller's key is another one, of the same shape.
        if found is not None and found[0] is provider.row and found[1] is provider.custom:
            return found[2]
        way = way_of(
            provider,
            request_type,
            text_to_chat=self._settings.text_to_chat,
            chat_to_responses=self._settings.chat_to_responses,
        )
        self._ways[known] = provider.row, provider.custom, way
        return way

    def _only_key(
        self, provider: ProviderSettings, spec: CallSpec, options: Options, now_s: float
    ) -> Chosen | None:
        """The key where there is but one and it may be used now: nothing is to be weighed."""
        only = self._only.get(provider.name)
        if only is None or only.key is None or spec.handle is not None:
            return None
        if options.sealed is not None or options.key_id or options.key_name:
            return None
        if not only.key.allows(spec.model) or not may_use(only.key, spec.key_ids):
            return None
        return only if self._limits.wait_s(provider.name, only.key.id, now_s) <= 0 else None

    async def _chosen_key(
        self, provider: ProviderSettings, spec: CallSpec, options: Options
    ) -> Chosen | Failure:
        """A key that may be used now, or the one that has to wait least.

        Short waits are waited out here: the slot is ours anyway.
        """
        orderer = _orderer(provider, spec)
        if orderer is not None:
            return Chosen(orderer)
        started_s = now_s = self._clock.monotonic()
        limits, name = self._limits, provider.name
        while True:
            chosen = choose_key(
                provider,
                spec.model,
                session_chance(options.session_id) if options.session_id else self._chance(),
                name=None if spec.is_fallback else options.key_name,
                key_id=None if spec.is_fallback else options.key_id,
                dead=spec.dead,
                tired=spec.tired,
                only=spec.key_ids,
                wait_s=lambda key: limits.wait_s(
                    name,
                    pace_of(key),
                    now_s,  # noqa: B023
                    insists=spec.insists,
                ),
            )
            if isinstance(chosen, Failure) or chosen.wait_s <= 0:
                return chosen
            left_s = min(spec.patience_s, spec.remaining_s) - (now_s - started_s)
            if chosen.wait_s > left_s:
                return chosen
            await asyncio.sleep(chosen.wait_s)
            now_s = self._clock.monotonic()

    def _outgoing(
        self,
        spec: CallSpec,
        options: Options,
        model: str,
        provider: ProviderSettings | None = None,
        key: KeySettings | None = None,
    ) -> Outgoing:
        settings = self._settings
        return Outgoing(
            spec.body,
            options.content_type,
            model,
            settings.forward_unknown_fields if options.passthrough is None else options.passthrough,
            f"hermod-{self._chance()}-{spec.job_id}" if options.content_type else "",
            provider,
            key,
            spec.live is not None and spec.live.sink is not None,
            settings.drop_unsupported,
            self._clock.now() // 1_000_000,
        )

    async def _call_upstream(
        self, call: OneCall, provider: ProviderSettings, key: KeySettings | None
    ) -> tuple[Outcome, Headers]:
        """What came of it, and the headers of the reply if there was one."""
        spec, outgoing = call.spec, call.outgoing
        try:
            if len(spec.body) <= BESIDE_BYTES:
                prepared = call.way.dialect.build(call.kind, outgoing)
            else:
                prepared = await _built(call)
        except CannotCarry as error:
            return cannot_carry(error.message, error.param), ()
        url = endpoint(
            provider,
            call.way.request_type,
            key,
            model=outgoing.model,
            path=prepared.path,
            stream=outgoing.stream,
        )
        if url is None:
            return unsupported(spec.kind, provider.name), ()
        if climbs(url):
            return cannot_carry("the model's name would lead to another address", "model"), ()
        line = self._line(provider, key)
        tag = f"{spec.job_id}/{spec.attempt}"
        usual, own = line.headers(prepared, call.options.forward, tag)
        secrets = line.secrets
        request = Request("POST", url, usual, prepared.body, line.trust, own)
        if line.fetches and key is not None and self._credentials is not None:
            try:
                proof = await self._credentials.headers(provider, key, request)
            except CredentialError as error:
                log.warning("job %s: %s, key %s: %s", spec.job_id, provider.name, key.name, error)
                return credential_fault(str(error)), ()
            request = structs.replace(request, own=(*own, *proof))
            secrets += secrets_in(proof)
        timeout_s = min(provider.attempt_timeout_s, spec.remaining_s)
        self._reader.prepare(provider.name)
        try:
            if outgoing.stream or call.way.dialect.polling is not None:
                reply, told = await self._send(call, request, timeout_s, secrets)
            else:
                reply = await self._client.send(request, timeout_s=timeout_s)
                told = reply.headers
        except NetError as error:
            log.info("job %s: %s: %s", spec.job_id, provider.name, error)
            by_deadline = spec.remaining_s <= provider.attempt_timeout_s
            return net_fault(error, timeout_s=timeout_s, by_job_deadline=by_deadline), ()
        if isinstance(reply, Forwarded):
            return await self._reader.streamed(call, reply), told
        body = redacted(reply.body, secrets)
        if body is not reply.body:
            reply = structs.replace(reply, body=body)
        outcome = await self._reader.read(call, reply, prepared)
        if not isinstance(outcome, Answer):
            outcome = self._reader.with_wait(outcome, told)
        return outcome, told

    def _line(self, provider: ProviderSettings, key: KeySettings | None) -> Line:
        known = provider.name, key.id if key is not None else None
        if known[1] == HEADER_PROVIDED:
            return line_of(provider, key)  # each caller's is another one
        found = self._lines.get(known)
        if found is not None and found[0] is provider:
            return found[1]
        line = line_of(provider, key)
        self._lines[known] = provider, line
        return line

    async def _send(
        self, call: OneCall, request: Request, timeout_s: float, secrets: tuple[str, ...]
    ) -> tuple[Reply | Forwarded, Headers]:
        """The whole reply, or that it went to the caller in pieces; and its headers. Only for
        calls that are streamed, and for work that is ordered first.

        Raises NetError.
        """
        live = call.spec.live
        if call.way.dialect.polling is not None:
            reply = await self._worked(call, call.way.dialect.polling, request, timeout_s)
            return reply, reply.headers
        assert live is not None
        assert live.sink is not None
        async with self._client.stream(request, timeout_s=timeout_s) as reply:
            open_stream = call.way.dialect.open_stream
            streams = reply.content_type == EVENTS or (
                open_stream is not None and _STREAMED(reply.content_type) is not None
            )
            if 200 <= reply.status < 300 and streams:
                translator = open_stream(call.kind, call.outgoing) if open_stream else None
                pieces = (
                    reply.pieces()
                    if translator is None
                    else _translated(reply.pieces(), translator)
                )
                left_s = max(timeout_s - (self._clock.monotonic() - call.started_s), 0.0)
                stream = Stream(EVENTS, pieces)
                forwarded = await forward(stream, live, live.sink, secrets, timeout_s=left_s)
                if translator is not None:
                    forwarded = forwarded._replace(usage=translator.usage)
                return forwarded, reply.headers
            # Some upstreams know no streams, and errors come whole: the caller gets what there is.
            whole = Reply(reply.status, reply.headers, await reply.read())
            return whole, whole.headers

    async def _worked(
        self, call: OneCall, polling: Polling, request: Request, timeout_s: float
    ) -> Reply:
        """The reply of an upstream that has done its work. Raises NetError."""
        spec: CallSpec = call.spec
        provider, key = call.outgoing.provider, call.outgoing.key
        assert provider is not None
        ends_s = self._clock.monotonic() + timeout_s
        if spec.handle is None:
            reply = await self._client.send(request, timeout_s=timeout_s)
        else:
            call.ordered.append(spec.handle)
            asking = polling.ask(opened(spec.handle)[1])
            reply = await self._ask(provider, key, asking, timeout_s)
        while 200 <= reply.status < 300:
            pending = polling.pending(reply.content_type, reply.body)
            if pending is None:
                break
            handle = sealed(key, pending.handle)
            if handle not in call.ordered:
                call.ordered.append(handle)
            if spec.note_handle is not None and handle != spec.handle:
                await spec.note_handle(handle)
                spec = structs.replace(spec, handle=handle)
            left_s = ends_s - self._clock.monotonic() - pending.after_s
            if left_s <= 0:
                raise NetError(Reason.TIMEOUT_TOTAL, "the work took too long", sent=True)
            await asyncio.sleep(pending.after_s)
            reply = await self._ask(provider, key, polling.ask(pending.handle), left_s)
        return reply

    async def _ask(
        self, provider: ProviderSettings, key: KeySettings | None, asking: Asking, timeout_s: float
    ) -> Reply:
        """One question about work that was ordered. Raises NetError."""
        line = self._line(provider, key)
        url = root_of(provider, key) + asking.path
        request = Request(asking.method, url, line.usual, b"", line.trust, asking.headers)
        return await self._client.send(request, timeout_s=timeout_s)

    async def _call_mock(self, kind: AnyKind, spec: CallSpec, options: Options) -> Outcome:
        fault = too_large(len(spec.body))
        if fault is not None:
            return fault
        outgoing = self._outgoing(spec, options, spec.model)
        call = OneCall(
            kind, spec, options, mock_way(spec.kind), outgoing, self._clock.monotonic(), []
        )
        prepared = await _built(call)
        asked = MockCall(
            spec.kind,
            spec.model,
            len(spec.body),
            spec.attempt,
            spec.job_id,
            spec.live,
            spec.remaining_s,
        )
        reply = await ask_mock(asked, prepared, self._clock, self._settings.attempt_timeout_s)
        if isinstance(reply, Fault):
            return reply
        if isinstance(reply, Forwarded):
            return await self._reader.streamed(call, reply)
        return await self._reader.read(call, reply, prepared)


def _orderer(provider: ProviderSettings, spec: CallSpec) -> KeySettings | None:
    """The key that ordered work which is still to be had, if it can still be used."""
    if spec.handle is None:
        return None
    key_id, _ = opened(spec.handle)
    return next((key for key in provider.keys if key.usable and key.id == key_id), None)


async def _built(call: OneCall) -> Prepared:
    """The request in the upstream's dialect. Raises CannotCarry."""
    size = len(call.spec.body)
    if size <= BESIDE_BYTES:
        return call.way.dialect.build(call.kind, call.outgoing)
    return await beside(size, call.way.dialect.build, call.kind, call.outgoing)


async def _translated(
    pieces: AsyncIterator[bytes], translator: StreamTranslator
) -> AsyncIterator[bytes]:
    async for piece in pieces:
        if said := translator.feed(piece):
            yield said
    if said := translator.end():
        yield said
