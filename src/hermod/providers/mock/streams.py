"""The mock's answers as server-sent events: the sequences that OpenAI documents.

A piece is one event. The deltas of a stream, put together, are what the same request without
`stream` answers.
"""

import base64
import math
import re
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec.structs import replace

from hermod.providers.mock import media as mock_media
from hermod.providers.mock import shapes as mock_shapes
from hermod.providers.mock.request import (
    CHAT,
    IMAGE_EDIT,
    IMAGE_GENERATION,
    RESPONSES,
    SPEECH,
    TEXT,
    TRANSCRIPTION,
    Asked,
    is_object,
    whole_number,
)
from hermod.providers.mock.shapes import Json, Saying

CONTENT_TYPE: Final = "text/event-stream"
_DONE: Final = b"data: [DONE]\n\n"
_MOST_DELTAS: Final = 256
_AUDIO_DELTAS: Final = 4
_ARGUMENT_DELTAS: Final = 4
_MAX_PARTIAL: Final = 3


def wanted(request_type: str, asked: Asked) -> bool:
    """Whether the request asks for a stream, and its kind has one (wire-contract 1.4)."""
    if request_type == SPEECH:
        return asked.fields.get("stream_format") == "sse"
    stream = asked.fields.get("stream")
    if stream is None or request_type not in _STREAMS:
        return False
    return stream == "true" if request_type in (TRANSCRIPTION, IMAGE_EDIT) else stream is True


def pieces(saying: Saying) -> tuple[bytes, ...]:
    """The events of a stream that is `wanted`. Raises Unreadable."""
    return tuple(_STREAMS[saying.request_type](saying))


def deltas(text: str, most: int) -> list[str]:
    """The text in up to `most` parts, each with whole words."""
    words: list[str] = re.findall(r"\S+\s*|\s+", text)
    step = max(1, math.ceil(len(words) / most))
    return ["".join(words[at : at + step]) for at in range(0, len(words), step)]


def _text_deltas(saying: Saying, text: str) -> list[str]:
    return deltas(text, saying.chunks or _MOST_DELTAS)


def _slices(text: str, count: int) -> list[str]:
    step = max(1, math.ceil(len(text) / count))
    return [text[at : at + step] for at in range(0, len(text), step)]


def _event(content: Json) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(content)


def _named(content: Json) -> bytes:
    """An event whose name is its type."""
    return b"event: %b\n%b" % (str(content["type"]).encode(), _event(content))


# Completions


def _completion(saying: Saying) -> Iterator[bytes]:
    options = saying.asked.fields.get("stream_options")
    with_usage = is_object(options) and options.get("include_usage") is True
    is_chat = saying.request_type == CHAT
    head: Json = {
        "id": mock_shapes.completion_id(saying),
        "object": "chat.completion.chunk" if is_chat else "text_completion",
        "created": saying.created,
        "model": saying.model,
    }
    usage: Json = {"usage": None} if with_usage else {}
    for index, text in enumerate(saying.texts):
        said = _chat_deltas(saying, text) if is_chat else _completion_deltas(saying, text)
        for spoken, finish_reason in said:
            choice = {"index": index, **spoken, "logprobs": None, "finish_reason": finish_reason}
            yield _event({**head, "choices": [choice], **usage})
    if with_usage:
        yield _event({**head, "choices": [], "usage": mock_shapes.completion_usage(saying)})
    yield _DONE


def _completion_deltas(saying: Saying, text: str) -> Iterator[tuple[Json, str | None]]:
    for delta in _text_deltas(saying, text):
        yield {"text": delta}, None
    yield {"text": ""}, mock_shapes.finish_reason(saying)


def _chat_deltas(saying: Saying, text: str) -> Iterator[tuple[Json, str | None]]:
    begun: Json = {"role": "assistant", "content": "", "refusal": None}
    if saying.tool is None:
        yield {"delta": begun}, None
        for delta in _text_deltas(saying, text):
            yield {"delta": {"content": delta}}, None
    else:
        called = {"index": 0, **mock_shapes.tool_call(saying, "")}
        yield {"delta": {**begun, "content": None, "tool_calls": [called]}}, None
        for delta in _slices(saying.tool.arguments, saying.chunks or _ARGUMENT_DELTAS):
            called = {"index": 0, "function": {"arguments": delta}}
            yield {"delta": {"tool_calls": [called]}}, None
    yield {"delta": {}}, mock_shapes.finish_reason(saying)


