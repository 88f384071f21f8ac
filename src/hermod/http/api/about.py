"""`/api/version`, and the public keys of the tokens that are made here."""

from collections.abc import Iterator

from hermod.governance.issuer import Issuer
from hermod.http.api.desk import answer
from hermod.http.app import Level, Route
from hermod.http.message import Request, Response

_FRESH = (b"cache-control", b"public, max-age=300")


class About:
    """The handlers."""

    def __init__(self, version: str, issuer: Issuer) -> None:
        self._version = version
        self._issuer = issuer

    def routes(self) -> Iterator[Route]:
        """Whoever checks tokens need not be known here."""
        yield Route("GET", "/api/version", self.version)
        yield Route("GET", "/.well-known/jwks.json", self.jwks, access=Level.PUBLIC)

    async def version(self, _: Request) -> Response:
        """`GET /api/version`: a JSON text, as in Bifrost."""
        return answer(self._version)

    async def jwks(self, _: Request) -> Response:
        """`GET /.well-known/jwks.json` (RFC 7517, 5)"""
        response = Response(200, self._issuer.public_keys() + b"\n")
        return response._replace(headers=(*response.headers, _FRESH))
