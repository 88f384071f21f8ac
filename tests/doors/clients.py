"""The official SDKs, wired to a function instead of a network."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import anthropic
import httpx
import httpx2
from google import genai
from google.genai import types

KNOWN = frozenset({"openai", "anthropic", "gemini", "mock"})
"""The known providers of these tests."""


class Sent(NamedTuple):
    """A request as an SDK wrote it."""

    path: str
    body: bytes


class Answer(NamedTuple):
    """What it gets: the body, or its pieces."""

    body: bytes | Iterable[bytes]
    content_type: str = "application/json"
    status: int = 200


Answering = Callable[[Sent], Answer]


class _Pieces(httpx2.SyncByteStream):
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


class _GooglePieces(httpx.SyncByteStream):
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


def _pieces(body: bytes | Iterable[bytes]) -> Iterable[bytes]:
    return [body] if isinstance(body, bytes) else body


def anthropic_client(answering: Answering) -> anthropic.Anthropic:
    """A client of the Messages API."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        answer = answering(Sent(request.url.path, request.read()))
        headers = {"content-type": answer.content_type}
        return httpx2.Response(answer.status, headers=headers, stream=_Pieces(_pieces(answer.body)))

    http = httpx2.Client(transport=httpx2.MockTransport(handle))
    return anthropic.Anthropic(api_key="k", base_url="http://door", http_client=http, max_retries=0)


def google_client(answering: Answering) -> genai.Client:
    """The client of the Gemini API: one for all, as making one takes half a second."""
    client, answers = _google()
    answers[:] = [answering]
    return client


@cache
def _google() -> tuple[genai.Client, list[Answering]]:
    answers: list[Answering] = []

    def handle(request: httpx.Request) -> httpx.Response:
        answer = answers[0](Sent(request.url.raw_path.decode(), request.read()))
        headers = {"content-type": answer.content_type}
        stream = _GooglePieces(_pieces(answer.body))
        return httpx.Response(answer.status, headers=headers, stream=stream)

    http = httpx.Client(transport=httpx.MockTransport(handle))
    options = types.HttpOptions(base_url="http://door", httpx_client=http)
    return genai.Client(api_key="k", http_options=options), answers


def cut(stream: bytes, size: int) -> list[bytes]:
    """A stream in pieces of `size` bytes."""
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def events(*members: dict[str, Any]) -> bytes:
    """Responses events as OpenAI writes them."""
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())
        for event in members
    )
