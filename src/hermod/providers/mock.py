"""The mock provider: models that need no key, no network and no luck.

A model is a name and options as a query string: `slow?seconds=2`. All of them answer all four
request types. Everything is a function of the arguments, so the provider inside the gateway and
the HTTP server of `hermod mock-upstream` share it, and a test can compute what to expect.

| Model | Answer |
|---|---|
| `hello` | a greeting |
| `echo` | the last user message, the prompts or the input, as it came |
| `slow?seconds=8` | a greeting, late |
| `timeout?seconds=3600` | 504, very late |
| `flaky?fail=0.3&seed=0` | 500 for this share of all attempts, else a greeting |
| `429?retry_after=1&times=2` | 429 on the first `times` attempts, by default on all of them |
| `error?code=500` | that error |
| `embed?dim=16` | vectors of that size |
| `invalid?how=html` | a 200 that is no answer, spoiled in one of the ways of `INVALID` |

`retry_after` becomes the header as it stands; without it there is no such header. An unknown name
is a 404 and a wrong option a 400, in OpenAI's error shape.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from hermod.providers.mock_shapes import DEFAULT_DIM, MAX_DIM, Unreadable, answer, read

GREETING: Final = "Hello! Hermod's mock provider is at your service."
_MAX_SECONDS: Final = 86_400.0
_JSON: Final = (("content-type", "application/json"),)


class MockReply(NamedTuple):
    """What to answer, and how many seconds after the request came."""

    delay_s: float
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class _Call(NamedTuple):
    request_type: str
    model: str
    options: Mapping[str, str]
    body: bytes
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


def reply(
    request_type: str, model: str, body: bytes, *, attempt: int, job_id: str, now_at: int
) -> MockReply:
    """The reply of `mock/<model>` to attempt number `attempt` of a job, at `now_at` (µs).

    Never raises for what is in `model` or `body`: bad input gets an error reply.
    """
    name, _, query = model.partition("?")
    behaviour = _MODELS.get(name)
    if behaviour is None:
        message = f"The model `{name}` does not exist. The mock has: {', '.join(_MODELS)}."
        return error(404, message, code="model_not_found")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=16))
        return behaviour(_Call(request_type, model, options, body, attempt, job_id, now_at))
    except ValueError as wrong:
        return error(400, str(wrong))


def is_model(model: str) -> bool:
    """Whether `reply` has a behaviour of this name."""
    return model.partition("?")[0] in _MODELS


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


def _success(call: _Call, said: Sequence[str] | None = None, dim: int = DEFAULT_DIM) -> MockReply:
    asked = read(call.request_type, call.body)
    body = answer(
        call.request_type,
        call.model,
        asked,
        said or [GREETING] * max(1, len(asked.texts)),
        tag=call.digest().hex()[:24],
        now_at=call.now_at,
        dim=dim,
    )
    return success(body)


def _echo(call: _Call) -> MockReply:
    return _success(call, read(call.request_type, call.body).texts)


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
    return _success(call, dim=int(call.number("dim", DEFAULT_DIM, 1, MAX_DIM)))


def _invalid(call: _Call) -> MockReply:
    how = call.options.get("how", "html")
    spoil = INVALID.get(how)
    if spoil is None:
        raise Unreadable(f"option how must be one of: {', '.join(INVALID)}")
    good = _success(call)
    headers = (("content-type", "text/html"),) if how == "html" else good.headers
    return good._replace(headers=headers, body=spoil(good.body))


def _without_items(good: bytes) -> bytes:
    """The reply with an empty list where the answer stood."""
    whole: dict[str, object] = msgspec.json.decode(good)
    return msgspec.json.encode(
        whole | {name: [] for name in ("choices", "output", "data") if name in whole}
    )


INVALID: Final[dict[str, Callable[[bytes], bytes]]] = {
    "html": lambda _: b"<!doctype html><html><body><h1>It works!</h1></body></html>",
    "truncated": lambda good: good[: len(good) // 2],
    "nan": lambda good: good[:-1] + b',"extra":NaN}',
    "utf8": lambda good: good[:-1] + b',"extra":"\xc3\x28"}',
    "empty": lambda _: b"",
    "choices": _without_items,
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
    "embed": _embed,
    "invalid": _invalid,
}

NAMES: Final = tuple(_MODELS)
"""Every name that `reply` knows."""
