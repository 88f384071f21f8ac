"""Header names that mean the same to whoever sends and whoever configures."""

from typing import Final

CONNECTION_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that frame a message or the connection. Only the one who sends can know them, and a
second opinion on them is how requests are smuggled."""
