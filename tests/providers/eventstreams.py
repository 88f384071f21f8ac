"""Event streams as AWS writes them, for tests."""

import json
import struct
from typing import Any
from zlib import crc32


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message, with headers that are texts."""
    told = b"".join(
        struct.pack("!B", len(name)) + name + b"\7" + struct.pack("!H", len(value)) + value
        for name, value in ((name.encode(), value.encode()) for name, value in headers.items())
    )
    return framed(told, payload)


def framed(headers: bytes, payload: bytes) -> bytes:
    """One message with headers as they are."""
    start = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    whole = start + struct.pack("!I", crc32(start)) + headers + payload
    return whole + struct.pack("!I", crc32(whole))


def event(name: str, value: Any) -> bytes:
    """An event of Converse."""
    headers = {
        ":event-type": name,
        ":content-type": "application/json",
        ":message-type": "event",
    }
    return message(headers, json.dumps(value).encode())


def exception(name: str, value: Any) -> bytes:
    """An error in the stream."""
    headers = {
        ":exception-type": name,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return message(headers, json.dumps(value).encode())
