"""Accept a job: check it, store it, and only then say so."""

from typing import Final

from hermod.domain.errors import LimitReached, Refused, bad_request
from hermod.domain.governance import VirtualKey
from hermod.domain.job import IN_HAND_BYTES, JobView, NewJob, size_of
from hermod.governance.holds import limit_failure, pending_hold
from hermod.governance.identity import Identity
from hermod.jobs.intake import NO_HEADERS, Asked, Intake, JobHeaders, pending, stored
from hermod.jobs.slots import Slots
from hermod.kinds.kind import AnyKind
from hermod.store.api import Store

_FULL_S: Final = 1
"""When to try again where a key has too many jobs: any moment one of them may begin."""


class SubmitJob:
    """The use case behind every `POST /v1/async/…`."""

    def __init__(self, store: Store, intake: Intake, slots: Slots) -> None:
        self._store = store
        self._intake = intake
        self._slots = slots

    async def __call__(
        self,
        kind: AnyKind,
        asked: Asked,
        identity: Identity,
        headers: JobHeaders = NO_HEADERS,
        *,
        no_stream: str = "",
    ) -> JobView:
        """The committed job, as its submitter sees it: pending.

        `no_stream` is how a stream is refused, where not in the usual words. Raises Refused when
        the request is not one that could run, StoreError when it could not be stored: then there
        is no job.
        """
        checked = await self._intake.check(kind, asked, identity)
        if checked.stream:
            raise bad_request(no_stream or f"stream is not supported for async {kind.plural}")
        job = await self._intake.new_job(kind, checked, asked, identity, headers)
        # A key's pending jobs are counted until they have begun.
        waits = identity.key is not None and identity.key.max_pending_jobs is not None
        small = size_of(job.body) <= IN_HAND_BYTES and not waits
        claim = self._slots.reserve(job.lane) if small else None
        if claim is None:
            await self._store_pending(job, identity.key)
            return pending(job)
        await self._slots.carry(job.lane, stored(self._store, job, claim))
        return pending(job)

    async def _store_pending(self, job: NewJob, key: VirtualKey | None) -> None:
        """Raises Refused when the key has as many pending jobs as it may."""
        hold = pending_hold(key) if key is not None else None
        try:
            await self._store.submit_job(job, pending=hold)
        except LimitReached as error:
            failure = limit_failure((error.refusal,))
            raise Refused(failure, retry_after_s=_FULL_S) from None
