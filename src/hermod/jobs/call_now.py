"""A synchronous call: a job of mode `sync`, run where its caller's connection is.

Money, limits and history have one path (design.md 8, 21).
"""

import asyncio
from typing import Final, NamedTuple

from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.domain.job import Mode
from hermod.domain.live import Live, Sink
from hermod.governance.identity import Identity
from hermod.jobs.intake import Asked, Intake, JobHeaders, stored
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
        self, kind: AnyKind, asked: Asked, identity: Identity, headers: JobHeaders, sink: Sink
    ) -> LiveCall:
        """Check, record and start a call. The sink is used when the request asks for a stream.

        Raises Refused, also when the provider stays busy, and StoreError: then nothing was sent.
        """
        checked = await self._intake.check(kind, asked, identity)
        job = await self._intake.new_job(kind, checked, asked, identity, headers, Mode.SYNC)
        claim = await self._slots.wait_for_slot(job.lane, self._patience_s)
        if claim is None:
            why = "the gateway is shutting down" if self._slots.leaving else _FULL
            failure = Failure(why, status_code=503)
            raise Refused(
                failure.of(provider=job.lane, model=job.model, request_type=kind.request_type),
                retry_after_s=1,
            )
        live = Live(sink if checked.stream else None)
        try:
            await self._slots.carry(job.lane, stored(self._store, job, claim), live)
        except asyncio.CancelledError:
            self._slots.caller_gone(job.id)  # it may have been stored just now
            raise
        return LiveCall(job.id, live)

    def abandon(self, call: LiveCall) -> None:
        """The caller is gone: end the call, if it has not ended yet."""
        self._slots.caller_gone(call.job_id)
