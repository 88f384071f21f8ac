"""Hugging Face's router: chat in OpenAI's form, other tasks in the form of its own servers.

Format: Hugging Face's "Inference Providers" pages: "Chat Completion" (a provider's name follows the
model's after a colon), "Feature Extraction", "Automatic Speech Recognition" and "Text to Image" as
the provider `hf-inference` serves them.

A model is `owner/name`, or `provider/owner/name` as other gateways have it.
"""

import re
import struct
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.outcome import Native
from hermod.kinds import json_guard
from hermod.kinds.kind import AnyKind, FormKind
from hermod.providers import openai_shaped, replies
from hermod.providers.adapter import Answered, CannotCarry, Dialect, Outgoing, Prepared
from hermod.providers.cargo import Cargo
from hermod.providers.form_as_json import base64_of, contents_of, refuse
from hermod.providers.lenient import items, members, number, text

_OWN: Final = "hf-inference"
_JSON: Final = "application/json"
_ROOT: Final = f"/{_OWN}/models"
_VECTORS: Final = "pipeline/feature-extraction"
_DEPTH_MAX: Final = 8
_is_part: Final = re.compile(r"[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch
_pixels: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})").fullmatch
_FORMS: Final = ("json", "verbose_json", "text")
"""Of transcripts."""


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    make = _BUILD.get(kind.request_type)
    if make is not None:
        return make(kind, outgoing)
    provider, model = _parted(outgoing.model)
    if provider and provider != "auto":
        model = f"{model}:{provider}"
    return openai_shaped.build(kind, outgoing._replace(model=model))


def _parted(model: str) -> tuple[str, str]:
    """The provider, if it stands in front, and the model."""
    provider, _, rest = model.partition("/")
    return (provider, rest) if "/" in rest else ("", model)


def _path(model: str, task: str = "") -> str:
    """Where this task of the model is served. Raises CannotCarry."""
    provider, name = _parted(model)
    if provider not in ("", "auto", _OWN):
        raise CannotCarry(f"model: only {_OWN} serves requests of this type here", "model")
    parts = name.split("/")
    if not all(map(_is_part, parts)):
        raise CannotCarry("model: must be owner/name", "model")
    return "/".join((_ROOT, *map(quote, parts), *([task] if task else [])))


