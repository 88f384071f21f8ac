"""Keep a provider's secrets out of what clients read.

Some upstreams, and most debugging proxies, repeat a request's headers in their answers.
"""

from collections.abc import Iterable
from typing import Final

SHORTEST: Final = 8
"""Shorter secrets are left alone: they would be found in innocent texts."""
_MASK: Final = b"***"


def redacted(body: bytes, secrets: Iterable[str]) -> bytes:
    """The body without any of the secrets. Most bodies are returned as they are."""
    for secret in secrets:
        raw = secret.encode("latin-1")
        if len(raw) >= SHORTEST and raw in body:
            body = body.replace(raw, _MASK)
    return body
