"""`/api/models`: what providers list, searched (wire-contract 10.3)."""

from collections.abc import Iterator, Sequence

from hermod.calls.models import Model, ModelLists
from hermod.http.api.desk import answer, number, query_of
from hermod.http.app import Route
from hermod.http.message import Request, Response

_FEW = 5
_MORE = 20
_MOST = 1000


class ApiModels:
    """The handlers."""

    def __init__(self, lists: ModelLists) -> None:
        self._lists = lists

    def routes(self) -> Iterator[Route]:
        """All of them are for administrators."""
        yield Route("GET", "/api/models", self.some)
        yield Route("GET", "/api/models/details", self.page)

    async def some(self, request: Request) -> Response:
        """`GET /api/models?query=&provider=&limit=`. Raises Refused (400)."""
        return await self._answer(request, _FEW)

    async def page(self, request: Request) -> Response:
        """`GET /api/models/details`, with `offset` too. Raises Refused (400)."""
        return await self._answer(request, _MORE)

    async def _answer(self, request: Request, usual: int) -> Response:
        query = query_of(request)
        limit = min(number(query, "limit") or usual, _MOST)
        offset = number(query, "offset") or 0
        found = await self._lists.models(query.get("provider") or None)
        wanted = query.get("query", "").casefold()
        matching = [model for model in found if wanted in _name(model).casefold()]
        shown = _shown(matching[offset : offset + limit])
        return answer({"models": shown, "total": len(matching)})


def _shown(models: Sequence[Model]) -> list[dict[str, str]]:
    return [{"name": _name(model), "provider": model.provider} for model in models]


def _name(model: Model) -> str:
    """Without its provider, which stands beside it."""
    return model.id.removeprefix(f"{model.provider}/")
