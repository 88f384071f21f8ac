"""Accept a job: check it, store it, and only then say so."""

from hermod.domain.errors import bad_request
from hermod.domain.job import IN_HAND_BYTES, JobView, Principal, size_of
from hermod.jobs.intake import NO_HEADERS, Asked, Intake, JobHeaders, pending, stored
from hermod.jobs.slots import Slots
from hermod.kinds.kind import AnyKind
from hermod.store.api import Store


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
        principal: Principal,
        headers: JobHeaders = NO_HEADERS,
        *,
        no_stream: str = "",
    ) -> JobView:
        """The committed job, as its submitter sees it: pending.

        `no_stream` is how a stream is refused, where not in the usual words. Raises Refused when
        the request is not one that could run, StoreError when it could not be stored: then there
        is no job.
        """
        checked = await self._intake.check(kind, asked)
        if checked.stream:
            raise bad_request(no_stream or f"stream is not supported for async {kind.plural}")
        job = await self._intake.new_job(kind, checked, asked, principal, headers)
        small = size_of(job.body) <= IN_HAND_BYTES
        claim = self._slots.reserve(job.lane) if small else None
        if claim is None:
            await self._store.submit_job(job)
            return pending(job)
        await self._slots.carry(job.lane, stored(self._store, job, claim))
        return pending(job)
