"""OpenAI's text completions, said by a chat model (API reference, "Completions").

The prompt is the user's message. `echo` is ours to do; log probabilities are told in the old form.
"""

from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds import sse
from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import CannotCarry, Outgoing, StreamTranslator
from hermod.providers.bridge.chunks import Chunks
from hermod.providers.bridge.pieces import Crossing, Json, objects_of, tail_of, written
from hermod.providers.lenient import count as count_of
from hermod.providers.lenient import items as list_of
from hermod.providers.lenient import members as object_of
from hermod.providers.lenient import text as text_of
from hermod.providers.replies import UNREADABLE, invalid
from hermod.providers.upstream_errors import Told

_SAME: Final = (
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "seed",
    "stop",
    "user",
)
_USUAL: Final[Json] = {"best_of": 1}
_REASONS: Final = {
    "tool_calls": "stop",
    "function_call": "stop",
    "eos": "stop",  # Together
    "model_length": "length",  # Mistral
    "insufficient_system_resource": "length",  # DeepSeek
}
"""What a completion calls otherwise, or does not know."""
_DONE: Final = b"[DONE]"


class _Wish(msgspec.Struct):
    prompt: str | list[str] | None = None
    echo: bool | None = None


_read_wish: Final = msgspec.json.Decoder(_Wish).decode


def chat_request(kind: AnyKind, outgoing: Outgoing) -> tuple[bytes, tuple[str, ...]]:
    """The chat completion request that asks for the same, and what was left out of it.

    Raises CannotCarry.
    """
    crossing = Crossing(kind, outgoing)
    cargo = crossing.cargo
    given = cargo.take("prompt")
    prompts = list_of(given) or [given]
    if len(prompts) > 1:
        why = "a chat model answers one prompt at a time; send one request for each"
        raise CannotCarry(f"prompt: {why}", "prompt")
    chat: Json = {
        "model": outgoing.model,
        "messages": [{"role": "user", "content": text_of(prompts[0])}],
        **crossing.carry(_SAME),
    }
    most = cargo.take("max_tokens")
    if most is not None:
        chat["max_completion_tokens"] = most
    top = cargo.take("logprobs")
    if top is not None and cargo.take("echo"):
        crossing.lose("logprobs", "a chat model tells none of an echoed prompt", "logprobs")
        top = None
    if top is not None:
        chat["logprobs"] = True
    if top:
        chat["top_logprobs"] = top
    if outgoing.stream:
        chat["stream"] = True
        chat |= crossing.carry(("stream_options",))
    cargo.pass_over(("echo",))
    chat = cargo.unknown() | chat
    return written(chat), crossing.finish(_USUAL)


def completion_of(outgoing: Outgoing, body: bytes) -> bytes | Failure:
    """The text completion of a chat completion. Never raises."""
    try:
        chat = object_of(msgspec.json.decode(body))
    except (msgspec.DecodeError, RecursionError) as error:
        return invalid(UNREADABLE, str(error))
    echoed = _echo(outgoing)
    choices: list[Json] = []
    for position, choice in enumerate(objects_of(chat.get("choices"))):
        text = echoed + _said(object_of(choice.get("message")))
        reason = text_of(choice.get("finish_reason")) or "stop"
        choices.append(
            {
                "text": text,
                "index": position,
                "logprobs": _logprobs(choice.get("logprobs"), len(echoed)),
                "finish_reason": _REASONS.get(reason, reason),
            }
        )
    completion = _head(outgoing, chat, body) | {"choices": choices}
    if "usage" in chat:
        completion["usage"] = chat["usage"]
    return written(completion)


def _head(outgoing: Outgoing, chat: Json, otherwise: bytes) -> Json:
    head: Json = {
        "id": f"cmpl-{tail_of(chat.get('id'), otherwise)}",
        "object": "text_completion",
        "created": count_of(chat.get("created")) or outgoing.now_s,
        "model": text_of(chat.get("model")) or outgoing.model,
    }
    if isinstance(chat.get("system_fingerprint"), str):
        head["system_fingerprint"] = chat["system_fingerprint"]
    return head


def _echo(outgoing: Outgoing) -> str:
    """The prompt, if it shall be said again."""
    wish = _read_wish(outgoing.body)
    if not wish.echo:
        return ""
    return "".join(wish.prompt or ())


def _said(message: Json) -> str:
    content = message.get("content")
    texts = [text_of(part.get("text")) for part in objects_of(content)]
    return text_of(content) or "".join(texts) or text_of(message.get("refusal"))


def _logprobs(given: object, offset: int) -> Json | None:
    """A chat's log probabilities in the four lists of a completion; `offset` is in characters."""
    entries = [entry for entry in objects_of(object_of(given).get("content")) if _is_sound(entry)]
    if not entries:
        return None
    tokens = [text_of(entry["token"]) for entry in entries]
    offsets: list[int] = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    return {
        "tokens": tokens,
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [
            {
                text_of(other["token"]): other["logprob"]
                for other in objects_of(entry.get("top_logprobs"))
                if _is_sound(other)
            }
            for entry in entries
        ],
        "text_offset": offsets,
    }


def _is_sound(entry: Json) -> bool:
    return isinstance(entry.get("token"), str) and isinstance(entry.get("logprob"), int | float)


class CompletionChunks:
    """Takes a stream of chat chunks in pieces cut anywhere, gives a text completion's."""

    def __init__(self, outgoing: Outgoing, inner: StreamTranslator | None) -> None:
        """`outgoing` is the request for a completion; `inner` makes the chunks, where it must."""
        self._outgoing = outgoing
        self._chunks = Chunks(inner)
        self._echo = _echo(outgoing)
        self._offsets: dict[int, int] = {}
        """By choice: how many characters of it were said."""

    @property
    def usage(self) -> Usage | None:
        """What the chunks told of it so far."""
        return self._chunks.usage

    def feed(self, piece: bytes) -> bytes:
        """The events that `piece` allows for. Never raises."""
        return b"".join(map(self._take, self._chunks.feed(piece)))

    def end(self) -> bytes:
        """The rest."""
        return b"".join(map(self._take, self._chunks.end()))

    def _take(self, chunk: Json | Told | None) -> bytes:
        if chunk is None:
            return sse.written(_DONE)
        if isinstance(chunk, Told):
            error = {
                "message": chunk.message,
                "type": chunk.type,
                "code": chunk.code,
                "param": chunk.param,
            }
            return sse.written(written({"error": error}))
        choices = [
            converted
            for choice in objects_of(chunk.get("choices"))
            if (converted := self._choice(choice)) is not None
        ]
        if not choices and not chunk.get("usage"):
            return b""
        asked = b"%d %b" % (self._outgoing.now_s, self._outgoing.body)
        told = _head(self._outgoing, chunk, asked) | {"choices": choices}
        if "usage" in chunk:
            told["usage"] = chunk["usage"]
        return sse.written(written(told))

    def _choice(self, choice: Json) -> Json | None:
        index = count_of(choice.get("index"))
        text = _said(object_of(choice.get("delta")))
        reason = text_of(choice.get("finish_reason"))
        if not text and not reason:
            return None
        start = self._offsets.get(index)
        if start is None:
            text, start = self._echo + text, 0
        self._offsets[index] = start + len(text)
        return {
            "text": text,
            "index": index,
            "logprobs": _logprobs(choice.get("logprobs"), start),
            "finish_reason": _REASONS.get(reason, reason) or None,
        }
