"""`/api/governance/budgets` and `/api/governance/rate-limits`: every one that there is."""

from collections.abc import Iterator
from typing import Any

from hermod.domain.clock import Clock
from hermod.domain.governance import Entity
from hermod.governance.documents import type_of
from hermod.governance.management import Management
from hermod.governance.written import limited_parts
from hermod.http.api.collection import ROOT
from hermod.http.api.desk import answer
from hermod.http.api.show import Shown
from hermod.http.app import Route
from hermod.http.message import Request, Response

Json = dict[str, Any]


class Limits:
    """The handlers."""

    def __init__(self, management: Management, clock: Clock) -> None:
        self._management = management
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """For administrators."""
        yield Route("GET", f"{ROOT}/budgets", self.budgets)
        yield Route("GET", f"{ROOT}/rate-limits", self.rate_limits)

    async def budgets(self, _: Request) -> Response:
        """`GET /api/governance/budgets`"""
        what_is, owners = await self._all()
        found: list[Json] = [
            what_is.budget(part.budget, owner.created_at) | _owner(owner)
            for owner in owners
            for part in limited_parts(owner)
            if part.budget is not None
        ]
        return answer({"budgets": found, "count": len(found)})

    async def rate_limits(self, _: Request) -> Response:
        """`GET /api/governance/rate-limits`"""
        what_is, owners = await self._all()
        found: list[Json] = [
            what_is.rate_limit(part.rate_limit, owner.created_at) | _owner(owner)
            for owner in owners
            for part in limited_parts(owner)
            if part.rate_limit is not None
        ]
        return answer({"rate_limits": found, "count": len(found)})

    async def _all(self) -> tuple[Shown, tuple[Entity, ...]]:
        book = self._management.book
        owners: tuple[Entity, ...] = (
            *book.keys.values(),
            *book.teams.values(),
            *book.customers.values(),
            *book.model_limits,
            *book.limited_providers.values(),
        )
        meters = await self._management.usage(owners)
        return Shown(book, meters, self._clock.now()), owners


def _owner(owner: Entity) -> Json:
    return {"owner_type": type_of(owner), "owner_id": owner.id}
