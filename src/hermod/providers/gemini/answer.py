"""Gemini's answers as chat completions (Gemini API reference, `GenerateContentResponse`)."""

import json
from collections.abc import Mapping
from typing import Final

from hermod.domain.failure import Failure
from hermod.providers import replies
from hermod.providers.gemini.messages import FORMAT
from hermod.providers.gemini.parts import Part, image_blocks
from hermod.providers.gemini.sound import sound_message
from hermod.providers.gemini.usage import chat_usage, usage_in
from hermod.providers.lenient import Members, count, items, members, number, text

_FINISH_REASONS: Final[Mapping[str, str]] = {
    "STOP": "stop",
    "FINISH_REASON_UNSPECIFIED": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
} | dict.fromkeys(
    [
        "BLOCKLIST",
        "ESCALATION",
        "IMAGE_OTHER",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_SAFETY",
        "LANGUAGE",
        "MODEL_ARMOR",
        "NO_IMAGE",
        "PROHIBITED_CONTENT",
        "PUP_LIMITED_DISABLED",
        "RECITATION",
        "SAFETY",
        "SPII",
    ],
    "content_filter",
)
_PLAIN: Final = frozenset({"STOP", "MAX_TOKENS", ""})
"""Reasons that their counterparts say as well."""
_BROKEN: Final = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "TOO_MANY_TOOL_CALLS",
        "UNEXPECTED_TOOL_CALL",
    }
)
"""The model went astray: without a word before it there is no answer."""
_BAD_GATEWAY: Final = 502


def completion(
    reply: Members, *, model: str, now_s: int, audio_format: str = ""
) -> Members | Failure:
    """The chat completion of a decoded reply, or why it is none.

    A prompt that was blocked is an answer without words that ends with `content_filter`.
    """
    candidates = [members(each) for each in items(reply.get("candidates"))]
    blocked = block_reason(reply)
    if not candidates and not blocked:
        return replies.invalid(replies.UNREADABLE, "there are no candidates")
    broken = [fault for each in candidates if (fault := broken_off(each)) is not None]
    if candidates and len(broken) == len(candidates):
        return broken[0]
    call_prefix = call_id_prefix(reply, now_s)
    choices = [
        _choice(each, position, f"{call_prefix}{position}_", audio_format, now_s)
        for position, each in enumerate(candidates)
    ]
    answer: Members = {
        "id": text(reply.get("responseId")) or f"chatcmpl-{now_s}",
        "object": "chat.completion",
        "created": now_s,
        "model": text(reply.get("modelVersion")) or model,
        "choices": choices or [_blocked(blocked, reply)],
    }
    usage = usage_in(reply)
    if usage is not None:
        answer["usage"] = chat_usage(usage)
    return answer


def call_id_prefix(reply: Members, now_s: int) -> str:
    """What the ids of calls begin with that Google gave none: unlike those of other answers."""
    return f"call_{text(reply.get('responseId')) or now_s}_"


def block_reason(reply: Members) -> str:
    """Why the prompt was refused; empty if it was not."""
    return text(members(reply.get("promptFeedback")).get("blockReason"))


def _blocked(reason: str, reply: Members) -> Members:
    message = {"role": "assistant", "content": None, "refusal": refusal_of(reason, reply)}
    return {
        "index": 0,
        "message": message,
        "finish_reason": "content_filter",
        "native_finish_reason": reason,
    }


def refusal_of(reason: str, reply: Members) -> str:
    """Why a prompt was blocked, in words."""
    said = text(members(reply.get("promptFeedback")).get("blockReasonMessage"))
    return said or f"the prompt was blocked: {reason}"


def broken_off(candidate: Members) -> Failure | None:
    """The failure of a candidate that says nothing because the model went astray."""
    reason = text(candidate.get("finishReason"))
    if reason not in _BROKEN or items(members(candidate.get("content")).get("parts")):
        return None
    why = text(candidate.get("finishMessage")) or "the model gave no answer"
    return Failure(f"{reason}: {why}", status_code=_BAD_GATEWAY, code=reason)


def _choice(
    candidate: Members, position: int, call_prefix: str, audio_format: str, now_s: int
) -> Members:
    parts = parts_of(candidate)
    reason = text(candidate.get("finishReason"))
    said = Spoken(parts, call_prefix)
    message = said.message()
    sound = sound_message(said.sounds, audio_format, said.text, now_s) if said.sounds else None
    if sound is not None:
        message["audio"] = sound
    # A place is in one of all the parts, of which thoughts are not shown.
    shown = ["" if part.get("thought") is True else text(part.get("text")) for part in parts]
    cited = annotations(candidate, shown)
    if cited:
        message["annotations"] = cited
    ended = finish_reason(reason, has_calls=bool(said.calls))
    why = text(candidate.get("finishMessage"))
    if ended == "content_filter" and why and not said.text:
        message |= {"content": None, "refusal": why}
    choice: Members = {
        "index": count(candidate.get("index")) if "index" in candidate else position,
        "message": message,
        "finish_reason": ended,
        **native_reason(reason),
    }
    logprobs = logprobs_of(candidate)
    if logprobs is not None:
        choice["logprobs"] = logprobs
    return choice


def finish_reason(reason: str, *, has_calls: bool) -> str:
    """OpenAI's word for Google's."""
    found = _FINISH_REASONS.get(reason, "stop")
    return "tool_calls" if has_calls and found == "stop" else found


def native_reason(reason: str) -> Members:
    """Google's own word, where ours says less."""
    return {} if reason in _PLAIN else {"native_finish_reason": reason}


def parts_of(candidate: Members) -> list[Part]:
    """The parts of a candidate."""
    return [members(part) for part in items(members(candidate.get("content")).get("parts"))]


