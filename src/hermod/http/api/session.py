"""`/api/session`: logging in and out with a browser (wire-contract 10.4)."""

from collections.abc import Iterator
from typing import Final

from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.governance.sessions import SESSION_LIFE_S, Sessions
from hermod.governance.wishes import LoginWish
from hermod.http.api.desk import Desk, answer
from hermod.http.app import Gatekeeper, Level, Route
from hermod.http.browsers import Browsers
from hermod.http.guesses import Guesses
from hermod.http.message import Request, Response

_COOKIE: Final = b"token"


class SessionRoutes:
    """The handlers."""

    def __init__(
        self,
        sessions: Sessions,
        gatekeeper: Gatekeeper,
        guesses: Guesses,
        desk: Desk,
        base_path: str,
    ) -> None:
        self._sessions = sessions
        self._gatekeeper = gatekeeper
        self._guesses = guesses
        self._desk = desk
        self._path = (base_path or "/").encode()

    def routes(self) -> Iterator[Route]:
        """Who is not logged in yet must reach the first two."""
        root = "/api/session"
        yield Route("POST", f"{root}/login", self.login, access=Level.PUBLIC)
        yield Route("GET", f"{root}/is-auth-enabled", self.is_enabled, access=Level.PUBLIC)
        yield Route("POST", f"{root}/logout", self.logout)
        yield Route("POST", f"{root}/ws-ticket", self.ticket)

    async def login(self, request: Request) -> Response:
        """`POST /api/session/login`. Raises Refused (400, 401, 403, 429)."""
        scope = request.scope
        Browsers.check_change(scope["headers"])
        self._guesses.check(scope)
        wish = await self._desk.read(request, LoginWish)
        self._guesses.check(scope)  # others may have failed while the body came
        try:
            token = await self._sessions.login(wish.username, wish.password)
        except Refused as error:
            if error.failure.status_code == 401:
                self._guesses.note(scope)
            raise
        response = answer({"message": "Login successful"})
        cookie = self._cookie(token, SESSION_LIFE_S, is_secure=_is_secure(request))
        return response._replace(headers=(*response.headers, (b"set-cookie", cookie)))

    async def logout(self, request: Request) -> Response:
        """`POST /api/session/logout`: the session, however it was shown, is over."""
        for token in _tokens(request):
            await self._sessions.logout(token)
        response = answer({"message": "Logout successful"})
        cookie = self._cookie("", 0, is_secure=_is_secure(request))
        return response._replace(headers=(*response.headers, (b"set-cookie", cookie)))

    async def is_enabled(self, request: Request) -> Response:
        """`GET /api/session/is-auth-enabled`"""
        needed = not await self._lets_in(())
        valid = needed and await self._lets_in(request.scope["headers"])
        return answer({"is_auth_enabled": needed, "has_valid_token": valid})

    async def ticket(self, _: Request) -> Response:
        """`POST /api/session/ws-ticket`: raises Refused (501)."""
        raise Refused(Failure("There are no web sockets in this gateway", status_code=501))

    async def _lets_in(self, headers: "tuple[tuple[bytes, bytes], ...]") -> bool:
        try:
            await self._gatekeeper.resolve_admin(headers)
        except Refused:
            return False
        return True

    def _cookie(self, token: str, life_s: int, *, is_secure: bool) -> bytes:
        secure = b"; Secure" if is_secure else b""
        return b"%b=%b; Path=%b; Max-Age=%d; HttpOnly; SameSite=Strict%b" % (
            _COOKIE, token.encode(), self._path, life_s, secure,
        )  # fmt: skip


def _is_secure(request: Request) -> bool:
    """Whether the browser came by TLS, as far as a proxy, or the page's own address, tells."""
    return (
        request.scope["scheme"] == "https"
        or (request.header(b"x-forwarded-proto") or b"").lower() == b"https"
        or (request.header(b"origin") or b"").lower().startswith(b"https://")
    )


def _tokens(request: Request) -> Iterator[str]:
    authorization = request.header(b"authorization") or b""
    if authorization[:7].lower() == b"bearer ":
        yield authorization[7:].strip().decode("latin-1")
    for pair in (request.header(b"cookie") or b"").split(b";"):
        name, _, value = pair.strip().partition(b"=")
        if name == _COOKIE:
            yield value.decode("latin-1")
