"""The few settings that can be changed while the gateway runs (wire-contract 9)."""

import json
from collections.abc import Container
from typing import Final, cast

from hermod.domain.clock import Clock
from hermod.domain.document import Audit, Conflict, Document, Put
from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.governance.governor import Governor
from hermod.store.api import Store

TYPE: Final = "setting"
TTL: Final = "async_job_result_ttl"

_ID: Final = "client"
_TTL_MAX_S: Final = 100 * 366 * 86_400
_TRIES: Final = 2


class RuntimeSettings:
    """What is in force: the file's word, then what was stored, then the default."""

    def __init__(
        self,
        store: Store,
        governor: Governor,
        clock: Clock,
        result_ttl_s: int,
        written: Container[str],
    ) -> None:
        """`result_ttl_s` is the file's or the default; `written` are the members of the file."""
        self._store = store
        self._governor = governor
        self._clock = clock
        self._usual_ttl_s = result_ttl_s
        self._written = written

    @property
    def result_ttl_s(self) -> int:
        """How long results are kept whose request does not say it, in seconds."""
        if TTL in self._written:
            return self._usual_ttl_s
        return _ttl_in(self._stored()) or self._usual_ttl_s

    async def change_result_ttl(self, ttl_s: int, by: str) -> None:
        """Keep results that long, from the next job on. Raises Refused (409)."""
        if TTL in self._written:
            text = f"client.{TTL} is managed by file: change it there, and start the gateway anew"
            raise Refused(Failure(text, status_code=409))
        body = json.dumps({TTL: min(ttl_s, _TTL_MAX_S)}).encode()
        for _ in range(_TRIES):
            await self._governor.refresh()
            before = self._stored()
            version = before.version if before is not None else 0
            document = Document(TYPE, _ID, _ID, None, body, version)
            audit = Audit(self._clock.now(), by, f"{TYPE}.update", _ID, body.decode())
            came = await self._store.change_documents((Put(document),), audit)
            await self._governor.refresh()
            if not isinstance(came, Conflict):
                return
        text = "somebody else changed this at the same time; try again"
        raise Refused(Failure(text, status_code=409))

    def _stored(self) -> Document | None:
        return self._governor.book.document(TYPE, _ID)


def _ttl_in(document: Document | None) -> int | None:
    if document is None:
        return None
    try:
        told: object = json.loads(document.body)
    except ValueError:
        return None
    value = cast("dict[str, object]", told).get(TTL) if isinstance(told, dict) else None
    return value if isinstance(value, int) and value > 0 else None
