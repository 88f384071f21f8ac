"""`/api/governance/audit`: who changed what."""

from collections.abc import Iterator
from typing import Final

import msgspec

from hermod.domain.document import Audit
from hermod.domain.wire_time import rfc3339
from hermod.governance.management import Management
from hermod.http.api.collection import ROOT
from hermod.http.api.desk import Json, answer, number, query_of
from hermod.http.app import Route
from hermod.http.message import Request, Response

_USUAL: Final = 100
_MOST: Final = 1000


class AuditLog:
    """The handler."""

    def __init__(self, management: Management) -> None:
        self._management = management

    def routes(self) -> Iterator[Route]:
        """For administrators."""
        yield Route("GET", f"{ROOT}/audit", self.list)

    async def list(self, request: Request) -> Response:
        """`GET /api/governance/audit`: newest first, `limit` of them, older than `before`.

        Raises Refused (400).
        """
        query = query_of(request)
        limit = min(number(query, "limit") or _USUAL, _MOST)
        found = await self._management.audit(limit, number(query, "before"))
        shown = [_shown(number_, entry) for number_, entry in found]
        before = shown[-1]["id"] if len(shown) == limit else None
        return answer({"entries": shown, "count": len(shown), "next_before": before})


def _shown(number_: int, entry: Audit) -> Json:
    return {
        "id": number_,
        "at": rfc3339(entry.at),
        "subject": entry.subject,
        "action": entry.action,
        "target": entry.target,
        "detail": msgspec.Raw(entry.detail.encode()) if entry.detail else {},
    }
