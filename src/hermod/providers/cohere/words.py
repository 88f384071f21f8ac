"""What Cohere says of an answer, in OpenAI's words: how it ended, what it used, what it cites."""

from collections.abc import Sequence
from typing import Any, Final

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.providers.lenient import count, items, members, number, text

_FINISH: Final = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_LIMIT": "length",
    "ERROR_TOXIC": "content_filter",
}
_FAILED: Final = {
    "ERROR": (500, "the generation failed (finish_reason ERROR)"),
    "TIMEOUT": (504, "the generation timed out (finish_reason TIMEOUT)"),
}


def finish_reason(reason: str, *, has_calls: bool) -> str:
    """OpenAI's word for why it ended."""
    found = _FINISH.get(reason, "stop")
    return "tool_calls" if has_calls and found == "stop" else found


def failed(reason: str, said: str) -> Failure | None:
    """The failure of a generation that began and did not end; the status is what it amounts to."""
    if reason not in _FAILED:
        return None
    status, words = _FAILED[reason]
    return Failure(said or words, status_code=status, error_type="upstream_error", code=reason)


def usage_in(told: object) -> tuple[dict[str, object] | None, Usage | None]:
    """What it used, as OpenAI's `usage` and for the books; None where nothing is told.

    `tokens` is what went through the model, `billed_units` what is paid for: the client reads the
    first (the second stands beside it), the price is of the second.
    """
    usage = members(told)
    tokens, billed = members(usage.get("tokens")), members(usage.get("billed_units"))
    asked, answered = _pair(tokens)
    paid_asked, paid_answered = _pair(billed)
    if asked is None and answered is None:
        asked, answered = paid_asked, paid_answered
    if asked is None and answered is None:
        return None, None
    asked, answered = asked or 0, answered or 0
    shown: dict[str, object] = {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
    }
    cached = _whole(usage.get("cached_tokens"))
    if cached is not None:
        shown["prompt_tokens_details"] = {"cached_tokens": cached}
    if billed:
        shown["billed_units"] = billed
    booked_asked = asked if paid_asked is None else paid_asked
    booked_answered = answered if paid_answered is None else paid_answered
    return shown, Usage(booked_asked, booked_answered, min(cached or 0, booked_asked))


def _pair(counts: object) -> tuple[int | None, int | None]:
    found = members(counts)
    return _whole(found.get("input_tokens")), _whole(found.get("output_tokens"))


def _whole(value: object) -> int | None:
    """A count, None where there is none: Cohere counts in floats."""
    return None if number(value) is None else count(value)


def annotations(citations: list[Any], texts: Sequence[str]) -> list[dict[str, object]]:
    """The citations of the text whose sources have an address, as OpenAI's `url_citation`s.

    A citation counts from the start of its content block; `texts` are those that hold text. Where
    thinking blocks stand in front, Cohere's `content_index` counts them too.
    """
    found: list[dict[str, object]] = []
    for each in citations:
        citation = members(each)
        start, end = _whole(citation.get("start")), _whole(citation.get("end"))
        of_text = citation.get("type", "TEXT_CONTENT") == "TEXT_CONTENT"
        # Which of several texts is meant cannot be told once they are one.
        if start is None or end is None or not of_text or len(texts) > 1:
            continue
        for origin in items(citation.get("sources")):
            source = members(origin)
            page = members(source.get("document")) or members(source.get("tool_output"))
            if url := text(page.get("url")):
                found.append(
                    {
                        "type": "url_citation",
                        "url_citation": {
                            "start_index": start,
                            "end_index": end,
                            "url": url,
                            "title": text(page.get("title")),
                        },
                    }
                )
    return found


def log_probabilities(told: list[Any]) -> dict[str, object] | None:
    """OpenAI's `logprobs`. A piece of several tokens stays one: their probabilities' product."""
    pieces: list[dict[str, object]] = []
    for each in told:
        item = members(each)
        piece = text(item.get("text"))
        values = [number(value) for value in items(item.get("logprobs"))]
        logprob = sum(value for value in values if value is not None)
        pieces.append(
            {
                "token": piece,
                "logprob": logprob,
                "bytes": list(piece.encode()),
                "top_logprobs": [],
            }
        )
    return {"content": pieces, "refusal": None} if pieces else None
