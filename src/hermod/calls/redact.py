"""Keep a provider's secrets out of what clients read.

Some upstreams, and most debugging proxies, repeat a request's headers in their answers.
"""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

SHORTEST: Final = 8
"""Shorter secrets are left alone: they would be found in innocent texts."""
_MASK: Final = b"***"
_SCHEMES: Final = (b"bearer ", b"basic ")
"""Of an `Authorization`; what follows is the secret."""
_ESCAPES: Final[tuple[dict[int, str], ...]] = (
    {},
    {ord("/"): "\\/"},  # PHP
    {ord(sign): f"\\u00{ord(sign):02X}" for sign in "+<>&'`"},  # System.Text.Json
    {ord(sign): f"\\u00{ord(sign):02x}" for sign in "=<>&'"},  # Gson; Go has all but two of them
)
"""What JSON encoders escape beside what they must."""


def redacted(body: bytes, secrets: Iterable[str]) -> bytes:
    """The body without any of the secrets. Most bodies are returned as they are."""
    for raw in _sought(tuple(secrets)):
        if raw in body:
            body = body.replace(raw, _MASK)
    return body


class Redactor:
    """The same for a body that comes in pieces, which may cut a secret in two."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._sought = _sought(tuple(secrets))
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What may be shown of it. The beginning of a secret at its end is held back."""
        body = self._held + piece
        for raw in self._sought:
            if raw in body:
                body = body.replace(raw, _MASK)
        keep = max((_begun(body, raw) for raw in self._sought), default=0)
        self._held = body[len(body) - keep :]
        return body[: len(body) - keep]

    def rest(self) -> bytes:
        """What was held back and turned out to be no secret."""
        rest, self._held = self._held, b""
        return rest


@lru_cache(maxsize=256)
def _sought(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    """The longest first: one may be a part of another. Every call asks, and few keys there are."""
    told = {form for secret in secrets for form in _forms(secret)}
    told |= {raw.partition(b" ")[2] for raw in told if raw.lower().startswith(_SCHEMES)}
    return tuple(sorted((raw for raw in told if len(raw) >= SHORTEST), key=len, reverse=True))


def _forms(secret: str) -> Iterator[bytes]:
    """The secret as it is sent, and as JSON may have it: encoders differ in what they escape."""
    yield secret.encode("latin-1", "replace")
    yield secret.encode("utf-8", "replace")
    quoted = json.dumps(secret, ensure_ascii=False)[1:-1]
    for escapes in _ESCAPES:
        yield quoted.translate(escapes).encode("utf-8", "replace")


def _begun(body: bytes, secret: bytes) -> int:
    """How much of the secret's beginning stands at the end of the body."""
    at, first = max(len(body) - len(secret) + 1, 0), secret[:1]
    while (at := body.find(first, at)) >= 0:
        if secret.startswith(body[at:]):
            return len(body) - at
        at += 1
    return 0
