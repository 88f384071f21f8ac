"""Read a job."""

from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.domain.job import JobView, Principal
from hermod.kinds.kind import AnyKind
from hermod.store.api import Store


def not_found() -> Refused:
    """The one answer for a job that is not there for this caller (wire-contract 3.6)."""
    return Refused(Failure("job not found or expired", status_code=404))


class ReadJob:
    """The use case behind every `GET /v1/async/…/{id}`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, kind: AnyKind, job_id: str, principal: Principal) -> JobView:
        """The job. Raises Refused when there is none of this kind to see, StoreError."""
        view = await self._store.read_job(job_id, principal, kind.request_type)
        if view is None:
            raise not_found()
        return view
