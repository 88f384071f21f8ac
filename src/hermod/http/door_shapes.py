"""How the doors of other APIs say what came of a call."""

from hermod.domain.outcome import Answer
from hermod.doors import (
    anthropic_events,
    anthropic_reply,
    genai_chunks,
    genai_embedding,
    genai_reply,
)
from hermod.http.live_calls import Events, Native
from hermod.http.message import JSON, Response

OPENAI = Native(usual_status=500)
"""OpenAI's clients read our own shape; only the usual status differs (wire-contract 4.2)."""

_EVENTS = b"text/event-stream; charset=utf-8"


class Anthropic:
    """Messages, in front of responses."""

    def __init__(self, model: str) -> None:
        self._model = model

    def answer(self, answer: Answer) -> Response:
        """A `Message`."""
        return Response(200, anthropic_reply.from_response(answer.body, self._model) + b"\n")

    def error(self, status: int | None, failure: bytes) -> Response:
        """An error in Anthropic's shape."""
        return Response(status or 500, anthropic_reply.error(failure) + b"\n")

    def events(self) -> Events:
        """Anthropic's events for those of a response."""
        return anthropic_events.Events(self._model)

    def broken(self, events: Events, failure: bytes) -> bytes:
        """An `error` event."""
        return b"event: error\ndata: " + anthropic_reply.error(failure) + b"\n\n"

    def stream_type(self) -> bytes:
        """Server-sent events."""
        return _EVENTS


class GenAi:
    """`generateContent` and `streamGenerateContent`, in front of chat completions."""

    def __init__(self, *, sse: bool) -> None:
        """Without `sse` a stream is one JSON array that grows (Google's default)."""
        self._sse = sse

    def answer(self, answer: Answer) -> Response:
        """A `GenerateContentResponse`."""
        return Response(200, genai_reply.from_chat(answer.body) + b"\n")

    def error(self, status: int | None, failure: bytes) -> Response:
        """An error in Google's shape."""
        return Response(status or 500, genai_reply.error(failure) + b"\n")

    def events(self) -> Events:
        """Google's chunks for those of a chat completion."""
        return genai_chunks.Chunks(as_events=self._sse)

    def broken(self, events: Events, failure: bytes) -> bytes:
        """An error as the last chunk."""
        return events.feed(b"\n\ndata: " + failure + b"\n\n") + events.end()

    def stream_type(self) -> bytes:
        """Server-sent events, or JSON."""
        return _EVENTS if self._sse else JSON[1]


class GenAiEmbedding(GenAi):
    """`embedContent` and `batchEmbedContents`, in front of embeddings."""

    def __init__(self, *, batch: bool) -> None:
        super().__init__(sse=False)
        self._batch = batch

    def answer(self, answer: Answer) -> Response:
        """The embedding, or a list of them."""
        return Response(200, genai_embedding.from_embedding(answer.body, batch=self._batch) + b"\n")
