"""The application: from a path to a handler, from whatever happens to a response."""

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hermod.domain.errors import Refused, StoreError
from hermod.http.asgi import Receive, Scope, Send
from hermod.http.body import ClientGone
from hermod.http.browsers import Browsers, preflight
from hermod.http.message import Handler, Request, Response
from hermod.http.problems import (
    internal_problem,
    method_not_allowed,
    problem,
    route_not_found,
    store_problem,
)

log = logging.getLogger(__name__)


class Route(NamedTuple):
    """A path, whole or up to its last segment, and what answers there."""

    method: str
    path: str
    handler: Handler
    """With a `/{…}` at the end of `path`, its argument is the last segment."""
    needs_base_path: bool = True
    """False for what is also answered without the prefix: probes do not know it."""


class App:
    """An ASGI application. Guards that concern every route stand here, not in the routes."""

    def __init__(self, routes: Iterable[Route], browsers: Browsers, *, base_path: str = "") -> None:
        self._browsers = browsers
        self._exact: dict[str, dict[str, Handler]] = {}
        self._under: dict[str, dict[str, Handler]] = {}
        for route in routes:
            table, path = self._exact, route.path
            if path.endswith("}"):
                table, path = self._under, path.rpartition("/")[0]
            table.setdefault(base_path + path, {})[route.method] = route.handler
            if base_path and not route.needs_base_path:
                table.setdefault(path, {})[route.method] = route.handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._respond(scope, receive)
        except ClientGone:
            return
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": [
                    *response.headers,
                    (b"content-length", str(len(response.body)).encode()),
                ],
            }
        )
        body = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body})

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        try:
            readable = self._browsers.admit(scope["headers"])
        except Refused as error:
            return problem(error)
        response = await self._answer(scope, receive, from_page=bool(readable))
        return response._replace(headers=response.headers + readable) if readable else response

    def _find(self, path: str) -> tuple[Mapping[str, Handler], str]:
        """What answers at a path, by method, and the last segment where that is an argument."""
        methods = self._exact.get(path)
        if methods is not None:
            return methods, ""
        folder, _, argument = path.rpartition("/")
        return self._under.get(folder, {}), argument

    async def _answer(self, scope: Scope, receive: Receive, *, from_page: bool) -> Response:
        path: str = scope["path"]
        method: str = scope["method"]
        methods, argument = self._find(path)
        if not methods:
            return route_not_found()
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            if method == "OPTIONS" and from_page:
                return preflight(scope["headers"], _allowed(methods))
            return method_not_allowed(_allowed(methods))
        try:
            return await handler(Request(method, argument, scope, receive))
        except Refused as error:
            return problem(error)
        except StoreError as error:
            return store_problem(error, "use the store")
        except ClientGone:
            raise
        except Exception:  # the boundary of a request
            log.exception("%s %s failed", method, scope["raw_path"])
            return internal_problem()


def _allowed(methods: Mapping[str, Handler]) -> tuple[str, ...]:
    return tuple(sorted({*methods, "HEAD"} if "GET" in methods else methods))
