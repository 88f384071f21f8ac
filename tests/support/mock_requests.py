"""Requests of every kind for the mock, as bytes with their content type."""

import json
from collections.abc import Sequence
from typing import Any, Final

from hermod.providers.mock import mock
from hermod.providers.mock import request as mock_request

NOW_AT: Final = 1_790_000_000_123_456
SAID: Final = "Grüße,\n\u2028 and a \U0001f434"
AUDIO: Final = (b"RIFF\r\n--not-the-boundary\r\n\x00\xff" * 60)[:1600]
FUNCTION: Final[dict[str, Any]] = {
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "unit": {"type": "string", "enum": ["C", "F"]},
            "at": {"type": "array", "items": {"type": "object", "properties": {"h": {}}}},
        },
        "required": ["city"],
    },
}

JSON: Final[dict[str, dict[str, Any]]] = {
    mock_request.CHAT: {
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "second"},
            {"role": "user", "content": SAID},
            {"role": "assistant"},
        ]
    },
    mock_request.TEXT: {"prompt": SAID},
    mock_request.RESPONSES: {"input": SAID},
    mock_request.EMBEDDING: {"input": SAID},
    mock_request.SPEECH: {"input": SAID, "voice": "alloy"},
    mock_request.IMAGE_GENERATION: {"prompt": SAID},
    mock_request.RERANK: {"query": SAID, "documents": ["a", {"text": "a horse, and a dog"}]},
    mock_request.OCR: {"document": {"type": "document_url", "document_url": SAID}},
}
FILES: Final[dict[str, Sequence[tuple[str, str, bytes]]]] = {
    mock_request.TRANSCRIPTION: [("file", "hé.wav", AUDIO)],
    mock_request.IMAGE_EDIT: [("image[]", "a.png", b"1"), ("image[]", "b.png", b"22")],
    mock_request.IMAGE_VARIATION: [("image", "a.png", b"1")],
}
PROMPTED: Final = tuple(kind for kind in mock_request.KINDS if kind != mock_request.EMBEDDING)
STREAMED: Final = {
    mock_request.CHAT: {"stream": True},
    mock_request.TEXT: {"stream": True},
    mock_request.RESPONSES: {"stream": True},
    mock_request.SPEECH: {"stream_format": "sse"},
    mock_request.TRANSCRIPTION: {"stream": "true"},
    mock_request.IMAGE_GENERATION: {"stream": True},
    mock_request.IMAGE_EDIT: {"stream": "true"},
}
"""What asks for a stream, for the kinds that have one."""


def form(
    fields: dict[str, str], files: Sequence[tuple[str, str, bytes]], boundary: str = "b0undary"
) -> tuple[bytes, str]:
    """A body of multipart/form-data (RFC 7578) and its content type."""
    parts: list[bytes] = []
    for name, value in fields.items():
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        parts.append(part.encode("utf-8", "surrogatepass"))
    for name, filename, content in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; '
        head += f'filename="{filename}"\r\nContent-Type: audio/wav\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def request(kind: str, **fields: Any) -> tuple[bytes, str]:
    """A good request with these fields, and its content type."""
    if kind in FILES:
        return form({"prompt": SAID, **fields}, FILES[kind])
    return json.dumps(JSON[kind] | fields).encode(), "application/json"


def ask(
    kind: str, model: str, attempt: int = 1, job_id: str = "job", **fields: Any
) -> mock.MockReply:
    """What the mock replies to a good request with these fields."""
    return send(kind, model, *request(kind, **fields), attempt=attempt, job_id=job_id)


def send(
    kind: str,
    model: str,
    body: bytes,
    content_type: str | None = None,
    attempt: int = 1,
    job_id: str = "job",
) -> mock.MockReply:
    """What the mock replies to this body."""
    return mock.reply(
        kind,
        model,
        body,
        content_type=content_type,
        attempt=attempt,
        job_id=job_id,
        now_at=NOW_AT,
    )


def whole(reply: mock.MockReply) -> Any:
    """The JSON of a reply."""
    return json.loads(reply.body)
