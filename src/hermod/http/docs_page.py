"""`/docs`: the description of the wire, to read and to try out in a browser.

Nothing is loaded from elsewhere. Swagger UI's files lie in `assets/`, where `make` and the image's
build unpack them (requirements/assets.sh); a page without them says so. All addresses are relative,
so that the page works under a base path and behind a proxy that adds one.
"""

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from hermod.http.message import Header, Request, Response
from hermod.http.problems import route_not_found

_PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hermod</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<noscript>This page needs JavaScript. <a href="openapi.json">openapi.json</a> does not.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/init.js"></script>
</body>
</html>
"""
_PAGE_WITHOUT_ASSETS: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Hermod</title>
</head>
<body>
<h1>Hermod</h1>
<p>The description of this gateway is <a href="openapi.json">openapi.json</a>.</p>
<p>The files that would show it here are missing: <code>make setup</code> brings them.</p>
</body>
</html>
"""
_INIT: Final = b"""SwaggerUIBundle({
  dom_id: "#docs",
  url: "openapi.json",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  docExpansion: "none",
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'"
)
"""Beside the policy of every response: a browser obeys both."""
_TYPES: Final = {
    "favicon-32x32.png": b"image/png",
    "swagger-ui.css": b"text/css; charset=utf-8",
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
}
_HTML: Final = b"text/html; charset=utf-8"
_JAVASCRIPT: Final = b"text/javascript; charset=utf-8"
_ASSETS: Final = Path(__file__).parent / "assets"


class _File(NamedTuple):
    body: bytes
    headers: tuple[Header, ...]


class DocsPage:
    """The handlers. Neither needs a credential: they show what anybody can read in the sources."""

    def __init__(self, assets: Path = _ASSETS) -> None:
        self._assets = assets
        self._files = {"init.js": _file(_INIT, _JAVASCRIPT)}
        """What has been asked for. Most gateways never show the page and need not hold it."""

    async def page(self, _: Request) -> Response:
        """`GET /docs`"""
        complete = all((self._assets / name).is_file() for name in _TYPES)
        headers = (
            (b"content-type", _HTML),
            (b"content-security-policy", _POLICY),
            (b"cache-control", b"no-cache"),
        )
        return Response(200, _PAGE if complete else _PAGE_WITHOUT_ASSETS, headers)

    async def file(self, request: Request) -> Response:
        """`GET /docs/{file}`: what the page loads; 304 for a browser that has it."""
        found = self._files.get(request.argument) or self._read(request.argument)
        if found is None:
            return route_not_found()
        if _knows(request.header(b"if-none-match"), found):
            return Response(304, b"", found.headers)
        return Response(200, found.body, found.headers)

    def _read(self, name: str) -> _File | None:
        content_type = _TYPES.get(name)
        if content_type is None:
            return None
        try:
            body = (self._assets / name).read_bytes()
        except FileNotFoundError:
            return None
        self._files[name] = _file(body, content_type)
        return self._files[name]


def _file(body: bytes, content_type: bytes) -> _File:
    tag = hashlib.sha256(body).hexdigest()[:32].encode()
    return _File(
        body,
        (
            (b"content-type", content_type),
            (b"cache-control", b"public, max-age=3600"),
            (b"etag", b'"%b"' % tag),
        ),
    )


def _knows(if_none_match: bytes | None, file: _File) -> bool:
    """Whether a browser has this very file (RFC 9110 13.1.2)."""
    tag = dict(file.headers)[b"etag"]
    tags = (each.strip().removeprefix(b"W/") for each in (if_none_match or b"").split(b","))
    return any(each in (tag, b"*") for each in tags)
