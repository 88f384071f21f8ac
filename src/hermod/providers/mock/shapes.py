"""How the mock's answers look as JSON: valid objects of the dialect that each request speaks.

Shapes: OpenAI's chat completion, text completion, response and embedding list, Cohere's rerank,
Mistral's OCR. Media are in mock_media.py, streams in mock_streams.py.
"""

import base64
import hashlib
import math
import re
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from hermod.providers.mock.request import CHAT, Asked, Unreadable, is_list, whole_number

DEFAULT_DIM: Final = 16
_MAX_VALUES: Final = 262_144
"""Numbers in one reply: they are computed on the event loop."""
_MAX_PAGES: Final = 1000
_words: Final = re.compile(r"\w+").findall

Json = dict[str, object]


class ToolCall(NamedTuple):
    """A function that the model wants called."""

    name: str
    arguments: str
    """JSON."""


class Saying(msgspec.Struct, frozen=True, gc=False):
    """What is to be said, and all that shows in how it is said."""

    request_type: str
    model: str
    asked: Asked
    texts: Sequence[str]
    """One for each choice; where there is one answer only, its lines."""
    tag: str
    """The end of its id."""
    now_at: int
    """Microseconds."""
    dim: int = DEFAULT_DIM
    """Of a vector, when the request names no `dimensions`."""
    size: int | None = None
    """Bytes of an audio or an image."""
    chunks: int | None = None
    """At most so many deltas in a stream."""
    tool: ToolCall | None = None
    """Said instead of the texts, in a chat or a response."""
    verbatim: bool = False
    """Nothing is made up: an audio is the text itself, a rerank returns its documents."""

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.texts)

    @property
    def created(self) -> int:
        """Unix seconds."""
        return self.now_at // 1_000_000

    @property
    def spent(self) -> int:
        """Tokens that came."""
        asked = self.asked
        return tokens(asked.texts + asked.documents if asked.documents else asked.texts)

    @property
    def given(self) -> int:
        """Tokens that are said."""
        return tokens((self.tool.arguments,) if self.tool else self.texts)