class Spoken:
    """What parts say, told apart."""

    def __init__(self, parts: list[Part], call_prefix: str, calls_before: int = 0) -> None:
        self.texts: list[Part] = []
        self.thoughts: list[Part] = []
        self.pictures: list[Part] = []
        self.sounds: list[Part] = []
        self.calls: list[Members] = []
        self.details: list[Members] = []
        for part in parts:
            self._take(part, call_prefix, calls_before)

    def _take(self, part: Part, call_prefix: str, calls_before: int) -> None:
        signature = text(part.get("thoughtSignature"))
        function = members(part.get("functionCall"))
        blob = members(part.get("inlineData"))
        if text(function.get("name")):
            index = calls_before + len(self.calls)
            call = _call(function, index, f"{call_prefix}{index}", signature)
            self.calls.append(call)
            if signature:
                self.details.append({**_encrypted(signature), "id": call["id"]})
            return
        said = text(part.get("text")) or _code(part)
        if part.get("thought") is True:
            self.thoughts.append({"text": said})
            detail: Members = {"type": "reasoning.text", "text": said, "format": FORMAT}
            self.details.append({**detail, "signature": signature} if signature else detail)
            return
        if said:
            self.texts.append({"text": said})
        if text(blob.get("data")):
            is_sound = text(blob.get("mimeType")).startswith("audio/")
            kept = {"mimeType": text(blob.get("mimeType")), "data": text(blob.get("data"))}
            (self.sounds if is_sound else self.pictures).append({"inlineData": kept})
        if signature:
            self.details.append(_encrypted(signature))

    @property
    def text(self) -> str:
        return "".join(part["text"] for part in self.texts)

    @property
    def reasoning(self) -> str:
        return "".join(part["text"] for part in self.thoughts)

    def message(self) -> Members:
        """An assistant's message."""
        said = self.text
        message: Members = {"role": "assistant", "content": said}
        if not said and (self.calls or self.pictures or self.sounds):
            message["content"] = None
        return message | self.beside(calls=[_without_index(call) for call in self.calls])

    def beside(self, calls: list[Members]) -> Members:
        """What stands beside the text in a message, or in a piece of one."""
        found: Members = {}
        if self.reasoning:
            found["reasoning"] = self.reasoning
        if self.details:
            found["reasoning_details"] = [
                {**detail, "index": index} for index, detail in enumerate(self.details)
            ]
        if calls:
            found["tool_calls"] = calls
        if self.pictures:
            found["images"] = image_blocks(self.pictures)
        return found


def _without_index(call: Members) -> Members:
    return {name: value for name, value in call.items() if name != "index"}


def _encrypted(signature: str) -> Members:
    return {"type": "reasoning.encrypted", "data": signature, "format": FORMAT}


def _call(function: Members, index: int, made_id: str, signature: str) -> Members:
    arguments = json.dumps(members(function.get("args")), ensure_ascii=False, separators=(",", ":"))
    call: Members = {
        "index": index,
        "id": text(function.get("id")) or made_id,
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }
    if signature:
        # Where Google's own endpoint for OpenAI's clients puts it.
        call["extra_content"] = {"google": {"thought_signature": signature}}
    return call


def _code(part: Part) -> str:
    """Code that Google ran, and what came of it, as text."""
    code = members(part.get("executableCode"))
    if text(code.get("code")):
        return f"\n```{text(code.get('language')).lower()}\n{text(code.get('code'))}\n```\n"
    result = text(members(part.get("codeExecutionResult")).get("output"))
    return f"\n```\n{result}\n```\n" if result else ""


def logprobs_of(candidate: Members) -> Members | None:
    """`logprobs` of a choice; None where there are none."""
    result = members(candidate.get("logprobsResult"))
    chosen = [members(each) for each in items(result.get("chosenCandidates"))]
    if not chosen:
        return None
    others = [items(members(each).get("candidates")) for each in items(result.get("topCandidates"))]
    content = [
        {
            **_logprob(token),
            "top_logprobs": [
                _logprob(members(each)) for each in (others[at] if at < len(others) else [])
            ],
        }
        for at, token in enumerate(chosen)
    ]
    return {"content": content, "refusal": None}


def _logprob(token: Members) -> Members:
    said = text(token.get("token"))
    return {
        "token": said,
        "logprob": number(token.get("logProbability")) or 0.0,
        "bytes": list(said.encode("utf-8", "replace")),
    }


def annotations(candidate: Members, texts: list[str]) -> list[Members]:
    """Citations of pages that Google searched. `texts` are those of the candidate's parts."""
    grounding = members(candidate.get("groundingMetadata"))
    pages = [members(members(each).get("web")) for each in items(grounding.get("groundingChunks"))]
    found: list[Members] = []
    for support in (members(each) for each in items(grounding.get("groundingSupports"))):
        start, end = _place(members(support.get("segment")), texts)
        for index in items(support.get("groundingChunkIndices")):
            if isinstance(index, int) and 0 <= index < len(pages) and text(pages[index].get("uri")):
                citation = {
                    "start_index": start,
                    "end_index": end,
                    "url": pages[index]["uri"],
                    "title": text(pages[index].get("title")),
                }
                found.append({"type": "url_citation", "url_citation": citation})
    return found


def _place(segment: Members, texts: list[str]) -> tuple[int, int]:
    """A segment in characters of the whole text: Google counts in bytes of one part."""
    at = count(segment.get("partIndex"))
    if at >= len(texts):
        return 0, 0
    before = sum(map(len, texts[:at]))
    encoded = texts[at].encode("utf-8", "replace")
    start, end = (
        len(encoded[: count(segment.get(name))].decode("utf-8", "ignore"))
        for name in ("startIndex", "endIndex")
    )
    return before + start, before + end
