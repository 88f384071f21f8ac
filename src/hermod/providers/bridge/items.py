"""The items of a response's output, and what stands in them (OpenAI's API reference)."""

from hermod.providers.bridge.pieces import Json, objects_of
from hermod.providers.lenient import count as count_of
from hermod.providers.lenient import items as list_of
from hermod.providers.lenient import members as object_of
from hermod.providers.lenient import text as text_of


def reasoning_item(name: str, status: str, text: str | None, seal: str) -> Json:
    """A thought: its text as the only summary, its signature or its secret as what is encrypted."""
    summary = [] if text is None else [{"type": "summary_text", "text": text}]
    item: Json = {"type": "reasoning", "id": name, "summary": summary, "status": status}
    return item | {"encrypted_content": seal} if seal else item


def message_item(name: str, status: str, parts: list[Json]) -> Json:
    """A message of the assistant."""
    return {
        "type": "message",
        "id": name,
        "status": status,
        "role": "assistant",
        "content": parts,
    }


def part_of(kind: str, text: str) -> Json:
    """A part of a message: `output_text` or `refusal`."""
    if kind == "refusal":
        return {"type": kind, "refusal": text}
    return {"type": kind, "text": text, "annotations": [], "logprobs": []}


def logprobs_of(given: object) -> list[Json]:
    """A chat's log probabilities; a response wants the bytes, too."""
    found: list[Json] = []
    for entry in objects_of(object_of(given).get("content")):
        token = _logprob(entry)
        if token is not None:
            others = [_logprob(other) for other in objects_of(entry.get("top_logprobs"))]
            found.append(token | {"top_logprobs": [other for other in others if other is not None]})
    return found


def _logprob(entry: Json) -> Json | None:
    token, value = entry.get("token"), entry.get("logprob")
    if not isinstance(token, str) or not isinstance(value, int | float):
        return None
    octets = [octet for octet in list_of(entry.get("bytes")) if isinstance(octet, int)]
    return {"token": token, "bytes": octets, "logprob": value}


def citation_of(annotation: Json) -> Json | None:
    """A chat wraps what a response writes flat."""
    inner = object_of(annotation.get("url_citation"))
    if not inner:
        return None
    return {
        "type": "url_citation",
        "start_index": count_of(inner.get("start_index")),
        "end_index": count_of(inner.get("end_index")),
        "title": text_of(inner.get("title")),
        "url": text_of(inner.get("url")),
    }
