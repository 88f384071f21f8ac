"""Gemini's streams (`:streamGenerateContent?alt=sse`) as OpenAI's chat completion chunks.

Each event is a response with what is new. A function call comes whole, the last event of a
candidate says why it ended, and nothing marks the end of the stream itself.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds import json_guard, sse
from hermod.providers.gemini.answer import (
    Spoken,
    annotations,
    block_reason,
    broken_off,
    call_id_prefix,
    finish_reason,
    logprobs_of,
    native_reason,
    parts_of,
    refusal_of,
)
from hermod.providers.gemini.sound import sound_message
from hermod.providers.gemini.usage import chat_usage, usage_in
from hermod.providers.lenient import Members, count, items, members, text
from hermod.providers.upstream_errors import told_by

_DONE: Final = b"data: [DONE]\n\n"
_DEPTH_MAX: Final = 256
_UNREADABLE: Final = "an event of the stream is no JSON"
_INVALID: Final = "upstream_invalid"


@dataclass(slots=True)
class _Candidate:
    """One answer as far as it came."""

    calls: int = 0
    details: int = 0
    has_begun: bool = False
    has_ended: bool = False
    said: list[str] = field(default_factory=list[str])


class GeminiStream:
    """See `hermod.providers.adapter.StreamTranslator`."""

    def __init__(self, *, model: str, now_s: int, include_usage: bool) -> None:
        """`include_usage` is `stream_options.include_usage`: a last chunk with the usage."""
        self._reader = sse.Reader()
        self._about: Members = {
            "id": f"chatcmpl-{now_s}",
            "object": "chat.completion.chunk",
            "created": now_s,
            "model": model,
        }
        self._now_s = now_s
        self._include_usage = include_usage
        self._candidates: dict[int, _Candidate] = {}
        self._usage: Usage | None = None
        self._out: list[bytes] = []
        self._has_failed = False

    @property
    def usage(self) -> Usage | None:
        """As last told: each event tells it anew."""
        return self._usage

    def feed(self, piece: bytes) -> bytes:
        """See `StreamTranslator.feed`."""
        if self._has_failed:
            return b""
        try:
            events = self._reader.feed(piece)
        except sse.TooLong as error:
            self._fail(Failure(str(error), error_type=_INVALID))
            return self._taken()
        self._take_all(events)
        return self._taken()

    def end(self) -> bytes:
        """See `StreamTranslator.end`."""
        if not self._has_failed:
            self._take_all(self._reader.feed(b"\n\n"))  # the last blank line may be missing
        seen = self._candidates.values()
        if not self._has_failed and seen and all(each.has_ended for each in seen):
            if self._include_usage and self._usage is not None:
                self._send([], usage=chat_usage(self._usage))
            self._out.append(_DONE)
        return self._taken()

    def _take_all(self, events: list[sse.Event]) -> None:
        for event in events:
            if not self._has_failed:
                self._take(event.data)

    def _taken(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _take(self, data: bytes) -> None:
        if json_guard.problem(data, _DEPTH_MAX) is not None:
            self._fail(Failure(_UNREADABLE, error_type=_INVALID))
            return
        try:
            decoded: object = msgspec.json.decode(data)
        except msgspec.DecodeError:
            self._fail(Failure(_UNREADABLE, error_type=_INVALID))
            return
        # Errors may come in an array.
        whole = items(decoded)
        reply = members(whole[0] if whole else decoded)
        if "error" in reply:
            told = told_by(msgspec.json.encode(reply))
            self._fail(told.failure(500) if told else Failure("the stream broke off"))
            return
        self._usage = usage_in(reply) or self._usage
        self._about["id"] = text(reply.get("responseId")) or self._about["id"]
        self._about["model"] = text(reply.get("modelVersion")) or self._about["model"]
        candidates = [members(each) for each in items(reply.get("candidates"))]
        reason = block_reason(reply)
        if reason and not candidates and not self._candidates:
            self._block(reason, reply)
        prefix = call_id_prefix(reply, self._now_s)
        for position, candidate in enumerate(candidates):
            self._grow(candidate, position, prefix)

    def _block(self, reason: str, reply: Members) -> None:
        self._candidates[0] = _Candidate(has_begun=True, has_ended=True)
        delta = {"role": "assistant", "content": None, "refusal": refusal_of(reason, reply)}
        ended = {"finish_reason": "content_filter", "native_finish_reason": reason}
        self._send([{"index": 0, "delta": delta, **ended}])

    def _grow(self, candidate: Members, position: int, prefix: str) -> None:
        index = count(candidate.get("index")) if "index" in candidate else position
        state = self._candidates.setdefault(index, _Candidate())
        if not state.has_begun and (fault := broken_off(candidate)) is not None:
            self._fail(fault)
            return
        said = Spoken(parts_of(candidate), f"{prefix}{index}_", state.calls)
        state.calls += len(said.calls)
        state.said.append(said.text)
        delta = self._delta(said, state)
        cited = annotations(candidate, ["".join(state.said)])
        if cited:
            delta["annotations"] = cited
        choice: Members = {"index": index, "delta": delta, "finish_reason": None}
        logprobs = logprobs_of(candidate)
        if logprobs is not None:
            choice["logprobs"] = logprobs
        reason = text(candidate.get("finishReason"))
        if reason:
            choice["finish_reason"] = finish_reason(reason, has_calls=state.calls > 0)
            why = text(candidate.get("finishMessage"))
            if choice["finish_reason"] == "content_filter" and why and not any(state.said):
                delta["refusal"] = why
            choice |= native_reason(reason)
            state.has_ended = True
        if delta or reason or logprobs is not None:
            self._send([choice])

    def _delta(self, said: Spoken, state: _Candidate) -> Members:
        delta: Members = {}
        if not state.has_begun:
            delta = {"role": "assistant", "content": ""}
            state.has_begun = True
        if said.text:
            delta["content"] = said.text
        delta |= said.beside(said.calls)
        for detail in delta.get("reasoning_details", []):
            # Pieces of one text belong together, signatures stand alone.
            detail["index"] += state.details
        state.details += sum("signature" in each or "data" in each for each in said.details)
        sound = sound_message(said.sounds, "pcm16", "", self._now_s) if said.sounds else None
        if sound is not None:
            delta["audio"] = sound
        return delta

    def _send(self, choices: list[Members], usage: Members | None = None) -> None:
        chunk = {**self._about, "choices": choices}
        if usage is not None:
            chunk["usage"] = usage
        self._out.append(sse.written(msgspec.json.encode(chunk)))

    def _fail(self, failure: Failure) -> None:
        """Say it, in the way that OpenAI's clients know; nothing comes after it."""
        error = {
            "message": failure.message,
            "type": failure.error_type,
            "code": failure.code,
            "param": None,
        }
        self._has_failed = True
        self._out.append(sse.written(msgspec.json.encode({"error": error})))
