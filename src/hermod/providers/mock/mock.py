"""The mock provider: models that need no key, no network and no luck.

A model is a name and options as a query string: `slow?seconds=2`. All of them answer all eleven
request types. Everything is a function of the arguments, so the provider inside the gateway and
the HTTP server of `hermod mock-upstream` share it, and a test can compute what to expect.

| Model | Answer |
|---|---|
| `hello` | a greeting |
| `echo` | what came, in words: the last user message, the prompts, the inputs; of a form also a |
| | line with name, size and SHA-256 of each file; as speech the text itself instead of audio |
| `slow?seconds=8` | a greeting, late |
| `timeout?seconds=3600` | 504, very late |
| `flaky?fail=0.3&seed=0` | 500 for this share of all attempts, else a greeting |
| `429?retry_after=1&times=2` | 429 on the first `times` attempts, by default on all of them |
| `error?code=500` | that error |
| `invalid?how=html` | a 200 that is no answer, spoiled in one of the ways of `INVALID` |
| `tool` | a call of the first function that the request offers, else a greeting; after the result |
| | of a tool that result |
| `stream?chunks=20&pause=0.05` | that many numbers; in a stream one in each delta, so far apart |
| `broken-stream?chunks=20&pause=0` | the same, and in its middle the connection ends |
| `embed?dim=16` | vectors of that size |
| `speech?bytes=4844`, `image?bytes=1000` | an audio or an image of that size |
| `transcription`, `rerank`, `ocr` | a greeting |

A request for a stream gets one, of server-sent events; only embeddings, image variations, rerank
and OCR have none (wire-contract 1.4). `retry_after` becomes the header as it stands; without it
there is no such header. An unknown name is a 404 and a wrong option a 400, in OpenAI's error shape.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from msgspec.structs import replace

from hermod.providers.mock import media as mock_media
from hermod.providers.mock import shapes as mock_shapes
from hermod.providers.mock import streams as mock_streams
from hermod.providers.mock import tools as mock_tools
from hermod.providers.mock.request import (
    CHAT,
    EMBEDDING,
    IMAGE_EDIT,
    IMAGE_GENERATION,
    IMAGE_VARIATION,
    MAX_DIM,
    OCR,
    RERANK,
    RESPONSES,
    SPEECH,
    TEXT,
    Asked,
    Unreadable,
    read,
)
from hermod.providers.mock.shapes import DEFAULT_DIM, Json, Saying

GREETING: Final = "Hello! Hermod's mock provider is at your service."
_MAX_SECONDS: Final = 86_400.0
_MAX_PAUSE: Final = 60.0
_MAX_CHUNKS: Final = 10_000
_JSON: Final = (("content-type", "application/json"),)
_SSE: Final = (("content-type", mock_streams.CONTENT_TYPE),)


class MockReply(NamedTuple):
    """What to answer, and how many seconds after the request came."""

    delay_s: float
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    """Empty if there are pieces."""
    pieces: tuple[bytes, ...] = ()
    """A stream: its events, the first at once."""
    pause_s: float = 0.0
    """Between pieces."""
    cut: bool = False
    """The connection ends after these pieces, or this body, though they are not all."""


class _Call(NamedTuple):
    request_type: str
    model: str
    options: Mapping[str, str]
    body: bytes
    content_type: str | None
    attempt: int
    job_id: str
    now_at: int

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """An option as a number within bounds. Raises Unreadable."""
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise Unreadable(f"option {name} must be a number from {low:g} to {high:g}")
        return value

    def digest(self, *more: object) -> bytes:
        """32 bytes that only this attempt of this job has."""
        return hashlib.sha256(repr((self.job_id, self.attempt, *more)).encode()).digest()

    def asked(self) -> Asked:
        """What the request asks for. Raises Unreadable."""
        return read(self.request_type, self.body, self.content_type)

    def saying(self, asked: Asked, said: Sequence[str] = ()) -> Saying:
        """An answer in these words, or a greeting for each text that came."""
        texts = said or [GREETING] * (len(asked.texts) if self.request_type == TEXT else 1)
        tag = self.digest().hex()[:24]
        return Saying(self.request_type, self.model, asked, texts or [GREETING], tag, self.now_at)


def reply(
    request_type: str,
    model: str,
    body: bytes,
    *,
    content_type: str | None = None,
    attempt: int,
    job_id: str,
    now_at: int,
) -> MockReply:
    """The reply of `mock/<model>` to attempt number `attempt` of a job, at `now_at` (µs).

    `content_type` is that of the body; only a form needs it. Never raises for what is in `model`
    or `body`: bad input gets an error reply.
    """
    name, _, query = model.partition("?")
    behaviour = _MODELS.get(name)
    if behaviour is None:
        message = f"The model `{name}` does not exist. The mock has: {', '.join(_MODELS)}."
        return error(404, message, code="model_not_found")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=16))
        return behaviour(
            _Call(request_type, model, options, body, content_type, attempt, job_id, now_at)
        )
    except ValueError as wrong:
        return error(400, str(wrong))


def is_model(model: str) -> bool:
    """Whether `reply` has a behaviour of this name."""
    return model.partition("?")[0] in _MODELS


def models() -> tuple[str, ...]:
    """Every name that `reply` knows, without options."""
    return tuple(_MODELS)


def say(saying: Saying) -> MockReply:
    """An immediate 200: a stream if the request asks for one. Raises Unreadable."""
    if mock_streams.wanted(saying.request_type, saying.asked):
        return MockReply(0.0, 200, _SSE, b"", mock_streams.pieces(saying))
    answer = _SHAPES.get(saying.request_type)
    if answer is not None:
        return success(msgspec.json.encode(answer(saying)))
    if saying.request_type == SPEECH:
        content_type, content = mock_media.speech(saying)
        return MockReply(0.0, 200, (("content-type", content_type),), content)
    content_type, told = mock_media.transcription(saying)
    content = told.encode() if isinstance(told, str) else msgspec.json.encode(told)
    return MockReply(0.0, 200, (("content-type", content_type),), content)


def success(body: bytes) -> MockReply:
    """An immediate 200 with this JSON."""
    return MockReply(0.0, 200, _JSON, body)


def error(
    status: int, message: str, *, code: str | None = None, headers: tuple[tuple[str, str], ...] = ()
) -> MockReply:
    """An immediate error in OpenAI's shape."""
    kind = _ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    whole = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return MockReply(0.0, status, _JSON + headers, msgspec.json.encode(whole))


