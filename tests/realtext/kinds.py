"""What is asked of the upstream, and what of its answer depends on the text alone. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

SAID_TOKENS: Final = 24
_GREEDY: Final = {"temperature": 0, "repeat_penalty": 3.5}
"""Always the likeliest word. OpenAI has no `repeat_penalty`: when it does not arrive, the answers
are others."""


class Answer(NamedTuple):
    """What two calls with the same text must have in common."""

    value: str | tuple[float, ...]
    """What was said, or the vector."""
    read_tokens: int
    """As many as the text has bytes (`tiny_model`)."""
    said_tokens: int


@dataclass(frozen=True, slots=True)
class Kind:
    """A request type, and the way it takes."""

    name: str
    stored: str
    """The request type, as the store knows it."""
    path: str
    """Below `/v1/` of the upstream, and below `/v1/async/` of the gateway."""
    every: int
    """Which share of the texts is sent: 1 for all, 10 for each tenth."""
    body: Callable[[str], dict[str, Any]]
    """The request for a text, without its model."""
    answer: Callable[[Mapping[str, Any]], Answer]
    """Raises LookupError or TypeError for a reply of another shape."""
    said_tokens: int
    provider: str = "llama"
    """Of the gateway's config."""
    direct: "Kind | None" = None
    """What the upstream is asked without a gateway, when that is not the same."""
    streams: bool = False
    """A synchronous call whose answer comes in pieces, instead of a job."""


def _chat(text: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"messages": messages, "max_tokens": SAID_TOKENS, **_GREEDY}


def _text(text: str) -> dict[str, Any]:
    return {"prompt": text, "max_tokens": SAID_TOKENS, **_GREEDY}


def _responses(text: str) -> dict[str, Any]:
    return {"input": text, "max_output_tokens": SAID_TOKENS, **_GREEDY}


def _embedding(text: str) -> dict[str, Any]:
    return {"input": text}


def _chat_answer(reply: Mapping[str, Any]) -> Answer:
    return _answer(reply["choices"][0]["message"]["content"], reply)


def _text_answer(reply: Mapping[str, Any]) -> Answer:
    return _answer(reply["choices"][0]["text"], reply)


def _responses_answer(reply: Mapping[str, Any]) -> Answer:
    usage = reply["usage"]
    said = reply["output"][0]["content"][0]["text"]
    return Answer(said, usage["input_tokens"], usage["output_tokens"])


def _embedding_answer(reply: Mapping[str, Any]) -> Answer:
    return _answer(tuple(reply["data"][0]["embedding"]), reply)


def _answer(value: str | tuple[float, ...], reply: Mapping[str, Any]) -> Answer:
    usage = reply["usage"]
    return Answer(value, usage["prompt_tokens"], usage.get("completion_tokens", 0))


CHATS_ONLY: Final = "parasail"
"""A provider of the table that speaks OpenAI's shape and has no responses."""
_CHATS: Final = Kind(
    "chat_completion", "chat_completion", "chat/completions", 1, _chat, _chat_answer, SAID_TOKENS
)
_RESPONSES: Final = Kind(
    "responses", "responses", "responses", 10, _responses, _responses_answer, SAID_TOKENS
)
KINDS: Final = (
    _CHATS,
    Kind("embedding", "embedding", "embeddings", 1, _embedding, _embedding_answer, 0),
    Kind("text_completion", "text_completion", "completions", 10, _text, _text_answer, SAID_TOKENS),
    _RESPONSES,
    replace(_RESPONSES, name="responses over chat", provider=CHATS_ONLY, direct=_CHATS),
    replace(_CHATS, name="streamed chat", every=10, direct=_CHATS, streams=True),
)
