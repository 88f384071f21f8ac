"""What must be done now and then, whoever does it."""

from hermod.domain.clock import Clock
from hermod.domain.failpoint import failpoint
from hermod.store.api import Store
from hermod.worker.identity import Identity

BATCH = 200
"""Rows per transaction: small, because the group commit of the submits waits for it."""

_ORPHANS_EVERY_S = 60.0
_ORPHAN_AGE_US = 3_600_000_000


class Upkeep:
    """Recovers lost leases, ends what is overdue, deletes what is past its TTL."""

    def __init__(self, store: Store, clock: Clock, identity: Identity | None = None) -> None:
        """Without an identity it buries nobody: that is for workers, who share a folder."""
        self._store = store
        self._clock = clock
        self._identity = identity
        self._orphans_due_s = clock.monotonic()

    async def bury_the_dead(self) -> None:
        """Take the leases of workers whose process is gone. Raises StoreError."""
        if self._identity is None:
            return
        for worker in self._identity.dead():
            while await self._store.release_worker(worker.worker_id, BATCH) == BATCH:
                pass
            failpoint("upkeep.before_bury")
            worker.bury()

    async def pass_once(self) -> None:
        """One round. Raises StoreError."""
        failpoint("upkeep.before")
        await self.bury_the_dead()
        for step in (
            self._store.recover_lost_leases,
            self._store.expire_overdue,
            self._store.delete_expired,
        ):
            while await step(BATCH) == BATCH:
                pass
        if self._clock.monotonic() >= self._orphans_due_s:
            too_old_at = self._clock.now() - _ORPHAN_AGE_US
            while await self._store.delete_orphans(too_old_at, BATCH) == BATCH:
                pass
            while await self._store.settle_leftovers(BATCH) >= BATCH:
                pass
            self._orphans_due_s = self._clock.monotonic() + _ORPHANS_EVERY_S
        failpoint("upkeep.after")
