"""From a Request to the place it goes and the bytes of its head. Refuses what cannot be sent."""

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from hermod.domain.headers import CONNECTION_HEADERS
from hermod.net.messages import Headers, NetError, Reason, Request

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_URL: Final = re.compile(r"https?://[!-\[\]-~]+", re.IGNORECASE)
"""Printable ASCII without space and backslash: urlsplit would silently drop tabs and newlines."""
_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*\.?"
    r"|[0-9a-f:.]*:[0-9a-f:.]*"  # IPv6, its brackets taken off
)
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FORBIDDEN_IN_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DEFAULT_PORT: Final = {"http": 80, "https": 443}


class Target(NamedTuple):
    """Where a URL leads."""

    is_tls: bool
    host: str
    """A name or an address literal without brackets."""
    port: int
    authority: str
    """The value of `Host`."""
    path: str
    """Path and query, exactly as written: nothing is normalised or re-encoded."""


def _invalid(detail: str) -> NetError:
    return NetError(Reason.INVALID, detail, sent=False)


@lru_cache(maxsize=1024)
def target_of(url: str) -> Target:
    """Takes an absolute URL apart.

    Raises NetError(INVALID) unless it is http(s), in printable ASCII, with a host and without
    credentials: a key in a URL ends in logs.
    """
    if _URL.fullmatch(url) is None:
        raise _invalid("the URL is not an absolute http(s) URL in printable ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _invalid("the URL has an impossible host or port") from error
    return _target(parts, port)


def _target(parts: SplitResult, port: int | None) -> Target:
    host = parts.hostname or ""
    if "@" in parts.netloc:
        raise _invalid("the URL carries credentials; put them into a header")
    if _HOST.fullmatch(host) is None or port == 0:
        raise _invalid("the URL has an impossible host or port")
    if parts.fragment:
        raise _invalid("the URL has a fragment, which is never sent")
    default = _DEFAULT_PORT[parts.scheme]
    bracketed = f"[{host}]" if ":" in host else host
    path = parts.path or "/"
    return Target(
        is_tls=parts.scheme == "https",
        host=host,
        port=port or default,
        authority=bracketed if port in (None, default) else f"{bracketed}:{port}",
        path=f"{path}?{parts.query}" if parts.query else path,
    )


@lru_cache(maxsize=1024)
def _is_ours_to_send(name: str) -> bool:
    """Whether a caller may set this header. Raises NetError(INVALID) unless it is a token."""
    if _TOKEN.fullmatch(name) is None:
        raise _invalid(f"header name {name[:40]!a} is not a token")
    return name.lower() not in CONNECTION_HEADERS


def head_of(request: Request, target: Target, user_agent: str) -> bytes:
    """The request line and headers, up to and with the empty line.

    Compression is not asked for: inflating costs more than it saves for answers of a few KB, and
    what never comes compressed cannot be a bomb.

    Raises NetError(INVALID) for an unknown method and for headers that are not ours to send or
    cannot be written (RFC 9110, 5.5: no CR, LF, NUL or other controls; latin-1 only).
    """
    named, has_agent = _common_head(request.method, target, request.headers)
    lines = [_written(request.own)] if request.own else []
    if not has_agent and not _names_agent(request.own):
        lines.append(f"User-Agent: {user_agent}\r\n")
    if request.body or request.method not in ("GET", "DELETE"):
        lines.append(f"Content-Length: {len(request.body)}\r\n")
    lines.append("Accept-Encoding: identity\r\n\r\n")
    try:
        return named + "".join(lines).encode("latin-1")
    except UnicodeEncodeError as error:
        raise _invalid(f"{_unwritable(request.own)} has a character outside latin-1") from error


@lru_cache(maxsize=1024)
def _common_head(method: str, target: Target, headers: Headers) -> tuple[bytes, bool]:
    """The request line with these headers, and whether they name a user agent."""
    if method not in _METHODS:
        raise _invalid(f"method {method[:20]!a} is not one of {', '.join(sorted(_METHODS))}")
    line = f"{method} {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n"
    try:
        return (line + _written(headers)).encode("latin-1"), _names_agent(headers)
    except UnicodeEncodeError as error:
        raise _invalid(f"{_unwritable(headers)} has a character outside latin-1") from error


def _written(headers: Headers) -> str:
    lines: list[str] = []
    for name, value in headers:
        if not _is_ours_to_send(name):
            raise _invalid(f"header {name} is set by the gateway and cannot be given")
        if _FORBIDDEN_IN_VALUE.search(value) is not None:
            raise _invalid(f"header {name} has a control character in its value")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines)


def _names_agent(headers: Headers) -> bool:
    return any(name.lower() == "user-agent" for name, _ in headers)


def _unwritable(headers: Headers) -> str:
    """Which header cannot be encoded."""
    return next(
        (f"header {name}" for name, value in headers if any(ord(c) > 0xFF for c in value)),
        "the URL",
    )
