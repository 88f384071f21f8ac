"""Time-ordered identifiers."""

import os

_VARIANT = 0x80
_VERSION = 0x70


def uuid7(now_at: int) -> str:
    """A UUIDv7 (RFC 9562, 5.7) for the wall-clock instant `now_at` in microseconds.

    74 of its bits come from the system's cryptographic source, so an id cannot be guessed.
    """
    raw = bytearray((now_at // 1000).to_bytes(6, "big") + os.urandom(10))
    raw[6] = _VERSION | (raw[6] & 0x0F)
    raw[8] = _VARIANT | (raw[8] & 0x3F)
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
