"""What all things that an operator makes have in common: a list, and one of them."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from hermod.domain.clock import Clock
from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.domain.governance import Customer, ModelLimits, ProviderLimits, Team, VirtualKey
from hermod.governance.management import Management
from hermod.governance.wishes import Wish
from hermod.http.api.desk import Desk, answer, page_json, page_of, query_of, subject_of
from hermod.http.api.show import Json, Shown
from hermod.http.app import Route
from hermod.http.message import Request, Response

E = TypeVar("E", VirtualKey, Team, Customer, ModelLimits, ProviderLimits)
W = TypeVar("W", bound=Wish)

ROOT: Final = "/api/governance"
_OLDEST_FIRST: Final = "created_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Things(Generic[E, W]):
    """A type of thing: how it is called, and what can be done with it."""

    path: str
    one: str
    """The member of an answer that has one of them."""
    many: str
    noun: str
    """What messages call one."""
    every: Callable[[], Sequence[E]]
    name_of: Callable[[E], str]
    """What is searched and sorted by."""
    show: Callable[[Shown, E], Json]
    change: Callable[[str, W, str], Awaitable[E]]
    """Raises Refused (400, 404, 409)."""
    remove: Callable[[str, str], Awaitable[None]]
    """Raises Refused (404, 409)."""
    wish: type[W]
    filters: Mapping[str, Callable[[E], str | None]] = field(
        default_factory=dict[str, Callable[[E], str | None]]
    )
    """Parameters of the list that must equal something."""


class Collection(Generic[E, W]):
    """The handlers of one type of thing, in Bifrost's shapes. All are for administrators."""

    def __init__(
        self, things: Things[E, W], management: Management, desk: Desk, clock: Clock
    ) -> None:
        self._things = things
        self._management = management
        self._desk = desk
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """All but the one that makes new ones, which says more than these."""
        path = f"{ROOT}/{self._things.path}"
        yield Route("GET", path, self.list)
        yield Route("GET", path + "/{id}", self.get)
        yield Route("PUT", path + "/{id}", self.put)
        yield Route("DELETE", path + "/{id}", self.delete)

    def making(self, make: Callable[[W, str], Awaitable[E]]) -> Route:
        """The route that makes one. `make` raises Refused (400, 409)."""

        async def create(request: Request) -> Response:
            wish = await self._desk.read(request, self._things.wish)
            return await self.told("created", await make(wish, subject_of(request)))

        return Route("POST", f"{ROOT}/{self._things.path}", create)

    async def list(self, request: Request) -> Response:
        """`GET …`: a page, or all. Raises Refused (400)."""
        things, query = self._things, query_of(request)
        page = page_of(query)
        found = [
            each
            for each in things.every()
            if (not page.search or page.search in things.name_of(each).casefold())
            and all(query.get(name, "") in {"", of(each)} for name, of in things.filters.items())
        ]
        shown = page.cut(sorted(found, key=self._order(page.sort_by), reverse=page.descending))
        what_is = await self._looked_at(shown)
        members = [things.show(what_is, each) for each in shown]
        return answer(page_json(things.many, members, page, len(found)))

    async def get(self, request: Request) -> Response:
        """`GET …/{id}`. Raises Refused (404)."""
        entity = self.found(request.argument)
        return answer({self._things.one: await self.shown(entity)})

    async def put(self, request: Request) -> Response:
        """`PUT …/{id}`: what is absent stays. Raises Refused (400, 404, 409)."""
        wish = await self._desk.read(request, self._things.wish)
        changed = await self._things.change(request.argument, wish, subject_of(request))
        return await self.told("updated", changed)

    async def delete(self, request: Request) -> Response:
        """`DELETE …/{id}`. Raises Refused (404, 409)."""
        await self._things.remove(request.argument, subject_of(request))
        return answer({"message": f"{self._things.noun} deleted successfully"})

    async def told(self, done: str, entity: E, **members: object) -> Response:
        """What became of it; `members` are shown over its own."""
        shown = await self.shown(entity) | members
        message = f"{self._things.noun} {done} successfully"
        return answer({"message": message, self._things.one: shown})

    async def shown(self, entity: E) -> Json:
        """One of them, as it is now."""
        return self._things.show(await self._looked_at((entity,)), entity)

    def found(self, id_: str) -> E:
        """The one of this id. Raises Refused (404)."""
        for each in self._things.every():
            if each.id == id_:
                return each
        raise Refused(Failure(f"{self._things.noun} not found", status_code=404))

    async def _looked_at(self, entities: Sequence[E]) -> Shown:
        meters = await self._management.usage(entities)
        return Shown(self._management.book, meters, self._clock.now())

    def _order(self, name: str) -> Callable[[E], Any]:
        if name == "name":
            return lambda each: (self._things.name_of(each).casefold(), each.id)
        return lambda each: (each.created_at, each.id)