def _embed(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    cargo = Cargo(kind, outgoing)
    given = cargo.take("input")
    inputs = [given] if isinstance(given, str) else items(given)
    if not all(isinstance(each, str) for each in inputs):
        raise CannotCarry("input: Hugging Face embeds texts, no tokens", "input")
    if cargo.take("encoding_format") not in (None, "float", "base64"):
        raise CannotCarry("encoding_format: must be float or base64", "encoding_format")
    body = msgspec.json.encode({"inputs": inputs, **cargo.unknown()})
    return Prepared(_JSON, body, _path(outgoing.model, _VECTORS), dropped=cargo.finish())


def _transcribe(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    assert isinstance(kind, FormKind)
    form = contents_of(outgoing)
    dropped: tuple[str, ...] = ()
    wanted = "json"
    parameters: dict[str, Any] = {}
    for name, value in form.fields:
        if name == "response_format" and value:
            wanted = value
        elif name in ("prompt", "language") and value:
            dropped += refuse(outgoing, name)
        elif name == "return_timestamps" and outgoing.forward_unknown:
            parameters[name] = value == "true" if value in ("true", "false") else value
    if wanted not in _FORMS:
        raise CannotCarry(f"response_format: must be one of {', '.join(_FORMS)}", "response_format")
    if wanted == "verbose_json":
        parameters.setdefault("return_timestamps", True)
    file = next(each for each in form.files if each.part.name == "file")
    sent: dict[str, Any] = {"inputs": base64_of(file)}
    if parameters:
        sent["parameters"] = parameters
    return Prepared(_JSON, msgspec.json.encode(sent), _path(outgoing.model), dropped=dropped)


def _draw(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    cargo = Cargo(kind, outgoing)
    prompt = cargo.take("prompt")
    parameters: dict[str, Any] = {}
    for name in ("negative_prompt", "num_inference_steps", "seed"):
        if (value := cargo.take(name)) is not None:
            parameters[name] = value
    size = cargo.take("size")
    if pixels := _pixels(size or ""):
        parameters |= {"width": int(pixels[1]), "height": int(pixels[2])}
    elif size not in (None, "", "auto"):
        raise CannotCarry("size: must be <width>x<height>", "size")
    parameters |= cargo.unknown()
    sent: dict[str, Any] = {"inputs": prompt}
    if parameters:
        sent["parameters"] = parameters
    # The picture itself is what comes: an address of it cannot be had.
    dropped = cargo.finish({"n": 1, "response_format": "b64_json", "moderation": "auto"})
    return Prepared(_JSON, msgspec.json.encode(sent), _path(outgoing.model), dropped=dropped)


_BUILD: Final[Mapping[str, Callable[[AnyKind, Outgoing], Prepared]]] = {
    "embedding": _embed,
    "transcription": _transcribe,
    "image_generation": _draw,
}


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`."""
    match kind.request_type:
        case "embedding":
            return _vectors(outgoing, content_type, body)
        case "transcription":
            return _transcript(outgoing, content_type, body)
        case "image_generation":
            return _picture(outgoing, content_type, body)
        case _:
            return openai_shaped.read(kind, outgoing, content_type, body)


def _vectors(outgoing: Outgoing, content_type: str | None, body: bytes) -> Answered | Failure:
    """An array of vectors; of models that do not pool, each is an array of one for each token."""
    if json_guard.problem(body, _DEPTH_MAX) is not None or not body.lstrip().startswith(b"["):
        found = replies.object_in(content_type, body)
        return found if isinstance(found, Failure) else replies.invalid(replies.UNREADABLE)
    asked = members(msgspec.json.decode(outgoing.body))
    try:
        vectors = msgspec.json.decode(body, type=list[list[float]])
        wanted = 1 if isinstance(asked.get("input"), str) else len(items(asked.get("input")))
        if not vectors or len(vectors) != wanted:
            return replies.invalid(
                replies.UNREADABLE, f"{len(vectors)} vectors for {wanted} inputs"
            )
        shown: list[object] = list(vectors)
        if asked.get("encoding_format") == "base64":
            shown = [b64encode(struct.pack(f"<{len(each)}f", *each)).decode() for each in vectors]
    except (msgspec.DecodeError, OverflowError) as error:
        return replies.invalid(replies.UNREADABLE, str(error))
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(shown)
    ]
    answer = {"object": "list", "data": data, "model": outgoing.model}
    return Answered(msgspec.json.encode(answer))


def _transcript(outgoing: Outgoing, content_type: str | None, body: bytes) -> Answered | Failure:
    reply = replies.object_in(content_type, body)
    if isinstance(reply, Failure):
        return reply
    if not isinstance(reply.get("text"), str):
        return replies.invalid(replies.UNREADABLE, "`text` is not a text")
    said = text(reply["text"])
    wanted = dict(contents_of(outgoing).fields).get("response_format") or "json"
    if wanted == "text":
        native = Native("text/plain; charset=utf-8", said.encode())
        return Answered(msgspec.json.encode({"text": said}), native)
    answer: dict[str, object] = {"text": said}
    segments = [_segment(index, members(each)) for index, each in enumerate(_chunks(reply))]
    if wanted == "verbose_json":
        duration = max((number(each["end"]) or 0 for each in segments), default=0)
        answer |= {"task": "transcribe", "language": "", "duration": duration}
    if segments:
        answer["segments"] = segments
    return Answered(msgspec.json.encode(answer))


def _chunks(reply: Mapping[str, Any]) -> list[Any]:
    return items(reply.get("chunks"))


def _segment(index: int, chunk: Mapping[str, Any]) -> dict[str, object]:
    """As OpenAI has it; what is not known of it is 0, as its type wants it to be there."""
    times = [number(each) or 0 for each in items(chunk.get("timestamp"))]
    start, end = (times[0], times[1]) if len(times) == 2 else (0, 0)
    return {
        "id": index,
        "seek": 0,
        "start": start,
        "end": end,
        "text": text(chunk.get("text")),
        "tokens": [],
        "temperature": 0,
        "avg_logprob": 0,
        "compression_ratio": 0,
        "no_speech_prob": 0,
    }


def _picture(outgoing: Outgoing, content_type: str | None, body: bytes) -> Answered | Failure:
    label = (content_type or "").partition(";")[0].strip().lower()
    if not body or not label.startswith("image/"):
        found = replies.object_in(content_type, body)
        return found if isinstance(found, Failure) else replies.invalid("the reply is no image")
    answer = {
        "created": outgoing.now_s,
        "output_format": label.removeprefix("image/"),
        "data": [{"b64_json": b64encode(body).decode("ascii")}],
    }
    return Answered(msgspec.json.encode(answer))


DIALECT: Final = Dialect("huggingface", build, read)
"""The router's chats and the tasks of Hugging Face's own servers."""
