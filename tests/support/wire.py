"""What the wire contract says, as the acceptance tests need it."""

import json
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import httpx


class Route(NamedTuple):
    """A request type: where it is submitted, and the least that is accepted there."""

    path: str
    request_type: str
    field: str
    """The one required field beside `model`."""
    value: Any
    missing: str
    """The message when that field is absent."""
    essential: str
    """The array of a result that holds the answer."""
    streaming: str | None
    """The message that refuses `stream: true`; None where `stream` is ignored."""

    def body(self, model: Any = "mock/hello", **more: Any) -> dict[str, Any]:
        """A minimal valid body."""
        return {"model": model, self.field: self.value, **more}


CHAT: Final = Route(
    "chat/completions",
    "chat_completion",
    "messages",
    [{"role": "user", "content": "hi"}],
    "messages is required for chat completion",
    "choices",
    "stream is not supported for async chat completions",
)
TEXT: Final = Route(
    "completions",
    "text_completion",
    "prompt",
    "hi",
    "prompt is required for text completion",
    "choices",
    "stream is not supported for async text completions",
)
RESPONSES: Final = Route(
    "responses",
    "responses",
    "input",
    "hi",
    "input is required for responses",
    "output",
    "stream is not supported for async responses",
)
EMBEDDINGS: Final = Route(
    "embeddings", "embedding", "input", "hi", "input is required for embeddings", "data", None
)
ROUTES: Final = (CHAT, TEXT, RESPONSES, EMBEDDINGS)

NO_MODEL: Final = "model should be in provider/model format"
NO_SUCH_JOB: Final = "job not found or expired"


def refusal(status: int, message: str) -> bytes:
    """The whole body of a plain error (wire-contract 4.2)."""
    said = json.dumps(message, ensure_ascii=False)
    return (
        f'{{"is_bifrost_error":false,"status_code":{status},"error":{{"message":{said}}},'
        '"extra_fields":{}}\n'
    ).encode()


def assert_refused(response: httpx.Response, status: int, message: str) -> None:
    """A plain error, byte for byte."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.content == refusal(status, message)


def instant(text: str) -> datetime:
    """An instant as the wire writes it: RFC 3339, UTC, `Z`, no trailing zeros."""
    assert text.endswith("Z")
    assert not text.endswith((".Z", "0Z")) or "." not in text
    return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
