"""Signs requests for AWS: Signature Version 4, with headers.

Format: AWS, "Create a signed AWS API request" (IAM user guide, SigV4). The path is escaped once
more than it is sent, as every service but S3 wants it.
"""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from hermod.domain.provider import NO_SECRET, Secret

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_UNESCAPED: Final = "/~"


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """What a request is signed with."""

    access_key: str
    secret_key: Secret
    session_token: Secret = NO_SECRET
    """Of credentials that expire."""


class _Place(NamedTuple):
    """A URL in the form that is signed."""

    host: str
    path: str
    query: str


def sign(
    method: str,
    url: str,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    credentials: AwsCredentials,
    *,
    region: str,
    service: str,
    now_s: int,
) -> tuple[tuple[str, str], ...]:
    """The headers to add to a request: its date, the session's token and the signature.

    Of `headers` only the content type and those of AWS (`x-amz-…`) are signed, beside the host: a
    proxy on the way may change all others. `now_s` is in seconds since the epoch.
    """
    stamp = _stamp(now_s)
    added = [("X-Amz-Date", stamp)]
    if credentials.session_token:
        added.append(("X-Amz-Security-Token", credentials.session_token.reveal()))
    place = _place_of(url)
    signed = _signed_headers(place.host, headers)
    signed |= {name.lower(): _trimmed(value) for name, value in added}
    names = sorted(signed)
    signed_names = ";".join(names)
    canonical = "\n".join(
        (
            method.upper(),
            place.path,
            place.query,
            *(f"{name}:{signed[name]}" for name in names),
            "",
            signed_names,
            sha256(body).hexdigest(),
        )
    )
    day = stamp[:8]
    scope = f"{day}/{region}/{service}/aws4_request"
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = _day_key(credentials.secret_key, day, region, service)
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    authorization = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={signed_names}, Signature={signature}"
    )
    return (*added, ("Authorization", authorization))


@lru_cache(maxsize=64)
def _day_key(secret: Secret, day: str, region: str, service: str) -> bytes:
    """The key of one day, region and service: four hashes that most requests need not repeat."""
    key = b"AWS4" + secret.reveal().encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@lru_cache(maxsize=4)
def _stamp(now_s: int) -> str:
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=256)
def _place_of(url: str) -> _Place:
    """Calls to one model share it."""
    parts = urlsplit(url)
    return _Place(
        _host_of(parts.scheme, parts.hostname or "", parts.port),
        quote(_without_dots(parts.path), safe=_UNESCAPED),
        _sorted_query(parts.query),
    )


def _host_of(scheme: str, hostname: str, port: int | None) -> str:
    """The value of `Host`, as it is sent."""
    host = f"[{hostname}]" if ":" in hostname else hostname
    return host if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{host}:{port}"


def _signed_headers(host: str, headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """By their lower-case names; values of a name that comes twice are joined."""
    signed = {"host": host}
    for name, value in headers:
        name = name.lower()
        if name == "content-type" or name.startswith("x-amz-"):
            value = _trimmed(value)
            signed[name] = f"{signed[name]},{value}" if name in signed else value
    return signed


def _trimmed(value: str) -> str:
    return " ".join(value.split())


def _without_dots(path: str) -> str:
    """The path without `.`, `..` and empty segments (RFC 3986, 5.2.4)."""
    if "//" not in path and "/." not in path:
        return path or "/"
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    whole = "/" + "/".join(kept)
    return whole + "/" if kept and path.endswith("/") else whole


def _sorted_query(query: str) -> str:
    """Every parameter with its `=`, by name and then by value."""
    if not query:
        return ""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in pairs)
