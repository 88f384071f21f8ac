"""Header names that mean the same to whoever sends and whoever configures."""

import re
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

CREDENTIAL_HEADERS: Final = frozenset(
    {
        "api-key",
        "authorization",
        "cookie",
        "proxy-authorization",
        "x-api-key",
        "x-bf-vk",
        "x-goog-api-key",
    }
)
"""Headers that say who asks. They are for the gateway: nobody else is shown them."""

HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2."""

SECRET_NAME: Final = re.compile(
    "auth|key|token|secret|cookie|passw|credential|signature", re.IGNORECASE
)
"""Names of headers whose values nobody else may read."""

UNSENDABLE: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")
"""What may not stand in a header's value: controls but the tab, and anything beyond Latin-1."""
