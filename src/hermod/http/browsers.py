"""Which browser pages may call us, and may read the answers (design.md 5, wire-contract 2.5).

An open gateway on loopback can be reached by every page its user looks at, and needs no credential.
So there only pages from this machine and those the operator named are heard, and only under names
that no stranger can own: a page of `evil.example` may make its own name point to 127.0.0.1, and
would then pass for one of ours (DNS rebinding).
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.http.message import Header, Response

_OF_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OWNED_BY_NOBODY: Final = re.compile(
    r"[^.]*|.*\.(?:localhost|internal)|[0-9.]+|.*:.*", re.IGNORECASE
)
"""Names without a dot, reserved ones (RFC 6761, ICANN's `.internal`), and addresses."""
_PREFLIGHT_S: Final = b"600"
_READABLE: Final = (
    b"location, retry-after, www-authenticate, x-bf-async-id, x-hermod-job, x-should-retry"
)
"""What of our headers a page may read, beside those that every page may."""
_REFUSED: Final = (
    "this {} is not allowed; add the origin, as in https://gateway.example.com, "
    "to client.allowed_origins"
)

HEADERS: Final = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "frame-ancestors 'none'"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
)
"""With every response."""


class Browsers:
    """Judges the `Origin` and `Host` of every request."""

    def __init__(self, allowed_origins: Iterable[str], *, loopback: bool) -> None:
        self._allowed = frozenset(allowed_origins)
        self._open = "*" in self._allowed
        self._guarded = loopback and not self._open
        self._hosts = {_host_name(origin) for origin in self._allowed}
        self._known_hosts: frozenset[bytes] = frozenset()

    def admit(self, headers: Iterable[Header]) -> tuple[Header, ...]:
        """The headers that let a page read the answer; raises Refused (403) for a page that may
        not even ask."""
        origin: bytes | None = None
        for name, value in headers:
            if name == b"origin":
                origin = value
            elif name == b"host" and self._guarded and value not in self._known_hosts:
                self._check_host(value)
        if origin is None:
            return ()
        text = origin.decode("latin-1")
        if self._open or text in self._allowed or _host_name(text) in _OF_THIS_MACHINE:
            return (
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", _READABLE),
                (b"vary", b"origin"),
            )
        if self._guarded:
            raise Refused(Failure(_REFUSED.format("origin"), status_code=403))
        return ()

    def check_open(self, headers: Iterable[Header]) -> None:
        """That nobody manages an open gateway from a page, or under a name, of a stranger's.

        Also where every page may call it (`*`). Raises Refused (403).
        """
        for name, value in headers:
            if name == b"host":
                self._check_host(value)
            elif name == b"origin":
                text = value.decode("latin-1")
                if text not in self._allowed and _host_name(text) not in _OF_THIS_MACHINE:
                    raise Refused(Failure(_REFUSED.format("origin"), status_code=403))

    @staticmethod
    def check_change(headers: Iterable[Header]) -> None:
        """That a change which a browser may vouch for comes from a page of our own.

        Raises Refused (403). Browsers that say nothing of the site send the origin; programs send
        neither (reliability.md S8; Fetch Metadata, 2.3).
        """
        fields = dict(headers)
        site = fields.get(b"sec-fetch-site")
        origin = fields.get(b"origin")
        if site is not None:
            ours = site in {b"same-origin", b"none"}
        else:
            host = fields.get(b"host", b"").lower()
            ours = origin is None or origin.partition(b"://")[2].lower() == host
        if not ours:
            raise Refused(Failure("a page of another site may not do this", status_code=403))

    def _check_host(self, value: bytes) -> None:
        name = _host_name(f"//{value.decode('latin-1')}")
        if name is None or not (_OWNED_BY_NOBODY.fullmatch(name) or name in self._hosts):
            raise Refused(Failure(_REFUSED.format("host"), status_code=403))
        if len(self._known_hosts) < 16:
            self._known_hosts |= {value}


def preflight(headers: Iterable[Header], methods: Iterable[str]) -> Response:
    """What a browser asks before a page may send more than a form could (Fetch, 4.8)."""
    asked = dict(headers).get(b"access-control-request-headers", b"")
    answer = [
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (b"access-control-max-age", _PREFLIGHT_S),
    ]
    if asked:
        answer.append((b"access-control-allow-headers", asked))
    return Response(204, b"", tuple(answer))


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
