"""Google's Gemini API (`generativelanguage.googleapis.com`, v1beta), as documented at
ai.google.dev/api: `generateContent`, `streamGenerateContent`, `batchEmbedContents`, `predict`."""

import re
from typing import Final
from urllib.parse import quote

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds.kind import AnyKind
from hermod.kinds.own_words import GOOGLE, Words
from hermod.providers.adapter import (
    Answered,
    Dialect,
    Outgoing,
    OwnWords,
    Prepared,
    StreamTranslator,
)
from hermod.providers.cargo import Cargo
from hermod.providers.chat_words import wants_usage
from hermod.providers.gemini import images
from hermod.providers.gemini import speech as sound
from hermod.providers.gemini.answer import completion
from hermod.providers.gemini.config import add_config
from hermod.providers.gemini.embedding import Method, embedding_request, read_embedding
from hermod.providers.gemini.messages import contents_of
from hermod.providers.gemini.stream import GeminiStream
from hermod.providers.gemini.usage import usage_in
from hermod.providers.lenient import Members, items, members, text
from hermod.providers.replies import object_in
from hermod.providers.upstream_errors import refusal as usual_refusal

_JSON: Final = "application/json"
_CHAT: Final = "chat_completion"
_UNAUTHORIZED: Final = 401
_DETAILS_MAX: Final = 1 << 16
"""Bytes of an error that are looked at for its details."""
_DELAY: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,9})?)s")


def chat_request(kind: AnyKind, outgoing: Outgoing) -> tuple[Members, tuple[str, ...]]:
    """The `GenerateContentRequest` of a chat, and what was dropped. Raises CannotCarry."""
    cargo = Cargo(kind, outgoing)
    instruction, contents = contents_of(items(cargo.take("messages")), outgoing.model)
    body: Members = {"contents": contents}
    if instruction is not None:
        body["systemInstruction"] = instruction
    add_config(cargo, outgoing.model, body)
    return body, cargo.finish()


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `hermod.providers.adapter.Dialect.build`."""
    method = "generateContent"
    match kind.request_type:
        case "embedding":
            body, dropped = embedding_request(kind, outgoing, Method.BATCH)
            method = Method.BATCH.value
        case "image_generation" if images.is_imagen(outgoing.model):
            body, dropped = images.predict_request(kind, outgoing)
            method = "predict"
        case _:
            body, dropped = content_request(kind, outgoing, chooses_format=False)
            if outgoing.stream and kind.request_type == _CHAT:
                method = "streamGenerateContent?alt=sse"
    return Prepared(_JSON, msgspec.json.encode(body), _path(outgoing, method), dropped=dropped)


def _path(outgoing: Outgoing, method: str) -> str:
    # A name with a slash is a resource's whole name: `tunedModels/…`.
    named = quote(outgoing.model, safe="/")
    resource = named if "/" in named else f"models/{named}"
    return f"/v1beta/{resource}:{method}"


def own_method(outgoing: Outgoing) -> str:
    """What a client's own request is for."""
    return "streamGenerateContent?alt=sse" if outgoing.stream else "generateContent"


def _build_own(outgoing: Outgoing, words: Words) -> Prepared:
    return Prepared(_JSON, bytes(words.request), _path(outgoing, own_method(outgoing)))


def content_request(
    kind: AnyKind, outgoing: Outgoing, *, chooses_format: bool
) -> tuple[Members, tuple[str, ...]]:
    """The `GenerateContentRequest` of whatever goes through it, and what was dropped.

    `chooses_format` where image models can be told a format. Raises CannotCarry.
    """
    match kind.request_type:
        case "speech":
            return sound.speech_request(kind, outgoing)
        case "transcription":
            return sound.transcription_request(outgoing)
        case "image_generation":
            return images.image_request(kind, outgoing, chooses_format=chooses_format)
        case _:
            return chat_request(kind, outgoing)


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `hermod.providers.adapter.Dialect.read`."""
    reply = object_in(content_type, body)
    if isinstance(reply, Failure):
        return reply
    match kind.request_type:
        case "embedding":
            return read_embedding(outgoing, reply)
        case "speech":
            return sound.read_speech(outgoing, reply)
        case "transcription":
            return sound.read_transcription(outgoing, reply)
        case "image_generation" if images.is_imagen(outgoing.model):
            return images.read_predictions(outgoing, reply)
        case "image_generation":
            return images.read_image(outgoing, reply)
        case _:
            return _read_chat(outgoing, reply)


def _read_chat(outgoing: Outgoing, reply: Members) -> Answered | Failure:
    audio = members(members(msgspec.json.decode(outgoing.body)).get("audio"))
    found = completion(
        reply,
        model=outgoing.model,
        now_s=outgoing.now_s,
        audio_format=text(audio.get("format")),
    )
    if isinstance(found, Failure):
        return found
    return Answered(msgspec.json.encode(found), usage=usage_in(reply))


def refusal(status: int, content_type: str | None, body: bytes) -> Failure:
    """See `hermod.providers.adapter.Dialect.refusal`.

    The reason in the details says more than the number that stands for the status; and a key that
    is none comes with a 400, which would not send anybody to another key.
    """
    failure = usual_refusal(status, content_type, body)
    reason = next((text(each.get("reason")) for each in _details(body) if each.get("reason")), "")
    if not reason:
        return failure
    told = status if reason != "API_KEY_INVALID" else _UNAUTHORIZED
    return Failure(failure.message, status_code=told, error_type=failure.error_type, code=reason)


def retry_after(body: bytes) -> float | None:
    """Seconds that an error asks to wait for (`google.rpc.RetryInfo`); None if it asks nothing."""
    for detail in _details(body):
        found = _DELAY.fullmatch(text(detail.get("retryDelay")))
        if found is not None:
            return float(found[1])
    return None


def _details(body: bytes) -> list[Members]:
    """`error.details`, of an error that may stand in an array (google.rpc.Status)."""
    if len(body) > _DETAILS_MAX:
        return []
    try:
        decoded: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    whole = items(decoded)
    error = members(members(whole[0] if whole else decoded).get("error"))
    return [members(each) for each in items(error.get("details"))]


def open_stream(kind: AnyKind, outgoing: Outgoing) -> StreamTranslator:
    """See `hermod.providers.adapter.Dialect.open_stream`."""
    return GeminiStream(
        model=outgoing.model,
        now_s=outgoing.now_s,
        include_usage=wants_usage(outgoing),
    )


OWN: Final = OwnWords(GOOGLE, lambda _: True, _build_own, read, open_stream)
"""Those of `generateContent`."""

DIALECT: Final = Dialect("gemini", build, read, refusal, open_stream, retry_after, own=(OWN,))
"""Google's own."""
