"""What the mock reads of a request and how its answers look: valid OpenAI objects.

Shapes: OpenAI's chat completion, text completion, response and embedding list.
"""

import base64
import hashlib
import math
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

import msgspec

CHAT: Final = "chat_completion"
TEXT: Final = "text_completion"
RESPONSES: Final = "responses"
EMBEDDING: Final = "embedding"

DEFAULT_DIM: Final = 16
MAX_DIM: Final = 4096
_MAX_ITEMS: Final = 2048
"""Inputs in one embedding or completion request; OpenAI's own limit."""
_MAX_VALUES: Final = 262_144
"""Numbers in one reply: they are computed on the event loop."""


class Asked(NamedTuple):
    """What the mock reads of a request."""

    texts: tuple[str, ...]
    """The last user message; or each prompt; or each input."""
    dimensions: int | None = None
    as_base64: bool = False


class Unreadable(ValueError):
    """The request, or an option in the model's name, is not usable. The message says why."""


def read(request_type: str, body: bytes) -> Asked:
    """What a request asks for. Raises Unreadable."""
    try:
        whole: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as wrong:
        raise Unreadable(f"We could not parse the JSON body of your request: {wrong}") from None
    if not isinstance(whole, dict):
        raise Unreadable("The JSON body must be an object.")
    fields = cast(dict[str, object], whole)
    if request_type == CHAT:
        return Asked((_last_user_text(fields.get("messages")),))
    if request_type == RESPONSES:
        return Asked((_last_user_text(fields.get("input")),))
    texts = _items(fields.get("prompt" if request_type == TEXT else "input"))
    if len(texts) > _MAX_ITEMS:
        raise Unreadable(f"at most {_MAX_ITEMS} items in one request")
    dimensions = fields.get("dimensions")
    if dimensions is not None and not (isinstance(dimensions, int) and 1 <= dimensions <= MAX_DIM):
        raise Unreadable(f"dimensions must be an integer from 1 to {MAX_DIM}")
    return Asked(texts, dimensions, fields.get("encoding_format") == "base64")


def answer(
    request_type: str,
    model: str,
    asked: Asked,
    said: Sequence[str],
    *,
    tag: str,
    now_at: int,
    dim: int = DEFAULT_DIM,
) -> bytes:
    """A valid OpenAI object that says `said` (one text per choice), or the vectors of an embedding.

    `tag` makes its id; `dim` counts when the request names no `dimensions`. Raises Unreadable if
    that would be too many numbers.
    """
    spent = sum(map(_tokens, asked.texts))
    if request_type == EMBEDDING:
        dim = asked.dimensions or dim
        if dim * len(asked.texts) > _MAX_VALUES:
            raise Unreadable(f"inputs times dimensions must not exceed {_MAX_VALUES}")
        whole = _embedding(model, asked, dim, spent)
    elif request_type == RESPONSES:
        whole = _response(model, said[0], spent, tag, now_at)
    else:
        whole = _completion(request_type, model, said, spent, tag, now_at)
    return msgspec.json.encode(whole)


# What is asked


def _last_user_text(messages: object) -> str:
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, list):
        raise Unreadable("messages (or input) must be a list, or a string for responses")
    found = [
        cast(dict[str, object], m) for m in cast(list[object], messages) if isinstance(m, dict)
    ]
    users = [message for message in found if message.get("role") == "user"]
    last = (users or found)[-1:]
    return _content_text(last[0].get("content")) if last else ""


def _content_text(content: object) -> str:
    """The text of a message: a string, or the text of its blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    blocks = cast(list[object], content)
    texts = [cast(dict[str, object], b).get("text") for b in blocks if isinstance(b, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _items(value: object) -> tuple[str, ...]:
    """A string, a list of them, the tokens of one text, or a list of those (wire-contract 1.8)."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise Unreadable("prompt (or input) must be a string or a list")
    items = cast(list[object], value)
    if items and isinstance(items[0], int):
        return (_token_text(items),)
    return tuple(item if isinstance(item, str) else _token_text(item) for item in items)


def _token_text(tokens: object) -> str:
    if not isinstance(tokens, list):
        raise Unreadable("every item of prompt (or input) must be a string or a list of integers")
    return " ".join(map(str, cast(list[object], tokens)))


def _tokens(text: str) -> int:
    """A plausible count: four characters to the token."""
    return (len(text) + 3) // 4


# The shapes


def _completion(
    request_type: str, model: str, said: Sequence[str], spent: int, tag: str, now_at: int
) -> dict[str, object]:
    is_chat = request_type == CHAT
    given = sum(map(_tokens, said))
    choices: list[dict[str, object]] = []
    for index, text in enumerate(said):
        message = {"role": "assistant", "content": text, "refusal": None}
        spoken: dict[str, object] = {"message": message} if is_chat else {"text": text}
        choices.append({"index": index, **spoken, "logprobs": None, "finish_reason": "stop"})
    return {
        "id": ("chatcmpl-" if is_chat else "cmpl-") + tag,
        "object": "chat.completion" if is_chat else "text_completion",
        "created": now_at // 1_000_000,
        "model": model,
        "choices": choices,
        "usage": {
            "prompt_tokens": spent,
            "completion_tokens": given,
            "total_tokens": spent + given,
        },
    }


def _response(model: str, said: str, spent: int, tag: str, now_at: int) -> dict[str, object]:
    given = _tokens(said)
    text: dict[str, object] = {
        "type": "output_text",
        "text": said,
        "annotations": [],
        "logprobs": [],
    }
    message = {
        "type": "message",
        "id": "msg_" + tag,
        "status": "completed",
        "role": "assistant",
        "content": [text],
    }
    return {
        "id": "resp_" + tag,
        "object": "response",
        "created_at": now_at // 1_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [message],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": spent,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": given,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": spent + given,
        },
    }


def _embedding(model: str, asked: Asked, dim: int, spent: int) -> dict[str, object]:
    def shown(text: str) -> object:
        values = vector(text, dim)
        if asked.as_base64:
            return base64.b64encode(struct.pack(f"<{dim}f", *values)).decode()
        return values

    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": shown(text)}
            for index, text in enumerate(asked.texts)
        ],
        "model": model,
        "usage": {"prompt_tokens": spent, "total_tokens": spent},
    }


def vector(text: str, dim: int) -> list[float]:
    """The unit vector of a text: the same text, the same vector. Its values fit a 32-bit float."""
    raw = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(2 * dim)
    values = [value + 0.5 for value in struct.unpack(f"<{dim}h", raw)]
    length = math.sqrt(sum(value * value for value in values))
    packed = struct.pack(f"<{dim}f", *(value / length for value in values))
    return list(struct.unpack(f"<{dim}f", packed))
