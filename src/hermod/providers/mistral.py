"""Mistral's speech: OpenAI's request, and the audio in base64 inside a JSON object.

Format: Mistral's API reference, "Audio speech" (`SpeechRequest`, `SpeechResponse` of its OpenAPI
description): `voice_id` instead of `voice`, which the table renames, and `audio_data` in the reply.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.outcome import Native
from hermod.kinds.kind import AnyKind
from hermod.providers import openai_shaped, replies
from hermod.providers.adapter import Answered, Dialect, Outgoing

_USUAL: Final = "mp3"
_TYPES: Final = {"mp3": "audio/mpeg", "opus": "audio/ogg", "pcm": "audio/pcm"}


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`."""
    reply = replies.object_in(content_type, body)
    if isinstance(reply, Failure):
        return reply
    audio = reply.get("audio_data")
    if not isinstance(audio, str) or not audio:
        return replies.invalid(replies.UNREADABLE, "`audio_data` is not a text")
    try:
        contents = b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        return replies.invalid(replies.UNREADABLE, "`audio_data` is not base64")
    asked = cast("Mapping[str, Any]", msgspec.json.decode(outgoing.body))
    spoken = str(asked.get("response_format") or _USUAL)
    native = Native(_TYPES.get(spoken, f"audio/{spoken}"), contents)
    return Answered(msgspec.json.encode({"audio": audio}), native)


DIALECT: Final = Dialect("mistral_speech", openai_shaped.build, read)
"""Speech as Mistral answers it."""
