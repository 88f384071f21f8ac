"""Keep a provider's secrets out of what clients read.

Some upstreams, and most debugging proxies, repeat a request's headers in their answers.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

SHORTEST: Final = 8
"""Shorter secrets are left alone: they would be found in innocent texts."""
_MASK: Final = b"***"
_SCHEMES: Final = (b"bearer ", b"basic ")
"""Of an `Authorization`; what follows is the secret."""


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
    told = {secret.encode("latin-1") for secret in secrets}
    told |= {raw.partition(b" ")[2] for raw in told if raw.lower().startswith(_SCHEMES)}
    return tuple(sorted((raw for raw in told if len(raw) >= SHORTEST), key=len, reverse=True))


def _begun(body: bytes, secret: bytes) -> int:
    """How much of the secret's beginning stands at the end of the body."""
    for size in range(min(len(secret) - 1, len(body)), 0, -1):
        if body.endswith(secret[:size]):
            return size
    return 0
