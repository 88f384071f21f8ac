"""The application: from a path to a handler, from whatever happens to a response."""

import logging
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final, NamedTuple, Protocol

from hermod.domain.errors import Refused, StoreError
from hermod.domain.failure import Failure
from hermod.governance.identity import Identity
from hermod.http.asgi import Receive, Scope, Send
from hermod.http.body import ClientGone
from hermod.http.browsers import Browsers, preflight
from hermod.http.guesses import Guesses
from hermod.http.message import Handler, Header, Request, Response, Streamed
from hermod.http.problems import (
    internal_problem,
    method_not_allowed,
    problem,
    route_not_found,
    store_problem,
)

log = logging.getLogger(__name__)

_NO_STORE: Final[Header] = (b"cache-control", b"no-store")


class Level(Enum):
    """Who may reach a route."""

    PUBLIC = "public"
    """Anybody."""
    CALLER = "caller"
    """Whoever may make calls; the reception decides (http/reception.py)."""
    ADMIN = "admin"
    """Whoever may manage; decided before the handler is called."""


class Gatekeeper(Protocol):
    """Knows who may manage."""

    async def resolve_admin(self, headers: Iterable[Header]) -> Identity:
        """Who asks, by headers whose names are in lower case.

        Raises Refused: 401 without a good credential, 403 for one that may not manage.
        """
        ...

    def password_shown(self, headers: Iterable[Header]) -> bool | None:
        """Whether the password in these headers is right; None where there is none."""
        ...


class Route(NamedTuple):
    """A path, whole or with one argument, and what answers there."""

    method: str
    path: str
    handler: Handler
    """With `{name}` in place of a segment of `path`, its argument is that segment; with `{name…}`
    at the end, whatever follows."""
    needs_base_path: bool = True
    """False for what is also answered without the prefix: probes do not know it."""
    access: Level = Level.ADMIN
    """A route that says nothing is closed to everybody else."""


class App:
    """An ASGI application. Guards that concern every route stand here, not in the routes.

    What may be reached is decided by the route that was found, never by the text of the path
    (reliability.md 2).
    """

    def __init__(
        self,
        routes: Iterable[Route],
        browsers: Browsers,
        *,
        base_path: str = "",
        gatekeeper: Gatekeeper | None = None,
        guesses: Guesses | None = None,
    ) -> None:
        """Without a gatekeeper nobody may manage."""
        self._browsers = browsers
        self._gatekeeper = gatekeeper
        self._guesses = guesses
        self._exact: dict[str, dict[str, Route]] = {}
        self._under: dict[str, dict[str, Route]] = {}
        self._around: dict[tuple[str, str], dict[str, Route]] = {}
        self._below: dict[str, dict[str, Route]] = {}
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
        methods[route.method] = route

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

    def _find(self, path: str) -> tuple[Mapping[str, Route], str]:
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
        method: str = scope["method"]
        methods, argument = self._find(scope["path"])
        if not methods:
            return route_not_found()
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            if method == "OPTIONS" and from_page:
                return preflight(scope["headers"], _allowed(methods))
            return method_not_allowed(_allowed(methods))
        response = await self._call(route, Request(method, argument, scope, receive))
        if route.access is not Level.CALLER and route.path.startswith("/api/"):
            return response._replace(headers=(*response.headers, _NO_STORE))
        return response

    async def _call(self, route: Route, request: Request) -> Response | Streamed:
        scope = request.scope
        try:
            self._count_guess(route, scope)
            if route.access is Level.ADMIN:
                request = request._replace(identity=await self._manager(request))
            return await route.handler(request)
        except Refused as error:
            return problem(error)
        except StoreError as error:
            return store_problem(error, "use the store")
        except ClientGone:
            raise
        except Exception:  # the boundary of a request
            log.exception("%s %s failed", request.method, scope["raw_path"])
            return internal_problem()

    def _count_guess(self, route: Route, scope: Scope) -> None:
        """Wherever a password makes a difference, whatever the answer. Raises Refused (429)."""
        if self._guesses is None or self._gatekeeper is None or _is_for_probes(route):
            return
        is_right = self._gatekeeper.password_shown(scope["headers"])
        if is_right is not None:
            self._guesses.judge(scope, is_right=is_right)

    async def _manager(self, request: Request) -> Identity:
        """Who wants to manage. Raises Refused (401, 403)."""
        headers = request.scope["headers"]
        if self._gatekeeper is None:
            raise Refused(Failure("Unauthorized", status_code=401, type="unauthorized"))
        identity = await self._gatekeeper.resolve_admin(headers)
        if identity.via == "open":
            self._browsers.check_open(headers)
        if request.method not in {"GET", "HEAD"} and _is_ambient(identity, request):
            self._browsers.check_change(headers)
        return identity


async def _send_pieces(response: Streamed, scope: Scope, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": response.headers})
    try:
        if scope["method"] != "HEAD":
            async for piece in response.pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        await response.pieces.aclose()


def _is_for_probes(route: Route) -> bool:
    return route.access is Level.PUBLIC and not route.path.startswith("/api/")


def _is_ambient(identity: Identity, request: Request) -> bool:
    """Whether a browser may have added the credential by itself, on behalf of any page."""
    if identity.via == "session":
        return request.header(b"authorization") is None
    return identity.via in {"open", "basic"}


def _allowed(methods: Mapping[str, Route]) -> tuple[str, ...]:
    return tuple(sorted({*methods, "HEAD"} if "GET" in methods else methods))
