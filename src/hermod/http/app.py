"""The application: from a path to a handler, from whatever happens to a response."""

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hermod.domain.errors import Refused, StoreError
from hermod.http.asgi import Receive, Scope, Send
from hermod.http.body import ClientGone
from hermod.http.browsers import Browsers, preflight
from hermod.http.message import Handler, Request, Response, Streamed
from hermod.http.problems import (
    internal_problem,
    method_not_allowed,
    problem,
    route_not_found,
    store_problem,
)

log = logging.getLogger(__name__)


class Route(NamedTuple):
    """A path, whole or with one argument, and what answers there."""

    method: str
    path: str
    handler: Handler
    """With `{name}` in place of a segment of `path`, its argument is that segment; with `{name…}`
    at the end, whatever follows."""
    needs_base_path: bool = True
    """False for what is also answered without the prefix: probes do not know it."""


class App:
    """An ASGI application. Guards that concern every route stand here, not in the routes."""

    def __init__(self, routes: Iterable[Route], browsers: Browsers, *, base_path: str = "") -> None:
        self._browsers = browsers
        self._exact: dict[str, dict[str, Handler]] = {}
        self._under: dict[str, dict[str, Handler]] = {}
        self._around: dict[tuple[str, str], dict[str, Handler]] = {}
        self._below: dict[str, dict[str, Handler]] = {}
        for route in routes:
            self._add(route, base_path)
            if base_path and not route.needs_base_path:
                self._add(route, "")

    def _add(self, route: Route, prefix: str) -> None:
        before, brace, after = route.path.partition("{")
        name, _, after = after.partition("}")
        before = prefix + before
        if not brace:
            methods = self._exact.setdefault(before, {})
        elif name.endswith("…"):
            methods = self._below.setdefault(before, {})
        elif after:
            methods = self._around.setdefault((before, after), {})
        else:
            methods = self._under.setdefault(before.rstrip("/"), {})
        methods[route.method] = route.handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._respond(scope, receive)
        except ClientGone:
            return
        if isinstance(response, Streamed):
            await _send_pieces(response, scope, send)
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

    async def _respond(self, scope: Scope, receive: Receive) -> Response | Streamed:
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
        methods = self._under.get(folder)
        if methods is not None:
            return methods, argument
        for (before, after), methods in self._around.items():
            argument = path[len(before) : len(path) - len(after)]
            if path == before + argument + after and "/" not in argument:
                return methods, argument
        for before, methods in self._below.items():
            if path.startswith(before):
                return methods, path[len(before) :]
        return {}, ""

    async def _answer(
        self, scope: Scope, receive: Receive, *, from_page: bool
    ) -> Response | Streamed:
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


async def _send_pieces(response: Streamed, scope: Scope, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": response.headers})
    try:
        if scope["method"] != "HEAD":
            async for piece in response.pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        await response.pieces.aclose()


def _allowed(methods: Mapping[str, Handler]) -> tuple[str, ...]:
    return tuple(sorted({*methods, "HEAD"} if "GET" in methods else methods))