# Responses


def _response(saying: Saying) -> Iterator[bytes]:
    for number, event in enumerate(_response_events(saying)):
        yield _named({**event, "sequence_number": number})


def _response_events(saying: Saying) -> Iterator[Json]:
    begun = mock_shapes.response_begun(saying)
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    item = mock_shapes.output_item(saying)
    at: Json = {"output_index": 0}
    if saying.tool is None:
        empty = mock_shapes.output_message(saying, "in_progress", [])
        yield {"type": "response.output_item.added", **at, "item": empty}
        yield from _message_events(saying, {"item_id": item["id"], **at, "content_index": 0})
    else:
        empty = mock_shapes.function_call(saying, "in_progress", "")
        yield {"type": "response.output_item.added", **at, "item": empty}
        arguments = saying.tool.arguments
        at_call: Json = {"item_id": item["id"], **at}
        name = "response.function_call_arguments"
        for delta in _slices(arguments, saying.chunks or _ARGUMENT_DELTAS):
            yield {"type": f"{name}.delta", **at_call, "delta": delta}
        yield {
            "type": f"{name}.done",
            **at_call,
            "name": saying.tool.name,
            "arguments": arguments,
        }
    yield {"type": "response.output_item.done", **at, "item": item}
    yield {"type": "response.completed", "response": mock_shapes.response(saying)}


def _message_events(saying: Saying, at: Json) -> Iterator[Json]:
    text = saying.texts[0]
    part = mock_shapes.output_text("")
    yield {"type": "response.content_part.added", **at, "part": part}
    for delta in _text_deltas(saying, text):
        yield {"type": "response.output_text.delta", **at, "delta": delta, "logprobs": []}
    yield {"type": "response.output_text.done", **at, "text": text, "logprobs": []}
    part = mock_shapes.output_text(text)
    yield {"type": "response.content_part.done", **at, "part": part}


# Media


def _speech(saying: Saying) -> Iterator[bytes]:
    _, content = mock_media.speech(saying)
    step = max(1, math.ceil(len(content) / (saying.chunks or _AUDIO_DELTAS)))
    for start in range(0, len(content), step):
        audio = base64.b64encode(content[start : start + step]).decode()
        yield _event({"type": "speech.audio.delta", "audio": audio})
    yield _event({"type": "speech.audio.done", "usage": mock_media.speech_usage(saying)})


def _transcription(saying: Saying) -> Iterator[bytes]:
    text = saying.text
    for delta in _text_deltas(saying, text):
        yield _event({"type": "transcript.text.delta", "delta": delta})
    usage = mock_media.transcription_usage(saying)
    yield _event({"type": "transcript.text.done", "text": text, "usage": usage})


def _image(saying: Saying) -> Iterator[bytes]:
    name = "image_edit" if saying.request_type == IMAGE_EDIT else "image_generation"
    looks: Json = {
        "created_at": saying.created,
        "background": "opaque",
        "output_format": "png",
        **mock_media.image_looks(saying),
    }
    partial = whole_number(saying.asked.fields, "partial_images", 0, 0, _MAX_PARTIAL)
    for index in range(partial):
        content = mock_media.image_text(replace(saying, size=None), index + 1)
        yield _named(
            {
                "type": f"{name}.partial_image",
                "b64_json": content,
                **looks,
                "partial_image_index": index,
            }
        )
    content = mock_media.image_text(saying, 0)
    usage = mock_media.image_usage(saying, 1)
    whole = {"type": f"{name}.completed", "b64_json": content, **looks, "usage": usage}
    yield _named(whole)


_STREAMS: Final[dict[str, Callable[[Saying], Iterator[bytes]]]] = {
    CHAT: _completion,
    TEXT: _completion,
    RESPONSES: _response,
    SPEECH: _speech,
    TRANSCRIPTION: _transcription,
    IMAGE_GENERATION: _image,
    IMAGE_EDIT: _image,
}
