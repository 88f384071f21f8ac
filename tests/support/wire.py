"""What the wire contract says, as the acceptance tests need it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import httpx
import pytest

from tests.support.waiting import wait_until


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


# All eleven kinds, as clients send them


class File(NamedTuple):
    """A file of a form."""

    field: str
    filename: str
    content: bytes
    content_type: str

    def told(self) -> str:
        """The line in which the mock's `echo` repeats it."""
        digest = hashlib.sha256(self.content).hexdigest()
        size = f"{len(self.content)} bytes"
        return f"{self.field}: {self.filename} ({self.content_type}), {size}, sha256 {digest}"


@dataclass(frozen=True, eq=False)
class Kind:
    """A request type of the contract's section 1, and the least that is accepted there."""

    path: str
    request_type: str
    upstream: str
    """A provider that offers it."""
    fields: Mapping[str, Any]
    """What is required beside `model`, without files."""
    files: tuple[File, ...] = ()
    """A kind with files is a form."""
    streamed: tuple[str, Any, str] | None = None
    """The field and the value that ask for a stream, and the message that refuses it."""

    @property
    def is_form(self) -> bool:
        """Whether it is multipart/form-data."""
        return bool(self.files)

    def request(
        self, model: Any = "mock/hello", *, files: Iterable[File] | None = None, **changes: Any
    ) -> dict[str, Any]:
        """The arguments for httpx: the least there is, with some of it changed; `...` leaves a
        field out. In a form a list is a field that comes several times."""
        fields = {"model": model, **self.fields, **changes}
        fields = {name: value for name, value in fields.items() if value is not ...}
        if not self.is_form:
            return {"json": fields}
        parts: list[tuple[str, tuple[str | None, bytes] | tuple[str, bytes, str]]] = []
        for name, value in fields.items():
            values: list[Any] = value if isinstance(value, list) else [value]
            parts += [(name, (None, str(each).encode())) for each in values]
        for file in self.files if files is None else files:
            parts.append((file.field, (file.filename, file.content, file.content_type)))
        return {"files": parts}

    def encoded(self, model: Any = "mock/hello", **changes: Any) -> tuple[bytes, str]:
        """The same as bytes, with their content type."""
        request = httpx.Request("POST", "http://localhost/", **self.request(model, **changes))
        return request.read(), request.headers["content-type"]

    def at_upstream(self, model: str) -> str:
        """This model of a provider behind HTTP."""
        return f"{self.upstream}/{model}"


PROMPT: Final = "Grüße & <Fisch> 🐴"
AUDIO: Final = File(
    "file", "hé.wav", b"RIFF\x24\x00\x00\x00WAVE\r\n--\r\n" + bytes(range(256)) * 4, "audio/wav"
)
IMAGE: Final = File("image", "a b.png", b"\x89PNG\r\n\x1a\n\x00" + bytes(range(256)), "image/png")


def _refused(plural: str) -> str:
    return f"stream is not supported for async {plural}"


KINDS: Final = (
    Kind(
        "completions",
        "text_completion",
        "openai",
        {"prompt": PROMPT},
        streamed=("stream", True, _refused("text completions")),
    ),
    Kind(
        "chat/completions",
        "chat_completion",
        "openai",
        {"messages": [{"role": "user", "content": PROMPT}]},
        streamed=("stream", True, _refused("chat completions")),
    ),
    Kind(
        "responses",
        "responses",
        "openai",
        {"input": PROMPT},
        streamed=("stream", True, _refused("responses")),
    ),
    Kind("embeddings", "embedding", "openai", {"input": PROMPT}),
    Kind(
        "audio/speech",
        "speech",
        "openai",
        {"input": PROMPT, "voice": "alloy"},
        streamed=("stream_format", "sse", _refused("speech")),
    ),
    Kind(
        "audio/transcriptions",
        "transcription",
        "openai",
        {},
        (AUDIO,),
        streamed=("stream", "true", _refused("transcriptions")),
    ),
    Kind(
        "images/generations",
        "image_generation",
        "openai",
        {"prompt": PROMPT},
        streamed=("stream", True, _refused("image generations")),
    ),
    Kind(
        "images/edits",
        "image_edit",
        "openai",
        {"prompt": PROMPT},
        (IMAGE,),
        streamed=("stream", "true", _refused("image edits")),
    ),
    Kind("images/variations", "image_variation", "openai", {}, (IMAGE,)),
    Kind(
        "rerank",
        "rerank",
        "cohere",
        {"query": PROMPT, "documents": [{"text": "Nichts"}, {"text": PROMPT}]},
    ),
    Kind(
        "ocr",
        "ocr",
        "mistral",
        {"document": {"type": "image_url", "image_url": "https://example.org/ä.png"}},
    ),
)
BY_TYPE: Final = {kind.request_type: kind for kind in KINDS}
CHATTING: Final = BY_TYPE["chat_completion"]
TRANSCRIBING: Final = BY_TYPE["transcription"]

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.request_type)


class Wire:
    """The native routes of a gateway, used as a client uses them."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def post(
        self,
        kind: Kind,
        model: Any = "mock/hello",
        *,
        headers: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> httpx.Response:
        """Submit the minimal request with these changes."""
        request = kind.request(model, **changes)
        return self.http.post(f"/v1/async/{kind.path}", headers=headers, **request)

    def submit(
        self,
        kind: Kind,
        model: Any = "mock/hello",
        *,
        headers: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """The accepted job."""
        response = self.post(kind, model, headers=headers, **changes)
        assert response.status_code == 202, response.text
        return response.json()

    def get(self, kind: Kind, job_id: str) -> httpx.Response:
        """One poll."""
        return self.http.get(f"/v1/async/{kind.path}/{job_id}")

    def ended(self, kind: Kind, job_id: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """The job once it has ended."""
        polled: list[httpx.Response] = []

        def has_ended() -> bool:
            polled[:] = [self.get(kind, job_id)]
            assert polled[0].status_code in (200, 202), polled[0].text
            return polled[0].status_code == 200

        wait_until(has_ended, timeout_s, every_s=0.005)
        return polled[0].json()

    def run(
        self,
        kind: Kind,
        model: Any = "mock/hello",
        *,
        headers: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """Submit a job, and it ended so."""
        return self.ended(kind, self.submit(kind, model, headers=headers, **changes)["id"])


def completed(job: dict[str, Any]) -> dict[str, Any]:
    """The result of a job that has to be completed."""
    assert (job["status"], job["status_code"]) == ("completed", 200), job
    return job["result"]


def failed(job: dict[str, Any], status: int) -> dict[str, Any]:
    """The error of a job that has to have failed with this status."""
    assert (job["status"], job["status_code"]) == ("failed", status), job
    assert "result" not in job
    return job["error"]