_ERROR_TYPES: Final[dict[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_SHAPES: Final[dict[str, Callable[[Saying], Json]]] = {
    CHAT: mock_shapes.completion,
    TEXT: mock_shapes.completion,
    RESPONSES: mock_shapes.response,
    EMBEDDING: mock_shapes.embedding,
    IMAGE_GENERATION: mock_media.images,
    IMAGE_EDIT: mock_media.images,
    IMAGE_VARIATION: mock_media.images,
    RERANK: mock_shapes.rerank,
    OCR: mock_shapes.ocr,
}


def _success(call: _Call) -> MockReply:
    return say(call.saying(call.asked()))


def _echo(call: _Call) -> MockReply:
    asked = call.asked()
    return say(replace(call.saying(asked, asked.told() or ("",)), verbatim=True))


def _slow(call: _Call) -> MockReply:
    return _success(call)._replace(delay_s=call.number("seconds", 8, 0, _MAX_SECONDS))


def _timeout(call: _Call) -> MockReply:
    late = call.number("seconds", 3600, 0, _MAX_SECONDS)
    return error(504, "The mock waited as long as it was told to.")._replace(delay_s=late)


def _flaky(call: _Call) -> MockReply:
    fail = call.number("fail", 0.3, 0, 1)
    draw = int.from_bytes(call.digest(call.options.get("seed", "0"))[:8], "big") / 2**64
    if draw < fail:
        return error(500, f"The mock failed attempt {call.attempt} as it was told to.")
    return _success(call)


def _rate_limited(call: _Call) -> MockReply:
    if call.attempt > call.number("times", math.inf, 0, math.inf):
        return _success(call)
    after = call.options.get("retry_after", "")
    if not (after.isascii() and (after + " ").isprintable()):
        raise Unreadable("option retry_after must be printable ASCII")
    headers = (("retry-after", after),) if after else ()
    message = "Rate limit reached, as the mock was told to."
    return error(429, message, code="rate_limit_exceeded", headers=headers)


def _error(call: _Call) -> MockReply:
    code = int(call.number("code", 500, 400, 599))
    return error(code, f"The mock answers {code}, as it was told to.")


def _embed(call: _Call) -> MockReply:
    dim = int(call.number("dim", DEFAULT_DIM, 1, MAX_DIM))
    return say(replace(call.saying(call.asked()), dim=dim))


def _media(call: _Call) -> MockReply:
    size = call.number("bytes", math.nan, 0, mock_media.MAX_SIZE)
    saying = call.saying(call.asked())
    return say(saying if math.isnan(size) else replace(saying, size=int(size)))


def _tool(call: _Call) -> MockReply:
    asked = call.asked()
    told = mock_tools.result(call.request_type, asked)
    saying = call.saying(asked, () if told is None else (told,))
    return say(replace(saying, tool=mock_tools.wanted(call.request_type, asked)))


def _stream(call: _Call) -> MockReply:
    chunks = int(call.number("chunks", 20, 1, _MAX_CHUNKS))
    pause_s = call.number("pause", 0.0, 0, _MAX_PAUSE)
    text = " ".join(map(str, range(1, chunks + 1)))
    saying = replace(call.saying(call.asked(), (text,)), chunks=chunks)
    return say(saying)._replace(pause_s=pause_s)


def _broken_stream(call: _Call) -> MockReply:
    whole = _stream(call)
    return whole._replace(
        body=whole.body[: len(whole.body) // 2],
        pieces=whole.pieces[: (len(whole.pieces) + 1) // 2],
        cut=True,
    )


def _invalid(call: _Call) -> MockReply:
    how = call.options.get("how", "html")
    spoil = INVALID.get(how)
    if spoil is None:
        raise Unreadable(f"option how must be one of: {', '.join(INVALID)}")
    good = _success(call)
    if how == "html":
        return MockReply(0.0, 200, (("content-type", "text/html"),), spoil(b""))
    if how == "empty":
        return good._replace(body=b"", pieces=())
    if good.pieces:
        middle = len(good.pieces) // 2
        name, _, event = good.pieces[middle].partition(b"data: ")
        spoiled = b"%bdata: %b\n\n" % (name, spoil(event.strip()))
        return good._replace(pieces=(*good.pieces[:middle], spoiled, *good.pieces[middle + 1 :]))
    if good.headers == _JSON:
        return good._replace(body=spoil(good.body))
    # Audio or plain text: what is wrong with it is that JSON came instead.
    return success(spoil(b'{"model":"mock"}'))


def _without_answer(good: bytes) -> bytes:
    """The reply with an empty list where the answer stood."""
    whole: Json = msgspec.json.decode(good)
    emptied = ("choices", "output", "data", "results", "pages")
    whole.pop("text", None)
    return msgspec.json.encode(whole | {name: [] for name in emptied if name in whole})


INVALID: Final[dict[str, Callable[[bytes], bytes]]] = {
    "html": lambda _: b"<!doctype html><html><body><h1>It works!</h1></body></html>",
    "truncated": lambda good: good[: len(good) // 2],
    "nan": lambda good: good[:-1] + b',"extra":NaN}',
    "utf8": lambda good: good[:-1] + b',"extra":"\xc3\x28"}',
    "empty": lambda _: b"",
    "choices": _without_answer,
    "array": lambda good: b"[" + good + b"]",
    "deep": lambda good: good[:-1] + b',"extra":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "surrogate": lambda good: good[:-1] + b',"extra":"\\ud800"}',
    "duplicate": lambda good: good[:-1] + b',"model":"another"}',
    "error": lambda _: b'{"error":{"message":"an error with status 200","type":"server_error"}}',
}
"""How a 200 of `invalid?how=…` is spoiled (reliability.md F11)."""

_MODELS: Final[dict[str, Callable[[_Call], MockReply]]] = {
    "hello": _success,
    "echo": _echo,
    "slow": _slow,
    "timeout": _timeout,
    "flaky": _flaky,
    "429": _rate_limited,
    "error": _error,
    "invalid": _invalid,
    "tool": _tool,
    "stream": _stream,
    "broken-stream": _broken_stream,
    "embed": _embed,
    "speech": _media,
    "image": _media,
    "transcription": _success,
    "rerank": _success,
    "ocr": _success,
}
