"""Sealing all secrets anew, with the key that is in force now, beside whoever else uses them.

Whatever holds one has a member `sealed` in its JSON, and is what the secret is bound to: a document
`<type>:<id>`, the options of a job its id. Every step is a change of its own, guarded by what was
read, so this can be stopped anywhere and begun again.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Final, NamedTuple, cast

from hermod.domain.clock import Clock
from hermod.domain.document import Audit, Conflict, Document, Put
from hermod.domain.job import Resealed, SealedJob
from hermod.store.api import Store
from hermod.vault import CannotOpen, Sealing, Vault

_JOBS: Final = "job"
_BATCH: Final = 500
_PASSES: Final = 5
"""Somebody may change what is being looked at; but not for ever."""


class Tally(NamedTuple):
    """How many secrets there are, by what they belong to (`provider`, `signing_key`, `job`) and by
    the key that opens them."""

    secrets: Mapping[tuple[str, Sealing], int]
    resealed: int = 0
    """How many of them were sealed anew."""
    unreadable: tuple[str, ...] = ()
    """What no key opens: `provider azure`, `job <id>`."""

    def of(self, sealing: Sealing) -> int:
        """How many of all."""
        return sum(n for (_, which), n in self.secrets.items() if which is sealing)


class _Pass:
    """What one look at everything has found."""

    def __init__(self) -> None:
        self.secrets: Counter[tuple[str, Sealing]] = Counter()
        self.resealed = 0
        self.unreadable: list[str] = []

    def note(self, what: str, sealing: Sealing, n: int = 1) -> None:
        self.secrets[what, sealing] += n

    def cannot_open(self, what: str, id_: str) -> None:
        self.secrets[what, Sealing.UNKNOWN] += 1
        self.unreadable.append(f"{what} {id_}")

    def tally(self) -> Tally:
        return Tally(self.secrets, self.resealed, tuple(self.unreadable))


class Resealing:
    """Looks at everything that is sealed, and seals anew what is not by the current key."""

    def __init__(self, store: Store, vault: Vault, clock: Clock) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock

    async def look(self) -> Tally:
        """What there is; nothing is changed. Raises StoreError, VaultError, OSError."""
        found = _Pass()
        _, documents = await self._store.read_documents()
        for document in documents:
            await self._look_at(document.type, document.id, document.body, found)
        async for jobs in self._jobs():
            for job in jobs:
                await self._look_at(_JOBS, job.id, job.options, found)
        return found.tally()

    async def reseal(self, by: str) -> Tally:
        """Seal anew what an older key opens, until there is none; what there is then.

        `by` is who asked for it (`Audit`). What no key opens stays as it is.
        Raises StoreError, VaultError, OSError, having done a part.
        """
        resealed = 0
        found = _Pass()
        for _ in range(_PASSES):
            found = _Pass()
            _, documents = await self._store.read_documents()
            for document in documents:
                await self._reseal_document(document, by, found)
            async for jobs in self._jobs():
                await self._reseal_jobs(jobs, found)
            resealed += found.resealed
            if not found.resealed and not found.tally().of(Sealing.OLDER):
                break
        return found.tally()._replace(resealed=resealed)

    async def note(self, by: str, tally: Tally) -> None:
        """Leave a trace of it. Raises StoreError."""
        told = {"resealed": tally.resealed, "unreadable": tally.of(Sealing.UNKNOWN)}
        audit = Audit(self._clock.now(), by, "secrets.rotate", "encryption_key", json.dumps(told))
        await self._store.change_documents((), audit)

    async def _jobs(self) -> AsyncIterator[tuple[SealedJob, ...]]:
        """Those that may have secrets, in portions."""
        last: str | None = None
        while True:
            found = await self._store.read_sealed_jobs(last, _BATCH)
            if found.jobs:
                yield found.jobs
            last = found.last
            if last is None:
                return

    async def _look_at(self, what: str, id_: str, text: str | bytes, found: _Pass) -> None:
        sealed = _sealed_in(text)
        sealing = await self._vault.sealing(sealed) if sealed else None
        if sealing is Sealing.UNKNOWN:
            found.cannot_open(what, id_)
        elif sealing is not None:
            found.note(what, sealing)

    async def _reseal_document(self, document: Document, by: str, found: _Pass) -> None:
        sealed = _sealed_in(document.body)
        if not sealed:
            return
        what = document.type
        try:
            anew = await self._vault.resealed(sealed, f"{what}:{document.id}")
        except CannotOpen:
            found.cannot_open(what, document.id)
            return
        if anew is None:
            found.note(what, Sealing.CURRENT)
            return
        body = _with_sealed(document.body, anew).encode()
        audit = Audit(self._clock.now(), by, f"{what}.reseal", document.id)
        changed = await self._store.change_documents((Put(document._replace(body=body)),), audit)
        if isinstance(changed, Conflict):
            found.note(what, Sealing.OLDER)
            return
        found.note(what, Sealing.CURRENT)
        found.resealed += 1

    async def _reseal_jobs(self, jobs: tuple[SealedJob, ...], found: _Pass) -> None:
        changes: list[Resealed] = []
        for job in jobs:
            sealed = _sealed_in(job.options)
            if not sealed:
                continue
            try:
                anew = await self._vault.resealed(sealed, job.id)
            except CannotOpen:
                found.cannot_open(_JOBS, job.id)
                continue
            if anew is None:
                found.note(_JOBS, Sealing.CURRENT)
            else:
                changes.append(Resealed(job.id, job.options, _with_sealed(job.options, anew)))
        if changes:
            # The others have ended meanwhile.
            done = await self._store.reseal_jobs(changes)
            found.note(_JOBS, Sealing.CURRENT, done)
            found.resealed += done


def _sealed_in(text: str | bytes) -> str:
    """The sealed secret of a JSON object; empty where there is none."""
    sealed = _members(text).get("sealed")
    return sealed if isinstance(sealed, str) else ""


def _with_sealed(text: str | bytes, sealed: str) -> str:
    """The same with another one. What a newer release has written beside it stays."""
    return json.dumps({**_members(text), "sealed": sealed}, separators=(",", ":"))


def _members(text: str | bytes) -> dict[str, object]:
    try:
        told: object = json.loads(text)
    except ValueError:
        return {}
    return cast("dict[str, object]", told) if isinstance(told, dict) else {}
