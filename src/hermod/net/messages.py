"""What goes out, what comes back, and what can go wrong on the way."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from hermod.domain.errors import HermodError

Headers = tuple[tuple[str, str], ...]

_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of an upstream is put up with (reliability.md P17)."""

    connect_s: float = 10.0
    """Name lookup, TCP and TLS together."""
    idle_s: float = 60.0
    """Between two bytes of a reply. A silent upstream is bounded by the attempt alone, since a
    model may think for minutes before its first byte (design.md 8, 12)."""
    reply_bytes: int = 50 * 1024 * 1024
    """The body, counted after decompression."""
    header_bytes: int = 64 * 1024
    """Names and values of a reply, interim replies included."""
    header_count: int = 200


class Trust(NamedTuple):
    """What an upstream must be. Only requests that agree on it share connections."""

    verify: bool = True
    """False is `insecure_skip_verify`."""
    ca_pem: str | None = None
    """Certificates in PEM form that are trusted beside the system's (`ca_cert_pem`)."""
    public_only: bool = False
    """Whether it must live at a public address: true for what did not come from the operator's own
    file (design.md 3.4)."""


class Request(msgspec.Struct, frozen=True):
    """One HTTP request. The framing headers and `Host` are added when it is sent."""

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""
    trust: Trust = Trust()
    own: Headers = ()
    """Headers of this request alone. Those in `headers` are worked out once for all requests that
    have the same."""


class Reply(msgspec.Struct, frozen=True):
    """What the upstream answered, whatever its status. Redirects are replies like any other."""

    status: int
    headers: Headers
    """As they came, in their order; names in lower case."""
    body: bytes
    """Decompressed."""

    def header(self, name: str) -> str | None:
        """The first value of this header; `name` in lower case."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def content_type(self) -> str:
        """The media type in lower case without its parameters, or an empty string."""
        told = self.header("content-type") or ""
        return told if told == _JSON else told.partition(";")[0].strip().lower()

    @property
    def retry_after(self) -> str | None:
        """What the upstream asked for, not yet interpreted (RFC 9110, 10.2.3)."""
        return self.header("retry-after")


class Reason(StrEnum):
    """Why there is no reply."""

    INVALID = "invalid"
    """The request cannot be sent as it is: URL, method or a header is wrong. Never retry."""
    CONNECT = "connect"
    """No connection: the name is unknown, or the connection refused or reset (retryable)."""
    TLS = "tls"
    """No trusted connection: a certificate or the handshake was refused."""
    NOT_PUBLIC = "not_public"
    """The address is a private one, and the request may go to public ones only. Never retry."""
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_TOTAL = "timeout_total"
    TIMEOUT_IDLE = "timeout_idle"
    STALE = "stale"
    """A connection that had answered before closed without a byte of this reply. Nearly always
    the upstream had closed it while it lay idle, and read nothing; TCP cannot prove that."""
    BROKEN = "broken"
    """The connection ended or sent something that is not HTTP, after we began to send."""
    TOO_LARGE = "too_large"
    BAD_ENCODING = "bad_encoding"
    """The body is compressed in a way that was not asked for, or is damaged."""


class NetError(HermodError):
    """A request without a reply. `sent` False proves that no byte of it left."""

    def __init__(self, reason: Reason, detail: str, *, sent: bool) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        """Names the host at most: no path, no header value, nothing of either body."""
        self.sent = sent
