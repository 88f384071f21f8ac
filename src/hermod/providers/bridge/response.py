"""A chat completion as OpenAI's Response object, and a stream of its chunks as one of events."""

from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds import sse
from hermod.kinds.response_object import ECHOED, UNSAID, error_code
from hermod.kinds.shapes import ABSENT, is_null
from hermod.providers.adapter import Outgoing, StreamTranslator
from hermod.providers.bridge.chunks import Chunks, told_in
from hermod.providers.bridge.narration import Narration
from hermod.providers.bridge.pieces import Json, first_count, objects_of, tail_of, written
from hermod.providers.lenient import count as count_of
from hermod.providers.lenient import members as object_of
from hermod.providers.lenient import text as text_of
from hermod.providers.replies import UNREADABLE, invalid
from hermod.providers.upstream_errors import Told

_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
_FAILED: Final = "error"
"""The finish reason of OpenRouter's choices that broke off."""
_UNEXPLAINED: Final = "the provider broke its answer off"

_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def response_of(outgoing: Outgoing, body: bytes) -> bytes | Failure:
    """The Response object of a chat completion. Never raises.

    Of several choices it is the first.
    """
    try:
        chat = object_of(msgspec.json.decode(body))
    except (msgspec.DecodeError, RecursionError) as error:
        return invalid(UNREADABLE, str(error))
    choices = objects_of(chat.get("choices"))
    choice = choices[0] if choices else {}
    reason = text_of(choice.get("finish_reason"))
    if reason == _FAILED:
        error = object_of(choice.get("error"))
        return invalid(text_of(error.get("message")) or _UNEXPLAINED)
    narration = Narration(tail := tail_of(chat.get("id"), body))
    narration.take(object_of(choice.get("message")), choice.get("logprobs"), whole=True)
    response = _begun(outgoing, chat, tail) | narration.finish(reason)
    response["usage"] = _usage(object_of(chat.get("usage")))
    return written(response)


def _begun(outgoing: Outgoing, chat: Json, tail: str) -> Json:
    """A response that has said nothing yet; its settings are those of the request."""
    asked = _members_of(outgoing.body)
    said = {name: asked[name] for name in ECHOED if not is_null(asked.get(name, ABSENT))}
    tier = text_of(chat.get("service_tier"))
    response: Json = {
        "id": f"resp_{tail}",
        "object": "response",
        "created_at": count_of(chat.get("created")) or outgoing.now_s,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        **UNSAID,
        **said,
        # It cannot be asked for later, whatever the request says.
        "store": False,
        "model": text_of(chat.get("model")) or outgoing.model,
        "output": [],
        "usage": None,
    }
    if tier in _TIERS:
        response["service_tier"] = tier
    return response


def _usage(chat: Json) -> Json | None:
    if not chat:
        return None
    asked, answered = count_of(chat.get("prompt_tokens")), count_of(chat.get("completion_tokens"))
    into = object_of(chat.get("prompt_tokens_details"))
    out = object_of(chat.get("completion_tokens_details"))
    usage: Json = {
        "input_tokens": asked,
        "input_tokens_details": {
            "cached_tokens": first_count(into, "cached_tokens", "cached_read_tokens"),
            "cache_write_tokens": first_count(
                into, "cache_creation_tokens", "cache_write_tokens", "cached_write_tokens"
            ),
        },
        "output_tokens": answered,
        "output_tokens_details": {"reasoning_tokens": count_of(out.get("reasoning_tokens"))},
        "total_tokens": count_of(chat.get("total_tokens")) or asked + answered,
    }
    if chat.get("cost") is not None:
        usage["cost"] = chat["cost"]
    return usage


class _Told:
    """The events that were told and not taken yet.

    Apart from who has them told: in a cycle with the narration a stream would keep its whole
    answer in memory until the collector comes.
    """

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self._number = 0

    def tell(self, event: str, members: Json) -> None:
        """See `bridge_narration.Tell`."""
        told: Json = {"type": event, "sequence_number": self._number, **members}
        self._number += 1
        self._out.append(sse.written(written(told), event))

    def taken(self) -> bytes:
        """All of them."""
        out = b"".join(self._out)
        self._out.clear()
        return out


class ResponseEvents:
    """Takes a stream of chat chunks in pieces cut anywhere, gives the events of a response."""

    def __init__(self, outgoing: Outgoing, inner: StreamTranslator | None) -> None:
        """`outgoing` is the request for a response; `inner` makes the chunks, where it must."""
        self._outgoing = outgoing
        self._chunks = Chunks(inner)
        self._told = _Told()
        self._begun: Json = {}
        self._narration: Narration | None = None
        self._reason = ""
        self._usage: Json = {}
        self._ended = False

    @property
    def usage(self) -> Usage | None:
        """What the chunks told of it so far."""
        return self._chunks.usage

    def feed(self, piece: bytes) -> bytes:
        """The events that `piece` allows for. Never raises."""
        return self._take(self._chunks.feed(piece))

    def end(self) -> bytes:
        """The rest, if the answer was whole."""
        out = self._take(self._chunks.end())
        if self._reason and not self._ended:
            self._finish()
            out += self._told.taken()
        return out

    def _take(self, found: list[Json | Told | None]) -> bytes:
        for chunk in found:
            if self._ended:
                break
            if isinstance(chunk, Told):
                self._fail(chunk)
            elif chunk is not None:
                self._take_chunk(chunk)
            elif self._narration is not None:
                self._finish()
        return self._told.taken()

    def _take_chunk(self, chunk: Json) -> None:
        narration = self._narration or self._begin(chunk)
        self._usage = object_of(chunk.get("usage")) or self._usage
        for choice in objects_of(chunk.get("choices")):
            if count_of(choice.get("index")):
                continue
            # Some servers repeat the whole message in their last chunk; deltas come first.
            narration.take(object_of(choice.get("delta")), choice.get("logprobs"))
            reason = text_of(choice.get("finish_reason"))
            if reason == _FAILED:
                self._fail(told_in(choice) or Told(_UNEXPLAINED))
                return
            self._reason = reason or self._reason

    def _begin(self, chunk: Json) -> Narration:
        asked = b"%d %b" % (self._outgoing.now_s, self._outgoing.body)
        tail = tail_of(chunk.get("id"), asked)
        self._begun = _begun(self._outgoing, chunk, tail)
        self._narration = Narration(tail, self._told.tell)
        self._told.tell("response.created", {"response": self._begun})
        self._told.tell("response.in_progress", {"response": self._begun})
        return self._narration

    def _finish(self) -> None:
        assert self._narration is not None
        self._ended = True
        response = self._begun | self._narration.finish(self._reason)
        response["usage"] = _usage(self._usage)
        self._told.tell(f"response.{response['status']}", {"response": response})

    def _fail(self, told: Told) -> None:
        """The error as it came; and the response's end in OpenAI's words, if it had begun."""
        self._ended = True
        message = told.message or _UNEXPLAINED
        param = told.param if isinstance(told.param, str) else None
        code = told.code or told.type
        self._told.tell("error", {"code": code, "message": message, "param": param})
        if self._narration is not None:
            status = int(code) if code is not None and code.isascii() and code.isdigit() else None
            error = {"code": error_code(told.code, status), "message": message}
            response = self._begun | {"status": "failed", "error": error}
            self._told.tell("response.failed", {"response": response})
