"""A chat completion, an error and a list of models in the shape of Google's API (Gemini, v1beta).

Left out, as the API has no word for them: annotations, audio, `extra_fields`.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from hermod.doors import told
from hermod.kinds import own_words

Part = dict[str, object]

_FINISH_REASONS: Final = {
    "stop": "STOP",
    "end_turn": "STOP",
    "tool_calls": "STOP",
    "function_call": "STOP",
    "length": "MAX_TOKENS",
    "max_tokens": "MAX_TOKENS",
    "content_filter": "SAFETY",
}
_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""The canonical code of an HTTP status (google.rpc.Code); 4xx and 5xx beside it are the first and
INTERNAL."""

_METHODS: Final = (
    "generateContent",
    "streamGenerateContent",
    "embedContent",
    "batchEmbedContents",
)


def from_chat(result: bytes) -> bytes:
    """The GenerateContentResponse of a chat completion. Never raises."""
    completion = told.members(result)
    own = own_words.answer_in(completion, own_words.GOOGLE)
    if own:
        return msgspec.json.encode(own)
    candidates = [
        _candidate(told.members(choice), index)
        for index, choice in enumerate(told.items(completion.get("choices")))
    ]
    return msgspec.json.encode(response(completion, candidates))


def response(completion: told.Members, candidates: list[dict[str, object]]) -> dict[str, object]:
    """Candidates with what stands around them."""
    out: dict[str, object] = {}
    if candidates:
        out["candidates"] = candidates
    usage = usage_metadata(completion.get("usage"))
    if usage:
        out["usageMetadata"] = usage
    for name, member in (("modelVersion", "model"), ("responseId", "id")):
        if told.is_text(completion.get(member)):
            out[name] = completion[member]
    return out


def _candidate(choice: told.Members, position: int) -> dict[str, object]:
    message = told.members(choice.get("message"))
    calls = [told.members(call) for call in told.items(message.get("tool_calls"))]
    if not calls and "function_call" in message:
        calls = [{"function": message["function_call"]}]
    parts = spoken(message)
    for call in calls:
        function = told.members(call.get("function"))
        arguments = told.text(function.get("arguments"))
        parts.append(
            function_call(told.text(call.get("id")), told.text(function.get("name")), arguments)
        )
    index = told.count(choice["index"]) if "index" in choice else position
    candidate = candidate_of(index, parts, finish_reason(choice))
    logprobs = told.items(told.members(choice.get("logprobs")).get("content"))
    if logprobs:
        candidate |= _logprobs([told.members(token) for token in logprobs])
    return candidate


def candidate_of(index: int, parts: list[Part], reason: str | None) -> dict[str, object]:
    """One candidate; `reason` is None while it goes on."""
    candidate: dict[str, object] = {
        "content": {"role": "model", "parts": parts},
        "index": index,
    }
    if reason is not None:
        candidate["finishReason"] = reason
    return candidate


def spoken(message: told.Members) -> list[Part]:
    """What a message, or a piece of one, says: its reasoning, and its text or refusal."""
    thought = told.text(message.get("reasoning")) or told.text(message.get("reasoning_content"))
    parts: list[Part] = [{"text": thought, "thought": True}] if thought else []
    said = (told.content_text(message.get("content")), told.text(message.get("refusal")))
    parts.extend({"text": text} for text in said if text)
    return parts


def function_call(call_id: str, name: str, arguments: str) -> Part:
    """A whole call."""
    call: dict[str, object] = {"name": name, "args": told.arguments(arguments)}
    if call_id:
        call["id"] = call_id
    return {"functionCall": call}


def finish_reason(choice: told.Members) -> str | None:
    """Why the choice ended, or None if it does not say."""
    reason = told.text(choice.get("finish_reason"))
    return _FINISH_REASONS.get(reason, "OTHER") if reason else None


def usage_metadata(usage: told.Json) -> dict[str, object]:
    """What was spent. Google counts thoughts apart, OpenAI within the completion."""
    spent = told.members(usage)
    if not spent:
        return {}
    read = told.members(spent.get("prompt_tokens_details"))
    given = told.members(spent.get("completion_tokens_details"))
    thoughts = told.count(given.get("reasoning_tokens"))
    prompt = told.count(spent.get("prompt_tokens"))
    completion = told.count(spent.get("completion_tokens"))
    counted: dict[str, object] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": max(completion - thoughts, 0),
        "totalTokenCount": told.count(spent.get("total_tokens")) or prompt + completion,
    }
    if thoughts:
        counted["thoughtsTokenCount"] = thoughts
    cached = told.count(read.get("cached_tokens") or read.get("cached_read_tokens"))
    if cached:
        counted["cachedContentTokenCount"] = cached
    return counted


def _logprobs(tokens: list[dict[str, msgspec.Raw]]) -> dict[str, object]:
    values = [told.number(token.get("logprob")) or 0.0 for token in tokens]
    return {
        "avgLogprobs": sum(values) / len(values),
        "logprobsResult": {
            "chosenCandidates": [_logprob(token) for token in tokens],
            "topCandidates": [
                {
                    "candidates": [
                        _logprob(told.members(other))
                        for other in told.items(token.get("top_logprobs"))
                    ]
                }
                for token in tokens
            ],
        },
    }


def _logprob(token: told.Members) -> dict[str, object]:
    return {
        "token": told.text(token.get("token")),
        "logProbability": told.number(token.get("logprob")) or 0.0,
    }


def error(failure: bytes) -> bytes:
    """A BifrostError in Google's shape (google.rpc.Status in JSON)."""
    status, _, _, message = told.error_of(failure)
    return shown_error(status, message)


def shown_error(status: int, message: str) -> bytes:
    """An error in Google's shape."""
    other = "INVALID_ARGUMENT" if status < 500 else "INTERNAL"
    named = _STATUSES.get(status, other)
    return msgspec.json.encode({"error": {"code": status, "message": message, "status": named}})


def models(ids: Iterable[str]) -> bytes:
    """The list of models, `provider/model` each. It has one page."""
    return msgspec.json.encode({"models": [_model(name) for name in ids]})


def model(name: str) -> bytes:
    """One model of the list."""
    return msgspec.json.encode(_model(name))


def _model(name: str) -> dict[str, object]:
    return {
        "name": f"models/{name}",
        "displayName": name,
        "supportedGenerationMethods": _METHODS,
    }
