"""Before each call: may it be made, and is there room for what it may cost?

What is reserved here is settled by the store, in the transaction that ends the attempt.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from hermod.calls.call import Caller
from hermod.calls.fallbacks import routed_models
from hermod.domain.beside import BESIDE_BYTES, beside
from hermod.domain.clock import Clock
from hermod.domain.failure import Failure
from hermod.domain.governance import VirtualKey
from hermod.domain.job import ClaimedJob, Lease, Target
from hermod.domain.meter import Hold, Refusal, Why
from hermod.domain.options import Options
from hermod.domain.outcome import Fault
from hermod.domain.usage import Estimate, Usage
from hermod.governance.book import Book
from hermod.governance.governor import Governor
from hermod.governance.holds import holds_for, limit_failure
from hermod.governance.judge import has_all_models, key_ids, key_refusal, target_refusal
from hermod.kinds.estimate import estimate
from hermod.store.api import Store
from hermod.worker.admission import FREE, Admitted, Later
from hermod.worker.waiting import WaitingLines

_VIRTUAL_KEY: Final = "vk:"
_SECOND: Final = 1_000_000
_LOOK_S: Final = 1.0
"""When to ask again where a call may end at any moment."""
_DELETED: Final = Failure("Virtual key not found", status_code=403, type="virtual_key_not_found")


class Steward:
    """Judges calls by what governs them at this moment."""

    def __init__(
        self,
        store: Store,
        governor: Governor,
        caller: Caller,
        clock: Clock,
        queue_wait_s: float,
        settled: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`queue_wait_s`: how long after its submission a job may still be waiting for a limit.

        `settled` waits until the providers of the present book are in force.
        """
        self._store = store
        self._governor = governor
        self._caller = caller
        self._clock = clock
        self._queue_wait_us = int(queue_wait_s * _SECOND)
        self._settled = settled
        self._lines = WaitingLines()

    def waits_until(self, job: ClaimedJob) -> int:
        """See `Admission`."""
        return job.created_at + self._queue_wait_us

    async def admit(
        self, job: ClaimedJob, lease: Lease, target: Target, body: bytes
    ) -> Admitted | Fault | Later | None:
        """See `Admission`."""
        book = self._governor.book
        found: Admitted | Fault | Later | None = None
        if self._caller.knows(target.provider):
            found = await self._admit(book, job, lease, target, body)
            if not isinstance(found, Fault):
                return found
        # Whoever took the job in may know of keys and providers that have not come to us yet.
        await self._governor.refresh()
        if self._settled is not None:
            await self._settled()
        if found is not None and self._governor.book is book:
            return found
        return await self._admit(self._governor.book, job, lease, target, body)

    async def _admit(
        self, book: Book, job: ClaimedJob, lease: Lease, target: Target, body: bytes
    ) -> Admitted | Fault | Later | None:
        rules = self._governor.rules
        key: VirtualKey | None = None
        if job.owner.startswith(_VIRTUAL_KEY):
            key = book.key(job.owner[len(_VIRTUAL_KEY) :])
            if key is None:
                return _refused(_DELETED)
            now = self._clock.now()
            failure = (
                key_refusal(key, now, book)
                or target_refusal(key, target.provider, target.model, rules)
                or await self._route_refusal(key, target.provider, body)
            )
            if failure is not None:
                return _refused(failure)
        elif not book.limits_everybody:
            return FREE
        only = None if key is None else key_ids(key, target.provider, rules)
        holds: tuple[Hold, ...] = ()
        if book.limits(key, target.provider, target.model):
            holds = await self._holds(book, key, job, target, body)
        if not holds and (key is None or key.max_pending_jobs is None):
            return Admitted(only)
        refusals = await self._store.reserve(lease, holds)
        if refusals is None:
            return None
        if not refusals:
            now = self._clock.now()
            for hold in holds:
                self._lines.began(hold.meter_id, now)
            return Admitted(only, holds, now)
        delays = ((key.on_limit if key else "") or rules.on_limit) != "reject"
        return self._later(job, refusals, delays=delays)

    def puts_off(self, job: ClaimedJob, later: Later) -> int:
        """See `Admission`."""
        now = self._clock.now()
        whens = (self._lines.comes_back_at(each, now) for each in later.refusals)
        return min(max(filter(None, whens), default=now), self.waits_until(job))

    async def room(self, refusal: Refusal, timeout_s: float) -> None:
        """See `Admission`."""
        await self._lines.room(refusal, timeout_s)

    def _later(self, job: ClaimedJob, refusals: tuple[Refusal, ...], *, delays: bool) -> Later:
        now = self._clock.now()
        failure = limit_failure(refusals)
        if all(each.why is Why.BUSY for each in refusals):
            stay = next((each for each in refusals if self._lines.may_stay(each)), None)
            wait_s: float | None = _LOOK_S
        else:
            stay = None
            ends = [each.resets_at for each in refusals if each.resets_at is not None]
            wait_s = (max(ends) - now) / _SECOND if ends else None
        whens: list[int | None] = [None]
        if delays:
            whens = [self._lines.would_come_back_at(each, now) for each in refusals]
        at = None if None in whens else max(when for when in whens if when is not None)
        if at is not None and at > self.waits_until(job):
            at = None
        return Later(at, _refused(failure, wait_s), refusals, stay)

    async def _route_refusal(self, key: VirtualKey, provider: str, body: bytes) -> Failure | None:
        """Why the models that the request names beside its own may not be asked for."""
        rules = self._governor.rules
        if has_all_models(key, provider, rules):
            return None
        refusals = (
            target_refusal(key, provider, model, rules)
            for model in await beside(len(body), routed_models, body)
        )
        return next(filter(None, refusals), None)

    async def _holds(
        self, book: Book, key: VirtualKey | None, job: ClaimedJob, target: Target, body: bytes
    ) -> tuple[Hold, ...]:
        options = Options.decode(job.options)
        assumed = self._governor.rules.assumed_output_tokens
        asked: Estimate
        if len(body) <= BESIDE_BYTES:
            asked = estimate(job.kind, body, options.content_type, assumed)
        else:
            asked = await beside(len(body), estimate, job.kind, body, options.content_type, assumed)
        usage = Usage(
            asked.input_tokens, asked.output_tokens, audio_ms=asked.audio_ms, pages=asked.pages
        )
        cost = await self._caller.estimated_cost(target, usage)
        return holds_for(
            book, key, target.provider, target.model, asked, self._clock.now(), cost_usd_nanos=cost
        )

    def ended(self, admitted: Admitted) -> None:
        """See `Admission`."""
        if not admitted.holds:
            return
        now = self._clock.now()
        for hold in admitted.holds:
            self._lines.ended(hold.meter_id, now - admitted.since, now)


def _refused(failure: Failure, wait_s: float | None = None) -> Fault:
    return Fault(failure, retry_after_s=wait_s, sent=False)
