"""Cancel a job."""

from hermod.domain.job import JobView, Principal
from hermod.jobs.read import not_found
from hermod.jobs.slots import Slots
from hermod.kinds.kind import AnyKind
from hermod.store.api import Store


class CancelJob:
    """The use case behind every cancellation."""

    def __init__(self, store: Store, slots: Slots) -> None:
        self._store = store
        self._slots = slots

    async def __call__(self, kind: AnyKind, job_id: str, principal: Principal) -> JobView:
        """The job as it is now: cancelled, unless it had ended before.

        Its call is closed at once where it runs in this process, and elsewhere when its worker next
        renews its lease. Raises Refused when there is no such job to see, StoreError.
        """
        view = await self._store.cancel_job(job_id, principal, kind.request_type)
        if view is None:
            raise not_found()
        self._slots.cancelled(job_id)
        return view
