"""A synchronous call: a job of mode `sync`, run where its caller's connection is.

Money, limits and history have one path (design.md 8, 21).
"""

import asyncio
from functools import partial
from typing import Final, NamedTuple

from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.domain.job import Claim, Mode, NewJob, Principal
from hermod.domain.live import Live, Sink
from hermod.jobs.intake import Asked, Intake, JobHeaders, claimed
from hermod.jobs.slots import Slots
from hermod.kinds.kind import AnyKind
from hermod.store.api import Store

_FULL: Final = "request dropped: queue is full"
_PATIENCE_S: Final = 60.0
"""How long a caller waits for a slot of a busy provider."""


class LiveCall(NamedTuple):
    """A call that is under way."""

    job_id: str
    live: Live


class CallNow:
    """The use case behind every synchronous route."""

    def __init__(
        self, store: Store, intake: Intake, slots: Slots, patience_s: float = _PATIENCE_S
    ) -> None:
        self._store = store
        self._intake = intake
        self._slots = slots
        self._patience_s = patience_s

    async def begin(
        self, kind: AnyKind, asked: Asked, principal: Principal, headers: JobHeaders, sink: Sink
    ) -> LiveCall:
        """Check, record and start a call. The sink is used when the request asks for a stream.

        Raises Refused, also when the provider stays busy, and StoreError: then nothing was sent.
        """
        checked = await self._intake.check(kind, asked)
        job = self._intake.new_job(kind, checked, asked, principal, headers, Mode.SYNC)
        claim = await self._slots.wait_for_slot(job.lane, self._patience_s)
        if claim is None:
            why = "the gateway is shutting down" if self._slots.leaving else _FULL
            failure = Failure(why, status_code=503)
            raise Refused(
                failure.of(provider=job.lane, model=job.model, request_type=kind.request_type),
                retry_after_s=1,
            )
        live = Live(sink if checked.stream else None)
        commit = asyncio.ensure_future(self._commit_and_start(job, claim, live))
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError:
            commit.add_done_callback(partial(self._begun_for_nobody, job.id))
            raise
        return LiveCall(job.id, live)

    def abandon(self, call: LiveCall) -> None:
        """The caller is gone: end the call, if it has not ended yet."""
        self._slots.caller_gone(call.job_id)

    def _begun_for_nobody(self, job_id: str, commit: "asyncio.Task[None]") -> None:
        if commit.cancelled() or commit.exception() is not None:
            return  # there is no job, and nobody to tell
        self._slots.caller_gone(job_id)

    async def _commit_and_start(self, job: NewJob, claim: Claim, live: Live) -> None:
        try:
            lease = await self._store.submit_job(job, claim)
        except BaseException:
            self._slots.give_back(job.lane)
            raise
        assert lease is not None
        self._slots.start(claimed(job, claim, lease), live)
