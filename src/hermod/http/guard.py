"""What the head of a request must look like before anything else sees it. Pure.

The parser (llhttp, strict) already refuses bare LF, control characters, folded lines, repeated or
malformed Content-Length and Content-Length beside Transfer-Encoding. Here is what it lets through
(reliability.md 3). Every refusal is in the wire's error shape and ends the connection: after a
message that two parties may read differently, the bytes that follow cannot be trusted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from hermod.domain.errors import Refused, bad_request
from hermod.domain.failure import Failure

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much, and for how long, a client may send before it is answered or closed (P16)."""

    header_timeout_s: float = 10.0
    """From the first byte of a request, or from the connection, to the end of its headers."""
    header_bytes: int = 16384
    """All header lines together, as `name: value` and a line end; the request line apart."""
    header_count: int = 100
    url_bytes: int = 8192
    body_grace_s: float = 30.0
    """Each such span must bring what the minimum rate gives in it, or the rest of the body. So a
    body takes at most one of them, plus what its size takes at the minimum rate."""
    body_min_rate_bytes_s: int = 1024
    keep_alive_idle_s: float = 75.0
    write_stall_s: float = 30.0
    """A client that takes no byte of a waiting response for this long is cut off."""
    linger_s: float = 5.0
    """After a last answer, input is read and discarded as long as each such span brings what the
    minimum rate gives in it. Closing at once would destroy the answer on its way."""
    linger_bytes: int = 1 << 30
    """Of what is discarded, at most."""
    max_connections: int = 10_000
    """The next one gets a 503. Keep it below the process's limit of open files."""
    pipelined_requests: int = 32
    """Requests of one connection that wait for the answer of an earlier one."""
    backlog: int = 2048


_SINGLE: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"x-bf-vk",
        b"x-api-key",
        b"x-goog-api-key",
        b"api-key",
    }
)
"""Headers of which a second one means that somebody on the way may have read the other one."""

_VISIBLE: Final = bytes(range(0x21, 0x7F)).replace(b"#", b"")
_HOST_CHARACTERS: Final = (
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=%:[]"
)
"""RFC 9110 7.2: uri-host and port; no user information, no path."""
_HIDDEN: Final = re.compile(rb"%(?:2f|5c|7f|[01][0-9a-f])", re.IGNORECASE)
"""Encoded slashes, backslashes and control characters: routers and proxies disagree on them."""
_MODEL_SLASH: Final = re.compile(rb"(?<=/models/)([^/%]+)%2f", re.IGNORECASE)
"""SDKs encode the slash in `provider/model`. Behind `/models/` it separates nothing."""
_ABSOLUTE: Final = re.compile(rb"https?://([^/?]*)", re.IGNORECASE)


def check_headers(
    headers: Headers, version: str, limits: Limits, *, measure: bool
) -> dict[bytes, bytes]:
    """The headers by lower-case name, if they are acceptable; raises Refused (400, 431).

    `measure` False says that the caller knows the head to be shorter than `header_bytes`.
    """
    fields = dict(headers)
    if len(fields) != len(headers):
        _refuse_repeated(headers)
        if len(headers) > limits.header_count:
            raise _too_large(f"more than {limits.header_count} request headers")
    elif len(fields) > limits.header_count:
        raise _too_large(f"more than {limits.header_count} request headers")
    if measure and sum(len(name) + len(value) + 4 for name, value in headers) > limits.header_bytes:
        raise _too_large(f"request headers are larger than {limits.header_bytes} bytes")
    host = fields.get(b"host")
    if host is None:
        raise bad_request("the Host header is missing")
    if not _is_host(host):
        raise bad_request("the Host header is not a host name or address with an optional port")
    if version not in {"1.1", "1.0"}:
        raise bad_request(f"HTTP/{version} is not supported; use HTTP/1.1")
    if b"transfer-encoding" in fields:
        # HTTP/1.0 does not know it (RFC 9112 6.1); any list but this one cannot be framed safely.
        if version == "1.0" or fields[b"transfer-encoding"].strip().lower() != b"chunked":
            raise bad_request("the only Transfer-Encoding supported is chunked, in HTTP/1.1")
        if b"content-length" in fields:
            raise bad_request("Content-Length and Transfer-Encoding exclude each other")
    return fields


def read_target(target: bytes, host: bytes) -> tuple[str, bytes, bytes]:
    """The decoded path, the path and the query as sent; raises Refused (400)."""
    if target.translate(None, _VISIBLE):
        raise bad_request("the request target contains characters that must be percent-encoded")
    raw_path, _, query = target.partition(b"?")
    if raw_path[:1] != b"/":
        raw_path = _path_of_absolute(raw_path, host)
    path = raw_path.decode("ascii")
    if "%" not in path and "\\" not in path:
        return path, raw_path, query
    if "\\" in path or _HIDDEN.search(_MODEL_SLASH.sub(b"", raw_path)):
        raise bad_request("the path contains an encoded slash, a backslash or a control character")
    try:
        return unquote(path, errors="strict"), raw_path, query
    except UnicodeDecodeError:
        raise bad_request("the path is not UTF-8") from None


def refusal(refused: Refused, common_headers: bytes = b"") -> bytes:
    """The whole response to a request that never reaches the application (wire-contract 4.2).

    `common_headers` are header lines that every response carries.
    """
    body = refused.failure.to_json() + b"\n"
    status = HTTPStatus(refused.failure.status_code or 400)
    retry = f"retry-after: {refused.retry_after_s}\r\n" if refused.retry_after_s else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "content-type: application/json\r\n"
        f"content-length: {len(body)}\r\n"
        f"{retry}connection: close\r\n"
    )
    return head.encode("ascii") + common_headers + b"\r\n" + body


@lru_cache(maxsize=256)  # a gateway has few names
def _is_host(value: bytes) -> bool:
    return not value.translate(None, _HOST_CHARACTERS)


def _refuse_repeated(headers: Headers) -> None:
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in _SINGLE and name in seen:
            raise bad_request(f"the {name.decode('ascii')} header is present more than once")
        seen.add(name)


def _path_of_absolute(target: bytes, host: bytes) -> bytes:
    """A proxy's form of target: it must name the same host as Host does (RFC 9112 3.2.2)."""
    match = _ABSOLUTE.match(target)
    if match is None:
        raise bad_request("the request target is not a path")
    if match[1].lower() != host.lower():
        raise bad_request("the request target and the Host header name different hosts")
    return target[match.end() :] or b"/"


def _too_large(message: str) -> Refused:
    return Refused(Failure(message, status_code=431))