def tokens(texts: Sequence[str]) -> int:
    """A plausible count: four characters to the token."""
    return sum([(len(text) + 3) // 4 for text in texts])


def completion(saying: Saying) -> Json:
    """Of a chat, or of a text."""
    is_chat = saying.request_type == CHAT
    reason = finish_reason(saying)
    choices: list[Json] = []
    for index, text in enumerate(saying.texts):
        choice: Json = {"index": index}
        if is_chat:
            choice["message"] = message(saying, text)
        else:
            choice["text"] = text
        choice["logprobs"] = None
        choice["finish_reason"] = reason
        choices.append(choice)
    return {
        "id": completion_id(saying),
        "object": "chat.completion" if is_chat else "text_completion",
        "created": saying.created,
        "model": saying.model,
        "choices": choices,
        "usage": completion_usage(saying),
    }


def completion_id(saying: Saying) -> str:
    """Of a chat or text completion, and of each of its chunks."""
    return ("chatcmpl-" if saying.request_type == CHAT else "cmpl-") + saying.tag


def completion_usage(saying: Saying) -> Json:
    """Tokens of a chat or text completion."""
    spent, given = saying.spent, saying.given
    return {"prompt_tokens": spent, "completion_tokens": given, "total_tokens": spent + given}


def finish_reason(saying: Saying) -> str:
    """Why a choice ends."""
    return "tool_calls" if saying.tool else "stop"


def message(saying: Saying, text: str) -> Json:
    """Of the assistant, in a chat."""
    if saying.tool is None:
        return {"role": "assistant", "content": text, "refusal": None}
    called = tool_call(saying, saying.tool.arguments)
    return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [called]}


def tool_call(saying: Saying, arguments: str) -> Json:
    """The call of a function in a chat, with its arguments or with none of them yet."""
    name = saying.tool.name if saying.tool else ""
    function = {"name": name, "arguments": arguments}
    return {"id": "call_" + saying.tag, "type": "function", "function": function}


def response(saying: Saying) -> Json:
    """Of OpenAI's responses, completed."""
    spent, given = saying.spent, saying.given
    usage: Json = {
        "input_tokens": spent,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": given,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": spent + given,
    }
    return _response(saying, "completed", [output_item(saying)], usage)


def response_begun(saying: Saying) -> Json:
    """The same, before anything was said."""
    return _response(saying, "in_progress", [], None)


def _response(saying: Saying, status: str, output: list[Json], usage: Json | None) -> Json:
    return {
        "id": "resp_" + saying.tag,
        "object": "response",
        "created_at": saying.created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": saying.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage,
    }


def output_item(saying: Saying) -> Json:
    """What a response says: a message, or the call of a function."""
    if saying.tool is not None:
        return function_call(saying, "completed", saying.tool.arguments)
    return output_message(saying, "completed", [output_text(saying.texts[0])])


def function_call(saying: Saying, status: str, arguments: str) -> Json:
    """The call of a function in a response."""
    return {
        "type": "function_call",
        "id": "fc_" + saying.tag,
        "call_id": "call_" + saying.tag,
        "name": saying.tool.name if saying.tool else "",
        "arguments": arguments,
        "status": status,
    }


def output_message(saying: Saying, status: str, content: list[Json]) -> Json:
    """Of the assistant, in a response."""
    return {
        "type": "message",
        "id": "msg_" + saying.tag,
        "status": status,
        "role": "assistant",
        "content": content,
    }


def output_text(text: str) -> Json:
    """The content of a message in a response."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def embedding(saying: Saying) -> Json:
    """A vector for each text that came. Raises Unreadable if that would be too many numbers."""
    asked = saying.asked
    dim = whole_number(asked.fields, "dimensions", saying.dim, 1, _MAX_VALUES)
    if dim * len(asked.texts) > _MAX_VALUES:
        raise Unreadable(f"inputs times dimensions must not exceed {_MAX_VALUES}")

    def shown(text: str) -> object:
        values = vector(text, dim)
        if asked.fields.get("encoding_format") == "base64":
            return base64.b64encode(struct.pack(f"<{dim}f", *values)).decode()
        return values

    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": shown(text)}
            for index, text in enumerate(asked.texts)
        ],
        "model": saying.model,
        "usage": {"prompt_tokens": saying.spent, "total_tokens": saying.spent},
    }


def vector(text: str, dim: int) -> list[float]:
    """The unit vector of a text: the same text, the same vector. Its values fit a 32-bit float."""
    raw = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(2 * dim)
    values = [value + 0.5 for value in struct.unpack(f"<{dim}h", raw)]
    length = math.sqrt(sum(value * value for value in values))
    packed = struct.pack(f"<{dim}f", *(value / length for value in values))
    return list(struct.unpack(f"<{dim}f", packed))


def rerank(saying: Saying) -> Json:
    """Cohere's: the documents by relevance, descending; of equal ones the first first."""
    asked = saying.asked
    documents = asked.documents
    returned = saying.verbatim or asked.fields.get("return_documents") is True
    scores = [relevance(asked.texts[0], document) for document in documents]
    best = sorted(range(len(documents)), key=lambda index: -scores[index])
    top = whole_number(asked.fields, "top_n", len(documents), 1, 1_000_000)
    results: list[Json] = []
    for index in best[:top]:
        result: Json = {"index": index, "relevance_score": scores[index]}
        results.append(result | ({"document": {"text": documents[index]}} if returned else {}))
    return {
        "id": "rerank-" + saying.tag,
        "results": results,
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }


def relevance(query: str, document: str) -> float:
    """The share of the query's words that the document has."""
    asked = set(_words(query.casefold()))
    found = asked.intersection(_words(document.casefold()))
    return round(len(found) / len(asked), 6) if asked else 0.0


def ocr(saying: Saying) -> Json:
    """Mistral's: a page for each one asked for, or one."""
    asked = saying.asked.fields.get("pages")
    if asked is None:
        asked = [0]
    if not is_list(asked) or len(asked) > _MAX_PAGES:
        raise Unreadable(f"pages must be a list of up to {_MAX_PAGES} integers")
    pages: list[Json] = [
        {
            "index": index,
            "markdown": saying.text,
            "images": [],
            "dimensions": {"dpi": 200, "height": 2200, "width": 1700},
        }
        for index in asked
    ]
    return {
        "pages": pages,
        "model": saying.model,
        "document_annotation": None,
        "usage_info": {"pages_processed": len(pages), "doc_size_bytes": None},
    }
